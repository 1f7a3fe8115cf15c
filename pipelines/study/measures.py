"""A trained run of the study -> its numbers, on clips that were not trained on."""

from pathlib import Path

import pyarrow.parquet as pq
import torch

from avdata import ShardSet
from avtrain.engine.device import DeviceName, choose_device
from avtrain.engine.load import load_method
from avtrain.evaluate import (
    LabelledFeatures,
    cross_modal_retrieval,
    knn_accuracy,
    linear_probe_accuracy,
)
from avtrain.evaluate.embed import EmbedOptions, sample_vectors
from avtrain.evaluate.folds import SplitChoice, read_folds
from avtrain.evaluate.frozen import FrozenEncoders
from avtrain.evaluate.label_retrieval import label_retrieval
from avtrain.evaluate.noise_detection import NO_TWIN, swapped_report, twin_target_mass
from avtrain.methods.robust_xid import RobustXID

NUM_WINDOWS = 3


def measure_run(
    run: Path, clean: Path, trained_on: Path, *, device: DeviceName
) -> dict[str, float]:
    """All numbers of a run, by name.

    `probe`, `knn`, `within` and `within-embedding` go by the class of the object, `retrieval` by
    the clip; classifiers are fitted on the training clips of `clean` and tested on its test clips.
    """
    loaded = load_method(run, choose_device(device))
    shards = ShardSet(clean)
    frozen = FrozenEncoders(
        method=loaded.method, device=choose_device(device), trained=loaded.record.spec
    )
    [fold] = read_folds(shards, SplitChoice())
    options = EmbedOptions(num_windows=NUM_WINDOWS, batch_size=32, loader_threads=1)
    numbers: dict[str, float] = {}
    test_embeddings = {}
    num_train = len(fold.train)
    for modality in ("video", "audio"):
        vectors = sample_vectors(
            frozen, shards, (*fold.train, *fold.test), modality=modality, options=options
        )
        test_embeddings[modality] = vectors["embedding"][num_train:]
        by_space = {
            space: LabelledFeatures(
                train=vectors[space][:num_train],
                train_labels=fold.train_target,
                test=vectors[space][num_train:],
                test_labels=fold.test_target,
            )
            for space in ("pool", "embedding")
        }
        pool = by_space["pool"]
        numbers[f"probe/{modality}"] = linear_probe_accuracy(pool, inverse_penalty=0.1).top1
        numbers[f"knn/{modality}"] = knn_accuracy(pool).top1
        numbers[f"within/{modality}"] = label_retrieval(pool).recall_at[1]
        embedding = by_space["embedding"]
        numbers[f"within-embedding/{modality}"] = label_retrieval(embedding).recall_at[1]
    both = cross_modal_retrieval(test_embeddings["video"], test_embeddings["audio"])
    numbers["retrieval/video_to_audio"] = both.video_to_audio.recall_at_10
    numbers["retrieval/audio_to_video"] = both.audio_to_video.recall_at_10
    numbers["chance/class"] = linear_probe_chance(pool)
    numbers["chance/retrieval"] = both.video_to_audio.chance_recall_at_10
    if isinstance(loaded.method, RobustXID) and (trained_on / "noise.parquet").exists():
        numbers |= _noise_numbers(loaded.method, trained_on)
    return numbers


def linear_probe_chance(data: LabelledFeatures) -> float:
    """Accuracy of always naming the commonest class."""
    counts = torch.bincount(data.test_labels)
    return float(counts.max() / counts.sum())


def _noise_numbers(method: RobustXID, noisy: Path) -> dict[str, float]:
    """How well the banks of a run know the noise that it was trained with."""
    shards = ShardSet(noisy)
    truth = pq.read_table(noisy / "noise.parquet").to_pylist()
    source = dict(zip(shards.keys, shards.manifest["source_index"].to_pylist(), strict=True))
    swapped = torch.zeros(shards.spec.num_sources, dtype=torch.bool)
    twin = torch.full((shards.spec.num_sources,), NO_TWIN)
    for row in truth:
        swapped[source[row["key"]]] = row["swapped"]
        if row["twin"] is not None:
            twin[source[row["key"]]] = source[row["twin"]]
    numbers = {}
    criterion = method.criterion
    if swapped.any():
        found = swapped_report(criterion, swapped)
        numbers["detection/similarity_auc"] = found.similarity_auc
        numbers["detection/weight_auc"] = found.weight_auc
        numbers["detection/weight_swapped"] = found.mean_weight_swapped
        numbers["detection/weight_intact"] = found.mean_weight_intact
    if (twin != NO_TWIN).any() and criterion.config.targets != "none":
        mass = twin_target_mass(criterion, twin)
        numbers["twins/share"] = mass.twin_share
        numbers["twins/own_share"] = mass.own_share
        numbers["twins/chance_share"] = mass.chance_share
    return numbers
