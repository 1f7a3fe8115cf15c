"""Settings of the clips that are mixed, and the sizes that follow from them."""

from typing import Literal

from pydantic import Field

from avdata import Spec
from avtrain.data.views.pair_config import VideoViewConfig


class MixtureViewConfig(Spec):
    """One clip of a sample with exactly its own sound; the defaults are the released ones.

    Reference: Owens and Efros 2018, section 5, and the released configuration.
    """

    clip_frames: int = Field(default=63, ge=1)
    """Length of a clip, and of its sound, in frames of `fps`: 2.1 s."""
    fps: float = Field(default=29.97, gt=0)
    """Frames are the stored ones nearest to this rate."""
    short_side_px: int = Field(default=256, ge=16)
    """Short side of the frames of which `crop_px` pixels are cropped: the crop is
    `crop_px / short_side_px` of the stored frame, whatever its size."""
    crop_px: int = Field(default=224, ge=16)
    """Height and width of what the network sees."""
    aspect: Literal["squashed", "kept"] = "squashed"
    """`squashed`: frames are made square, as published, and all of their width is seen. `kept`: the
    crop is square in the frame, and of a wide picture its ends may be cut off."""
    flip_probability: float = Field(default=0.5, ge=0, le=1)
    gain_octaves: float = Field(default=0.0, ge=0, le=4)
    """In training each sound is made 2^u times as loud, u uniform in [-x, x]; 0.25 in the released
    code, where it is off."""
    jitter_frames: int = Field(default=0, ge=0)
    """In training the sound starts up to so many frames before or after its picture; 3 in the
    released code, where it is off."""
    hidden_share: float = Field(default=0.0, ge=0, le=1)
    """Of the clips, in training, the share that is squeezed into a part of its picture, the rest of
    which is gray, as `avtrain separate` shows one person of several: into the left or the right
    half, or as often into a box. 0 as published."""
    mono: bool = False
    """Ablation: both channels are their mean."""
    static: bool = False
    """Ablation: the clip's middle frame stands still."""
    crop_on: Literal["auto", "loader", "device"] = "auto"
    """As in the views of pairs."""
    jpeg_decoder: Literal["auto", "cpu", "device"] = "auto"
    """As in the views of pairs."""

    @property
    def video(self) -> VideoViewConfig:
        """The same frames, as readers of pairs know them."""
        return VideoViewConfig(
            clip_frames=self.clip_frames,
            fps=self.fps,
            crop_px=self.crop_px,
            crop_on=self.crop_on,
            jpeg_decoder=self.jpeg_decoder,
        )

    def num_samples(self, sample_rate_hz: int) -> int:
        """Sound of a clip: 44,144 samples at 21 kHz."""
        return round(sample_rate_hz * self.clip_frames / self.fps)

    def crop_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the crop within a stored frame, in its pixels."""
        share = min(self.crop_px / self.short_side_px, 1.0)
        if self.aspect == "kept":
            height = width = min(height, width)
        return max(round(share * height), 1), max(round(share * width), 1)
