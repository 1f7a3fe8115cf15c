"""The format on disk: codecs, writer, sidecar, manifest, ranged reads, stock webdataset."""

import itertools
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import webdataset
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from avdata.atomic_writing import write_atomically
from avdata.errors import ShardSetError
from avdata.shards import codec
from avdata.shards.reader import ShardSet
from avdata.shards.sidecar import LogMelSums, read_sidecar, write_sidecar
from avdata.shards.tar_contents import read_contents
from avdata.shards.writer import ShardWriter

NAMES = st.text("abcXYZ019_-", min_size=1, max_size=30)
SAMPLES = st.dictionaries(
    NAMES,
    st.dictionaries(
        st.sampled_from(["a.x", "b.y", "c.json"]), st.binary(max_size=1200), min_size=1
    ),
    max_size=5,
)


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8))
def test_frames_round_trip(jpegs: list[bytes]) -> None:
    stream, index = codec.encode_frames(jpegs)
    offsets = codec.decode_array(index)
    assert offsets.dtype == np.uint32
    assert [stream[a:b] for a, b in itertools.pairwise(offsets)] == jpegs


@settings(deadline=None)
@given(hnp.arrays(np.int16, st.tuples(st.sampled_from([1, 2, 4]), st.integers(1, 900))), st.data())
def test_audio_round_trip_and_cut(samples: np.ndarray, data: st.DataObject) -> None:
    stored = codec.encode_audio(samples, 24000)
    start = data.draw(st.integers(0, samples.shape[1] - 1))
    stop = data.draw(st.integers(start, samples.shape[1]))
    whole, rate_hz = codec.decode_audio(stored)
    assert rate_hz == 24000
    np.testing.assert_array_equal(whole, samples)
    np.testing.assert_array_equal(
        codec.decode_audio(stored, start, stop)[0], samples[:, start:stop]
    )


@given(hnp.arrays(np.float16, hnp.array_shapes(min_dims=1, max_dims=3)))
def test_array_round_trip(array: np.ndarray) -> None:
    np.testing.assert_array_equal(codec.decode_array(codec.encode_array(array)), array)


@given(
    st.dictionaries(
        NAMES, st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    )
)
def test_meta_round_trip_and_order(meta: dict[str, object]) -> None:
    assert codec.decode_meta(codec.encode_meta(meta)) == meta
    backwards = dict(reversed(meta.items()))
    assert codec.encode_meta(backwards) == codec.encode_meta(meta)


def test_meta_that_is_no_object() -> None:
    with pytest.raises(ValueError, match="meta is a list, expected an object"):
        codec.decode_meta(b"[]")


@settings(deadline=None, max_examples=40)
@given(samples=SAMPLES)
def test_writer_says_where_the_bytes_are(
    samples: dict[str, dict[str, bytes]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("shard")
    digests = []
    for name in ("a.tar", "b.tar"):
        with ShardWriter(directory / name) as writer:
            promised = {key: writer.add(key, members) for key, members in samples.items()}
            digests.append(writer.commit())
    assert digests[0] == digests[1]
    data = (directory / "a.tar").read_bytes()
    contents = read_contents(directory / "a.tar")
    assert {sample.key: sample.members for sample in contents.samples} == promised
    assert contents.strays == contents.repeated == ()
    for key, members in samples.items():
        for suffix, value in members.items():
            where = promised[key][suffix]
            assert data[where.offset : where.offset + where.size] == value
    assert sorted(path.name for path in directory.iterdir()) == ["a.tar", "b.tar"]


def test_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def write_and_fail() -> None:
        with ShardWriter(tmp_path / "a.tar") as writer:
            writer.add("key", {"x": b"1"})
            assert len(list(tmp_path.iterdir())) == 1
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_and_fail()
    assert list(tmp_path.iterdir()) == []


def test_write_atomically_replaces(tmp_path: Path) -> None:
    for data in (b"old", b"new"):
        write_atomically(tmp_path / "file", data)
        assert (tmp_path / "file").read_bytes() == data
    assert len(list(tmp_path.iterdir())) == 1


def test_sidecar_round_trip(tiny_set: Path) -> None:
    report = read_sidecar(tiny_set, "shard-000000.tar")
    assert report is not None
    before = (tiny_set / "shard-000000.json").read_bytes()
    write_sidecar(tiny_set, report)
    assert (tiny_set / "shard-000000.json").read_bytes() == before
    assert read_sidecar(tiny_set, "shard-000009.tar") is None


@given(hnp.arrays(np.float16, (2, 6, 3), elements=st.floats(-20, 20, width=16)))
def test_log_mel_sums_add_up(logmel: np.ndarray) -> None:
    parts = (LogMelSums.of(logmel[:, :2]) + LogMelSums.of(logmel[:, 2:])).statistics()
    columns = logmel.astype(np.float64).reshape(-1, 3)
    np.testing.assert_allclose(parts.mean, columns.mean(0), atol=1e-9)
    np.testing.assert_allclose(parts.std, columns.std(0), atol=1e-5)
    assert parts.num_columns == 12


def test_reader_gives_what_the_tar_holds(tiny_set: Path) -> None:
    shard_set = ShardSet(tiny_set)
    assert shard_set.keys == ["clip_0", "clip_1", "clip_2"]
    for i, key in enumerate(shard_set.keys):
        with tarfile.open(tiny_set / shard_set.manifest["shard"][i].as_py()) as tar:
            file = tar.extractfile(f"{key}.frames.mjpg")
            assert file is not None
            stream = file.read()
        jpegs = shard_set.read_jpegs(i)
        assert b"".join(jpegs) == stream
        assert shard_set.read_jpegs(i, 1, 2) == jpegs[1:2]
        assert len(jpegs) == 2 + i
        assert codec.decode_frame(jpegs[0]).shape == (16, 32, 3)
        whole = shard_set.read_audio(i)
        np.testing.assert_array_equal(shard_set.read_audio(i, 100, 200), whole[:, 100:200])
        assert shard_set.read_logmel(i).shape == (1, whole.shape[1] // 80 + 1, 16)
        assert shard_set.read_meta(i)["key"] == key


def test_reader_refuses(tiny_set: Path, tmp_path: Path, make_tiny_set: Callable[..., Path]) -> None:
    shard_set = ShardSet(tiny_set)
    with pytest.raises(IndexError, match=r"frames \[0, 9\) of sample clip_0, which has 2"):
        shard_set.read_jpegs(0, 0, 9)
    (tiny_set / "shard-000001.tar").unlink()
    with pytest.raises(ShardSetError, match="run `avdata verify"):
        shard_set.read_audio(2)
    with pytest.raises(ShardSetError, match="has no field 'logmel'"):
        ShardSet(make_tiny_set(tmp_path / "frames", ("frames",))).read_logmel(0)
    with pytest.raises(ShardSetError, match=r"has no dataset.json: give the folder"):
        ShardSet(tmp_path)


def test_stock_webdataset_reads_every_shard(tiny_set: Path) -> None:
    urls = sorted(str(path) for path in tiny_set.glob("shard-*.tar"))
    assert len(urls) == 3
    samples = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == ["clip_0", "clip_1", "clip_2"]
    shard_set = ShardSet(tiny_set)
    for i, sample in enumerate(samples):
        members = {name for name in sample if not name.startswith("__")}
        assert members == {"frames.mjpg", "frames.npy", "audio.flac", "logmel.npy", "meta.json"}
        for field, suffix in (("audio", "audio.flac"), ("meta", "meta.json")):
            assert sample[suffix] == shard_set.read_bytes(i, field)


def test_foreign_tar_is_listed(tmp_path: Path) -> None:
    with webdataset.TarWriter(str(tmp_path / "foreign.tar")) as tar:
        tar.write({"__key__": "dir/one", "jpg": b"1", "cls": b"22"})
    (sample,) = read_contents(tmp_path / "foreign.tar").samples
    assert sample.key == "dir/one"
    assert {suffix: where.size for suffix, where in sample.members.items()} == {"cls": 2, "jpg": 1}
