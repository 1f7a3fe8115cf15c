"""What applications make of real networks: sync's maps and odds, similarities of two networks."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from avdata import ShardSet
from avtrain.apps.map_source import ActivationMaps, SimilarityMaps
from avtrain.apps.offset_scan import WindowScorer
from avtrain.apps.windows import Window
from avtrain.exported.encoder import TrainedAudioEncoder, TrainedVideoEncoder
from avtrain.exported.folder import AudioInput, VideoInput
from avtrain.methods import MethodFacts
from avtrain.methods.sync import Sync, SyncConfig
from avtrain.models import audio_visual_config, build_audio_visual

pytestmark = pytest.mark.usefixtures("one_torch_thread")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def sync(make_shard_set) -> Sync:
    shards = make_shard_set(
        num_clips=8, fields=("frames", "audio"), sample_rate_hz=8000, durations_s=(2.0,)
    )
    config = SyncConfig.model_validate(
        {
            "model": {"width": 4, "blocks_per_stage": 1, "space_strides": [2, 1, 2, 2, 1]},
            "view": {"clip_frames": 16, "fps": 16.0, "crop_px": 32, "min_shift_s": 0.3},
        }
    )
    facts = MethodFacts(
        spec=ShardSet(shards).spec, where="a set", trained_sources=None, seed=0, device=CPU
    )
    return config.build(facts).eval()


def _window(clip_frames: int, size: tuple[int, int], num_samples: int) -> Window:
    rng = np.random.default_rng(0)
    return Window(
        first_frame=0,
        start_s=0.0,
        num_real=clip_frames,
        frames=rng.integers(0, 255, (clip_frames, *size, 3), np.uint8),
        sound=rng.uniform(-0.5, 0.5, (2, num_samples)).astype(np.float32),
        sound_span=(0, num_samples),
    )


def test_mirrored_maps_of_a_mirror_image_are_mirrored(sync: Sync) -> None:
    window = _window(16, (32, 64), sync.clip.num_samples)
    image = replace(window, frames=window.frames[:, :, ::-1].copy())
    once = ActivationMaps(sync, CPU, keeps_aspect=True)
    both = ActivationMaps(sync, CPU, keeps_aspect=True, mirrored=True)
    alone, of_image = once.cells(window).values, once.cells(image).values
    assert np.abs(alone - of_image[..., ::-1]).max() > 1e-3
    found = both.cells(window).values
    np.testing.assert_allclose(found, (alone + of_image[..., ::-1]) / 2, atol=1e-5)
    np.testing.assert_allclose(found, both.cells(image).values[..., ::-1], atol=1e-5)


def test_smoothed_maps_have_their_mean_and_smaller_steps(sync: Sync) -> None:
    window = _window(16, (32, 64), sync.clip.num_samples)
    plain = ActivationMaps(sync, CPU, keeps_aspect=True).cells(window).values
    found = ActivationMaps(sync, CPU, keeps_aspect=True, smoothing_cells=0.75).cells(window).values
    np.testing.assert_allclose(found.mean(axis=(1, 2)), plain.mean(axis=(1, 2)), atol=1e-5)
    assert np.abs(np.diff(found)).mean() < 0.8 * np.abs(np.diff(plain)).mean()


@pytest.mark.parametrize("size", [(32, 32), (32, 64)])
def test_the_mean_of_the_activation_map_is_the_score(sync: Sync, size: tuple[int, int]) -> None:
    window = _window(16, size, sync.clip.num_samples)
    found = ActivationMaps(sync, CPU, keeps_aspect=False).cells(window)
    with torch.inference_mode():
        score = sync.scores(
            torch.from_numpy(window.frames)[None], torch.from_numpy(window.sound)[None]
        )
    assert found.values.mean() == pytest.approx(float(score), abs=1e-5)
    assert found.values.shape[1:] == (size[0] // 8, size[1] // 8)
    assert found.frames_per_cell == 16 // len(found.values)
    assert 0 < found.first_center < found.frames_per_cell


def test_all_sounds_are_scored_as_one_by_one(sync: Sync) -> None:
    window = _window(16, (32, 32), sync.clip.num_samples)
    sounds = [window.sound * gain for gain in (0.1, 0.5, 1.0)]
    together = WindowScorer(sync, CPU)(window.frames, sounds)
    with torch.inference_mode():
        alone = [
            sync.scores(torch.from_numpy(window.frames)[None], torch.from_numpy(sound)[None])
            for sound in sounds
        ]
    np.testing.assert_allclose(together, torch.cat(alone), atol=1e-5)


def test_similarities_are_cosines_of_each_place() -> None:
    torch.manual_seed(0)
    model = build_audio_visual(audio_visual_config("tiny")).eval()
    pictures = VideoInput(clip_frames=8, fps=16.0, side_px=32)
    sound = AudioInput(
        kind="spectrogram",
        sample_rate_hz=24000,
        window_s=1.0,
        num_frames=50,
        num_bins=129,
    )
    video = TrainedVideoEncoder(
        model.video_model, model.video_proj, layer="embedding", inputs=pictures
    )
    audio = TrainedAudioEncoder(
        model.audio_model,
        model.audio_proj,
        layer="embedding",
        inputs=sound,
        statistics=(torch.zeros(129), torch.ones(129)),
    )
    headless = TrainedVideoEncoder(model.video_model, None, layer="pool", inputs=pictures)
    with pytest.raises(ValueError, match="load the video network with layer='embedding'"):
        SimilarityMaps(headless, audio, CPU)
    window = _window(8, (32, 64), 24000)
    found = SimilarityMaps(video, audio, CPU).cells(window)
    with torch.inference_mode():
        heard = audio(audio.preprocess(torch.from_numpy(window.sound).mean(0)[None]))[0]
        frames = torch.from_numpy(window.frames).permute(3, 0, 1, 2)[None].float() / 255
        maps = model.video_model.features((frames - video.mean) / video.std)["conv5x"][0]
        for index in np.ndindex(*found.values.shape):
            seen = model.video_proj(maps[(slice(None), *index)][None])[0]
            cosine = float(seen @ heard / seen.norm() / heard.norm())
            assert found.values[index] == pytest.approx(cosine, abs=1e-5)
    assert found.values.shape == tuple(maps.shape[1:])
    assert found.frames_per_cell * len(found.values) == 8
