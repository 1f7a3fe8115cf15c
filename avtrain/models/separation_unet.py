"""U-net of the on/off-screen separation: a mixture's spectrogram, and what is seen, to two sources.

    c1 .. c9    halve the frequency, from c3 on the time too; 128x1024 -> 128x512 -> ... -> 1x2
    c3 c4 c5    the mean over the picture of the three scales of the multisensory network, resized
                to the level's time and repeated over frequency, is appended to the channels
    d1 .. d8    transposed convolutions back, each on the output before it and its level's skip
    heads       the last one, for both sources: magnitude and phase each

Reference: Owens and Efros 2018, section 5 and released code; the form is that of Isola et al. 2017.
Letters: f frequency bins, t spectrogram frames.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from avtrain.models.batch_renorm import BatchNorm
from avtrain.models.config import NetConfig
from avtrain.models.fused_blocks import GroupNorm, NormKind, Norms
from avtrain.models.same_padding import SameConv2d, SameTransposedConv2d

if TYPE_CHECKING:
    from jaxtyping import Float

NUM_FREQUENCY_LEVELS = 2
"""The first levels halve the frequency alone."""
VIDEO_LEVELS = (3, 4, 5)
"""The levels after which the scales of the video are appended, counted from 1."""


class SeparationUnetConfig(NetConfig):
    """Shape of the u-net; the defaults are the published one, for 128x1024 spectrograms."""

    width: PositiveInt = Field(default=64, description="channels of c1; then 2x 4x 8x 8x ...")
    num_levels: int = Field(
        default=9,
        ge=5,
        description="frequencies must be a multiple of 2^levels, frames of 2^(levels - 2)",
    )
    norm: NormKind = Field(
        default="renorm",
        description="renorm: batch renormalization everywhere; batch: batch normalization; group: "
        "of single examples",
    )
    norm_eps: PositiveFloat = 1e-5
    norm_decay: float = Field(
        default=0.9997, ge=0, lt=1, description="of the averages that evaluation normalizes with"
    )

    activation: Literal["tanh", "none"] = Field(
        default="tanh", description="of the outputs; none: the caller applies one, in float32"
    )

    @property
    def frame_multiple(self) -> int:
        """What divides the number of spectrogram frames."""
        return int(2 ** (self.num_levels - NUM_FREQUENCY_LEVELS))

    @property
    def bin_multiple(self) -> int:
        """What divides the number of frequency bins."""
        return int(2**self.num_levels)

    def channels(self, level: int) -> int:
        """Outputs of the encoder at a level, counted from 1, without what is appended."""
        return int(self.width * min(2 ** (level - 1), 8))


class SeparationUnet(nn.Module):
    """The u-net; weights are drawn from the global generator: fork it outside.

    Args:
        config: Its shape.
        video_channels: Of the three scales; None for a network that only hears.
    """

    def __init__(
        self, config: SeparationUnetConfig, *, video_channels: tuple[int, int, int] | None
    ) -> None:
        super().__init__()
        self.config = config
        self.video_channels = video_channels
        norms = Norms(kind=config.norm, gamma=True, eps=config.norm_eps, decay=config.norm_decay)
        appended = (
            {} if video_channels is None else dict(zip(VIDEO_LEVELS, video_channels, strict=True))
        )
        levels = range(1, config.num_levels + 1)
        skip = {level: config.channels(level) + appended.get(level, 0) for level in levels}
        skip[0] = 2
        self.encoder = nn.ModuleList(
            UnetConv(
                SameConv2d(
                    skip[level - 1],
                    config.channels(level),
                    (4, 4),
                    stride=_stride(level),
                    bias=False,
                ),
                norms,
            )
            for level in levels
        )
        # the deepest level has no skip beside its own output
        into = {level: config.channels(level) + skip[level] for level in levels}
        into[config.num_levels] = skip[config.num_levels]
        self.decoder = nn.ModuleList(
            UnetConv(
                SameTransposedConv2d(
                    into[level],
                    config.channels(level - 1),
                    (4, 4),
                    stride=_stride(level),
                    bias=False,
                ),
                norms,
            )
            for level in range(config.num_levels, 1, -1)
        )
        self.heads = SameTransposedConv2d(into[1], 4, (4, 4), stride=_stride(1), bias=True)
        self.apply(_init_weights)

    def forward(
        self,
        spectrogram: Float[Tensor, "b 2 t f"],
        video: tuple[Tensor, Tensor, Tensor] | None = None,
    ) -> tuple[Float[Tensor, "b 2 t f"], Float[Tensor, "b 2 t f"]]:
        """What is on and what is off the screen, each magnitude and phase, in [-1, 1].

        Args:
            spectrogram: Of the mixture: normalized magnitude and phase / pi, both in [-1, 1].
            video: Scales of the multisensory network, each (b, c, steps), averaged over the
                picture, any number of steps over the time of the spectrogram.

        Raises:
            ValueError: The spectrogram's sizes are no multiples, or the video is not what the
                network was built for.
        """
        self._check(spectrogram, video)
        appended = {} if video is None else dict(zip(VIDEO_LEVELS, video, strict=True))
        skips: list[Tensor] = []
        x = spectrogram
        for level, conv in enumerate(self.encoder, start=1):
            skip: Tensor = conv(x)
            x = F.leaky_relu(skip, 0.2)
            if level in appended:
                rows, bins = x.shape[2:]
                steps = resize_steps(appended[level], rows).to(x.dtype)
                # here what the decoder gets has passed the nonlinearity; elsewhere it has not
                skip = x = torch.cat([x, steps[..., None].expand(-1, -1, -1, bins)], dim=1)
            skips.append(skip)
        x = skips.pop()
        for conv in self.decoder:
            x = torch.cat([conv(F.relu(x)), skips.pop()], dim=1)
        outputs: Tensor = self.heads(F.relu(x))
        if self.config.activation == "tanh":
            outputs = torch.tanh(outputs)
        return outputs[:, :2], outputs[:, 2:]

    def _check(self, spectrogram: Tensor, video: tuple[Tensor, ...] | None) -> None:
        frames, bins = self.config.frame_multiple, self.config.bin_multiple
        shape = tuple(spectrogram.shape)
        if len(shape) != 4 or shape[1] != 2 or shape[2] % frames or shape[3] % bins:
            raise ValueError(
                f"the spectrogram must be (b, 2, t, f) with t a multiple of {frames} and f of "
                f"{bins} for num_levels={self.config.num_levels}, got shape {shape}; take other "
                "lengths or fewer levels"
            )
        if self.video_channels is None:
            if video is not None:
                raise ValueError("this u-net only hears: it was built without video_channels")
            return
        seen = None if video is None else [tuple(x.shape[:2]) for x in video]
        allowed = [(shape[0], channels) for channels in self.video_channels]
        if seen != allowed:
            raise ValueError(
                f"video must be three tensors (b, c, steps) whose (b, c) are {allowed}, got {seen}"
            )


class UnetConv(nn.Module):
    """Convolution, or transposed convolution, without bias, then normalization."""

    def __init__(self, conv: SameConv2d | SameTransposedConv2d, norms: Norms) -> None:
        super().__init__()
        self.conv = conv
        self.norm = norms.after_sum(conv.out_channels)

    def forward(self, x: Float[Tensor, "b c t f"]) -> Float[Tensor, "b c2 t2 f2"]:
        """Normalized outputs, before any nonlinearity."""
        y: Tensor = self.norm(self.conv(x))
        return y


def resize_steps(x: Float[Tensor, "b c s"], num_steps: int) -> Float[Tensor, "b c s2"]:
    """Linear interpolation at i * steps / num_steps, without an offset of half a step.

    Behind the last step its value stays.

    Reference: tf.image.resize_images of TensorFlow 1, align_corners=False.
    """
    steps = x.shape[2]
    place = torch.arange(num_steps, device=x.device) * steps
    before = place // num_steps
    after = (before + 1).clamp(max=steps - 1)
    weight = (place % num_steps).to(x.dtype) / num_steps
    return torch.lerp(x[:, :, before], x[:, :, after], weight)


def _stride(level: int) -> tuple[int, int]:
    return (1 if level <= NUM_FREQUENCY_LEVELS else 2, 2)


def _init_weights(module: nn.Module) -> None:
    """Weights N(0, 0.02), scales N(1, 0.02), biases 0; for `Module.apply`."""
    if isinstance(module, (SameConv2d, SameTransposedConv2d)):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, (BatchNorm, GroupNorm)) and module.weight is not None:
        nn.init.normal_(module.weight, mean=1.0, std=0.02)
