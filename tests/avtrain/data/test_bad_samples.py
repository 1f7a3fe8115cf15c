"""Damage in a stored set: its samples are left out of batches, the others are as they were."""

import itertools
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from avdata import ShardSet
from avtrain.data.bad_samples import BadSampleLimit
from avtrain.data.loader import BatchLoader, LoadedBatch
from avtrain.data.samples import read_sample_table
from avtrain.data.stream import StreamPlan, batches
from avtrain.data.views.pair import PairTrainView
from avtrain.data.views.pair_batch import PairBatch
from avtrain.data.views.pair_config import AudioViewConfig, VideoViewConfig
from avtrain.data.views.pair_reader import PairReader
from avtrain.errors import DataError

DAMAGED = {3, 16, 17, 18, 19, 20, 21, 22, 23}
"""Sample 3 has damaged pictures; the last shard is cut off at its start."""


@pytest.fixture
def damaged(shard_set: Path, tmp_path: Path) -> Path:
    out = tmp_path / "damaged"
    shutil.copytree(shard_set, out)
    rows = pq.read_table(out / "manifest.parquet").to_pylist()
    with (out / rows[3]["shard"]).open("r+b") as shard:
        shard.seek(rows[3]["frames_offset_bytes"])
        shard.write(b"\0" * rows[3]["frames_bytes"])
    (out / rows[16]["shard"]).write_bytes(b"")
    return out


def load(
    folder: Path, bad: BadSampleLimit | None, num_batches: int
) -> list[LoadedBatch[PairBatch]]:
    shards = ShardSet(folder)
    reader = PairReader(
        shards,
        read_sample_table(shards),
        video=VideoViewConfig(crop_px=32),
        audio=AudioViewConfig(window_s=1.0),
    )
    view = PairTrainView(reader, seed=0, pin_memory=False)
    plan = StreamPlan(samples=tuple(range(24)), seed=0, batch_size=8)
    with BatchLoader(
        view,
        batches(plan),
        num_threads=2,
        prefetch_batches=2,
        keys=shards.keys,
        bad_samples=bad,
    ) as loader:
        return list(itertools.islice(loader, num_batches))


def test_the_others_are_as_they_were(damaged: Path, shard_set: Path) -> None:
    bad = BadSampleLimit(1.0, keys=ShardSet(damaged).keys, where="damaged")
    whole, rest = load(shard_set, None, 6), load(damaged, bad, 6)
    skipped = 0
    for one, other in zip(whole, rest, strict=True):
        kept = [slot for slot, item in enumerate(one.items) if item.sample not in DAMAGED]
        assert other.items == [one.items[slot] for slot in kept]
        assert other.skipped == [item for item in one.items if item.sample in DAMAGED]
        for name in ("frames", "sound", "color_factors", "gain", "source"):
            left, right = getattr(one.batch, name), getattr(other.batch, name)
            assert isinstance(right, torch.Tensor)
            assert np.array_equal(left.numpy()[kept], right.numpy()), name
        skipped += len(other.skipped)
    assert skipped == bad.num_bad == 2 * len(DAMAGED)
    assert bad.num_items == 48


def test_too_much_damage_ends_with_keys_and_reasons(damaged: Path) -> None:
    bad = BadSampleLimit(0.005, keys=ShardSet(damaged).keys, where="damaged")
    with pytest.raises(DataError) as caught:
        load(damaged, bad, 6)
    text = str(caught.value)
    assert text.startswith("6 of the first ")
    assert "items of damaged cannot be read, data.max_bad_share=0.005 allows 5: clip-0" in text
    assert text.count("avdata verify") == 1
