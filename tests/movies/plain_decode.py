"""What a movie plays, by PyAV alone: the answer that outputs of ours are held against.

Nothing of avdata is used here, so that a fault of our decoder cannot hide itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np

_CLOCK_UNIT = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Played:
    """Pictures and sound of a movie on its own clock, whose 0 is the start of its first stream."""

    times_s: np.ndarray
    """When each picture is shown, float64, rising."""
    end_s: float
    """Until when the last one is shown."""
    brightness: np.ndarray
    """Mean luma of each picture in [0, 255]."""
    sound: np.ndarray
    """Mean of the channels from 0 on, float32 (n,); zeros where there is none."""
    rate_hz: int
    num_faults: int
    """Packets that do not decode."""

    @property
    def frame_s(self) -> float:
        """Usual distance of the pictures."""
        if len(self.times_s) < 2:
            return self.end_s - float(self.times_s[0])
        return float(np.median(np.diff(self.times_s)))

    @property
    def sound_end_s(self) -> float:
        """Until when there is sound."""
        return len(self.sound) / self.rate_hz

    @property
    def length_s(self) -> float:
        """Until when there is anything."""
        return max(self.end_s, self.sound_end_s)

    def flashes_s(self, level: float = 128.0) -> np.ndarray:
        """When pictures become bright."""
        lit = self.brightness > level
        found: np.ndarray = self.times_s[1:][lit[1:] & ~lit[:-1]]
        return found

    def beeps_s(self, level: float = 0.2, quiet_s: float = 0.04) -> np.ndarray:
        """When the sound becomes loud after `quiet_s` below the level, to a sample."""
        loud = np.flatnonzero(np.abs(self.sound) > level)
        first = np.diff(loud, prepend=-self.rate_hz) > quiet_s * self.rate_hz
        found: np.ndarray = loud[first] / self.rate_hz
        return found


def play(path: Path) -> Played:
    """Decode a movie whole: the pictures and the sound that a player would choose."""
    with av.open(str(path), metadata_errors="ignore") as container:
        origin_s = max((container.start_time or 0) / _CLOCK_UNIT, 0.0)
        pictures = _decoded(container, "video")
        shown: list[tuple[float, float]] = []
        bad, usual_s, length_s = 0, 0.04, 0.0
        for frame in pictures:
            if frame is None:
                bad += 1
                continue
            tick_s = float(frame.time_base or 0)
            time_s = None if frame.pts is None else frame.pts * tick_s - origin_s
            if time_s is None:
                time_s = shown[-1][0] + usual_s if shown else 0.0
            if shown and time_s <= shown[-1][0]:
                continue
            length_s = (frame.duration or 0) * tick_s
            shown.append((time_s, _luma(frame)))
    times = np.array([time_s for time_s, _ in shown])
    if len(times) > 1:
        length_s = max(length_s, float(np.median(np.diff(times))))
    with av.open(str(path), metadata_errors="ignore") as container:
        sound, rate_hz, bad_sound = _sound(container, origin_s)
    return Played(
        times_s=times,
        end_s=float(times[-1]) + length_s,
        brightness=np.array([luma for _, luma in shown]),
        sound=sound,
        rate_hz=rate_hz,
        num_faults=bad + bad_sound,
    )


def _luma(frame: Any) -> float:
    plane = np.frombuffer(frame.planes[0], np.uint8)
    depth = 2 if "10" in frame.format.name else 1
    rows = plane.reshape(-1, frame.planes[0].line_size)[: frame.height, : frame.width * depth]
    return float(rows.view(np.uint16).mean() / 4 if depth == 2 else rows.mean())


def _sound(container: Any, origin_s: float) -> tuple[np.ndarray, int, int]:
    """Mono sound laid out by the times of its frames."""
    parts: list[tuple[float | None, np.ndarray]] = []
    rate_hz, bad = 0, 0
    for frame in _decoded(container, "audio"):
        if frame is None:
            bad += 1
            continue
        rate_hz = rate_hz or frame.sample_rate
        start_s = None if frame.pts is None else frame.pts * float(frame.time_base) - origin_s
        parts.append((start_s, _mono(frame)))
    placed: list[tuple[int, np.ndarray]] = []
    end = 0
    for start_s, samples in parts:
        first = end if start_s is None else round(start_s * rate_hz)
        if placed and abs(first - end) < 0.005 * rate_hz:  # times of coarse clocks are no gaps
            first = end
        kept = samples[max(-first, 0) :]
        placed.append((max(first, 0), kept))
        end = max(end, max(first, 0) + len(kept))
    out = np.zeros(end, np.float32)
    for first, samples in placed:
        out[first : first + len(samples)] = samples
    return out, rate_hz, bad


def _mono(frame: Any) -> np.ndarray:
    values = frame.to_ndarray()
    if values.dtype.kind in "iu":
        info = np.iinfo(values.dtype)
        half = (float(info.max) - info.min + 1) / 2
        values = (values.astype(np.float64) - (info.min + half)) / half
    if not frame.format.is_planar:
        values = values.reshape(-1, frame.layout.nb_channels).T
    mean: np.ndarray = values.mean(axis=0, dtype=np.float64).astype(np.float32)
    return mean


def _decoded(container: Any, kind: Literal["video", "audio"]) -> Iterator[Any]:
    """Frames of the default track that is no cover, None for what does not decode."""
    tracks = [
        stream
        for stream in container.streams
        if stream.type == kind and not stream.disposition & stream.disposition.attached_pic
    ]
    flagged = [stream for stream in tracks if stream.disposition & stream.disposition.default]
    stream = (flagged or tracks)[0]
    packets = container.demux(stream)
    is_over = False
    while not is_over:
        try:
            packet = next(packets, None)
            is_over = packet is None
            if packet is not None:
                yield from packet.decode()
        except (av.FFmpegError, ValueError):
            yield None
