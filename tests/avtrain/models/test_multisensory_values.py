"""The multisensory network against a plain float64 computation of the whole."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from avtrain.models import MultisensoryConfig, MultisensoryNet

pytestmark = pytest.mark.usefixtures("one_torch_thread")

BuildMultisensory = Callable[[MultisensoryConfig], MultisensoryNet]
RandomClips = Callable[..., tuple[Tensor, Tensor]]


class Plain:
    """The network from its tables: explicit padding, literal tiling and concatenation."""

    def __init__(self, net: MultisensoryNet) -> None:
        self.state = net.state_dict()
        self.config = net.config

    def conv(self, x: Tensor, name: str, *strides: int) -> Tensor:
        weight, bias = self.state[f"{name}.weight"], self.state.get(f"{name}.bias")
        pads: list[int] = []
        for size, kernel, stride in zip(x.shape[2:], weight.shape[2:], strides, strict=True):
            total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
            pads = [total // 2, total - total // 2, *pads]
        function = F.conv1d if x.ndim == 3 else F.conv3d
        return function(F.pad(x, pads), weight, bias, stride=strides)

    def norm(self, x: Tensor, name: str) -> Tensor:
        def of(part: str) -> Tensor:
            return self.state[f"{name}.{part}"].reshape(-1, *[1] * (x.ndim - 2))

        y = (x - of("running_mean")) / torch.sqrt(of("running_var") + 1e-3)
        if f"{name}.weight" in self.state:
            y = y * of("weight")
        return y + of("bias")

    def block(self, x: Tensor, name: str, *strides: int) -> Tensor:
        y = torch.relu(
            self.norm(self.conv(x, f"{name}.conv1.conv", *strides), f"{name}.conv1.norm")
        )
        y = self.conv(y, f"{name}.conv2", *[1] * len(strides))
        if f"{name}.shortcut.conv.weight" in self.state:
            short = self.conv(x, f"{name}.shortcut.conv", *strides)
            short = self.norm(short, f"{name}.shortcut.norm")
        else:
            short = x[(..., *(slice(None, None, s) for s in strides))]
        return torch.relu(self.norm(y + short, f"{name}.norm"))

    def __call__(self, frames: Tensor, sound: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        a = torch.sign(sound) * torch.log(1 + 255 * sound.abs()) / math.log(256)
        a = torch.relu(self.norm(self.conv(a, "sound.conv1.conv", 4), "sound.conv1.norm"))
        a = F.max_pool1d(a, 4, 4)
        for number in (2, 3, 4):
            a = self.block(a, f"sound.block{number}", 4)
        v = self.conv(frames, "video.conv1.conv", 2, 2, 2)
        v = torch.relu(self.norm(v, "video.conv1.norm"))
        height, width = (max((math.ceil(n / 2) - 1) * 2 + 3 - n, 0) for n in v.shape[3:])
        pads = (width // 2, width - width // 2, height // 2, height - height // 2, 0, 0)
        v = F.max_pool3d(F.pad(v, pads, value=-math.inf), (1, 3, 3), (1, 2, 2))
        v = self.block(v, "video.blocks2.0", 1, 1, 1)
        scale0 = v = self.block(v, "video.blocks2.1", 2, 2, 2)
        num_steps, num_cells = a.shape[2], v.shape[2]
        edges = [i * num_steps // num_cells for i in range(num_cells + 1)]
        cells = [a[:, :, edges[i] : edges[i + 1]].amax(2) for i in range(num_cells)]
        a = self.conv(torch.stack(cells, 2), "joint.sound_conv.conv", 1)
        a = torch.relu(self.norm(a, "joint.sound_conv.norm"))
        if not self.config.use_sound:
            a = torch.zeros_like(a)
        tiled = a[..., None, None].repeat(1, 1, 1, *v.shape[3:])
        both = torch.cat([v, tiled], 1)
        channels = self.config.width
        short = torch.cat([both[:, :channels], both[:, -channels:]], 1)
        x = self.conv(both, "joint.merge1.conv", 1, 1, 1)
        x = torch.relu(self.norm(x, "joint.merge1.norm"))
        x = self.conv(x, "joint.merge2", 1, 1, 1)
        x = torch.relu(self.norm(x + short, "joint.merge_norm"))
        x = self.block(x, "joint.stage3.0", 1, 1, 1)
        scale1 = x = self.block(x, "joint.stage3.1", 1, 1, 1)
        x = self.block(x, "joint.stage4.0", 2, 2, 2)
        x = self.block(x, "joint.stage4.1", 1, 1, 1)
        last = self.config.space_strides[-1]
        x = self.block(x, "joint.stage5.0", 1, last, last)
        scale2 = self.block(x, "joint.stage5.1", 1, 1, 1)
        pooled = scale2.mean((2, 3, 4), keepdim=True)
        return scale0, scale1, scale2, self.conv(pooled, "head", 1, 1, 1).flatten(1)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"space_strides": (2, 2, 2, 2, 1)},
        {"gamma": True, "num_outputs": 3},
        {"use_sound": False},
    ],
)
@pytest.mark.parametrize("size", [(13, 40, 33, 6_000), (16, 32, 32, 8_540)])
def test_values_are_those_of_a_plain_computation(
    build_net: BuildMultisensory,
    random_clips: RandomClips,
    settings: dict,
    size: tuple[int, int, int, int],
) -> None:
    net = build_net(MultisensoryConfig(width=2).model_copy(update=settings))
    frames, sound = random_clips(2, *size)
    with torch.no_grad():
        expected = Plain(net)(frames, sound)
        features = net.fuse(net.video_stem(frames), sound)
        logits = net(frames, sound)
    seen = (features.scale0, features.scale1, features.scale2, logits)
    for ours, plain in zip(seen, expected, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-9)
    assert logits.abs().min() > 1e-3  # not a comparison of zeros
    means = features.over_place()
    torch.testing.assert_close(means[1], expected[1].mean((3, 4)))
    assert repr(features).startswith(f"FusedFeatures({tuple(features.scale0.shape)}, (2, 4, ")
