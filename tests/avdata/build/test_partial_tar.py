"""A tar that another process left unfinished: gone on with, to the same bytes."""

import hashlib
import io
from pathlib import Path

import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st

from avdata.shards.writer import PartialTar, ShardWriter

SAMPLES = [
    (f"key_{i}", {"audio.flac": bytes([i]) * (i * 700), "meta.json": b"{}" * i, "x": b""})
    for i in range(5)
]


def by_webdataset(samples: list[tuple[str, dict[str, bytes]]]) -> bytes:
    stream = io.BytesIO()
    settings = {"user": "", "group": "", "mtime": 0, "encoder": False, "compress": False}
    with webdataset.TarWriter(stream, **settings) as tar:
        for key, members in samples:
            tar.write({"__key__": key, **members})
    return stream.getvalue()


@given(
    st.lists(
        st.dictionaries(
            st.from_regex(r"[a-z]{1,8}(\.[a-z]{1,5})?", fullmatch=True),
            st.binary(max_size=2000),
            min_size=1,
            max_size=4,
        ),
        max_size=4,
    )
)
def test_bytes_are_those_of_webdataset(
    tmp_path_factory: pytest.TempPathFactory, members: list[dict[str, bytes]]
) -> None:
    samples = [(f"key_{i}", of_sample) for i, of_sample in enumerate(members)]
    path = tmp_path_factory.mktemp("tar") / "shard.tar"
    with ShardWriter(path) as writer:
        ranges = [writer.add(key, of_sample) for key, of_sample in samples]
        sha256, num_bytes = writer.commit()
    data = path.read_bytes()
    assert data == by_webdataset(samples)
    assert (hashlib.sha256(data).hexdigest(), len(data)) == (sha256, num_bytes)
    for (_, of_sample), of_ranges in zip(samples, ranges, strict=True):
        for suffix, at in of_ranges.items():
            assert data[at.offset : at.offset + at.size] == of_sample[suffix]


def unfinished(path: Path, *, num_samples: int, tail: bytes) -> PartialTar:
    """As a killed process leaves it: open no more, and still there."""
    writer = ShardWriter(path)
    for key, members in SAMPLES[:num_samples]:
        writer.add(key, members)
    left = PartialTar(path=writer.partial, num_bytes=writer.num_bytes)
    data = writer.partial.read_bytes()
    assert len(data) == left.num_bytes  # nothing is kept back
    writer.__exit__(None, None, None)
    left.path.write_bytes(data + tail)
    return left


@pytest.mark.parametrize("num_samples", range(6))
def test_going_on_gives_the_same_bytes(num_samples: int, tmp_path: Path) -> None:
    left = unfinished(tmp_path / "shard.tar", num_samples=num_samples, tail=b"half a sample")
    with ShardWriter(tmp_path / "shard.tar", left) as writer:
        for key, members in SAMPLES[num_samples:]:
            writer.add(key, members)
        sha256, _ = writer.commit()
    data = (tmp_path / "shard.tar").read_bytes()
    assert data == by_webdataset(SAMPLES)
    assert hashlib.sha256(data).hexdigest() == sha256
    assert [path.name for path in tmp_path.iterdir()] == ["shard.tar"]


def test_a_tar_that_is_too_short_or_in_use_is_not_gone_on_with(tmp_path: Path) -> None:
    left = unfinished(tmp_path / "shard.tar", num_samples=2, tail=b"")
    with (
        ShardWriter(tmp_path / "shard.tar", left),
        pytest.raises(BlockingIOError, match="in use by another process"),
    ):
        ShardWriter(tmp_path / "shard.tar", left)
    left = unfinished(tmp_path / "shard.tar", num_samples=2, tail=b"")
    left.path.write_bytes(b"short")
    with pytest.raises(OSError, match=f"bytes shorter than {left.num_bytes}"):
        ShardWriter(tmp_path / "shard.tar", left)
