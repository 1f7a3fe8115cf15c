"""The standard R(2+1)D against torchvision's."""

from __future__ import annotations

import pytest
import torch
from torchvision.models.video import r2plus1d_18

from avtrain.models import (
    AudioVisualConfig,
    R2Plus1D,
    R2Plus1DConfig,
    StandardR2Plus1D,
    StandardR2Plus1DConfig,
    build_audio_visual,
    build_video_net,
)

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def test_equals_torchvision_in_names_outputs_and_gradients() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = r2plus1d_18().double()
        for name, tensor in theirs.state_dict().items():
            if "running" in name:  # else both would be 0 and 1
                tensor.uniform_(0.5, 1.5)
        video = torch.randn(2, 3, 2, 24, 24, dtype=torch.float64)
    ours = StandardR2Plus1D(StandardR2Plus1DConfig(kind="standard")).double()
    state = {n: t for n, t in theirs.state_dict().items() if not n.startswith("fc.")}
    ours.load_state_dict(state)  # strict: the same names and shapes
    assert sum(p.numel() for p in ours.parameters()) == 31_300_125  # of 31,505,325 with fc
    theirs.fc = torch.nn.Identity()
    for training in (False, True):
        pairs = []
        for network in (ours, theirs):
            network.train(training).zero_grad()
            pooled = network(video)
            pooled.square().sum().backward()
            pairs.append((pooled.detach(), next(iter(network.parameters())).grad))
        (seen, seen_grad), (expected, expected_grad) = pairs
        torch.testing.assert_close(seen, expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(seen_grad, expected_grad, rtol=1e-9, atol=1e-9)


def test_stages_have_the_shapes_of_the_paper() -> None:
    # Tran et al. 2018, table 1, for 16 frames of 112 px; the stem has no pooling
    with torch.device("meta"):
        model = StandardR2Plus1D(StandardR2Plus1DConfig(kind="standard", depth=34))
        features = model.features(torch.empty(1, 3, 16, 112, 112))
    assert {name: tuple(value.shape[1:]) for name, value in features.items()} == {
        "conv1": (64, 16, 56, 56),
        "conv2x": (64, 16, 56, 56),
        "conv3x": (128, 8, 28, 28),
        "conv4x": (256, 4, 14, 14),
        "conv5x": (512, 2, 7, 7),
        "pool": (512,),
    }


@pytest.mark.parametrize("kind", ["avid", "standard"])
def test_pooling_is_a_setting(kind: str) -> None:
    config = {"kind": kind, "depth": 10, "width": 4}
    video = torch.randn(2, 3, 4, 32, 32, generator=torch.Generator().manual_seed(0))
    for pooling in ("max", "average"):
        parts = AudioVisualConfig.model_validate({"video": {**config, "pooling": pooling}})
        network = build_video_net(parts.video).eval()
        with torch.no_grad():
            features = network.features(video)
        stage = features["conv5x"]
        expected = stage.amax((2, 3, 4)) if pooling == "max" else stage.mean((2, 3, 4))
        torch.testing.assert_close(features["pool"], expected)


def test_kind_chooses_the_network_and_none_is_that_of_avid() -> None:
    standard = AudioVisualConfig.model_validate({"video": {"kind": "standard", "width": 4}})
    model = build_audio_visual(standard)
    assert isinstance(model.video_model, StandardR2Plus1D)
    assert model.video_proj.projection[0].weight.shape == (32, 32)
    assert AudioVisualConfig.model_validate(standard.model_dump(mode="json")) == standard
    avid = AudioVisualConfig.model_validate({"video": {"depth": 34}})
    assert avid.video == R2Plus1DConfig(depth=34)
    assert isinstance(build_video_net(R2Plus1DConfig(depth=10, width=2)), R2Plus1D)
