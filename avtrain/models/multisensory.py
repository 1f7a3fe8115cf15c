"""The multisensory network: frames and the waveform, fused early, to features over time and place.

Frames pass through a 3-D stem to a quarter of their rate, the stereo waveform through a 1-D stem,
is pooled to the same steps and tiled over the picture; a joint 3-D trunk follows. A mean over time
and place and one affine map give the logits, and the same map at every cell the activation map.

    frames 125x224x224 -> V1 63x112x112 -> pool, V2 32x28x28 (scale 0) -> merge, J3 (scale 1)
    sound  87588       -> A1 21897 -> pool 5474 -> A2 .. A4 86 -> 32   ^  -> J4 16x14x14
                                                                          -> J5 16x7x7 (scale 2)

Reference: Owens and Efros 2018, "Audio-Visual Scene Analysis with Self-Supervised Multisensory
Features", section 3 and released code. Letters: k outputs of the head.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from avtrain.models.fractional_pool import even_boundaries, random_boundaries
from avtrain.models.fused_blocks import Norms, init_weights, without_autocast
from avtrain.models.multisensory_config import MultisensoryConfig
from avtrain.models.multisensory_stems import SoundStem, VideoStem
from avtrain.models.multisensory_trunk import FusedFeatures, JointTrunk
from avtrain.models.same_padding import SameConv3d

if TYPE_CHECKING:
    from jaxtyping import Float


class MultisensoryNet(nn.Module):
    """The fused network; weights are drawn from the global generator: fork it outside."""

    def __init__(self, config: MultisensoryConfig) -> None:
        super().__init__()
        self.config = config
        norms = Norms(
            kind=config.norm, gamma=config.gamma, eps=config.norm_eps, decay=config.norm_decay
        )
        self.sound = SoundStem(config, norms)
        self.video = VideoStem(config, norms)
        self.joint = JointTrunk(config, norms)
        self.head = SameConv3d(config.embedding_dim, config.num_outputs, (1, 1, 1), bias=True)
        self.apply(init_weights)
        if not config.use_sound:  # else several ranks would wait for their gradients
            self.sound.requires_grad_(False)
            self.joint.sound_conv.requires_grad_(False)

    @property
    def embedding_dim(self) -> int:
        """Channels of the last features."""
        return self.config.embedding_dim

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile the parts, as `torch.nn.Module.compile`: methods call them one by one."""
        for part in (self.sound, self.video, self.joint):
            part.compile(*args, **kwargs)

    def forward(
        self,
        frames: Float[Tensor, "b 3 t h w"],
        sound: Float[Tensor, "b 2 n"],
        *,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "b k"]:
        """Logits of each clip, float32; see `video_stem` and `fuse` for the arguments."""
        return self.logits(self.fuse(self.video_stem(frames), sound, generator=generator).scale2)

    def video_stem(self, frames: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b c0 t0 h0 w0"]:
        """Features of the frames alone, scale 0.

        Args:
            frames: In [-1, 1], any number and size.
        """
        if frames.ndim != 5 or frames.shape[1] != 3:
            raise ValueError(f"frames must be (b, 3, t, h, w), got shape {tuple(frames.shape)}")
        scale0: Tensor = self.video(frames)
        return scale0

    def fuse(
        self,
        stem: Float[Tensor, "b c0 t0 h0 w0"],
        sound: Float[Tensor, "b 2 n"],
        *,
        generator: torch.Generator | None = None,
    ) -> FusedFeatures:
        """Features of frames with their sound, at three depths.

        Args:
            stem: Of `video_stem`.
            sound: Two channels in [-1, 1], as long as the frames; they are companded here.
            generator: Draws the cells of the fractional pooling in training; None: the global one.

        Raises:
            ValueError: The sound has fewer steps than the video, or another batch size or shape.
        """
        if sound.ndim != 3 or sound.shape[:2] != (stem.shape[0], 2):
            raise ValueError(
                f"sound must be ({stem.shape[0]}, 2, n), two channels for each clip of the frames, "
                f"got shape {tuple(sound.shape)}; repeat the channel of mono sound"
            )
        if not self.config.use_sound:
            without: FusedFeatures = self.joint(stem, None, None)
            return without
        num_samples, num_cells = sound.shape[2], stem.shape[2]
        num_steps = self.config.sound_steps(num_samples)
        if num_steps < num_cells:
            raise ValueError(
                f"{num_samples} sound samples are {num_steps} steps of "
                f"{math.prod(self.config.sound_strides)}, the frames have {num_cells} steps: every "
                "video step needs a sound step; take sound as long as the frames, a higher rate, "
                "or smaller sound_strides"
            )
        if self.training:
            boundaries = random_boundaries(
                num_steps, num_cells, device=sound.device, generator=generator
            )
        else:
            boundaries = even_boundaries(num_steps, num_cells, device=sound.device)
        features: FusedFeatures = self.joint(stem, self.sound(sound), boundaries)
        return features

    def logits(self, scale2: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b k"]:
        """The head on the mean over time and place, float32: the mean of the activation map."""
        wide = torch.promote_types(scale2.dtype, torch.float32)
        return self._affine(scale2.mean(dim=(2, 3, 4), keepdim=True, dtype=wide)).flatten(1)

    def activation_map(self, scale2: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b k t h w"]:
        """The head at every cell, bias included, signed, float32.

        Positive cells speak for sound and picture in sync, negative ones against it; the paper
        takes the magnitude as the evidence for a source.

        Reference: Owens and Efros 2018, section 4, there without the bias.
        """
        return self._affine(scale2.to(torch.promote_types(scale2.dtype, torch.float32)))

    def _affine(self, x: Tensor) -> Tensor:
        with without_autocast(x.device):
            y: Tensor = self.head(x)
        return y


def build_multisensory(config: MultisensoryConfig) -> MultisensoryNet:
    """A new network with random weights."""
    return MultisensoryNet(config)
