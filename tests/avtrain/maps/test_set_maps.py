"""Maps of the clips of a set against what the methods' own functions give for the same input."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from avdata import ShardSet
from avtrain.data.stream import StreamItem
from avtrain.errors import DataError
from avtrain.maps import (
    ClipMaps,
    ClipRequest,
    HeardSound,
    PairMaps,
    SyncMaps,
    map_clips,
)
from avtrain.methods import AVIDConfig, MethodFacts, SyncConfig
from avtrain.models import Projection, ProjectionConfig
from avtrain.models.similarity_map import similarity_maps

MakeShardSet = Callable[..., Path]
CPU = torch.device("cpu")
MODEL = {
    "width": 4,
    "blocks_per_stage": 1,
    "norm_decay": 0.9,
    "sound_strides": [8, 4, 4, 4, 2],
    "space_strides": [2, 2, 2, 1, 1],
}


@pytest.fixture(autouse=True)
def _one_thread(one_torch_thread: None) -> None: ...


def build(config, shards: ShardSet):
    facts = MethodFacts(spec=shards.spec, where="set", trained_sources=None, seed=0, device=CPU)
    return config.build(facts).eval()


def sync_config(**view) -> SyncConfig:
    given = {
        "clip_frames": 16, "fps": 16, "min_shift_s": 0.5, "short_side_px": 36, "crop_px": 32,
    } | view  # fmt: skip
    return SyncConfig.model_validate({"model": MODEL, "view": given})


def all_maps(source, requests: list[ClipRequest], batch_size: int = 2) -> list[ClipMaps]:
    def progress(items, *, total: int, description: str):
        yield from items

    return list(
        map_clips(
            source, requests, device=CPU, batch_size=batch_size, loader_threads=2,
            progress=progress, description="",
        )
    )  # fmt: skip


def request(sample: int, start_s: float, *others: HeardSound | None) -> ClipRequest:
    own = HeardSound(sample=sample, start_s=start_s)
    return ClipRequest(sample=sample, start_s=start_s, sounds=(own, *others))


def test_sync_maps_are_those_of_the_whole_picture(shard_set: Path) -> None:
    shards = ShardSet(shard_set)
    method = build(sync_config(), shards)
    source = SyncMaps(method, shards, CPU)
    other = HeardSound(sample=4, start_s=0.5)
    made = all_maps(source, [request(i, 0.25 * i, None, other) for i in range(3)])
    assert [maps.request.sample for maps in made] == [0, 1, 2]
    for i, maps in enumerate(made):
        assert maps.values.shape == (3, 2, 4, 4)
        first = 4 * i
        pixels = shards.read_frames(i, range(first, first + 16))
        squashed = np.stack(
            [
                F.interpolate(
                    torch.from_numpy(picture).permute(2, 0, 1)[None].float(),
                    size=(32, 32), mode="bilinear", antialias=True,
                )[0].permute(1, 2, 0).round().clamp(0, 255).byte().numpy()
                for picture in pixels
            ]
        )  # fmt: skip
        sounds = [
            np.repeat(shards.read_audio(i, 1500 * first, 1500 * first + 24000), 2, 0),
            np.zeros((2, 24000), np.int16),
            np.repeat(shards.read_audio(4, 12000, 36000), 2, 0),
        ]
        for window, sound in enumerate(sounds):
            with torch.no_grad():
                expected = method.maps(
                    torch.from_numpy(squashed)[None], torch.from_numpy(sound)[None]
                )
            # resizing rounds pixels in another way
            np.testing.assert_allclose(maps.values[window], expected[0], atol=0.02, rtol=0.02)
        assert maps.silent.tolist() == [False, True, False]
    # a cell's time is its center: later clips are as much later
    np.testing.assert_allclose(made[1].times_s - made[0].times_s, 0.25)
    assert 0 < made[0].times_s[0] < made[0].times_s[1] < 1


def test_mirrored_maps_are_the_mean_of_both_images(shard_set: Path) -> None:
    shards = ShardSet(shard_set)
    method = build(sync_config(), shards)
    requests = [request(i, 0.5, None) for i in range(2)]
    once = all_maps(SyncMaps(method, shards, CPU), requests)
    both = all_maps(SyncMaps(method, shards, CPU, mirrored=True), requests)
    view = SyncMaps(method, shards, CPU).view(requests, pin_memory=False)
    batch = view.allocate(2)
    for slot in range(2):
        view.fill(batch, slot, StreamItem(sample=slot, epoch=0, occurrence=slot))
    inputs = method.prepare(batch, CPU)
    with torch.no_grad():
        image = torch.stack([f.flip(-1) for f in inputs.frames])
        other = method.window_maps(replace(inputs, frames=image)).flip(-1).numpy()
    for i in range(2):
        assert np.abs(once[i].values - other[i]).max() > 1e-3
        np.testing.assert_allclose(both[i].values, (once[i].values + other[i]) / 2, atol=1e-5)
    never = build(sync_config(flip_probability=0), shards)
    np.testing.assert_array_equal(
        all_maps(SyncMaps(never, shards, CPU, mirrored=True), requests)[0].values,
        all_maps(SyncMaps(never, shards, CPU), requests)[0].values,
    )


def test_maps_do_not_depend_on_the_batch(shard_set: Path) -> None:
    shards = ShardSet(shard_set)
    source = SyncMaps(build(sync_config(), shards), shards, CPU)
    requests = [request(i, 0.5) for i in range(5)]
    for one, other in zip(
        all_maps(source, requests, 1), all_maps(source, requests, 4), strict=True
    ):
        np.testing.assert_allclose(one.values, other.values, rtol=1e-4, atol=1e-4)


def test_room_for_clips(shard_set: Path) -> None:
    shards = ShardSet(shard_set)
    source = SyncMaps(build(sync_config(clip_frames=50), shards), shards, CPU)
    assert source.clip_s == pytest.approx(50 / 16)
    assert source.last_start_s(0) is None  # 3 s
    assert source.last_start_s(2) == pytest.approx(13 / 16)  # 4 s
    pairs = PairMaps(build(avid_config(), shards), shards, CPU)
    assert pairs.last_start_s(0) == pytest.approx(3 - 0.25)


def test_between_steps_maps_change_evenly() -> None:
    values = np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1)
    maps = ClipMaps(
        request=request(0, 1.0),
        values=values,
        times_s=np.array([1.1, 1.3, 1.5, 1.7]),
        silent=np.zeros(1, bool),
    )
    assert maps.at(1.35)[0, 0, 0] == pytest.approx(1.25)
    assert maps.at(0)[0, 0, 0] == 0
    assert maps.at(9)[0, 0, 0] == 3


def avid_config(**audio) -> AVIDConfig:
    return AVIDConfig.model_validate(
        {
            "model": "tiny",
            "criterion": {"num_negatives": 8},
            "video": {"crop_px": 64, "clip_frames": 4},
            "audio": {"window_s": 1.0, "frame_rate_hz": 50} | audio,
        }
    )


@pytest.mark.parametrize("form", ["logmel", "spectrogram"])
def test_pair_maps_are_cosines(shard_set: Path, form: str) -> None:
    shards = ShardSet(shard_set)
    method = build(avid_config(input=form), shards)
    source = PairMaps(method, shards, CPU)
    other = HeardSound(sample=5, start_s=1.0)
    made = all_maps(source, [request(i, 1.0, None, other) for i in range(3)])
    for maps in made:
        assert np.abs(maps.values).max() <= 1 + 1e-5
        assert maps.silent.tolist() == [False, True, False]
        assert maps.values.shape[0] == 3
    # the same sound laid under two clips is the same embedding: both hear sample 5
    batch = source.view([request(5, 1.0)], pin_memory=False)
    slots = batch.allocate(1)
    batch.fill(slots, 0, StreamItem(sample=5, epoch=0, occurrence=0))
    inputs = method.prepare(slots, CPU)
    with torch.no_grad():
        heard = method.model.audio_proj(method.model.audio_model(inputs.audio))
        places = method.model.video_model.features(inputs.video)["conv5x"][0]
        cell = method.model.video_proj(places[:, 0, 1, 0][None])
    [own] = all_maps(source, [request(5, 1.0)])
    expected = F.cosine_similarity(cell, heard)[0]
    assert own.values[0, 0, 1, 0] == pytest.approx(float(expected), abs=1e-5)


def test_similarity_of_known_vectors() -> None:
    features = torch.zeros(1, 2, 1, 1, 2)
    features[0, :, 0, 0, 0] = torch.tensor([3.0, 0.0])
    features[0, :, 0, 0, 1] = torch.tensor([1.0, 1.0])
    heard = torch.tensor([[[2.0, 0.0], [0.0, -1.0]]])
    maps = similarity_maps(features, torch.nn.Identity(), heard)
    expected = torch.tensor([[1, 0.5**0.5], [0, -(0.5**0.5)]])
    torch.testing.assert_close(maps[0, :, 0, 0], expected)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_heads_work_on_each_cell(batch_norm: bool) -> None:
    config = ProjectionConfig(embedding_dim=8, num_hidden=1, batch_norm=batch_norm)
    head = Projection(config, in_dim=6).double().eval().requires_grad_(False)
    features = torch.randn(2, 6, 3, 4, 5, dtype=torch.float64)
    heard = torch.randn(2, 2, 8, dtype=torch.float64)
    maps = similarity_maps(features, head, heard)
    cell = head(features[1, :, 2, 3, 0][None])[0]
    expected = F.cosine_similarity(cell, heard[1, 0], dim=0)
    assert float(maps[1, 0, 2, 3, 0]) == pytest.approx(float(expected), abs=1e-5)


def test_sets_that_do_not_fit_are_refused(shard_set: Path, make_shard_set: MakeShardSet) -> None:
    method = build(sync_config(), ShardSet(shard_set))
    slow = ShardSet(make_shard_set(num_clips=4, sample_rate_hz=16000))
    with pytest.raises(DataError, match="16000 Hz, the run was trained on 24000 Hz; build it"):
        SyncMaps(method, slow, CPU)
    mute = ShardSet(make_shard_set(fields=("frames", "logmel")))
    with pytest.raises(DataError, match="needs fields"):
        SyncMaps(method, mute, CPU)
    avid = build(avid_config(), ShardSet(shard_set))
    with pytest.raises(DataError, match=r"method 'avid' needs fields \{frames, logmel\}"):
        PairMaps(avid, ShardSet(make_shard_set(num_clips=4, fields=("frames", "audio"))), CPU)
