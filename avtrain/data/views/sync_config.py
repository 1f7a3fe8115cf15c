"""Settings of a sync view: a video clip with its own sound, and with sound from another time."""

import math
from typing import Literal

from pydantic import Field, model_validator

from avdata import Spec
from avtrain.data.views.pair_config import VideoViewConfig


class SyncViewConfig(Spec):
    """Clips and their shifts; the defaults are the released ones.

    Reference: Owens & Efros 2018 (arXiv 1804.03641), section 3, and the released configuration.
    """

    clip_frames: int = Field(default=125, ge=2)
    """Length of a clip, and of its sound, in frames of `fps`: 4.17 s."""
    fps: float = Field(default=29.97, gt=0)
    """Frames are the stored ones nearest to this rate."""
    frame_stride: int = Field(default=1, ge=1)
    """Of the clip's frames the network gets every so many-th; the sound stays whole. The first
    stage of the published training has 4."""
    min_shift_s: float = Field(default=2.17, gt=0)
    """Smallest distance of the shifted sound: 65 frames, so that clips share 2 s at most."""
    max_shift_s: float | None = Field(default=None, gt=0)
    """Largest distance; without a number, whatever the sample has room for."""
    short_side_px: int = Field(default=256, ge=16)
    """Short side of the frames of which `crop_px` pixels are cropped: the crop is
    `crop_px / short_side_px` of the stored frame, whatever its size."""
    crop_px: int = Field(default=224, ge=16)
    """Height and width of what the network sees."""
    aspect: Literal["squashed", "kept"] = "squashed"
    """`squashed`: frames are made square, as published, and all of their width is seen. `kept`: the
    crop is square in the frame, and of a wide picture its ends may be cut off."""
    flip_probability: float = Field(default=0.5, ge=0, le=1)
    mono: bool = False
    """Ablation: both channels are their mean."""
    static: bool = False
    """Ablation: the clip's middle frame stands still."""
    crop_on: Literal["auto", "loader", "device"] = "auto"
    """As in the views of pairs."""
    jpeg_decoder: Literal["auto", "cpu", "device"] = "auto"
    """As in the views of pairs."""

    @model_validator(mode="after")
    def _sizes_fit(self) -> "SyncViewConfig":
        if self.max_shift_s is not None and self.max_shift_s < self.min_shift_s:
            raise ValueError(
                f"max_shift_s={self.max_shift_s} is below min_shift_s={self.min_shift_s}; raise it"
            )
        if self.crop_px > self.short_side_px:
            raise ValueError(
                f"crop_px={self.crop_px} is cropped of short_side_px={self.short_side_px}, and "
                "cannot be larger; set both, as in 224 of 256"
            )
        return self

    @property
    def clip_s(self) -> float:
        """Length of a clip."""
        return self.clip_frames / self.fps

    @property
    def num_shown(self) -> int:
        """Frames that the network gets: the first one and every `frame_stride`-th after it."""
        return math.ceil(self.clip_frames / self.frame_stride)

    @property
    def shown_fps(self) -> float:
        """Rate of the frames that the network gets."""
        return self.fps / self.frame_stride

    @property
    def min_shift_frames(self) -> int:
        """Smallest distance in frames, at least 1."""
        return max(round(self.min_shift_s * self.fps), 1)

    @property
    def max_shift_frames(self) -> int | None:
        """Largest distance in frames; None where only the sample limits it."""
        if self.max_shift_s is None:
            return None
        return max(round(self.max_shift_s * self.fps), self.min_shift_frames)

    @property
    def video(self) -> VideoViewConfig:
        """The same frames, as readers of pairs know them."""
        return VideoViewConfig(
            clip_frames=self.num_shown,
            fps=self.shown_fps,
            crop_px=self.crop_px,
            crop_on=self.crop_on,
            jpeg_decoder=self.jpeg_decoder,
        )

    def num_sound_samples(self, sample_rate_hz: int) -> int:
        """Sound of a clip: 87,588 samples at 21 kHz."""
        return round(sample_rate_hz * self.clip_frames / self.fps)

    def first_sound_sample(self, frame: int, sample_rate_hz: int) -> int:
        """Where the sound of a clip begins whose first frame is `frame`."""
        return round(sample_rate_hz * frame / self.fps)

    def crop_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the crop within a stored frame, in its pixels."""
        share = self.crop_px / self.short_side_px
        if self.aspect == "kept":
            height = width = min(height, width)
        return max(round(share * height), 1), max(round(share * width), 1)
