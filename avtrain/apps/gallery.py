"""The strongest responses of a network to a shard set's videos, class by class.

Reference: Owens & Efros 2018, the galleries of their project's page: of each class the videos with
the strongest activation, one moment of each, without those where only a face is found.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from avdata import ShardSet
from avtrain.apps.faces import Face, FaceFinder
from avtrain.apps.localize import MIN_POSITIVE
from avtrain.apps.overlay import PERCENTILE, OverlayRange, draw_map, overlay_range, shrunk
from avtrain.errors import DataError
from avtrain.maps import ClipMaps, ClipRequest, HeardSound, SetMaps, map_clips
from avtrain.progress import Progress

NO_CLASS = "all videos"
"""Name of the class of samples without a label."""
SPARE = 8
"""Of each class so many times as many videos are kept as are shown: some may be faces."""
AROUND_S = 1.0
"""A moment is shown with so much before and after it."""
NUM_PICTURES = 12
TILE_WIDTH_PX = 224


@dataclass(frozen=True, kw_only=True, slots=True)
class GalleryOptions:
    """What is shown, and how it is computed."""

    per_class: int = 8
    leave_out_faces: bool = False
    batch_size: int = 16
    loader_threads: int = 2
    progress: Progress


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class VideoMaps:
    """The maps of one sample over its whole length."""

    sample: int
    values: np.ndarray
    """float32 (t, h, w), signed."""
    times_s: np.ndarray
    """float64 (t,), ascending."""
    strengths: np.ndarray
    """float32 (t, h, w), at least 0; 0 where the evidence does not count."""

    def __repr__(self) -> str:
        return f"VideoMaps({self.sample}, {self.values.shape})"

    @property
    def peak(self) -> tuple[int, int, int]:
        """Step, row and column of the strongest cell."""
        step, row, column = np.unravel_index(int(self.strengths.argmax()), self.strengths.shape)
        return int(step), int(row), int(column)

    @property
    def strength(self) -> float:
        """Of the strongest cell."""
        return float(self.strengths.max())

    def at(self, time_s: float) -> np.ndarray:
        """Strengths at a moment, float32 (h, w)."""
        steps = np.arange(len(self.times_s))
        place = float(np.interp(time_s, self.times_s, steps))
        low = int(place)
        high, share = min(low + 1, len(steps) - 1), np.float32(place - low)
        between: np.ndarray = (1 - share) * self.strengths[low] + share * self.strengths[high]
        return between


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ShownMoment:
    """One video of the gallery."""

    key: str
    time_s: float
    """Of the strongest response, from the start of the sample."""
    x: float
    y: float
    """In [0, 1], of the center of the strongest cell."""
    strength: float
    pictures: tuple[np.ndarray, ...]
    """uint8 RGB (h, w, 3), of one size, with maps over them, in order of time."""
    peak_picture: int
    """Which of them is the moment itself."""
    pictures_s: float
    """From the first to the end of the last."""

    def __repr__(self) -> str:
        return f"ShownMoment({self.key} at {self.time_s:.2f} s)"


@dataclass(kw_only=True, slots=True)
class ShownClass:
    """The moments of one class, strongest first."""

    name: str
    num_videos: int
    """That have evidence."""
    moments: list[ShownMoment] = field(default_factory=list)
    num_faces: int = 0
    """Moments that were left out, as only a face is there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gallery:
    """All classes in order of their names."""

    classes: tuple[ShownClass, ...]
    num_videos: int
    num_without: int
    """Videos without evidence: silent, too short, or with maps that speak against the sound."""


def make_gallery(
    source: SetMaps,
    shards: ShardSet,
    samples: Sequence[int],
    device: torch.device,
    options: GalleryOptions,
) -> Gallery:
    """The strongest moments of `samples` by class.

    Raises:
        DataError: No video has any evidence, or OpenCV is needed and not installed.
    """
    finder = FaceFinder() if options.leave_out_faces else None
    table = source.table
    kept: dict[str, list[VideoMaps]] = {}
    counts: dict[str, int] = {}
    for video in video_maps(source, samples, device, options):
        if video.strength <= 0:
            continue
        name = table.labels[video.sample] or NO_CLASS
        counts[name] = counts.get(name, 0) + 1
        of_class = kept.setdefault(name, [])
        of_class.append(video)
        of_class.sort(key=lambda other: -other.strength)
        del of_class[SPARE * options.per_class :]
    if not kept:
        raise DataError(
            f"none of {len(samples)} videos of {shards.location} has a map that counts: they are "
            f"silent, shorter than a clip of {source.clip_s:.2f} s, or sound and picture do not go "
            "together for the network"
        )
    classes = []
    for name in options.progress(sorted(kept), total=len(kept), description="drawing"):
        shown = ShownClass(name=name, num_videos=counts[name])
        for video in kept[name]:
            if len(shown.moments) == options.per_class:
                break
            if finder is not None and _is_face(finder, shards, video):
                shown.num_faces += 1
                continue
            shown.moments.append(_moment(shards, table.keys[video.sample], video))
        classes.append(shown)
    return Gallery(
        classes=tuple(classes),
        num_videos=len(samples),
        num_without=len(samples) - sum(counts.values()),
    )


def video_maps(
    source: SetMaps, samples: Sequence[int], device: torch.device, options: GalleryOptions
) -> Iterator[VideoMaps]:
    """The maps of each sample that is long enough for a clip, in order."""
    requests: list[ClipRequest] = []
    for sample in samples:
        last_s = source.last_start_s(sample)
        if last_s is None:
            continue
        count = 1 + max(int(np.ceil(last_s / source.clip_s - 1e-6)), 0)
        for start_s in np.linspace(0, last_s, count).tolist():
            own = HeardSound(sample=sample, start_s=start_s)
            requests.append(ClipRequest(sample=sample, start_s=start_s, sounds=(own,)))
    made = map_clips(
        source,
        requests,
        device=device,
        batch_size=options.batch_size,
        loader_threads=options.loader_threads,
        progress=options.progress,
        description="looking and listening",
    )
    held: list[ClipMaps] = []
    for maps in made:
        if held and held[0].request.sample != maps.request.sample:
            yield _joined(held, has_magnitude=source.has_magnitude)
            held = []
        held.append(maps)
    if held:
        yield _joined(held, has_magnitude=source.has_magnitude)


def _joined(clips: Iterable[ClipMaps], *, has_magnitude: bool) -> VideoMaps:
    """Clips of one sample after each other; of steps that two clips have, the later one's."""
    values: list[np.ndarray] = []
    strengths: list[np.ndarray] = []
    times_s: list[float] = []
    for clip in clips:
        found = clip.values[0]
        while times_s and times_s[-1] >= clip.times_s[0]:
            for steps in (values, strengths, times_s):
                steps.pop()
        counts = not clip.silent[0] and (found > 0).mean() >= MIN_POSITIVE
        counts = counts and bool(np.isfinite(found).all())
        strength = np.abs(found) if has_magnitude else np.maximum(found, 0)
        values += list(found)
        strengths += list(strength if counts else np.zeros_like(found))
        times_s += clip.times_s.tolist()
        sample = clip.request.sample
    return VideoMaps(
        sample=sample,
        values=np.stack(values),
        times_s=np.array(times_s),
        strengths=np.stack(strengths),
    )


def _moment(shards: ShardSet, key: str, video: VideoMaps) -> ShownMoment:
    step, row, column = video.peak
    peak_s = float(video.times_s[step])
    fps, num_frames = _frames(shards, video.sample)
    length_s = num_frames / fps
    span_s = min(2 * AROUND_S, length_s)
    first_s = min(max(peak_s - AROUND_S, 0.0), length_s - span_s)
    count = min(NUM_PICTURES, max(int(span_s * fps), 1))
    # a picture is that of the middle of its share of the span; one of them is the peak's own
    times_s = [first_s + (i + 0.5) * span_s / count for i in range(count)]
    peak_picture = int(np.argmin([abs(time_s - peak_s) for time_s in times_s]))
    times_s[peak_picture] = peak_s
    indices = [min(int(time_s * fps + 1e-6), num_frames - 1) for time_s in times_s]
    shown = _shown_range(video)
    pictures = [
        _drawn(pixels, video.at(time_s), shown)
        for pixels, time_s in zip(shards.read_frames(video.sample, indices), times_s, strict=True)
    ]
    return ShownMoment(
        key=key,
        time_s=peak_s,
        x=(column + 0.5) / video.values.shape[2],
        y=(row + 0.5) / video.values.shape[1],
        strength=video.strength,
        pictures=tuple(pictures),
        peak_picture=peak_picture,
        pictures_s=span_s,
    )


def _shown_range(video: VideoMaps) -> OverlayRange:
    """As in other overlays, but a lone response does not color its surroundings."""
    counted = video.strengths[video.strengths.any(axis=(1, 2))]
    threshold = max(float(np.percentile(counted, PERCENTILE)), video.strength / 2)
    return overlay_range(counted, threshold=threshold)


def _drawn(pixels: np.ndarray, strengths: np.ndarray, shown: OverlayRange) -> np.ndarray:
    return draw_map(shrunk(pixels, max_width_px=TILE_WIDTH_PX), strengths, shown)


def _is_face(finder: FaceFinder, shards: ShardSet, video: VideoMaps) -> bool:
    """Whether the strongest cell is on a face of the picture of its moment."""
    step, row, column = video.peak
    height, width = video.values.shape[1:]
    cell = Face(x0=column / width, y0=row / height, x1=(column + 1) / width, y1=(row + 1) / height)
    fps, num_frames = _frames(shards, video.sample)
    index = min(int(float(video.times_s[step]) * fps + 1e-6), num_frames - 1)
    [pixels] = shards.read_frames(video.sample, [index])
    return any(face.covers(cell) for face in finder.faces(pixels))


def _frames(shards: ShardSet, sample: int) -> tuple[float, int]:
    """Frames a second and number of frames of a sample."""
    manifest = shards.manifest
    return (
        float(manifest["frame_fps"][sample].as_py()),
        int(manifest["num_frames"][sample].as_py()),
    )
