"""A person's video file as the applications take it: what it must hold, and faults that name it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from avdata import LimitsConfig, MediaError, media_facts
from avtrain.errors import VideoError

SILENT_PEAK = 1e-3
"""Sound that stays below -60 dB of full scale is silence, as in the builder's verdicts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VideoFile:
    """A medium with pictures and sound."""

    path: Path
    width_px: int
    height_px: int
    """As shown, both even."""
    fps: float
    """Mean rate that the container states; 0 where it states none."""
    start_s: float
    """When the first picture is shown."""
    sound_rate_hz: int
    num_channels: int
    duration_s: float | None
    """That the header claims."""
    limits: LimitsConfig = field(default_factory=LimitsConfig)


def open_video(path: Path, *, purpose: str) -> VideoFile:
    """The facts of a file that has pictures and sound.

    Args:
        path: A media file.
        purpose: What needs both, for the message, as "localization".

    Raises:
        VideoError: There is no file, it is no medium, or it lacks pictures or sound.
    """
    if not path.is_file():
        kind = "a folder" if path.is_dir() else "missing"
        raise VideoError(f"{path} is {kind}; give one video file")
    limits = LimitsConfig()
    with media_faults(path):
        facts = media_facts(path, limits)
    pictures, sound = facts.pictures, facts.sound
    missing = [n for n, found in (("pictures", pictures), ("sound", sound)) if found is None]
    if pictures is None or sound is None:
        raise VideoError(
            f"{path} has no {' and no '.join(missing)}, {purpose} needs pictures and sound; give "
            "a video with both"
        )
    return VideoFile(
        path=path,
        width_px=pictures.width_px,
        height_px=pictures.height_px,
        fps=pictures.fps,
        start_s=pictures.start_s,
        sound_rate_hz=sound.sample_rate_hz,
        num_channels=sound.num_channels,
        duration_s=facts.duration_s,
        limits=limits,
    )


@contextmanager
def media_faults(path: Path) -> Iterator[None]:
    """Names the file in faults that its decoder finds.

    Raises:
        VideoError: For a MediaError inside.
    """
    try:
        yield
    except MediaError as error:
        raise VideoError(f"{path} cannot be used: {error.message} ({error.reason})") from None
