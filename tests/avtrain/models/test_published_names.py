"""State dicts under published names -> networks, and a line about every tensor."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.models.video import r2plus1d_18

from avtrain.models import (
    AUDIO_VISUAL_PRESETS,
    AudioNetConfig,
    AudioVisualConfig,
    ProjectionConfig,
    R2Plus1DConfig,
    build_audio_visual,
)
from avtrain.models.published import load_parts, read_published

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def _state(config: AudioVisualConfig) -> dict[str, Tensor]:
    with torch.device("meta"):
        return build_audio_visual(config).state_dict()


@pytest.mark.parametrize(
    "config",
    [
        AUDIO_VISUAL_PRESETS["avid-r2plus1d-18"],
        AUDIO_VISUAL_PRESETS["avid-r2plus1d-34"],
        AUDIO_VISUAL_PRESETS["avid-small"],
        AudioVisualConfig(
            video=R2Plus1DConfig(width=8),
            audio=AudioNetConfig(width=4),
            video_proj=ProjectionConfig(num_hidden=0, embedding_dim=16),
            audio_proj=ProjectionConfig(num_hidden=1, hidden_width=24, embedding_dim=16),
        ),
    ],
    ids=["18", "34", "small", "heads"],
)
def test_depth_widths_and_heads_are_told_from_shapes(config: AudioVisualConfig) -> None:
    read = read_published({f"module.{n}": t for n, t in _state(config).items()})
    assert read.config == config
    assert read.faults == ()
    assert read.tensors.keys() == _state(config).keys()
    assert bool(read.assumed) == (config.video.depth == 10)  # what has no parameters is not told


def test_each_fault_has_its_line() -> None:
    state = _state(AUDIO_VISUAL_PRESETS["avid-r2plus1d-18"])
    del state["audio_model.block4.bn2.bias"]
    state["video_model.conv6x.weight"] = torch.empty(1)
    state["video_proj.projection.2.bias"] = torch.empty(7)
    read = read_published(state)
    faults = {line.name: (line.status, line.shape, line.expected) for line in read.faults}
    assert faults == {
        "audio_model.block4.bn2.bias": ("missing", None, (512,)),
        "video_model.conv6x.weight": ("unexpected", (1,), None),
        "video_proj.projection.2.bias": ("shape", (7,), (512,)),
    }
    assert len(read.tensors) == 265


def test_classifier_of_a_fine_tuned_network_is_left() -> None:
    config = AudioVisualConfig(video=R2Plus1DConfig(width=4))
    video = {n.removeprefix("video_model."): t for n, t in _state(config).items() if "video_m" in n}
    state = {f"feature_extractor.{name}": tensor for name, tensor in video.items()}
    state["classifier.weight"] = torch.empty(101, 32)
    read = read_published(state)
    assert (read.layout, read.parts, read.config.video) == (
        "avid-classifier",
        ("video_model",),
        config.video,
    )
    assert read.faults == ()
    assert [line.name for line in read.lines if line.status == "unused"] == ["classifier.weight"]


def test_torchvision_weights_are_its_network() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = r2plus1d_18().eval()
    read = read_published(theirs.state_dict())
    assert (read.layout, read.faults) == ("torchvision-r2plus1d", ())
    assert len(read.tensors) == len(theirs.state_dict()) - 2  # without fc
    ours = load_parts(read.config, read.tensors, read.parts)["video_model"]
    theirs.fc = torch.nn.Identity()
    video = torch.randn(1, 3, 2, 24, 24, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(ours(video), theirs(video))


def test_other_networks_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"2 tensors \(fc.bias, fc.weight .*no known network"):
        read_published({"fc.weight": torch.empty(2, 2), "fc.bias": torch.empty(2)})
    with pytest.raises(ValueError, match=r"no tensors"):
        read_published({})
    state = {n: t for n, t in _state(AudioVisualConfig()).items() if ".conv3x.1." not in n}
    with pytest.raises(ValueError, match=r"\(2, 1, 2, 2\) blocks.*known are \(1, 1, 1, 1\)"):
        read_published(state)
