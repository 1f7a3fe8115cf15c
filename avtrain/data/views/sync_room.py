"""Which samples are long enough for a clip and for what it is shifted by."""

import math
from dataclasses import dataclass

from avtrain.data.samples import SampleTable
from avtrain.data.views.sync_config import SyncViewConfig
from avtrain.errors import DataError


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplesWithRoom:
    """Samples that can be used, and what is to be said of the others."""

    samples: tuple[int, ...]
    left_out: str | None
    """How many are too short, and what would admit them; None where none is."""


def samples_with_room(
    view: SyncViewConfig,
    table: SampleTable,
    samples: tuple[int, ...],
    *,
    sample_rate_hz: int,
    min_starts: int,
    where: str,
) -> SamplesWithRoom:
    """Those of `samples` in which a clip has at least `min_starts` starts.

    Raises:
        DataError: None has.
    """
    usable = tuple(
        sample
        for sample in samples
        if num_starts(view, table, sample=sample, sample_rate_hz=sample_rate_hz) >= min_starts
    )
    if len(usable) == len(samples):
        return SamplesWithRoom(samples=usable, left_out=None)
    lengths_s = [length_s(table, sample, sample_rate_hz) for sample in set(samples) - set(usable)]
    text = (
        f"{len(lengths_s)} of {len(samples)} samples of {where} are too short, with "
        f"{min(lengths_s):.2f} to {max(lengths_s):.2f} s of picture and sound; "
        f"{room_text(view, min_starts=min_starts)}"
    )
    if not usable:
        raise DataError(text)
    return SamplesWithRoom(samples=usable, left_out=f"left out: {text}")


def room_text(view: SyncViewConfig, *, min_starts: int) -> str:
    """How much is needed, and what to set where there is less."""
    shift_s = (min_starts - 1) / view.fps
    return (
        f"{view.clip_s:.2f} s of clip and {shift_s:.2f} s to shift it are "
        f"{view.clip_s + shift_s:.2f} s: lower sync.view.clip_frames={view.clip_frames}, or "
        "sync.view.min_shift_s (with objective 'offset', sync.offsets.max_s)"
    )


def num_starts(
    view: SyncViewConfig, table: SampleTable, *, sample: int, sample_rate_hz: int
) -> int:
    """Frames of the view's rate at which a whole clip fits into a sample with its sound.

    As many as frames are left over, which leaves out the very last start, as the released reader
    does: 177 of a published sample, 302 frames at 29.97 fps and 10.1 s of sound at 21 kHz.
    """
    stored_s = float(table.num_frames[sample] / table.frame_fps[sample])
    spare = math.floor(stored_s * view.fps + 1e-6) - view.clip_frames
    of_frames = max(spare, 1) if spare >= 0 else 0
    free = int(table.num_audio_samples[sample]) - view.num_sound_samples(sample_rate_hz)
    of_sound = math.floor(free * view.fps / sample_rate_hz + 1e-6) + 1
    while of_sound > 0 and view.first_sound_sample(of_sound - 1, sample_rate_hz) > free:
        of_sound -= 1  # rounding up moved the last start beyond the sound
    return max(min(of_frames, of_sound), 0)


def length_s(table: SampleTable, sample: int, sample_rate_hz: int) -> float:
    """How long a sample has both picture and sound."""
    of_frames = float(table.num_frames[sample] / table.frame_fps[sample])
    return min(of_frames, float(table.num_audio_samples[sample] / sample_rate_hz))
