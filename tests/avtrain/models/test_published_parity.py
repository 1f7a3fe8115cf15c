"""The full model against numbers that the published classes gave for the same weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from avtrain.models import AUDIO_VISUAL_PRESETS, build_audio_visual

HashedUniform = Callable[[int, int], np.ndarray]

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


def test_hash_starts_as_published(hashed_uniform: HashedUniform) -> None:
    start = [-1.68455064, 1.51432290, 0.69014240]
    assert hashed_uniform(0, 3).tolist() == pytest.approx(start, abs=5e-9)


@pytest.mark.parametrize("size", list(STATISTICS))
def test_network_parity(
    size: tuple[int, int, int, int],
    hashed_uniform: HashedUniform,
    hash_filled: Callable[[dict[str, Tensor]], dict[str, Tensor]],
    published_embeddings: dict[tuple[int, int, int, int], tuple[tuple[float, ...], ...]],
) -> None:
    frames, side, audio_frames, bins = size
    model = build_audio_visual(AUDIO_VISUAL_PRESETS["avid-r2plus1d-18"]).double().eval()
    model.load_state_dict(hash_filled(model.state_dict()))
    video = torch.from_numpy(hashed_uniform(9999, 3 * frames * side * side))
    audio = torch.from_numpy(hashed_uniform(10007, audio_frames * bins))
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
    video_start, audio_start, (video_norm, audio_norm, cosine) = published_embeddings[size]
    assert video_embedding[:4].tolist() == pytest.approx(video_start, abs=6e-7)
    assert audio_embedding[:4].tolist() == pytest.approx(audio_start, abs=6e-7)
    assert float(video_embedding.norm()) == pytest.approx(video_norm, abs=6e-7)
    assert float(audio_embedding.norm()) == pytest.approx(audio_norm, abs=6e-7)
    product = float(video_embedding @ audio_embedding)
    assert product / (video_norm * audio_norm) == pytest.approx(cosine, abs=6e-9)
