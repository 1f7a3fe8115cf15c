"""Where in a video the sound comes from: maps over any length, drawn over its pictures.

Two passes: the first runs the network over overlapping windows and keeps their maps, which are
small; the second draws them over the pictures at their full size and writes the movie.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from avdata import atomic_file, stream_pictures, stream_sound
from avtrain.apps.map_source import CellMap, MapSource
from avtrain.apps.map_timeline import MapTimeline, WindowMap, Withheld
from avtrain.apps.movie_file import MovieSound, ShownPicture, aac_rate_hz, write_movie_file
from avtrain.apps.overlay import OverlayRange, draw_map, enlarged, overlay_range, sheet, shrunk
from avtrain.apps.peaks import Peak, find_peaks
from avtrain.apps.video_file import SILENT_PEAK, VideoFile, media_faults
from avtrain.apps.windows import ClipForm, Window, expected_windows, read_windows
from avtrain.progress import Progress, silent

MIN_POSITIVE = 0.10
"""Windows of whose cells a smaller share speaks for picture and sound together are no evidence.

Reference: measured on released weights by a third party: 0.53 of the cells are positive normally,
0.79 where the speaker is seen, 0.04 where the speaker is hidden.
"""

AROUND_S = 0.5
"""A moment has a map if there is sound so near to it."""

_SHEET_WIDTH_PX = 480


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalizeOptions:
    """How a video is localized."""

    signed: bool = False
    """Draw agreement and disagreement in colors of their own, instead of the strength."""
    min_positive: float = MIN_POSITIVE
    threshold: float | None = None
    """Strength of full color; None: the 97th percentile of the video."""
    num_sheet_pictures: int = 6
    progress: Progress = silent


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowVerdict:
    """What the network said of one window."""

    start_s: float
    end_s: float
    score: float
    """Mean of its map; for networks that judge sync, their log-odds of it."""
    positive_share: float
    withheld: str | None
    """Why none of it counts; None where some of it does."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Localization:
    """The maps of a video, and what they say."""

    timeline: MapTimeline
    shown: OverlayRange
    peaks: tuple[Peak, ...]
    """In order of time."""
    windows: tuple[WindowVerdict, ...]
    withheld: tuple[Withheld, ...]
    end_s: float
    has_magnitude: bool
    """Cells that speak against are strong too."""

    def strengths(self, values: np.ndarray) -> np.ndarray:
        """How strong cells are, at least 0."""
        return _strengths(values, has_magnitude=self.has_magnitude)

    @property
    def start_s(self) -> float:
        """When the first picture is shown."""
        return self.timeline.start_s

    @property
    def shown_share(self) -> float:
        """Part of the video that has a map."""
        lost_s = sum(stretch.end_s - stretch.start_s for stretch in self.withheld)
        length_s = self.end_s - self.timeline.start_s
        return min(max(1 - lost_s / length_s, 0.0), 1.0) if length_s > 0 else 0.0


def localize(video: VideoFile, source: MapSource, options: LocalizeOptions) -> Localization:
    """The maps of a whole video.

    Raises:
        VideoError: The medium cannot be decoded.
    """
    form = source.form(video)
    # the first window shows how long its cells are: the hop is half a window of whole cells
    first = next(iter(read_windows(video, form, hop_frames=form.clip_frames)))
    first_cells = source.cells(first)
    stride, count = first_cells.frames_per_cell, len(first_cells.values)
    hop = stride * (count // 2) if count > 1 else max(form.clip_frames // 2, 1)
    step_frames = stride if count >= 4 else max(stride // 4, 1)
    timeline = MapTimeline(start_s=first.start_s, step_s=step_frames / form.fps)
    verdicts: list[WindowVerdict] = []
    windows = options.progress(
        read_windows(video, form, hop_frames=hop),
        total=expected_windows(video, form, hop),
        description="looking and listening",
    )
    for window in windows:
        cells = source.cells(window) if window.first_frame else first_cells
        withheld = _why_withheld(window, cells, form, options.min_positive)
        real_s = window.num_real / form.fps
        timeline.add(
            WindowMap(
                start_s=window.start_s,
                clip_s=real_s,
                cell_s=cells.frames_per_cell / form.fps,
                first_center_s=cells.first_center / form.fps,
                values=cells.values,
                withheld=withheld,
            )
        )
        verdicts.append(
            WindowVerdict(
                start_s=window.start_s,
                end_s=window.start_s + real_s,
                score=float(cells.values.mean()),
                positive_share=float((cells.values > 0).mean()),
                withheld=withheld[0] if len(set(withheld)) == 1 else None,
            )
        )
    end_s = max(verdict.end_s for verdict in verdicts)
    shown = timeline.shown()
    magnitudes = _strengths(shown, has_magnitude=source.has_magnitude)
    counted = [i for i in range(len(timeline)) if timeline.share(i) > 0]
    found = overlay_range(magnitudes[counted], threshold=options.threshold)
    peaks = find_peaks(
        np.maximum(shown, 0) if options.signed else magnitudes,
        times_s=[timeline.time_s(i) for i in range(len(timeline))],
        width_px=video.width_px,
        height_px=video.height_px,
        lowest=found.low,
    )
    return Localization(
        timeline=timeline,
        shown=found,
        peaks=tuple(peaks) if not found.is_flat else (),
        windows=tuple(verdicts),
        withheld=tuple(
            replace(stretch, end_s=min(stretch.end_s, end_s)) for stretch in timeline.withheld()
        ),
        end_s=end_s,
        has_magnitude=source.has_magnitude,
    )


def _strengths(values: np.ndarray, *, has_magnitude: bool) -> np.ndarray:
    strengths: np.ndarray = np.abs(values) if has_magnitude else np.maximum(values, 0)
    return strengths


def _why_withheld(
    window: Window, cells: CellMap, form: ClipForm, min_positive: float
) -> tuple[str | None, ...]:
    """A reason for each step of a window whose evidence does not count, else None."""
    reason = None
    if not np.isfinite(cells.values).all():
        reason = "the network gave no finite map"
    elif (cells.values > 0).mean() < min_positive:
        reason = "sound does not go with the picture"
    centers = (cells.first_center + cells.frames_per_cell * np.arange(len(cells.values))) / form.fps
    return tuple(_why_unheard(window, form, center) or reason for center in centers)


def _why_unheard(window: Window, form: ClipForm, center_s: float) -> str | None:
    """Whether there is no sound around a moment of a window."""
    rate = form.sound_rate_hz
    first = round((center_s - AROUND_S - form.sound_from_s) * rate)
    low, high = max(first, 0), max(first + round(2 * AROUND_S * rate), 1)
    if min(high, window.sound_span[1]) <= max(low, window.sound_span[0]):
        return "no sound there"
    if np.abs(window.sound[:, low:high]).max(initial=0.0) < SILENT_PEAK:
        return "silence"
    return None


@dataclass(slots=True)
class _Strongest:
    """The pictures nearest to the strongest peaks, collected while the movie is written."""

    peaks: list[Peak]
    pictures: dict[int, np.ndarray] = field(default_factory=dict)

    def see(self, picture: ShownPicture) -> None:
        for index, peak in enumerate(self.peaks):
            is_near = picture.start_s <= peak.time_s < picture.end_s
            if is_near or (index not in self.pictures and picture.start_s > peak.time_s):
                small = shrunk(picture.pixels, max_width_px=_SHEET_WIDTH_PX)
                self.pictures[index] = enlarged(small, min_width_px=_SHEET_WIDTH_PX // 2)


def write_overlay(
    video: VideoFile,
    found: Localization,
    options: LocalizeOptions,
    *,
    out: Path,
    png: Path | None,
) -> bool:
    """Write the movie with its maps and its own sound, and a picture of the strongest moments.

    Returns:
        Whether there was a moment for the picture.

    Raises:
        VideoError: The medium cannot be decoded.
    """
    strongest = sorted(found.peaks, key=lambda peak: -peak.strength)
    kept = _Strongest(peaks=strongest[: options.num_sheet_pictures if png is not None else 0])
    rate = aac_rate_hz(video.sound_rate_hz)
    with media_faults(video.path):
        write_movie_file(
            out,
            pictures=_drawn(video, found, options, kept),
            width_px=video.width_px,
            height_px=video.height_px,
            fps=video.fps,
            sound=MovieSound(
                blocks=stream_sound(video.path, video.limits, sample_rate_hz=rate),
                sample_rate_hz=rate,
            ),
        )
    if png is None or not kept.pictures:
        return False
    ordered = sorted(kept.pictures, key=lambda index: kept.peaks[index].time_s)
    shown = [kept.peaks[index] for index in ordered]
    page = sheet(
        [kept.pictures[index] for index in ordered],
        [f"{peak.time_s:.2f} s   strength {peak.strength:.2f}" for peak in shown],
    )
    with atomic_file(png) as file:
        page.save(file, format="png")
    return True


def _drawn(
    video: VideoFile, found: Localization, options: LocalizeOptions, kept: _Strongest
) -> Iterator[ShownPicture]:
    pictures = stream_pictures(
        video.path, video.limits, width_px=video.width_px, height_px=video.height_px
    )
    total = round((video.duration_s or 0.0) * (video.fps or 25))
    for picture, pixels in options.progress(pictures, total=total, description="drawing"):
        values = found.timeline.at((picture.start_s + picture.end_s) / 2)
        if not options.signed:
            values = found.strengths(values)
        drawn = ShownPicture(
            pixels=draw_map(pixels, values, found.shown),
            start_s=max(picture.start_s, 0.0),
            end_s=picture.end_s,
        )
        kept.see(drawn)
        yield drawn
