"""The full model against numbers that the published classes gave for the same weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from avtrain.models import AUDIO_VISUAL_PRESETS, build_audio_visual


def _hashed_uniform(stream: int, count: int) -> np.ndarray:
    """`count` numbers of unit variance in (-1.73, 1.73), from integer hashing."""
    k = np.arange(count, dtype=np.uint64) + np.uint64(7919 * (stream + 1))
    mask = np.uint64(0xFFFFFFFF)
    x = (k * np.uint64(2654435761)) & mask
    x ^= x >> np.uint64(16)
    x = (x * np.uint64(2246822519)) & mask
    x ^= x >> np.uint64(13)
    return (x.astype(np.float64) / 2.0**32 - 0.5) * math.sqrt(12.0)


def _filled(state: dict[str, Tensor]) -> dict[str, Tensor]:
    filled = {}
    for position, name in enumerate(sorted(state)):
        value = state[name]
        if name.endswith("num_batches_tracked"):
            filled[name] = torch.zeros_like(value)
            continue
        u = torch.from_numpy(_hashed_uniform(position, value.numel())).reshape(value.shape)
        if value.ndim >= 2:
            u = u * math.sqrt(2.0 / math.prod(value.shape[1:]))
        elif name.endswith(("bias", "running_mean")):
            u = 0.1 * u
        elif name.endswith("running_var"):
            u = 1.0 + 0.2 * u
        else:
            u = 1.0 + 0.1 * u
        filled[name] = u
    return filled


# (video frames and side, audio frames and bins): name -> (mean, population deviation)
STATISTICS = {
    (8, 64, 100, 129): {
        "video conv1": (1.90573763, 0.89848419),
        "video conv2x": (2.50289286, 2.81334657),
        "video conv3x": (5.19687634, 6.67869714),
        "video conv5x": (7.08087648, 10.07058974),
        "video pool": (13.01732023, 12.89442043),
        "audio conv2x": (0.70303101, 0.94080961),
        "audio conv5x": (0.62715257, 0.92396603),
        "audio pool": (2.14057420, 1.33930554),
    },
    (8, 112, 200, 257): {
        "video conv1": (1.94800064, 0.89803019),
        "video conv2x": (2.57070118, 2.89580224),
        "video conv3x": (5.59385474, 7.18599407),
        "video conv5x": (9.58632828, 13.22919033),
        "video pool": (21.76379706, 17.99103268),
        "audio conv2x": (0.73225868, 0.97502767),
        "audio conv5x": (0.75913587, 1.11269848),
        "audio pool": (2.60739322, 1.57831724),
    },
}
# first four of the video and of the audio embedding, their norms, and their cosine
EMBEDDINGS = {
    (8, 64, 100, 129): (
        (-6.444904, 16.729934, -8.295474, 22.964568),
        (-0.408573, 3.283528, -6.003084, -0.834768),
        (284.568707, 47.295551, 0.08603314),
    ),
    (8, 112, 200, 257): (
        (4.781213, 9.775228, -0.616928, 27.829558),
        (0.853172, 5.449151, -7.514137, -1.429240),
        (440.412679, 58.143560, 0.09755212),
    ),
}


def test_hash_starts_as_published() -> None:
    start = [-1.68455064, 1.51432290, 0.69014240]
    assert _hashed_uniform(0, 3).tolist() == pytest.approx(start, abs=5e-9)


@pytest.mark.parametrize("size", list(STATISTICS))
def test_network_parity(size: tuple[int, int, int, int]) -> None:
    frames, side, audio_frames, bins = size
    model = build_audio_visual(AUDIO_VISUAL_PRESETS["avid-r2plus1d-18"]).double().eval()
    model.load_state_dict(_filled(model.state_dict()))
    video = torch.from_numpy(_hashed_uniform(9999, 3 * frames * side * side))
    audio = torch.from_numpy(_hashed_uniform(10007, audio_frames * bins))
    with torch.no_grad():
        video_features = model.video_model.features(video.reshape(1, 3, frames, side, side))
        audio_features = model.audio_model.features(audio.reshape(1, 1, audio_frames, bins))
        video_embedding = model.video_proj(video_features["pool"])[0]
        audio_embedding = model.audio_proj(audio_features["pool"])[0]
    features = {f"video {k}": v for k, v in video_features.items()}
    features |= {f"audio {k}": v for k, v in audio_features.items()}
    for name, (mean, deviation) in STATISTICS[size].items():
        seen = (float(features[name].mean()), float(features[name].std(correction=0)))
        # the printed digits end at 1e-8
        assert seen == pytest.approx((mean, deviation), abs=6e-9), name
    video_start, audio_start, (video_norm, audio_norm, cosine) = EMBEDDINGS[size]
    assert video_embedding[:4].tolist() == pytest.approx(video_start, abs=6e-7)
    assert audio_embedding[:4].tolist() == pytest.approx(audio_start, abs=6e-7)
    assert float(video_embedding.norm()) == pytest.approx(video_norm, abs=6e-7)
    assert float(audio_embedding.norm()) == pytest.approx(audio_norm, abs=6e-7)
    product = float(video_embedding @ audio_embedding)
    assert product / (video_norm * audio_norm) == pytest.approx(cosine, abs=6e-9)
