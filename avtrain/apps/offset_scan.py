"""How late a video's sound is: windows heard at many offsets, their evidence added up.

::

    pictures of a window        |-------------|
    its sound, offset -0.2 s  |-------------|
                       0        |-------------|
                      +0.2        |-------------|     in sync here: the sound is 0.2 s late

How the evidence is added up stands in offset_evidence.py.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from avtrain.apps.offset_evidence import (
    TOLERANCE_S,
    OffsetEstimate,
    WindowOffset,
    chance_of,
    combine,
    filled,
    rival_of,
)
from avtrain.apps.video_file import VideoFile
from avtrain.apps.windows import ClipFacts, ClipForm, Window, expected_windows, read_windows
from avtrain.errors import VideoError
from avtrain.methods.sync import Sync, SyncInputs
from avtrain.progress import Progress, silent

MIN_COVER = 0.75
"""A window is heard at an offset if the medium has this share of the sound there."""
MIN_PICTURES = 0.5
"""The video must fill this share of a clip."""

_AT_ONCE = 8
"""Offsets that the network hears in one go."""
_REFINED_BY = 12
"""At most so many windows, those that support the estimate most, are heard on the fine grid."""


class ScoringMethod(Protocol):
    """A method that tells how much clips look in sync."""

    @property
    def clip(self) -> ClipFacts: ...

    def scores(self, frames: Tensor, sound: Tensor) -> Tensor:
        """uint8 (b, t, h, w, 3) and float32 (b, 2, n) -> log-odds (b,)."""
        ...


class WindowScorer:
    """Log-odds of a window's pictures with many sounds; a fused network sees them once."""

    def __init__(self, method: ScoringMethod, device: torch.device) -> None:
        self._method, self._device = method, device

    @torch.inference_mode()
    def __call__(self, frames: np.ndarray, sounds: Sequence[np.ndarray]) -> np.ndarray:
        """float64 (k,) of pictures uint8 (t, h, w, 3) and k sounds float32 (2, n)."""
        pictures = torch.from_numpy(frames)[None].to(self._device)
        waves = torch.from_numpy(np.stack(sounds)).to(self._device)
        method: Any = self._method
        if isinstance(method, Sync):
            num_sounds = len(waves)
            inputs = SyncInputs(
                frames=method.pictures(pictures),
                sound=method.waves(waves)[None],
                delay_s=torch.zeros(1, num_sounds, device=self._device),
                valid=torch.ones(1, num_sounds, dtype=torch.bool, device=self._device),
            )
            odds = method.log_odds(method.window_logits(inputs))[0]
        else:
            parts = [
                method.scores(pictures.expand(len(part), *pictures.shape[1:]), part)
                for part in torch.split(waves, _AT_ONCE)
            ]
            odds = torch.cat(parts)
        return np.asarray(odds.double().cpu().numpy())


@dataclass(frozen=True, kw_only=True, slots=True)
class ScanOptions:
    """Which offsets and windows are tried."""

    max_offset_s: float = 2.0
    coarse_step_s: float = 0.04
    """A trained network's odds fall within 0.03 s of the right offset: a wider grid may miss it."""
    fine_step_s: float = 0.01
    max_windows: int = 40
    """Spread evenly over the video; 0 takes all that follow one another."""
    progress: Progress = silent


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Scanned:
    """Scores of a window."""

    start_s: float
    end_s: float
    scores: np.ndarray
    """float64 (offsets,), NaN where it could not be heard."""
    left_out: str | None


def estimate_offset(
    video: VideoFile, form: ClipForm, scorer: WindowScorer, options: ScanOptions
) -> OffsetEstimate:
    """How late the sound of a video is, by a coarse and then a fine scan.

    Raises:
        VideoError: The medium cannot be decoded, is too short or is silent.
    """
    steps = max(math.ceil(options.max_offset_s / options.coarse_step_s - 1e-6), 1)
    coarse = np.linspace(-options.max_offset_s, options.max_offset_s, 2 * steps + 1)
    windows = list(_scan(video, form, scorer, coarse, options, "scanning offsets"))
    used = [w for w in windows if w.left_out is None]
    if not used:
        if video.duration_s is not None and video.duration_s < form.clip_s:
            raise VideoError(
                f"{video.path}: the video lasts {video.duration_s:.1f} s, a window "
                f"{form.clip_s:.1f} s; give a longer video"
            )
        raise VideoError(
            f"{video.path}: none of its {len(windows)} windows says anything: "
            f"{windows[0].left_out}; there is nothing to compare"
        )
    scores = np.stack([window.scores for window in used])
    heard = np.isfinite(scores).any(axis=0)
    if heard.sum() < 3:
        raise VideoError(
            f"{video.path} is too short to try offsets: its sound leaves no room around clips of "
            f"{form.clip_s:.2f} s; give a longer video"
        )
    offsets, scores = coarse[heard], scores[:, heard]
    posterior, supports = combine(scores)
    best = int(posterior.argmax())
    near = np.abs(offsets - offsets[best]) <= TOLERANCE_S + 1e-9
    own = offsets[filled(scores).argmax(axis=1)]
    mean = filled(scores).mean(axis=0)
    offset = float(offsets[best])
    if options.fine_step_s < options.coarse_step_s:
        numbers = [i for i, window in enumerate(windows) if window.left_out is None]
        by_number = dict(zip(numbers, supports[:, best].tolist(), strict=True))
        offset = _refined(video, form, scorer, options, offset, by_number)
    rows = iter(range(len(used)))
    return OffsetEstimate(
        offset_s=offset,
        confidence=float(posterior[near].sum()),
        margin=float(mean[best] - mean[~near].max()) if (~near).any() else 0.0,
        rival=rival_of(offsets, mean, best),
        agreement=float((np.abs(own - offset) <= TOLERANCE_S + 1e-9).mean()),
        chance=chance_of(scores, rng=np.random.default_rng(0)),
        mean_score=float(mean[best]),
        tried_s=(float(offsets[0]), float(offsets[-1])),
        windows=tuple(
            _row(window, scores[row], offsets, own[row], best)
            if window.left_out is None and (row := next(rows)) is not None
            else _left_out(window)
            for window in windows
        ),
    )


def _refined(
    video: VideoFile,
    form: ClipForm,
    scorer: WindowScorer,
    options: ScanOptions,
    around_s: float,
    supports: dict[int, float],
) -> float:
    """The best offset on a fine grid, between whose points a parabola is laid.

    Args:
        video: The file.
        form: Of its windows.
        scorer: What judges them.
        options: The grid.
        around_s: Best offset of the coarse grid.
        supports: How much each window supports it, by the window's number.
    """
    steps = round(options.coarse_step_s / options.fine_step_s)
    fine = around_s + np.arange(-steps, steps + 1) * options.fine_step_s
    chosen = sorted(supports, key=lambda index: -supports[index])[:_REFINED_BY]
    total = np.zeros(len(fine))
    windows = _scan(video, form, scorer, fine, options, "refining", only=frozenset(chosen))
    for index, window in enumerate(windows):
        if index in supports and np.isfinite(window.scores).any():
            total += max(supports[index], 1e-6) * filled(window.scores[None])[0]
    best = int(total.argmax())
    if not 0 < best < len(fine) - 1:
        return float(fine[best])
    before, peak, after = total[best - 1 : best + 2]
    bend = before - 2 * peak + after
    shift = 0.5 * (before - after) / bend if bend < 0 else 0.0
    return float(fine[best] + shift * options.fine_step_s)


def _scan(
    video: VideoFile,
    form: ClipForm,
    scorer: WindowScorer,
    offsets: np.ndarray,
    options: ScanOptions,
    description: str,
    only: frozenset[int] | None = None,
) -> Iterator[_Scanned]:
    """Scores of each window at each offset, or of those whose numbers are in `only`."""
    rate = form.sound_rate_hz
    margin_s = options.max_offset_s + options.coarse_step_s
    wide = form.with_margin(margin_s)
    margin = (wide.num_samples - form.num_samples) // 2
    hop = _hop(video, form, options.max_windows)
    windows = options.progress(
        read_windows(video, wide, hop_frames=hop),
        total=expected_windows(video, form, hop),
        description=description,
    )
    for index, window in enumerate(windows):
        facts = {"start_s": window.start_s, "end_s": window.start_s + window.num_real / form.fps}
        reason = _why_left_out(window, form)
        if only is not None and index not in only:
            reason = "not needed"
        if reason is not None:
            yield _Scanned(**facts, scores=np.full(len(offsets), np.nan), left_out=reason)
            continue
        first, stop = window.sound_span
        scores = np.full(len(offsets), np.nan)
        starts = [margin + round(offset * rate) for offset in offsets]
        heard = [
            i
            for i, start in enumerate(starts)
            if min(stop, start + form.num_samples) - max(first, start)
            >= MIN_COVER * form.num_samples
        ]
        if not heard:
            reason = "no sound around it"
        else:
            sounds = [window.sound[:, starts[i] : starts[i] + form.num_samples] for i in heard]
            scores[heard] = scorer(window.frames, sounds)
        yield _Scanned(**facts, scores=scores, left_out=reason)


def _hop(video: VideoFile, form: ClipForm, max_windows: int) -> int:
    """Frames between windows that do not overlap, at most so many of them."""
    if not max_windows or video.duration_s is None:
        return form.clip_frames
    spread = int((video.duration_s * form.fps - form.clip_frames) / max(max_windows - 1, 1))
    return max(form.clip_frames, spread)


def _why_left_out(window: Window, form: ClipForm) -> str | None:
    if window.num_real < MIN_PICTURES * form.clip_frames:
        return f"its pictures last less than half a clip of {form.clip_s:.2f} s"
    if window.is_silent:
        return "silence"
    if (window.frames == window.frames[0]).all():
        return "its picture stands still"
    return None


def _row(
    window: _Scanned, scores: np.ndarray, offsets: np.ndarray, own_s: float, best: int
) -> WindowOffset:
    known = filled(scores[None])[0]
    return WindowOffset(
        start_s=window.start_s,
        end_s=window.end_s,
        offset_s=float(own_s),
        score=float(known[best]),
        score_as_is=float(known[int(np.abs(offsets).argmin())]),
        left_out=None,
    )


def _left_out(window: _Scanned) -> WindowOffset:
    return WindowOffset(
        start_s=window.start_s,
        end_s=window.end_s,
        offset_s=None,
        score=None,
        score_as_is=None,
        left_out=window.left_out,
    )
