"""Linear SVMs on the frozen maps of a network's stages: the ESC-50 and DCASE protocol.

Reference: Morgado, Vasconcelos, Misra 2021; the protocol of an earlier public version of its code:
augmented windows, adaptive average pool to a grid, one-vs-rest hinge loss, mean decision value.

Departures:
    - A map that is smaller than its grid keeps its size: small networks and short windows.
    - Windows are as long as those of the run (2 s as published). They are cut out of the whole
      sample, which is repeated behind its end, and not out of its first 4.9 s.
    - The change of speed resamples each window by itself, with 50 ms more on both sides.
    - Features are kept as float16.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import LinearSVC

from avdata import LOCK_NAME, ShardSet, folder_lock
from avtrain.data.samples import dataset_fingerprint
from avtrain.data.stream import StreamItem, sequential_batches
from avtrain.data.views.labelled_audio import AudioAugmentation
from avtrain.errors import RunError
from avtrain.evaluate.accuracy import ClassificationAccuracy, classification_accuracy
from avtrain.evaluate.clip_batches import ClipForm, ClipSource
from avtrain.evaluate.config import STAGES, SvmConfig
from avtrain.evaluate.embed import EmbedOptions
from avtrain.evaluate.feature_cache import Facts, facts_hash
from avtrain.evaluate.folds import LabelledFold
from avtrain.evaluate.frozen import FrozenEncoders, layer_maps
from avtrain.evaluate.map_grids import pool_to_grid
from avtrain.methods import Modality

logger = logging.getLogger(__name__)

_PARTIAL = "partial-"
_LARGEST_FLOAT16 = 65504.0


@dataclass(frozen=True, kw_only=True, slots=True)
class GridFeatures:
    """Flattened grids of all windows of some samples, in files: one a stage.

    `train-conv2x.npy` has `train_clips` neighboring rows a sample, `test-conv2x.npy` `test_clips`.
    """

    directory: Path
    samples: tuple[int, ...]
    train_clips: int
    test_clips: int

    def train_rows(self, stage: str, samples: tuple[int, ...]) -> np.ndarray:
        """float32 (samples * train_clips, d)."""
        return self._rows(f"train-{stage}", samples, self.train_clips)

    def test_rows(self, stage: str, samples: tuple[int, ...]) -> np.ndarray:
        """float32 (samples * test_clips, d)."""
        return self._rows(f"test-{stage}", samples, self.test_clips)

    def _rows(self, name: str, samples: tuple[int, ...], clips: int) -> np.ndarray:
        stored = np.load(self.directory / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        at = {sample: position for position, sample in enumerate(self.samples)}
        first = np.array([at[sample] for sample in samples]) * clips
        rows = (first[:, None] + np.arange(clips)).reshape(-1)
        return np.asarray(stored[rows], dtype=np.float32)


def svm_accuracy(
    features: GridFeatures, fold: LabelledFold, config: SvmConfig, *, seed: int
) -> dict[str, ClassificationAccuracy]:
    """Test accuracy by stage: mean decision value over the windows of a sample."""
    result: dict[str, ClassificationAccuracy] = {}
    for stage in STAGES:
        train = features.train_rows(stage, fold.train)
        test = features.test_rows(stage, fold.test)
        mean, std = train.mean(axis=0), train.std(axis=0) + config.std_floor
        target = np.repeat(fold.train_target.numpy(), features.train_clips)
        decisions = _decisions((train - mean) / std, target, (test - mean) / std, config, seed=seed)
        scores = decisions.reshape(len(fold.test), features.test_clips, -1).mean(axis=1)
        result[stage] = classification_accuracy(
            torch.from_numpy(scores), fold.test_target, train_target=fold.train_target
        )
    return result


@contextmanager
def grid_features(
    frozen: FrozenEncoders[Any],
    shards: ShardSet,
    samples: tuple[int, ...],
    config: SvmConfig,
    *,
    modality: Modality,
    seed: int,
    options: EmbedOptions,
) -> Iterator[GridFeatures]:
    """Features of samples, from the cache where they are in it; without one, files for this block.

    They are written as they come, so that memory does not grow with the set.
    """
    form = svm_clip_form(frozen, shards, config, modality=modality)
    facts: Facts = {
        "weights": frozen.weights_hash,
        "shards": dataset_fingerprint(shards),
        "samples": list(samples),
        "modality": modality,
        "seed": seed,
        "video": frozen.view.video.model_dump(mode="json"),
        "audio": frozen.view.audio.model_dump(mode="json"),
        "sound": form.sound_form,
        "speed": form.augmentation.speed,
        "volume": config.volume,
        "clips": [config.clips_per_sample, config.test_clips],
        "grids": config.grids.model_dump(mode="json"),
    }
    source = ClipSource(frozen, shards, form)
    wanted = GridFeatures(
        directory=Path(),
        samples=samples,
        train_clips=config.clips_per_sample,
        test_clips=config.test_clips,
    )
    parent = options.cache.directory if options.cache is not None else None
    if parent is None or not _can_write(parent):
        with tempfile.TemporaryDirectory(prefix="avtrain-svm-") as name:
            made = replace(wanted, directory=Path(name))
            _write(frozen, source, config, made, seed=seed, options=options)
            yield made
        return
    final = parent / f"grids-{facts_hash(facts)[:16]}"
    if not final.is_dir():
        _remove_abandoned(parent)
        partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=parent))
        try:
            with folder_lock(partial, busy=RunError(f"{partial} is in use; run this again")):
                made = replace(wanted, directory=partial)
                _write(frozen, source, config, made, seed=seed, options=options)
                if not final.is_dir():  # another process may have made the same meanwhile
                    (partial / LOCK_NAME).unlink(missing_ok=True)
                    partial.rename(final)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    yield replace(wanted, directory=final)


def svm_clip_form(
    frozen: FrozenEncoders[Any], shards: ShardSet, config: SvmConfig, *, modality: Modality
) -> ClipForm:
    """How windows are read: of the stored sound, as far as it is there, for the change of speed."""
    if modality == "video":
        return ClipForm(modality=modality)
    where = str(shards.location)
    sound_form = frozen.sound_form(shards.spec, where=where, prefer_sound=config.speed is not None)
    speed = config.speed
    if speed is not None and sound_form == "logmel":
        logger.warning(
            "%s stores log-mel and not the sound it needs: windows keep their speed; build the set "
            "with --set 'fields=[..., \"audio\"]' for the published augmentation",
            where,
        )
        speed = None
    return ClipForm(
        modality=modality,
        augmentation=AudioAugmentation(volume=config.volume, speed=speed),
        beyond="repeat",
        sound_form=sound_form,
    )


def _write(
    frozen: FrozenEncoders[Any],
    source: ClipSource,
    config: SvmConfig,
    made: GridFeatures,
    *,
    seed: int,
    options: EmbedOptions,
) -> None:
    """All files of `made`, row by row."""
    samples, clips = made.samples, made.train_clips
    items = [
        StreamItem(sample=sample, epoch=0, occurrence=i) for sample in samples for i in range(clips)
    ]
    size = options.batch_size * options.num_windows
    lists = [items[start : start + size] for start in range(0, len(items), size)]
    passes = (
        ("train", source.random_view(seed=seed, augment=True), lists, 1),
        (
            "test",
            source.even_view(made.test_clips),
            list(sequential_batches(samples, max(1, size // made.test_clips))),
            made.test_clips,
        ),
    )
    network = frozen.network(source.form.modality)
    for name, view, item_lists, rows_per_item in passes:
        num_rows = sum(map(len, item_lists)) * rows_per_item
        files: dict[str, np.memmap[Any, Any]] = {}
        at = 0
        loaded_batches = source.load(view, item_lists, num_threads=options.loader_threads)
        for loaded in options.progress(
            loaded_batches, total=len(item_lists), description=f"svm features, {name}"
        ):
            with torch.no_grad():
                maps = layer_maps(network, frozen.inputs(loaded.batch))
                grids = {
                    stage: pool_to_grid(
                        maps[stage].float(), side=getattr(config.grids, stage), pooling="average"
                    ).clamp(-_LARGEST_FLOAT16, _LARGEST_FLOAT16)
                    for stage in STAGES
                }
            stop = at + len(grids[STAGES[0]])
            for stage, grid in grids.items():
                if stage not in files:
                    path = made.directory / f"{name}-{stage}.npy"
                    files[stage] = np.lib.format.open_memmap(
                        path, "w+", np.float16, (num_rows, grid.shape[1])
                    )
                files[stage][at:stop] = grid.half().cpu().numpy()
            at = stop
        for file in files.values():
            file.flush()


def _decisions(
    train: np.ndarray, target: np.ndarray, test: np.ndarray, config: SvmConfig, *, seed: int
) -> np.ndarray:
    """Decision value of each class for each test row."""
    model = LinearSVC(
        loss="hinge",
        C=config.inverse_penalty,
        tol=config.tolerance,
        max_iter=config.max_iterations,
        random_state=seed,
        dual=True,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(train, target)
    if any(issubclass(warning.category, ConvergenceWarning) for warning in caught):
        logger.debug("an SVM stopped after svm.max_iterations=%d", config.max_iterations)
    values = model.decision_function(test)
    return np.stack([-values, values], axis=1) if values.ndim == 1 else np.asarray(values)


def _can_write(folder: Path) -> bool:
    """Whether files can be kept in a folder, which is made if need be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError as error:
        logger.warning(
            "features cannot be kept in %s (%s): the next evaluation computes them again",
            folder,
            error.strerror,
        )
        return False


def _remove_abandoned(parent: Path) -> None:
    """Delete what killed writers left behind; folders that a living one writes stay."""
    for folder in parent.glob(f"{_PARTIAL}*"):
        if (folder / LOCK_NAME).exists():
            try:
                with folder_lock(folder, busy=RunError("in use")):
                    shutil.rmtree(folder, ignore_errors=True)
            except RunError:
                continue
