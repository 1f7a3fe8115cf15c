"""Whether a network tells sound in sync from shifted sound, and finds the shift in seconds."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from avdata import ShardSet
from avtrain.data.loader import BatchLoader
from avtrain.data.samples import (
    SampleTable,
    filter_samples,
    read_sample_table,
    select_samples,
)
from avtrain.data.stream import sequential_batches
from avtrain.data.views.sync import SyncEvalView
from avtrain.data.views.sync_places import ScannedPlaces, ShiftedPlaces
from avtrain.data.views.sync_reader import SyncReader
from avtrain.data.views.sync_room import samples_with_room
from avtrain.errors import RunError
from avtrain.evaluate.folds import TEST_SPLIT
from avtrain.evaluate.frozen import FrozenEncoders
from avtrain.evaluate.fused_source import check_sound_rate
from avtrain.evaluate.options import EvalOptions
from avtrain.evaluate.result import EvalResult
from avtrain.evaluate.sync_accuracy import (
    alignment_numbers,
    class_numbers,
    delay_numbers,
    scan_numbers,
)
from avtrain.methods.sync import Sync
from avtrain.methods.sync_inputs import SyncInputs


def sync(frozen: FrozenEncoders[Any], shards: ShardSet, options: EvalOptions) -> EvalResult:
    """Accuracy on random shifts of held-out clips, by class, and of the offset on a grid.

    Shifts are a function of the seed and the sample's key. Beside it stand the same numbers for
    sound of unrelated clips: a network that tells shifted from not shifted there goes by something
    else than sync, as the edges of clips.

    Raises:
        RunError: The run is not one of sync.
        DataError: The set does not have what the run needs, or only samples that are too short.
    """
    method = frozen.method
    if not isinstance(method, Sync):
        raise RunError(
            f"task sync needs a run of method sync, this is one of {type(method).__name__}; train "
            "one with `avtrain fit SHARDS --method sync`"
        )
    measured = _Measurement(method, frozen, shards, options)
    numbers, notes = measured.numbers()
    return EvalResult(
        task="sync",
        metrics={name: value for name, (value, _) in numbers.items()},
        chance={name: chance for name, (_, chance) in numbers.items()},
        num_samples=len(measured.samples),
        notes=notes,
    )


class _Measurement:
    """One set, and how its samples are scored."""

    def __init__(
        self, method: Sync, frozen: FrozenEncoders[Any], shards: ShardSet, options: EvalOptions
    ) -> None:
        self.method, self.device, self.shards, self.options = method, frozen.device, shards, options
        where = str(shards.location)
        config = method.config
        config.check(shards.spec, where=where)
        check_sound_rate(method, shards)
        self.table: SampleTable = read_sample_table(shards)
        self.places = ShiftedPlaces(view=config.view)
        split = options.split
        if split is None and TEST_SPLIT in self.table.splits:
            split = TEST_SPLIT
        chosen = filter_samples(
            shards, select_samples(self.table, split, where=where), options.where
        )
        found = samples_with_room(
            config.view,
            self.table,
            chosen,
            sample_rate_hz=method.clip.sound_rate_hz,
            min_starts=self.places.min_starts,
            where=where,
        )
        self.samples = found.samples
        self.notes = [] if found.left_out is None else [found.left_out]

    def numbers(self) -> tuple[dict[str, tuple[float, float]], tuple[str, ...]]:
        """All numbers with their chance, and what a reader should know."""
        num_clips = self.options.embed.num_windows
        partners = self._partners()
        view = self._view(self.places, num_clips=num_clips, partners=partners)
        log_odds = self._score(
            view, lambda logits, _: self.method.log_odds(logits), description="sync, random shifts"
        ).reshape(len(self.samples), num_clips, -1)
        in_sync, shifted = log_odds[..., 0], log_odds[..., 1]
        numbers = alignment_numbers(in_sync, shifted)
        if partners is None:
            self.notes.append("no control with unrelated sound: all samples are of one source")
        else:
            control = alignment_numbers(log_odds[..., 2], log_odds[..., 3])
            numbers |= {f"unrelated/{name}": control[name] for name in ("accuracy", "oracle")}
            numbers["unrelated/rejected"] = (float((log_odds[..., 2:] <= 0).mean()), 0.5)
        numbers |= self._offsets()
        numbers |= class_numbers(in_sync, shifted, [self.table.labels[i] for i in self.samples])
        view_config = self.method.config.view
        self.notes.append(
            f"{num_clips} clips of a sample, each in sync and shifted by "
            f"{view_config.min_shift_frames / view_config.fps:.2f} s or more"
        )
        return numbers, tuple(self.notes)

    def _offsets(self) -> dict[str, tuple[float, float]]:
        """Of the delay that is found on the grid."""
        config = self.method.config
        binary = config.objective == "binary"
        grid = self.options.config.sync.offsets if binary else config.offsets
        delays_s = grid.delays_s
        view = self._view(ScannedPlaces(view=config.view, grid=grid), num_clips=1, partners=None)

        def score(logits: Tensor, inputs: SyncInputs) -> Tensor:
            found = self.method.log_odds(logits) if binary else logits.argmax(dim=-1)
            return torch.stack([found.double(), inputs.valid.double()], dim=-1)

        scored = self._score(view, score, description="sync, offsets")
        found, valid = scored[..., 0], scored[..., 1] > 0
        short = int((~valid).any(axis=1).sum())
        if short:
            self.notes.append(
                f"{short} samples have no room for delays of {grid.max_s:g} s on both sides: "
                "theirs are fewer"
            )
        how = "the highest of" if binary else "named by the head, over"
        self.notes.append(
            f"offset: {how} {len(delays_s)} delays of up to {grid.max_s:g} s, a step is "
            f"{grid.step_s:g} s"
        )
        if binary:
            return scan_numbers(found, valid, delays_s)
        return delay_numbers(found, valid, delays_s)

    def _partners(self) -> dict[int, int] | None:
        """For each sample the next one of another source; None where there is no other."""
        sources = self.table.source_index
        partners: dict[int, int] = {}
        for position, sample in enumerate(self.samples):
            following = (*self.samples[position + 1 :], *self.samples[:position])
            other = next((s for s in following if sources[s] != sources[sample]), None)
            if other is None:
                return None
            partners[sample] = other
        return partners

    def _view(
        self,
        places: ShiftedPlaces | ScannedPlaces,
        *,
        num_clips: int,
        partners: dict[int, int] | None,
    ) -> SyncEvalView:
        return SyncEvalView(
            SyncReader(self.shards, self.table, self.method.config.view),
            places,
            seed=self.options.config.seed,
            num_clips=num_clips,
            pin_memory=self.device.type == "cuda",
            partners=partners,
        )

    def _score(
        self,
        view: SyncEvalView,
        score: Callable[[Tensor, SyncInputs], Tensor],
        *,
        description: str,
    ) -> np.ndarray:
        """Rows of all clips in order: `score` of logits (b, k, outputs), float64."""
        embed = self.options.embed
        items = list(sequential_batches(self.samples, max(1, embed.batch_size // view.num_clips)))
        rows: list[Tensor] = []

        def batches() -> Iterator[Any]:
            with BatchLoader(
                view,
                items,
                num_threads=embed.loader_threads,
                prefetch_batches=2,
                keys=self.table.keys,
            ) as loader:
                for loaded in loader:
                    yield loaded.batch
                    if self.device.type != "cuda":  # else copies to the device may still read it
                        loader.release(loaded)

        with torch.no_grad():
            for batch in embed.progress(batches(), total=len(items), description=description):
                inputs = self.method.prepare(batch, self.device)
                rows.append(score(self.method.window_logits(inputs), inputs).double().cpu())
        return np.asarray(torch.cat(rows).numpy())
