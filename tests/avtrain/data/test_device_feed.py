"""Batches on the device: order, errors, memory given back."""

import threading
import time
from pathlib import Path

import pytest
import torch
from pretend_cuda import CUDA, pretend_cuda

from avdata import ShardSet
from avtrain.data.device_feed import DeviceFeed, Handover
from avtrain.data.loader import BatchLoader
from avtrain.data.samples import read_sample_table
from avtrain.data.stream import sequential_batches
from avtrain.data.views.pair import PairTrainView
from avtrain.data.views.pair_batch import PairBatch
from avtrain.data.views.pair_config import AudioViewConfig, VideoViewConfig
from avtrain.data.views.pair_reader import PairReader


def loader_of(
    path: Path, *, pin_memory: bool = False, passes: int = 1, **video: object
) -> BatchLoader[PairBatch]:
    shards = ShardSet(path)
    reader = PairReader(
        shards,
        read_sample_table(shards),
        video=VideoViewConfig(crop_px=32, **video),  # type: ignore[arg-type]
        audio=AudioViewConfig(),
    )
    view = PairTrainView(reader, seed=1, pin_memory=pin_memory)
    items = sequential_batches(tuple(range(24)) * passes, 5)
    return BatchLoader(view, items, num_threads=2, prefetch_batches=2)


def test_a_cpu_gets_the_loaders_own_batches_and_gives_them_back(shard_set: Path) -> None:
    with (
        loader_of(shard_set) as plain,
        loader_of(shard_set) as loader,
        DeviceFeed(loader, torch.device("cpu")) as feed,
    ):
        memory = set()
        for expected in plain:
            loaded = next(feed)
            assert loaded.items == expected.items
            for one, other in zip(loaded.batch.tensors(), expected.batch.tensors(), strict=True):
                assert torch.equal(one, other)
            memory.add(loaded.batch.frames.data_ptr())
            feed.release(loaded)
        with pytest.raises(StopIteration):
            next(feed)
        assert feed.wait_s > 0
        assert (feed.num_threads, feed.clock) == (2, loader.clock)
    assert len(memory) <= 4  # of five batches: the first one's memory was used again


def test_values_are_handed_over_in_order_one_ahead_and_then_the_error() -> None:
    made: list[int] = []
    enough = threading.Event()

    def make() -> int:
        if len(made) == 4:
            raise LookupError("no more")
        made.append(len(made))
        if len(made) == 2:
            enough.set()
        return made[-1]

    handover: Handover[int] = Handover()
    thread = threading.Thread(target=handover.pump, args=(make,))
    thread.start()
    assert enough.wait(5)
    time.sleep(0.02)
    assert made == [0, 1]  # one lies ready, one waits for its place
    assert [handover.take() for _ in range(4)] == [0, 1, 2, 3]
    for _ in range(2):
        with pytest.raises(LookupError, match="no more"):
            handover.take()
    thread.join(5)
    assert not thread.is_alive()


def test_a_thread_that_cannot_hand_on_its_value_ends_when_it_is_told() -> None:
    handover: Handover[int] = Handover()
    thread = threading.Thread(target=handover.pump, args=(lambda: 1,))
    thread.start()
    assert handover.take() == 1
    handover.close()
    thread.join(5)
    assert not thread.is_alive()


@pytest.mark.parametrize("crop_on", ["loader", "device"])
def test_a_pretended_device_gets_the_same_batches_and_the_loader_its_memory(
    shard_set: Path, crop_on: str
) -> None:
    memory = set()
    with (
        pretend_cuda() as pretended,
        loader_of(shard_set, crop_on=crop_on, passes=8) as plain,
        loader_of(shard_set, crop_on=crop_on, passes=8) as loader,
        DeviceFeed(loader, CUDA) as feed,
    ):
        allocate = loader._view.allocate

        def noted(num_items: int) -> PairBatch:
            batch = allocate(num_items)
            memory.add(batch.frames.data_ptr())
            return batch

        loader._view.allocate = noted  # type: ignore[method-assign]
        for expected in plain:
            loaded = next(feed)
            assert loaded.items == expected.items
            batch = loaded.batch
            assert batch.frames.is_cuda
            assert batch.source.is_cuda
            assert not batch.color_orders.is_cuda
            for one, other in zip(batch.tensors(), expected.batch.tensors(), strict=True):
                assert torch.equal(one.cpu(), other)
            feed.release(loaded)
        with pytest.raises(StopIteration):
            next(feed)
        assert pretended.waits  # of this test's own copies
    assert 0 < len(memory) <= 8  # of forty batches


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="gpu: torch sees no CUDA device")
@pytest.mark.parametrize("crop_on", ["loader", "device"])
@pytest.mark.parametrize("jpeg_decoder", ["cpu", "device"])
def test_cuda_gets_the_same_batches_and_the_loader_its_memory(
    shard_set: Path, crop_on: str, jpeg_decoder: str
) -> None:
    if jpeg_decoder == "device" and crop_on == "loader":
        pytest.skip("gpu: that choice is refused")
    device = torch.device("cuda")
    with (
        loader_of(shard_set, crop_on=crop_on) as plain,
        loader_of(shard_set, pin_memory=True, crop_on=crop_on, jpeg_decoder=jpeg_decoder) as loader,
        DeviceFeed(loader, device) as feed,
    ):
        for expected in plain:
            loaded = next(feed)
            torch.cuda._sleep(20_000_000)  # the step goes on while the next copies are made
            for one, other in zip(loaded.batch.tensors(), expected.batch.tensors(), strict=True):
                limit = 8 if jpeg_decoder == "device" and one is loaded.batch.frames else 0
                torch.testing.assert_close(one.cpu(), other, atol=limit, rtol=0)
            feed.release(loaded)
        with pytest.raises(StopIteration):
            next(feed)
