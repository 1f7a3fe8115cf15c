"""Separation of a video's sound over any length: windows that fade into each other.

::

    mixture   |==========================================================|   from the clock's 0
    pictures        |-----------------------------------------------|
    windows         [--------]
                        [--------]        each weighted by a raised cosine; the sum of the
                            [--------]    weights is divided out
    outside   |~~~~~|                                               |~~~~|   no picture: off-screen

Departures from the code that Owens and Efros 2018 released: there the first window that has a
sample gives it, without a fade, a tail shorter than a window is lost, and sounds are mono and as
loud as the network wants them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from avdata import stream_sound
from avtrain.apps.regions import Region
from avtrain.apps.video_file import VideoFile, media_faults
from avtrain.apps.windows import ClipFacts, ClipForm, SoundTape, Window

EDGE_FADE_S = 0.02
"""Where pictures begin or end within the sound, what is seen fades in or out."""

_EDGE_WEIGHT = 1e-3


class Separated(Protocol):
    """Two parts of a mixture, float32 (b, 2, n), at its level."""

    @property
    def on(self) -> Tensor: ...
    @property
    def off(self) -> Tensor: ...


class SeparationMethod(Protocol):
    """A method that splits sound by what the picture shows."""

    @property
    def clip(self) -> ClipFacts: ...

    def separate(self, frames: Tensor, mixture: Tensor) -> Separated:
        """uint8 (b, t, h, w, 3) and float32 (b, 2, n) -> both parts."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SeparatedBlock:
    """A stretch of the video's sound, all float32 with n samples."""

    mixture: np.ndarray
    """(2, n)."""
    on: np.ndarray
    """(r, 2, n): what belongs to each region."""
    off: np.ndarray
    """(2, n): with one region what the network says does not belong to it, with several what is
    left of the mixture."""


class RegionSeparator:
    """A method, asked for each region of the picture in turn."""

    def __init__(
        self,
        method: SeparationMethod,
        device: torch.device,
        regions: tuple[Region, ...],
        *,
        sees: bool,
    ) -> None:
        """Keep the method at hand.

        Args:
            method: In evaluation mode, on the device.
            device: Where it works.
            regions: What is shown to it, one after the other; at least one.
            sees: Its outputs have an order; that of a network without pictures may change from
                window to window and is made to go on as it began.
        """
        self.regions, self.sees = regions, sees
        self._method, self._device = method, device

    @torch.inference_mode()
    def __call__(self, window: Window) -> np.ndarray:
        """Sounds of the window, float32 (r, 2 parts, 2 channels, n): on, then off."""
        mixture = torch.from_numpy(window.sound)[None].to(self._device)
        out = []
        for region in self.regions:
            shown = torch.from_numpy(region.masked(window.frames))[None].to(self._device)
            found = self._method.separate(shown, mixture)
            out.append(torch.stack([found.on[0], found.off[0]]).float().cpu().numpy())
        return np.stack(out)


def stream_separated(
    video: VideoFile, form: ClipForm, separator: RegionSeparator, windows: Iterable[Window]
) -> Iterator[SeparatedBlock]:
    """The whole sound of a video, in blocks.

    Args:
        video: The file.
        form: Of its windows.
        separator: What separates one of them.
        windows: Of the file, overlapping by half.

    Raises:
        VideoError: The medium cannot be decoded.
    """
    rate = form.sound_rate_hz
    joined = _Joined(separator, form)
    tape = SoundTape(joined.blocks(windows), num_rows=joined.num_rows)
    at = 0
    with media_faults(video.path):
        for mixture in stream_sound(video.path, video.limits, sample_rate_hz=rate):
            count = mixture.shape[1]
            parts, (first, stop) = tape.cut(at, count)
            parts = parts.reshape(len(separator.regions), 2, 2, count)
            inside = np.zeros(count, np.float32)
            inside[first:stop] = 1
            faded = joined.fade(at, count) * inside
            on = parts[:, 0] * faded
            if len(separator.regions) == 1:
                off = parts[0, 1] * faded + mixture * (1 - faded)
            else:
                off = mixture - on.sum(axis=0)
            yield SeparatedBlock(mixture=mixture, on=on, off=off)
            at += count


class _Joined:
    """Adds up weighted windows and gives out what no later window reaches."""

    def __init__(self, separator: RegionSeparator, form: ClipForm) -> None:
        self._separator, self._form = separator, form
        self.num_rows = 4 * len(separator.regions)
        """Of the blocks: region, then part, then channel."""
        self._sum = np.zeros((self.num_rows, 0), np.float32)
        self._weight = np.zeros(0, np.float32)
        self._at = 0
        """Position of the first sample that is not given out."""
        self._first: int | None = None
        self._stop: int | None = None
        """Known when all windows are over."""

    def blocks(self, windows: Iterable[Window]) -> Iterator[np.ndarray]:
        """float32 (4 r, n) from the clock's 0 on; zeros before the first window."""
        rate = self._form.sound_rate_hz
        for window in windows:
            first = round(window.start_s * rate)
            stop = round((window.start_s + window.num_real / self._form.fps) * rate)
            if self._first is None:
                self._first = self._at = max(first, 0)
                for start in range(0, self._at, rate):
                    yield np.zeros((self.num_rows, min(rate, self._at - start)), np.float32)
            yield from self._given_out(first)
            self._add(window, first, min(stop, first + window.sound.shape[1]))
        self._stop = self._at + len(self._weight)
        yield from self._given_out(self._stop)

    def fade(self, first: int, count: int) -> np.ndarray:
        """Weight in [0, 1] of samples [first, first + count) by their distance from the ends.

        The end is known in time: the last windows are read before the samples at it are needed.
        """
        length = EDGE_FADE_S * self._form.sound_rate_hz
        place = np.arange(first, first + count, dtype=np.float32)
        weight = np.ones(count, np.float32)
        if self._first:  # sound that starts with the pictures needs no fade
            weight = np.minimum(weight, (place - self._first) / length)
        if self._stop is not None:
            weight = np.minimum(weight, (self._stop - 1 - place) / length)
        return np.clip(weight, 0, 1)

    def _add(self, window: Window, first: int, stop: int) -> None:
        count = stop - first
        parts = self._separator(window).reshape(self.num_rows, -1)[:, :count]
        if not self._separator.sees:
            parts = self._in_order(parts, first)
        phase = (np.arange(count, dtype=np.float32) + 0.5) / window.sound.shape[1]
        weight = np.sin(np.pi * phase) ** 2 + np.float32(_EDGE_WEIGHT)
        skipped = max(self._at - first, 0)
        parts, weight = parts[:, skipped:], weight[skipped:]
        offset = first + skipped - self._at
        missing = offset + len(weight) - len(self._weight)
        if missing > 0:
            self._sum = np.pad(self._sum, ((0, 0), (0, missing)))
            self._weight = np.pad(self._weight, (0, missing))
        here = slice(offset, offset + len(weight))
        self._sum[:, here] += weight * parts
        self._weight[here] += weight

    def _in_order(self, parts: np.ndarray, first: int) -> np.ndarray:
        """Both parts in the order in which they go on with what is there already."""
        count = min(self._at + len(self._weight) - first, parts.shape[1])
        if count <= 0:
            return parts
        before = self._sum[:, first - self._at : first - self._at + count]
        now = parts[:, :count]
        swapped = parts[[2, 3, 0, 1]]
        if (before * swapped[:, :count]).sum() > (before * now).sum():
            return swapped
        return parts

    def _given_out(self, until: int) -> Iterator[np.ndarray]:
        count = min(until - self._at, len(self._weight))
        if count > 0:
            yield self._sum[:, :count] / self._weight[:count]
            self._sum, self._weight = self._sum[:, count:].copy(), self._weight[count:].copy()
            self._at += count


def separation_hop(form: ClipForm) -> int:
    """Frames from window to window."""
    return max(form.clip_frames // 2, 1)
