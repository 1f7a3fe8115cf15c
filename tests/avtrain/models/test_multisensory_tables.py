"""Parameters and shapes of the multisensory network against the published tables."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from avtrain.models import (
    MULTISENSORY_PRESETS,
    MultisensoryConfig,
    MultisensoryPreset,
    build_multisensory,
)

pytestmark = pytest.mark.usefixtures("one_torch_thread")


def num_parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_parameters_are_those_of_the_published_layers() -> None:
    with torch.device("meta"):
        net = build_multisensory(MultisensoryConfig())
        cam = build_multisensory(MULTISENSORY_PRESETS["multisensory-cam"])
        scaling = build_multisensory(MultisensoryConfig(gamma=True))
    layers = {
        "A1": net.sound.conv1,
        "A2": net.sound.block2,
        "A3": net.sound.block3,
        "A4": net.sound.block4,
        "A5": net.joint.sound_conv,
        "V1": net.video.conv1,
        "V2_1": net.video.blocks2[0],
        "V2_2": net.video.blocks2[1],
        "merge1": net.joint.merge1,
        "merge2": nn.ModuleList([net.joint.merge2, net.joint.merge_norm]),
        "J3_1": net.joint.stage3[0],
        "J3_2": net.joint.stage3[1],
        "J4_1": net.joint.stage4[0],
        "J4_2": net.joint.stage4[1],
        "J5_1": net.joint.stage5[0],
        "J5_2": net.joint.stage5[1],
        "head": net.head,
    }
    assert {name: num_parameters(layer) for name, layer in layers.items()} == {
        "A1": 8_384,
        "A2": 377_344,
        "A3": 491_904,
        "A4": 1_508_352,
        "A5": 98_432,
        "V1": 47_104,
        "V2_1": 221_376,
        "V2_2": 221_376,
        "merge1": 98_816,
        "merge2": 65_792,
        "J3_1": 885_120,
        "J3_2": 885_120,
        "J4_1": 2_688_000,
        "J4_2": 3_539_712,
        "J5_1": 10_749_952,
        "J5_2": 14_157_312,
        "head": 513,
    }
    assert num_parameters(net) == num_parameters(cam) == 36_044_609
    assert num_parameters(scaling) == 36_051_521
    assert {n: p.shape for n, p in net.state_dict().items()} == {
        n: p.shape for n, p in cam.state_dict().items()
    }


CLIPS = {"4.2 s": (125, 87_588), "2.1 s": (63, 44_144)}
SHAPES = {
    "4.2 s": {
        "A1": (64, 21_897),
        "A2": (128, 1_369),
        "A3": (128, 343),
        "A4": (256, 86),
        "A5": (128, 32),
        "V1": (64, 63, 112, 112),
        "V2_1": (64, 63, 56, 56),
        "V2_2": (64, 32, 28, 28),
        "merge1": (512, 32, 28, 28),
        "J3": (128, 32, 28, 28),
        "J4": (256, 16, 14, 14),
        "J5": (512, 16, 7, 7),
    },
    "2.1 s": {
        "A1": (64, 11_036),
        "A2": (128, 690),
        "A3": (128, 173),
        "A4": (256, 44),
        "A5": (128, 16),
        "V1": (64, 32, 112, 112),
        "V2_1": (64, 32, 56, 56),
        "V2_2": (64, 16, 28, 28),
        "merge1": (512, 16, 28, 28),
        "J3": (128, 16, 28, 28),
        "J4": (256, 8, 14, 14),
        "J5": (512, 8, 7, 7),
    },
}


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("clip", ["4.2 s", "2.1 s"])
@pytest.mark.parametrize("preset", ["multisensory", "multisensory-cam"])
def test_shapes_are_those_of_the_published_table(
    preset: MultisensoryPreset, clip: str, training: bool
) -> None:
    seen = {}
    num_frames, num_samples = CLIPS[clip]
    with torch.device("meta"):
        net = build_multisensory(MULTISENSORY_PRESETS[preset]).train(training)
        layers = {
            "A1": net.sound.conv1,
            "A2": net.sound.block2,
            "A3": net.sound.block3,
            "A4": net.sound.block4,
            "A5": net.joint.sound_conv,
            "V1": net.video.conv1,
            "V2_1": net.video.blocks2[0],
            "V2_2": net.video.blocks2[1],
            "merge1": net.joint.merge1.norm,
            "J3": net.joint.stage3,
            "J4": net.joint.stage4,
            "J5": net.joint.stage5,
        }
        for name, layer in layers.items():
            layer.register_forward_hook(
                lambda _, __, output, name=name: seen.update({name: tuple(output.shape[1:])})
            )
        stem = net.video_stem(torch.empty(2, 3, num_frames, 224, 224))
        features = net.fuse(stem, torch.empty(2, 2, num_samples))
        cam = net.activation_map(features.scale2)
        logits = net.logits(features.scale2)
    expected = dict(SHAPES[clip])
    if preset == "multisensory-cam":
        expected["J5"] = (512, expected["J5"][1], 14, 14)
    assert seen == expected
    assert features.scale0.shape == (2, *expected["V2_2"])
    assert features.scale1.shape == (2, *expected["J3"])
    assert features.scale2.shape == (2, *expected["J5"])
    assert cam.shape == (2, 1, *expected["J5"][1:]) and logits.shape == (2, 1)
    assert net.config.sound_steps(num_samples) == expected["A4"][1]
    assert net.config.video_steps(num_frames) == expected["V2_2"][1]
    assert net.embedding_dim == 512
