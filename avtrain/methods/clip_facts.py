"""What methods over short clips tell applications: everything that has to be cut for them."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipFacts:
    """One clip as a method takes it."""

    clip_frames: int
    """Frames that the network gets."""
    fps: float
    """Their rate."""
    crop_px: int
    """Their height and width."""
    sound_rate_hz: int
    num_samples: int
    """Sound of a clip, of two channels; it begins at the time of the first frame."""
