"""Settings of `avdata index`; light, so that processes know them without a decoder."""

from typing import Literal

from pydantic import Field

from avdata.config import LimitsConfig
from avdata.schema import AudioSpec, Spec, VideoSpec

FrameKind = Literal["video", "pictures"]
"""Kind of frames that samples of a set have."""


class IndexConfig(Spec):
    """Settings by which the samples of third-party tars are read as clips."""

    fields: tuple[Literal["frames", "audio"], ...] = ("frames", "audio")
    """Fields that a sample must have."""
    video: VideoSpec = VideoSpec()
    """For videos, fps is the rate of the frames that are taken; for numbered images, their own."""
    audio: AudioSpec = AudioSpec()
    """Rate and channels that sound gets when it is read."""
    npy_rate_hz: int | None = Field(default=None, ge=1000, le=192000)
    """Sample rate of `.npy` sound."""
    min_duration_s: float = Field(default=0.5, ge=0)
    label: str = "auto"
    source: str | None = None
    """Name of the value in the JSON member by which samples of one medium are known; without it
    each sample is a medium of its own."""
    decode: bool = False
    """Take the times of pictures from decoding them all, instead of from their packets."""
    limits: LimitsConfig = LimitsConfig()
    """Those of `avdata build`, a clip being a sample."""
