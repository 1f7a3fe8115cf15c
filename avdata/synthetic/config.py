"""What kind of scenes are made: the settings of `avdata synth`."""

from pydantic import Field, model_validator

from avdata.schema import Spec
from avdata.synthetic.object_class import OBJECT_CLASSES

AAC_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
"""Sample rates up to 48 kHz that AAC knows."""


class SceneConfig(Spec):
    """Everything that shapes a scene, but for the seed and the index of the clip."""

    duration_s: float = Field(default=10.0, ge=0.5, le=600)
    fps: int = Field(default=25, ge=5, le=120)
    size_px: int = Field(default=128, ge=32, le=1024, multiple_of=2)
    """Height of the picture, and its width unless `width_px` is given."""
    width_px: int | None = Field(default=None, ge=32, le=2048, multiple_of=2)
    sample_rate_hz: int = Field(default=48000, ge=8000, le=48000)
    """Rate of the stereo sound; at 48 kHz an AAC block is 21 ms, which keeps its pre-echo short."""
    num_classes: int = Field(default=8, ge=1, le=len(OBJECT_CLASSES))
    max_objects: int = Field(default=3, ge=1, le=6)
    """Each clip has 1 to this many objects that are seen and heard, all counts equally likely."""
    off_screen_probability: float = Field(default=0.2, ge=0, le=1)
    """Chance that a clip has one more object that is heard and not seen."""
    silent_probability: float = Field(default=0.3, ge=0, le=1)
    """Chance that a clip has one more object that moves like the others, and neither sounds nor
    flashes."""
    min_radius: float = Field(default=0.075, gt=0, le=0.2)
    max_radius: float = Field(default=0.17, gt=0, le=0.25)
    """Radius of objects as a share of the picture's shorter side; pitch follows it."""
    min_strikes_hz: float = Field(default=1.5, ge=0.5, le=4)
    max_strikes_hz: float = Field(default=3.5, ge=0.5, le=4)
    """Mean strikes a second of one object."""
    noise_level: float = Field(default=0.01, ge=0, le=1)
    """Largest RMS of the background noise; a strike at full force has an RMS near 0.2."""
    background_variety: float = Field(default=1.0, ge=0, le=1)
    """How far backgrounds differ: 0 is the same gray in all clips, so that nothing but the objects
    tells one from another."""
    camera_motion: float = Field(default=0.03, ge=0, le=0.2)
    """Largest shift of the whole picture, as a share of its shorter side."""

    @model_validator(mode="after")
    def _consistent(self) -> "SceneConfig":
        if self.min_radius >= self.max_radius:
            raise ValueError(f"{self.min_radius=} must be below {self.max_radius=}")
        if self.camera_motion + 1.25 * self.max_radius > 0.4:
            raise ValueError(
                f"{self.camera_motion=} and {self.max_radius=} leave objects no room; "
                "camera_motion + 1.25 * max_radius must be at most 0.4"
            )
        if self.min_strikes_hz > self.max_strikes_hz:
            raise ValueError(f"{self.min_strikes_hz=} must not exceed {self.max_strikes_hz=}")
        if self.sample_rate_hz not in AAC_RATES_HZ:
            raise ValueError(f"{self.sample_rate_hz=} must be one of {AAC_RATES_HZ} for AAC")
        return self

    @property
    def height_px(self) -> int:
        return self.size_px

    @property
    def frame_width_px(self) -> int:
        return self.size_px if self.width_px is None else self.width_px

    @property
    def short_side_px(self) -> int:
        return min(self.height_px, self.frame_width_px)

    @property
    def num_frames(self) -> int:
        return max(1, round(self.duration_s * self.fps))

    @property
    def num_samples(self) -> int:
        return round(self.duration_s * self.sample_rate_hz)
