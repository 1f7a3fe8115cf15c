"""Several shard sets as one: each sample is that of its set, under a name of its own."""

import itertools
import json
import shutil
from collections import Counter
from pathlib import Path

import fsspec
import numpy as np
import pytest

from avdata import ShardSet, ShardSetError
from avtrain.data.loader import BatchLoader
from avtrain.data.samples import (
    check_shard_files,
    dataset_fingerprint,
    filter_samples,
    read_sample_table,
    sample_groups,
    select_samples,
)
from avtrain.data.shard_mix import ShardMix, mix_weights, open_shard_mix, parse_weights
from avtrain.data.stream import StreamPlan, batches, sequential_batches
from avtrain.data.views.pair import PairEvalView
from avtrain.data.views.pair_config import AudioViewConfig, VideoViewConfig
from avtrain.data.views.pair_reader import PairReader
from avtrain.errors import DataError


@pytest.fixture
def pair(shard_set: Path, make_shard_set) -> tuple[Path, Path]:  # type: ignore[no-untyped-def]
    """24 and 9 clips; those of the second have the keys of the first ones, and other content."""
    return shard_set, make_shard_set(num_clips=9, build_hash="second", num_labels=5)


@pytest.fixture
def mix(pair: tuple[Path, Path]) -> ShardMix:
    opened = open_shard_mix(pair, (2, 1))
    assert isinstance(opened, ShardMix)
    return opened


def test_one_set_is_that_set(shard_set: Path) -> None:
    opened = open_shard_mix([shard_set], [])
    assert isinstance(opened, ShardSet)
    assert mix_weights(opened) == (1.0,)
    assert set(read_sample_table(opened).shard_set_index.tolist()) == {0}
    alone = read_sample_table(opened)
    assert alone.shard_index.tolist() == [i // 8 for i in range(24)]


def test_samples_are_those_of_their_sets(mix: ShardMix, pair: tuple[Path, Path]) -> None:
    at = 0
    for folder in pair:
        own = ShardSet(folder)
        for row in range(len(own)):
            assert np.array_equal(mix.read_frames(at, [0, 5]), own.read_frames(row, [0, 5]))
            assert mix.read_jpegs(at, 2, 4) == own.read_jpegs(row, 2, 4)
            assert np.array_equal(mix.read_audio(at, 100, 300), own.read_audio(row, 100, 300))
            assert np.array_equal(mix.read_logmel(at, 3, 9), own.read_logmel(row, 3, 9))
            at += 1
    assert at == len(mix) == mix.spec.num_clips == 33


def test_frames_are_read_into_place(mix: ShardMix, pair: tuple[Path, Path]) -> None:
    out = np.empty((2, 64, 88, 3), np.uint8)
    assert mix.read_frames_into(out, 26, [1, 4]) == (64, 88)
    assert np.array_equal(out, ShardSet(pair[1]).read_frames(2, [1, 4]))


def test_keys_sources_and_shards_are_unique(mix: ShardMix) -> None:
    table = read_sample_table(mix)
    assert table.keys == mix.keys
    assert len(set(table.keys)) == 33
    assert table.keys[0] == "1-clip-000"
    assert table.keys[9] == "clip-009"  # only where they collide
    assert table.keys[24] == "2-clip-000"
    assert table.source_index.tolist() == list(range(33))
    assert mix.spec.num_sources == 33
    assert table.shard_index.tolist() == [i // 8 for i in range(24)] + [3] * 8 + [4]
    assert table.shard_set_index.tolist() == [0] * 24 + [1] * 9


def test_marks_of_keys_do_not_make_new_collisions(pair: tuple[Path, Path], tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    other = tmp_path / "other"
    shutil.copytree(pair[1], other)
    table = pq.read_table(other / "manifest.parquet")
    keys = ["1-clip-000", *table["key"].to_pylist()[1:]]
    table = table.set_column(0, table.schema.field("key"), pa.array(keys))
    pq.write_table(table, other / "manifest.parquet")
    keys = open_shard_mix([pair[0], other], ()).keys
    assert len(set(keys)) == 33
    assert keys[24] == "1-clip-000"
    assert keys[1] == "1--clip-001"


def test_the_spec_is_that_of_both(mix: ShardMix, pair: tuple[Path, Path]) -> None:
    one, two = (ShardSet(folder).spec for folder in pair)
    assert mix.spec.num_shards == one.num_shards + two.num_shards
    assert mix.spec.labels == tuple(sorted({*one.labels, *two.labels}))
    assert mix.spec.logmel == one.logmel
    assert mix.spec.build_hash not in (one.build_hash, two.build_hash)
    # naive: the moments of a sound drawn from set one two times out of three
    statistics = mix.spec.logmel_statistics
    assert statistics is not None and one.logmel_statistics and two.logmel_statistics
    for mel in (0, 50, 127):
        parts = [(2 / 3, one.logmel_statistics), (1 / 3, two.logmel_statistics)]
        mean = sum(share * part.mean[mel] for share, part in parts)
        variance = sum(
            share * (part.std[mel] ** 2 + (part.mean[mel] - mean) ** 2) for share, part in parts
        )
        assert statistics.mean[mel] == pytest.approx(mean)
        assert statistics.std[mel] == pytest.approx(variance**0.5)


def test_splits_and_conditions_choose_from_both(mix: ShardMix) -> None:
    table = read_sample_table(mix)
    train = select_samples(table, "train", where="mix")
    assert len(train) == 16 + 6
    assert filter_samples(mix, train, "shard_set == 1") == tuple(s for s in train if s >= 24)
    both = filter_samples(mix, train, "source_index in (0, 24) and key.startswith('2-')")
    assert both == (24,)


def test_sets_have_their_shares_of_a_stream(mix: ShardMix) -> None:
    table, samples = read_sample_table(mix), tuple(range(33))
    plan = StreamPlan(
        samples=samples,
        seed=0,
        batch_size=11,
        groups=sample_groups(table, samples),
        weights=mix_weights(mix),
    )
    items = [item.sample for part in itertools.islice(batches(plan), 9) for item in part]
    assert sum(sample < 24 for sample in items) == 66
    assert set(Counter(s for s in items if s < 24).values()) == {2, 3}
    assert set(Counter(s for s in items if s >= 24).values()) == {3, 4}


def eval_batches(shards: ShardMix | ShardSet, samples: tuple[int, ...]) -> list[np.ndarray]:
    reader = PairReader(
        shards,
        read_sample_table(shards),
        video=VideoViewConfig(crop_px=32),
        audio=AudioViewConfig(window_s=1.0),
    )
    view = PairEvalView(reader, num_windows=2, pin_memory=False)
    stream = sequential_batches(samples, 4)
    with BatchLoader(view, stream, num_threads=2, prefetch_batches=1) as loader:
        return [loaded.batch.frames.numpy().copy() for loaded in loader]  # type: ignore[union-attr]


def test_a_far_set_is_mixed_as_a_near_one(
    mix: ShardMix, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    url = f"memory://{tmp_path.name}"
    memory = fsspec.filesystem("memory")
    for path in pair[1].iterdir():
        memory.pipe_file(f"/{tmp_path.name}/{path.name}", path.read_bytes())
    far = open_shard_mix([pair[0], url], (2, 1))
    check_shard_files(far)
    assert str(far.location) == f"{pair[0]} + {url}"
    assert far.location.url == f"{pair[0]} + {url}"
    assert dataset_fingerprint(far) == dataset_fingerprint(mix)
    samples = (0, 3, 24, 32, 30)
    for one, other in zip(eval_batches(far, samples), eval_batches(mix, samples), strict=True):  # type: ignore[arg-type]
        assert np.array_equal(one, other)
    memory.rm(f"/{tmp_path.name}/shard-000001.tar")
    with pytest.raises(DataError, match=rf"shard {url}/shard-000001.tar is missing"):
        check_shard_files(far)
    with pytest.raises(ShardSetError, match=rf"{url}/shard-000001\.tar"):
        far.read_logmel(32)


def test_fingerprints_know_weights_and_sets(pair: tuple[Path, Path], mix: ShardMix) -> None:
    others = [open_shard_mix(pair, (1, 1)), open_shard_mix(pair[::-1], (2, 1)), ShardSet(pair[0])]
    assert len({dataset_fingerprint(shards) for shards in [mix, *others]}) == 4
    assert dataset_fingerprint(open_shard_mix(pair, ())) == dataset_fingerprint(others[0])


def rewritten(folder: Path, out: Path, **changes: object) -> Path:
    """A set whose spec says something else."""
    shutil.copytree(folder, out)
    spec = json.loads((out / "dataset.json").read_bytes())
    for name, value in changes.items():
        part, _, key = name.partition("__")
        if key:
            spec[part][key] = value
        else:
            spec[part] = value
    (out / "dataset.json").write_text(json.dumps(spec))
    return out


def test_only_common_fields_are_there(pair: tuple[Path, Path], tmp_path: Path) -> None:
    other = rewritten(
        pair[1], tmp_path / "other", fields=["logmel", "frames"], audio=None, video__fps="native"
    )
    spec = open_shard_mix([pair[0], other], ()).spec
    assert spec.fields == ("frames", "logmel")
    assert spec.audio is None
    assert spec.video is not None and spec.video.fps == "native"  # the rows have their own rates
    none = rewritten(pair[1], tmp_path / "none", fields=[])
    with pytest.raises(DataError, match=r"no field in common: .* has \{frames, audio, logmel\}; "):
        open_shard_mix([pair[0], none], ())
    bare = rewritten(pair[1], tmp_path / "bare", logmel_statistics=None)
    assert open_shard_mix([pair[0], bare], ()).spec.logmel_statistics is None


def test_sets_of_other_forms_are_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    other = rewritten(
        pair[1],
        tmp_path / "other",
        logmel__hop_samples=160,
        audio__sample_rate_hz=16000,
        video__codec="h264",
    )
    message = (
        r"these shard sets cannot be mixed: video.codec is jpeg in \S+ and h264 in \S+other; "
        r"audio.sample_rate_hz is 24000 in \S+ and 16000 in \S+; logmel.hop_samples is 240 in "
        r"\S+ and 160 in \S+other. Build one again with the other's settings"
    )
    with pytest.raises(DataError, match=message):
        open_shard_mix([pair[0], other], ())


def test_wrong_weights_and_places_are_refused(pair: tuple[Path, Path]) -> None:
    with pytest.raises(DataError, match="--mix has 3 weights for 2 shard sets; give one each"):
        open_shard_mix(pair, (1, 2, 3))
    with pytest.raises(DataError, match="--mix 1,-2 must be positive numbers"):
        open_shard_mix(pair, (1, -2))
    with pytest.raises(DataError, match=r"is given twice; give it once, with more weight"):
        open_shard_mix([pair[0], pair[0]], ())
    assert parse_weights("2,1.5") == (2.0, 1.5)
    assert parse_weights(None) == ()
    with pytest.raises(DataError, match=r"--mix '2;1' must be numbers with commas between"):
        parse_weights("2;1")
