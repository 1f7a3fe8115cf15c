"""What the multisensory network promises beyond the published tables."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from avtrain.models import (
    MULTISENSORY_PRESETS,
    MultisensoryChoice,
    MultisensoryConfig,
    MultisensoryNet,
    MultisensoryPreset,
    build_multisensory,
    multisensory_config,
)
from avtrain.models.multisensory_stems import compand

pytestmark = pytest.mark.usefixtures("one_torch_thread")

BuildMultisensory = Callable[[MultisensoryConfig], MultisensoryNet]
RandomClips = Callable[..., tuple[Tensor, Tensor]]

NARROW = MultisensoryConfig(width=2)


def test_vision_alone_does_not_hear(
    build_net: BuildMultisensory, random_clips: RandomClips
) -> None:
    net = build_net(NARROW.model_copy(update={"use_sound": False}))
    frames, sound = random_clips(2, 8, 32, 32, 8_540)
    logits = net(frames, sound)
    torch.testing.assert_close(logits, net(frames, -sound[:, :, :1]))
    logits.sum().backward()
    without = {name for name, p in net.named_parameters() if p.grad is None}
    assert without == {n for n, p in net.named_parameters() if not p.requires_grad}
    assert {name.split(".")[0] for name in without} == {"sound", "joint"}


@pytest.mark.parametrize("preset", sorted(MULTISENSORY_PRESETS))
@pytest.mark.parametrize("num_outputs", [1, 21])
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_the_mean_of_the_map_is_the_logit(
    build_net: BuildMultisensory,
    random_clips: RandomClips,
    preset: MultisensoryPreset,
    num_outputs: int,
    dtype: torch.dtype,
    atol: float,
) -> None:
    update = {"width": 4, "num_outputs": num_outputs}
    net = build_net(MULTISENSORY_PRESETS[preset].model_copy(update=update)).to(dtype)
    frames, sound = (x.to(dtype) for x in random_clips(2, 14, 64, 48, 9_000))
    with torch.no_grad():
        net.head.weight.mul_(1 / 64)  # logits as of trained networks; these have some of 35
        scale2 = net.fuse(net.video_stem(frames), sound).scale2
        cam, logits = net.activation_map(scale2), net(frames, sound)
    assert cam.shape == (2, num_outputs, *scale2.shape[2:])
    assert cam.std() > 0.01
    torch.testing.assert_close(cam.mean((2, 3, 4)), logits, rtol=0, atol=atol)
    torch.testing.assert_close(net.logits(scale2), logits, rtol=0, atol=0)


def test_any_length_goes_through_and_sound_too_short_is_refused(
    build_net: BuildMultisensory, random_clips: RandomClips
) -> None:
    net = build_net(NARROW)
    for num_frames in (1, 2, 5, 30):
        for num_samples in (8_192, 9_001):
            frames, sound = random_clips(1, num_frames, 17, 32, num_samples)
            features = net.fuse(net.video_stem(frames), sound)
            assert features.scale0.shape[2] == net.config.video_steps(num_frames)
            assert net.config.sound_steps(num_samples) == -(-num_samples // 4 // 4 // 64)
    stem = net.video_stem(frames)
    text = "7000 sound samples are 7 steps of 1024, the frames have 8 steps: every video step needs"
    with pytest.raises(ValueError, match=text):
        net.fuse(stem, sound[:, :, :7000])
    with pytest.raises(ValueError, match="3 sound samples are 0 steps of 1024"):
        net.fuse(stem, sound[:, :, :3])


def test_wrong_shapes_are_refused(build_net: BuildMultisensory, random_clips: RandomClips) -> None:
    net = build_net(NARROW)
    frames, sound = random_clips(2, 4, 32, 32, 4_000)
    with pytest.raises(ValueError, match=r"frames must be \(b, 3, t, h, w\), got shape \(2, 4, 3"):
        net.video_stem(frames.transpose(1, 2))
    stem = net.video_stem(frames)
    for wrong in (sound[:, :1], sound[:1], sound[0]):
        with pytest.raises(ValueError, match=r"sound must be \(2, 2, n\), .*; repeat the channel"):
            net.fuse(stem, wrong)


def test_companding() -> None:
    seen = compand(torch.tensor([[[-1.0, 0.0, 1.0], [0.5, -0.5, 1 / 255]]]))
    half = math.log(128.5) / math.log(256)
    expected = torch.tensor([[[-1.0, 0.0, 1.0], [half, -half, math.log(2) / math.log(256)]]])
    torch.testing.assert_close(seen, expected)


def test_cells_are_random_in_training_alone_and_follow_the_generator(
    build_net: BuildMultisensory, random_clips: RandomClips
) -> None:
    net = build_net(NARROW.model_copy(update={"norm": "group"}))
    frames, sound = random_clips(2, 30, 32, 32, 22_000)

    def logits(seed: int | None) -> Tensor:
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        return net(frames, sound, generator=generator).detach()

    assert torch.equal(logits(1), logits(2))
    net.train()
    assert torch.equal(logits(1), logits(1)) and not torch.equal(logits(1), logits(2))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert not torch.equal(logits(None), logits(None))


def test_a_preset_or_a_table_names_a_network() -> None:
    adapter: TypeAdapter = TypeAdapter(MultisensoryChoice)
    assert multisensory_config(adapter.validate_python("multisensory")) == MultisensoryConfig()
    table = adapter.validate_python({"width": 8, "space_strides": [2, 1, 2, 2, 1]})
    assert multisensory_config(table).space_strides == (2, 1, 2, 2, 1)
    for wrong, text in (
        ("huge", "multisensory-tiny"),
        ({"depth": 3}, "Extra inputs are not permitted"),
        ({"time_strides": [2, 2, 2]}, "Field required"),
        ({"space_strides": [2, 2, 2, 2, 3]}, "Input should be 1 or 2"),
        ({"norm": "layer"}, "'renorm', 'batch' or 'group'"),
    ):
        with pytest.raises(ValidationError, match=text):
            adapter.validate_python(wrong)


def test_weights_are_drawn_as_published_from_the_global_generator() -> None:
    nets = []
    for _ in range(2):
        with torch.random.fork_rng():
            torch.manual_seed(5)
            nets.append(build_multisensory(MultisensoryConfig(width=32, blocks_per_stage=1)))
    weight = nets[0].joint.stage4[0].conv2.weight
    assert torch.equal(weight, nets[1].joint.stage4[0].conv2.weight)
    variance = 2 / (128 * 27)  # 2 / fan-in
    assert weight.var().item() == pytest.approx(variance, rel=0.01)
    assert weight.abs().max().item() <= 2 * math.sqrt(variance) / 0.8796
    assert weight.abs().max().item() > 1.9 * math.sqrt(variance) / 0.8796
    for name, parameter in nets[0].named_parameters():
        if name.endswith("bias"):
            assert torch.all(parameter == 0), name
