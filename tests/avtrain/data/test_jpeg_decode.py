"""Frames that stay encoded, and the choice of their decoder; with torchvision on the CPU."""

import logging
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
import torch

from avdata import ShardSet, ShardSetError
from avtrain.data.jpeg_decode import JpegFrames, mean_difference, measure_rates
from avtrain.data.samples import read_sample_table
from avtrain.data.shard_mix import open_shard_mix
from avtrain.data.stream import StreamItem
from avtrain.data.views.frame_form import measured_form
from avtrain.data.views.pair import PairTrainView
from avtrain.data.views.pair_config import AudioViewConfig, VideoViewConfig
from avtrain.data.views.pair_reader import PairReader
from avtrain.errors import DataError

CPU = torch.device("cpu")


def test_encoded_frames_become_the_pictures_that_the_cpu_decodes(
    make_shard_set: Callable[..., Path],
) -> None:
    """Of two sizes: the smaller ones with zeros beside them."""
    narrow = make_shard_set(num_clips=2, num_splits=0)
    wide = make_shard_set(num_clips=2, width_px=120, num_splits=0, build_hash="wide")
    store = open_shard_mix([narrow, wide], ())
    reader = PairReader(
        store,
        read_sample_table(store),
        video=VideoViewConfig(clip_frames=3, crop_on="device"),
        audio=AudioViewConfig(),
    )
    encoded = reader.allocate(3, pin_memory=False, form="jpegs")
    decoded = reader.allocate(3, pin_memory=False, form="whole")
    for slot, sample in enumerate([0, 2, 1]):
        sizes = [
            reader.read_frames(batch, slot, sample, first_frame=7) for batch in (encoded, decoded)
        ]
        assert (sizes[0].height, sizes[0].width) == (sizes[1].height, sizes[1].width)
    assert isinstance(encoded.frames, JpegFrames)
    assert repr(encoded.frames) == "JpegFrames(3 clips, 64x120)"
    pictures = encoded.frames.to(CPU)
    assert pictures.shape == (3, 3, 64, 120, 3)
    assert isinstance(decoded.frames, torch.Tensor)
    assert (pictures.int() - decoded.frames.int()).abs().max() <= 2
    assert torch.equal(encoded.frames.select([2, 0]).to(CPU), pictures[[2, 0]])
    wide_alone = encoded.frames.select([1])
    assert torch.equal(wide_alone.to(CPU)[0], pictures[1])


def test_a_whole_view_of_encoded_frames_draws_the_same(shard_set: Path) -> None:
    store = ShardSet(shard_set)
    reader = PairReader(
        store,
        read_sample_table(store),
        video=VideoViewConfig(crop_px=32, crop_on="device"),
        audio=AudioViewConfig(),
    )
    view = PairTrainView(reader, seed=0, pin_memory=False)
    one, other = view.allocate(2), reader.allocate(2, pin_memory=False, form="jpegs")
    for batch in (one, other):
        for slot in range(2):
            view.fill(batch, slot, StreamItem(sample=slot, epoch=0, occurrence=0))
    for a, b in zip(one.to(CPU).tensors(), other.to(CPU).tensors(), strict=True):
        torch.testing.assert_close(a, b, atol=2, rtol=0)
    assert other.select([1]).to(CPU).frames.shape == (1, 8, 64, 88, 3)


def test_bytes_that_are_no_jpeg_are_an_error_with_a_way_out() -> None:
    frames = JpegFrames(jpegs=[[]], height=8, width=8)
    frames.put(0, [b"\xff\xd8 not a picture at all"])
    with pytest.raises(DataError, match=r"does not decode on cpu .*set video.jpeg_decoder=cpu"):
        frames.to(CPU)


def test_a_stored_frame_that_is_no_jpeg_is_named(make_shard_set: Callable[..., Path]) -> None:
    path = make_shard_set(num_clips=3, build_hash="no jpegs")
    store = ShardSet(path)
    with (path / store.shards[0]).open("r+b") as file:
        file.seek(store.manifest["frames_offset_bytes"][1].as_py())
        file.write(b"\x89PNG\r\n")
    reader = PairReader(
        store, read_sample_table(store), video=VideoViewConfig(), audio=AudioViewConfig()
    )
    batch = reader.allocate(1, pin_memory=False, form="jpegs")
    with pytest.raises(ShardSetError, match=r"frame 0 of sample clip-001 is no JPEG .*=cpu where"):
        reader.read_frames(batch, 0, 1, first_frame=0)
    reader.read_frames(batch, 0, 1, first_frame=1)


def test_the_faster_decoder_is_taken_by_what_was_measured(
    shard_set: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        form = measured_form(ShardSet(shard_set), device=CPU, num_threads=1)
    found = re.fullmatch(
        r"JPEGs are decoded on (.*): cpu decodes (\d+) frames/s, 1 threads (\d+)",
        caplog.messages[-1],
    )
    assert found is not None
    by_torchvision, by_threads = float(found[2]), float(found[3])
    assert min(by_torchvision, by_threads) > 0
    if by_torchvision != by_threads:  # as rounded
        assert form == ("jpegs" if by_torchvision > by_threads else "whole")
    assert found[1] == ("cpu" if form == "jpegs" else "the CPU")


def test_a_set_that_cannot_be_read_is_left_to_the_loader(
    make_shard_set: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    path = make_shard_set(num_clips=3, build_hash="damaged")
    (path / "shard-000000.tar").write_bytes(b"")
    with caplog.at_level(logging.INFO):
        assert measured_form(ShardSet(path), device=CPU, num_threads=1) == "whole"
    assert "the first frames cannot be read" in caplog.text


def test_rates_are_medians_of_turns_without_the_first() -> None:
    clock = iter(np.cumsum([0, 9, 0, 9, 0, 1, 0, 2, 0, 2, 0, 2, 0, 4, 0, 2]).tolist())
    rates = measure_rates(
        {"one": lambda: 8, "other": lambda: 6}, rounds=3, clock=lambda: next(clock)
    )
    assert rates == {"one": 4.0, "other": 3.0}


def test_pictures_are_compared_in_levels() -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 200, (16, 24, 3), np.uint8)
    jpeg = simplejpeg.encode_jpeg(picture, quality=100)
    one = torch.from_numpy(simplejpeg.decode_jpeg(jpeg)).permute(2, 0, 1)
    assert mean_difference([one, one], [one, one]) == 0
    assert mean_difference([one, one], [one, one + 6]) == 3
    assert mean_difference([one], [one[:, :-1]]) == float("inf")
