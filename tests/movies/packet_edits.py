"""A movie with its packets edited: left out, moved in time, zeroed; the others keep their times."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from avdata.synthetic.movie import write_movie

TONE_HZ = 440
FPS = 25
RATE_HZ = 48000
KEPT_BYTES = 8
"""Of a spoiled packet: enough for a muxer to take it, too few to decode."""


@dataclass
class Edit:
    """One packet as it is about to be written."""

    kind: str
    """video or audio."""
    number: int
    """Of its track, from 0."""
    time_s: float | None
    """When it is shown or heard."""
    is_key: bool
    pts: int | None
    dts: int | None
    tick_s: float
    data: bytes

    def move(self, by_s: float) -> None:
        ticks = round(by_s / self.tick_s)
        self.pts = None if self.pts is None else self.pts + ticks
        self.dts = None if self.dts is None else self.dts + ticks


def counted_picture(number: int) -> np.ndarray:
    """Blocks that spell `number` in binary, and noise that no picture shares: (48, 160, 3)."""
    picture = np.random.default_rng(number).integers(40, 60, (48, 160, 3)).astype(np.uint8)
    for bit in range(10):
        if number >> bit & 1:
            picture[:, 16 * bit : 16 * bit + 16] = 235
    return picture


def read_number(picture: np.ndarray) -> int:
    """The number that a picture (h, w) or (h, w, 3) of `counted_picture` spells, at any size."""
    flat = picture.mean(2) if picture.ndim == 3 else picture
    columns = np.array_split(flat.mean(0), 10)
    return int(sum(1 << bit for bit, column in enumerate(columns) if column.mean() > 140))


def tone(seconds: float, rate_hz: int = RATE_HZ) -> np.ndarray:
    """(n, 1): a tone that is never silent for long."""
    n = np.arange(round(seconds * rate_hz))
    return (0.4 * np.sin(2 * np.pi * TONE_HZ * n / rate_hz)).astype(np.float32)[:, None]


def write_counted(
    path: Path,
    *,
    seconds: float = 12.0,
    bframes: int = 0,
    rate_hz: int = RATE_HZ,
    channels: int = 1,
    enlarged: int = 1,
) -> Path:
    """Numbered pictures at 25 fps, `enlarged` times as large, and a tone."""
    shape = np.ones((enlarged, enlarged, 1), np.uint8)
    write_movie(
        path,
        frames=(np.kron(counted_picture(i), shape) for i in range(round(seconds * FPS))),
        frame_times_s=None,
        fps=Fraction(FPS),
        sound=np.tile(tone(seconds, rate_hz), (1, channels)),
        sample_rate_hz=rate_hz,
        bframes=bframes,
    )
    return path


def remux(
    source: Path,
    out: Path,
    edit: Callable[[Edit], Iterable[Edit]] | None = None,
    *,
    kinds: tuple[str, ...] = ("video", "audio"),
    options: dict[str, str] | None = None,
) -> Path:
    """Copy the packets of `source` into another file, as `edit` gives them back.

    Args:
        edit: Gives what stands for a packet; nothing leaves it out. None copies all.
        kinds: Tracks that the new file has, with packets or without.
        options: Of the muxer.
    """
    settings = {"fflags": "+bitexact", **(options or {})}
    with (
        av.open(str(source)) as given,
        av.open(str(out), "w", container_options=settings) as made,
    ):
        tracks = {
            stream.index: made.add_stream_from_template(stream)
            for stream in given.streams
            if stream.type in kinds
        }
        counts = dict.fromkeys(tracks, 0)
        for packet in given.demux():
            if packet.stream_index not in tracks or not packet.size:
                continue
            base = packet.time_base
            assert base is not None
            one = Edit(
                kind=packet.stream.type,
                number=counts[packet.stream_index],
                time_s=None if packet.pts is None else float(packet.pts * base),
                is_key=packet.is_keyframe,
                pts=packet.pts,
                dts=packet.dts,
                tick_s=float(base),
                data=bytes(packet),
            )
            counts[packet.stream_index] += 1
            for edited in [one] if edit is None else edit(one):
                new = av.Packet(edited.data)
                new.stream, new.time_base = tracks[packet.stream_index], base
                new.pts, new.dts = edited.pts, edited.dts
                new.duration, new.is_keyframe = packet.duration, edited.is_key
                made.mux(new)
    return out


def joined(first: Path, second: Path, out: Path, *, at_s: float) -> Path:
    """Packets of `first` up to `at_s`, then those of `second` from there on, on one clock."""
    with av.open(str(first)) as given, av.open(str(out), "w") as made:
        tracks = [made.add_stream_from_template(stream) for stream in given.streams]
        for path in (first, second):
            with av.open(str(path)) as part:
                for packet in part.demux():
                    if not packet.size or packet.pts is None or packet.time_base is None:
                        continue
                    is_first = float(packet.pts * packet.time_base) < at_s
                    if is_first == (path == first):
                        new = av.Packet(bytes(packet))
                        new.stream, new.time_base = tracks[packet.stream_index], packet.time_base
                        new.pts, new.dts, new.duration = packet.pts, packet.dts, packet.duration
                        new.is_keyframe = packet.is_keyframe
                        made.mux(new)
    return out


def without(kind: str, gone: Callable[[float], bool]) -> Callable[[Edit], list[Edit]]:
    """Leaves out the packets of a track whose time is `gone`."""
    return lambda edit: [] if edit.kind == kind and gone(edit.time_s or 0.0) else [edit]


def spoiled(kind: str, hit: Callable[[float], bool]) -> Callable[[Edit], list[Edit]]:
    """Leaves of the packets whose time is `hit` just their first bytes, then ones to the end."""

    def edit(one: Edit) -> list[Edit]:
        if one.kind == kind and hit(one.time_s or 0.0):
            one.data = one.data[:KEPT_BYTES] + b"\xff" * len(one.data[KEPT_BYTES:])
        return [one]

    return edit
