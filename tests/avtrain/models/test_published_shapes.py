"""Sizes and names of the networks against the published tables."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from avtrain.models import (
    AUDIO_VISUAL_PRESETS,
    AudioNetConfig,
    AudioVisualConfig,
    ConvAudio,
    Projection,
    ProjectionConfig,
    R2Plus1D,
    R2Plus1DConfig,
    build_audio_visual,
)


def _num_params(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def _batch_norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")
    }
    return {**shapes, f"{name}.num_batches_tracked": ()}


def _published_names() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the released models, written out from their description."""
    shapes: dict[str, tuple[int, ...]] = {"video_model.conv1.0.weight": (64, 3, 3, 7, 7)}
    shapes |= _batch_norm("video_model.conv1.1", 64)
    previous = 64
    for stage, c in zip((2, 3, 4, 5), (64, 128, 256, 512), strict=True):
        for block in (0, 1):
            name = f"video_model.conv{stage}x.{block}"
            c_in = previous if block == 0 else c
            shapes[f"{name}.spt_conv1.weight"] = (c, c_in, 1, 3, 3)
            shapes[f"{name}.tmp_conv1.weight"] = (c, c, 3, 1, 1)
            shapes[f"{name}.spt_conv2.weight"] = (c, c, 1, 3, 3)
            shapes[f"{name}.tmp_conv2.weight"] = (c, c, 3, 1, 1)
            for norm in ("spt_bn1", "tmp_bn1", "spt_bn2", "out_bn"):
                shapes |= _batch_norm(f"{name}.{norm}", c)
            if stage > 2 and block == 0:
                shapes[f"{name}.res_conv.weight"] = (c, c_in, 1, 1, 1)
        previous = c
    shapes["audio_model.conv1.0.weight"] = (64, 1, 7, 7)
    shapes |= _batch_norm("audio_model.conv1.1", 64)
    for k, c_in, c in ((1, 64, 64), (2, 64, 128), (3, 128, 256), (4, 256, 512)):
        shapes[f"audio_model.block{k}.conv1.weight"] = (c, c_in, 3, 3)
        shapes[f"audio_model.block{k}.conv2.weight"] = (c, c, 3, 3)
        shapes |= _batch_norm(f"audio_model.block{k}.bn1", c)
        shapes |= _batch_norm(f"audio_model.block{k}.bn2", c)
    for modality in ("video", "audio"):
        for layer, c in ((0, 512), (2, 512), (4, 128)):
            shapes[f"{modality}_proj.projection.{layer}.weight"] = (c, 512)
            shapes[f"{modality}_proj.projection.{layer}.bias"] = (c,)
    return shapes


def test_full_model_has_published_names_shapes_and_parameter_order() -> None:
    model = build_audio_visual(AUDIO_VISUAL_PRESETS["avid-r2plus1d-18"])
    state = model.state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == _published_names()
    assert len(state) == 267
    assert _num_params(model) == 21_286_784
    names = [name for name, _ in model.named_parameters()]
    assert len(names) == 141
    parts = list(dict.fromkeys(name.split(".")[0] for name in names))
    assert parts == ["video_model", "audio_model", "video_proj", "audio_proj"]


@pytest.mark.parametrize(
    ("depth", "num_params", "num_entries"),
    [(10, 7_015_616, 105), (18, 15_379_136, 201), (34, 28_861_632, 393)],
)
def test_video_sizes(depth: int, num_params: int, num_entries: int) -> None:
    with torch.device("meta"):
        model = R2Plus1D(R2Plus1DConfig.model_validate({"depth": depth}))
    assert (_num_params(model), len(model.state_dict())) == (num_params, num_entries)


def test_audio_and_head_sizes() -> None:
    audio = ConvAudio(AudioNetConfig())
    head = Projection(ProjectionConfig(), in_dim=audio.embedding_dim)
    assert (_num_params(audio), len(audio.state_dict())) == (4_725_696, 54)
    assert (_num_params(head), len(head.state_dict())) == (590_976, 6)


def test_depth_10_has_no_block_level() -> None:
    names = R2Plus1D(R2Plus1DConfig(depth=10, width=2)).state_dict().keys()
    assert "conv3x.spt_conv1.weight" in names
    assert not any(name.startswith("conv3x.0") for name in names)


VIDEO_SHAPES = [
    ((8, 224), True, [(64, 8, 56), (64, 8, 56), (128, 4, 28), (256, 2, 14), (512, 1, 7)]),
    ((32, 224), True, [(64, 32, 56), (64, 32, 56), (128, 16, 28), (256, 8, 14), (512, 4, 7)]),
    ((8, 112), True, [(64, 8, 28), (64, 8, 28), (128, 4, 14), (256, 2, 7), (512, 1, 4)]),
    # the ablation network sees at 112 what the full one sees at 224
    ((8, 112), False, [(64, 8, 56), (64, 8, 56), (128, 4, 28), (256, 2, 14), (512, 1, 7)]),
]


@pytest.mark.parametrize(("size", "stem_pool", "expected"), VIDEO_SHAPES)
def test_video_stage_shapes(
    size: tuple[int, int], stem_pool: bool, expected: list[tuple[int, int, int]]
) -> None:
    frames, side = size
    with torch.device("meta"):
        model = R2Plus1D(R2Plus1DConfig(stem_pool=stem_pool))
        features = model.features(torch.empty(2, 3, frames, side, side))
    shapes = [tuple(features[name].shape) for name in list(features)[:5]]
    assert shapes == [(2, c, t, s, s) for c, t, s in expected]
    assert list(features) == ["conv1", "conv2x", "conv3x", "conv4x", "conv5x", "pool"]
    assert features["pool"].shape == (2, model.embedding_dim) == (2, 512)


AUDIO_SHAPES = [
    ((200, 257), 2, [(64, 100, 129), (64, 50, 65), (128, 25, 33), (256, 13, 17), (512, 13, 17)]),
    ((100, 129), 2, [(64, 50, 65), (64, 25, 33), (128, 13, 17), (256, 7, 9), (512, 7, 9)]),
    ((100, 129), 1, [(64, 50, 65), (64, 50, 65), (128, 25, 33), (256, 13, 17), (512, 13, 17)]),
]


@pytest.mark.parametrize(("size", "stride", "expected"), AUDIO_SHAPES)
def test_audio_stage_shapes(
    size: tuple[int, int], stride: int, expected: list[tuple[int, int, int]]
) -> None:
    config = AudioNetConfig.model_validate({"first_block_stride": stride})
    with torch.device("meta"):
        features = ConvAudio(config).features(torch.empty(2, 1, *size))
    shapes = [tuple(features[name].shape) for name in list(features)[:5]]
    assert shapes == [(2, *shape) for shape in expected]
    assert list(features) == ["conv1", "conv2x", "conv3x", "conv4x", "conv5x", "pool"]
    assert features["pool"].shape == (2, 512)


@pytest.mark.parametrize("name", sorted(AUDIO_VISUAL_PRESETS))
def test_presets_embed_both_modalities_in_one_space(name: str) -> None:
    with torch.device("meta"):
        model = build_audio_visual(AUDIO_VISUAL_PRESETS[name])
        video, audio = model(torch.empty(2, 3, 8, 64, 64), torch.empty(2, 1, 100, 128))
    assert video.shape == audio.shape == (2, model.embedding_dim) == (2, 128)


def test_narrow_heads_follow_the_encoder_and_linear_heads_are_one_layer() -> None:
    narrow = Projection(ProjectionConfig(embedding_dim=8), in_dim=24)
    linear = Projection(ProjectionConfig(num_hidden=0), in_dim=24)
    assert [tuple(p.shape) for p in narrow.parameters() if p.ndim == 2] == [
        (24, 24),
        (24, 24),
        (8, 24),
    ]
    assert {n: tuple(p.shape) for n, p in linear.named_parameters()} == {
        "projection.0.weight": (128, 24),
        "projection.0.bias": (128,),
    }


def test_heads_with_batch_norm_tell_inputs_apart_that_hardly_differ() -> None:
    torch.manual_seed(0)
    alike = 10 + 0.1 * torch.randn(64, 24)

    def mean_similarity(batch_norm: bool) -> float:
        head = Projection(ProjectionConfig(batch_norm=batch_norm), in_dim=24)
        embeddings = torch.nn.functional.normalize(head(alike).detach(), dim=1)
        return float((embeddings @ embeddings.T).fill_diagonal_(0).sum() / (64 * 63))

    assert mean_similarity(batch_norm=False) > 0.99
    assert abs(mean_similarity(batch_norm=True)) < 0.05


def test_every_parameter_of_tiny_gets_a_gradient() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_audio_visual(AUDIO_VISUAL_PRESETS["tiny"])
        video, audio = model(torch.randn(2, 3, 8, 32, 32), torch.randn(2, 1, 50, 64))
    (video.square().sum() + audio.square().sum()).backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


def test_wrong_inputs_and_configs_say_what_is_wrong() -> None:
    video, audio = R2Plus1D(R2Plus1DConfig(depth=10, width=2)), ConvAudio(AudioNetConfig(width=2))
    with pytest.raises(ValueError, match=r"video must be \(b, 3, t, h, w\), got shape \(3, 8, 8"):
        video(torch.zeros(3, 8, 8, 8))
    with pytest.raises(ValueError, match=r"audio must be \(b, 1, .*got shape \(1, 2, 8, 8\)"):
        audio(torch.zeros(1, 2, 8, 8))
    with pytest.raises(ValidationError, match="widht"):
        R2Plus1DConfig.model_validate({"widht": 3})
    with pytest.raises(ValidationError, match="compared in one space"):
        AudioVisualConfig(video_proj=ProjectionConfig(embedding_dim=64))
