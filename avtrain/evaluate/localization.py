"""Localization on a shard set: do maps find what sounds, and nothing where nothing does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from avdata import ShardSet
from avtrain.data.samples import filter_samples, select_samples
from avtrain.errors import DataError, RunError
from avtrain.evaluate.boxes_file import read_boxes_file
from avtrain.evaluate.config import LocalizationEvalConfig
from avtrain.evaluate.folds import TEST_SPLIT
from avtrain.evaluate.frozen import FrozenEncoders
from avtrain.evaluate.localization_clips import moment_clips, sample_moments
from avtrain.evaluate.localization_scores import LocalizationScores
from avtrain.evaluate.options import EvalOptions
from avtrain.evaluate.result import EvalResult
from avtrain.maps import PairMaps, SetMaps, SyncMaps, map_clips
from avtrain.methods.pair_method import PairMethod
from avtrain.methods.sync import Sync


def localization(frozen: FrozenEncoders[Any], shards: ShardSet, options: EvalOptions) -> EvalResult:
    """Agreement of maps with boxes, and how much weaker they are for sound that is not seen.

    Raises:
        RunError: The run's method has no maps.
        DataError: There are no boxes for the set, or it does not have what the run needs.
    """
    source = set_maps(frozen, shards, options.config.localization)
    where = str(shards.location)
    boxes = options.config.localization.boxes
    if boxes is None:
        raise DataError(
            "task localization needs boxes around what sounds: give --boxes FILE, a CSV or JSON "
            "file of them, or the ground_truth.jsonl of `avdata synth`"
        )
    file = read_boxes_file(Path(boxes))
    table = source.table
    split = options.split
    if split is None and TEST_SPLIT in table.splits:
        split = TEST_SPLIT
    samples = filter_samples(shards, select_samples(table, split, where=where), options.where)
    manifest = shards.manifest
    moments = sample_moments(
        file,
        table,
        samples,
        source_ids=manifest["source_id"].to_pylist(),
        starts_s=manifest["decoded_start_s"].to_pylist(),
        durations_s=manifest["duration_s"].to_pylist(),
        where=where,
    )
    clips = moment_clips(source, moments, seed=options.config.seed)
    if not clips:
        raise DataError(
            f"none of {len(moments)} samples of {where} with boxes holds a clip of "
            f"{source.clip_s:.2f} s with its sound; measure on longer ones"
        )
    seen = {clip.request.sample for clip in clips}
    scores = LocalizationScores(has_magnitude=source.has_magnitude)
    made = map_clips(
        source,
        [clip.request for clip in clips],
        device=frozen.device,
        batch_size=options.embed.batch_size,
        loader_threads=options.embed.loader_threads,
        progress=options.embed.progress,
        description="localization",
    )
    for clip, maps in zip(clips, made, strict=True):
        if not np.isfinite(maps.values).all():
            raise RunError(
                f"the run's map of sample {table.keys[clip.request.sample]} is not finite; "
                "evaluate an earlier checkpoint"
            )
        scores.add(clip, maps)
    notes = [f"{scores.num_moments} moments of {len(seen)} samples in {len(clips)} clips"]
    if len(seen) < len(moments):
        notes.append(
            f"left out: {len(moments) - len(seen)} samples with boxes are shorter than a clip of "
            f"{source.clip_s:.2f} s"
        )
    if len(moments) < len(samples):
        notes.append(f"{len(samples) - len(moments)} of {len(samples)} samples have no box")
    numbers = scores.numbers()
    return EvalResult(
        task="localization",
        metrics={name: value for name, (value, _) in numbers.items()},
        chance={name: chance for name, (_, chance) in numbers.items()},
        num_samples=len(seen),
        notes=(*notes, *scores.notes()),
    )


def set_maps(
    frozen: FrozenEncoders[Any], shards: ShardSet, config: LocalizationEvalConfig
) -> SetMaps:
    """What localizes with the networks, for the clips of a set.

    Args:
        frozen: The networks.
        shards: Where the clips are.
        config: What is done with maps of runs of sync.

    Raises:
        RunError: The method has no maps, or a network is not there.
        DataError: The set does not have what it needs.
    """
    method = frozen.method
    if isinstance(method, Sync):
        return SyncMaps(
            method,
            shards,
            frozen.device,
            mirrored=config.mirrored,
            smoothing_cells=config.smoothing_cells,
        )
    if isinstance(method, PairMethod):
        frozen.network("video")
        frozen.network("audio")
        if (
            frozen.sound_form(shards.spec, where=str(shards.location), prefer_sound=False)
            == ("waveform")
            and "logmel" in method.view.requires
        ):
            raise DataError(
                f"{shards.location} has no log-mel made as in the training of this run, which "
                "maps are made of; build it again with --set 'fields=[..., \"logmel\"]' and the "
                "logmel settings of the run"
            )
        return PairMaps(method, shards, frozen.device)
    raise RunError(
        f"this evaluation looks for what sounds in maps, {type(method).__name__} has none; "
        "evaluate a run of sync, or of a method over pairs such as avid"
    )
