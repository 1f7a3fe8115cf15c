"""The u-net of the separation with the multisensory network beside it, trained together.

Reference: Owens and Efros 2018, section 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from avtrain.models.multisensory import build_multisensory
from avtrain.models.multisensory_config import MultisensoryConfig
from avtrain.models.separation_unet import SeparationUnet, SeparationUnetConfig

if TYPE_CHECKING:
    from jaxtyping import Float


class SeparationNet(nn.Module):
    """Both networks; weights are drawn from the global generator: fork it outside.

    Args:
        unet: Shape of the u-net.
        multisensory: Of the network that sees and hears; None for a u-net that only hears.
    """

    def __init__(self, unet: SeparationUnetConfig, multisensory: MultisensoryConfig | None) -> None:
        super().__init__()
        self.multisensory = None if multisensory is None else build_multisensory(multisensory)
        channels = None
        if multisensory is not None:
            width = multisensory.width
            channels = (width, 2 * width, multisensory.embedding_dim)
        self.unet = SeparationUnet(unet, video_channels=channels)
        if self.multisensory is not None:
            # nothing passes through it: several ranks would wait for its gradient
            self.multisensory.head.requires_grad_(False)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile the parts, as `torch.nn.Module.compile`."""
        if self.multisensory is not None:
            self.multisensory.compile(*args, **kwargs)
        self.unet.compile(*args, **kwargs)

    def forward(
        self,
        pictures: Float[Tensor, "b 3 t h w"],
        mixture: Float[Tensor, "b 2 n"],
        spectrogram: Float[Tensor, "b 2 s f"],
        *,
        generator: torch.Generator | None = None,
    ) -> tuple[Float[Tensor, "b 2 s f"], Float[Tensor, "b 2 s f"]]:
        """What the u-net says is on and off the screen.

        Args:
            pictures: In [-1, 1]; not looked at by a net that only hears.
            mixture: In [-1, 1], as long as the pictures.
            spectrogram: Of the mixture, as the u-net takes it.
            generator: Draws the cells of the fractional pooling in training; None: the global one.
        """
        seen = None
        if self.multisensory is not None:
            stem = self.multisensory.video_stem(pictures)
            seen = self.multisensory.fuse(stem, mixture, generator=generator).over_place()
        found: tuple[Tensor, Tensor] = self.unet(spectrogram, seen)
        return found
