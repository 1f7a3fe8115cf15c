"""Columns of a stored log-mel are those of the whole; what is damaged is never guessed at."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from avdata import ShardSet, ShardSetError
from avdata.cli import main
from avdata.shards.codec import decode_array_head, encode_array


@pytest.mark.parametrize("layout", ["mono", "stereo"])
def test_windows_are_parts_of_the_whole(listing: Path, tmp_path: Path, layout: str) -> None:
    settings = ("fields=['audio', 'logmel']", f"audio.layout={layout}")
    sets = [part for text in settings for part in ("--set", text)]
    out = ("--out", str(tmp_path / "set"), "--workers", "0", "--limit", "3")
    result = CliRunner().invoke(main, ["build", "--source", str(listing), *out, *sets])
    assert result.exit_code == 0, result.output
    shards = ShardSet(tmp_path / "set")
    for sample in range(3):
        whole = shards.read_logmel(sample)
        assert whole.dtype == np.float16
        assert whole.shape[0] == {"mono": 1, "stereo": 2}[layout]
        length = whole.shape[1]
        assert length == shards.manifest["num_logmel_columns"][sample].as_py()
        for start, stop in ((0, 1), (7, 50), (length - 3, length + 9), (0, None), (length, None)):
            np.testing.assert_array_equal(
                shards.read_logmel(sample, start, stop), whole[:, start:stop]
            )


def test_a_head_that_does_not_fit_its_member(
    make_tiny_set: Callable[..., Path], tmp_path: Path
) -> None:
    directory = make_tiny_set(tmp_path / "set")
    shards = ShardSet(directory)
    where = shards.manifest["logmel_offset_bytes"][0].as_py()
    tar = directory / shards.shards[0]
    data = bytearray(tar.read_bytes())
    head = data[where : where + 128]
    assert b"'shape': (1, " in head
    data[where : where + 128] = head.replace(b"'shape': (1, ", b"'shape': (2, ")
    tar.write_bytes(data)
    with pytest.raises(ValueError, match=r"npy of shape \(2, .*\), float16, in \d+ bytes"):
        shards.read_logmel(0, 0, 1)
    data[where : where + 6] = b"\0" * 6
    tar.write_bytes(data)
    with pytest.raises(ValueError, match="magic string"):
        ShardSet(directory).read_logmel(0, 0, 1)
    frames_only = ShardSet(make_tiny_set(tmp_path / "frames", ("frames",)))
    with pytest.raises(ShardSetError, match="has no field 'logmel'"):
        frames_only.read_logmel(0, 0, 1)


def test_heads_of_arrays() -> None:
    for array in (np.zeros((1, 5, 7), np.float16), np.zeros(3), np.zeros((2, 0), np.int8)):
        data = encode_array(array)
        head = decode_array_head(data)
        assert (head.shape, head.dtype) == (array.shape, array.dtype)
        assert len(data) - head.num_bytes == array.nbytes
    for damaged in (b"", b"\x93NUMPY", b"\x93NUMPY\x09\x00", encode_array(np.zeros(3))[:20]):
        with pytest.raises(ValueError, match=r"(?i)magic|npy|header"):
            decode_array_head(damaged)
    fortran = encode_array(np.zeros((2, 3))).replace(
        b"'fortran_order': False", b"'fortran_order': True "
    )
    with pytest.raises(ValueError, match="Fortran order, expected C order"):
        decode_array_head(fortran)
