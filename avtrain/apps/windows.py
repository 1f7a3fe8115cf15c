"""A video cut into the clips that a network takes, as a stream of constant memory.

::

    frames   |0 1 2 3 4 5 6 7 8 9 ... n|        at the network's rate, from the first picture on
    window 0  [-------]
    window 1      [-------]                     each `hop_frames` later
    last                    [-------]           ends with the last frame, so that no tail is lost
    sound     from start_s + sound_from_s on, of each window; 0 where the medium has none
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from avdata import stream_frames, stream_sound
from avtrain.apps.video_file import SILENT_PEAK, VideoFile, media_faults


class ClipFacts(Protocol):
    """What a method says of the clips that it takes."""

    @property
    def clip_frames(self) -> int: ...
    @property
    def fps(self) -> float: ...
    @property
    def crop_px(self) -> int: ...
    @property
    def sound_rate_hz(self) -> int: ...
    @property
    def num_samples(self) -> int: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipForm:
    """Pictures and sound of one clip."""

    clip_frames: int
    fps: float
    width_px: int
    height_px: int
    sound_rate_hz: int
    num_samples: int
    sound_from_s: float = 0.0
    """When the sound starts, from the first frame on."""

    @property
    def clip_s(self) -> float:
        """Length of the pictures."""
        return self.clip_frames / self.fps

    def with_margin(self, margin_s: float) -> "ClipForm":
        """The same pictures with more sound on both sides."""
        margin = round(margin_s * self.sound_rate_hz)
        return replace(
            self,
            sound_from_s=self.sound_from_s - margin / self.sound_rate_hz,
            num_samples=self.num_samples + 2 * margin,
        )


def clip_form(clip: ClipFacts, video: VideoFile, *, keeps_aspect: bool) -> ClipForm:
    """How a video is cut for a method: its whole picture, squashed to a square as in training, or
    with its aspect where the training kept it.

    With its aspect the short side has the method's pixels and the long one a multiple of 16; it is
    squeezed where it would be over four times as long.
    """
    side = clip.crop_px
    width, height = side, side
    if keeps_aspect:
        ratio = min(max(video.width_px / video.height_px, 0.25), 4.0)
        long_side = max(16 * round(side * max(ratio, 1 / ratio) / 16), side)
        width, height = (long_side, side) if ratio >= 1 else (side, long_side)
    return ClipForm(
        clip_frames=clip.clip_frames,
        fps=clip.fps,
        width_px=width,
        height_px=height,
        sound_rate_hz=clip.sound_rate_hz,
        num_samples=clip.num_samples,
    )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Window:
    """One clip of a video."""

    first_frame: int
    """Number of its first frame, at the network's rate."""
    start_s: float
    """Time of its first frame in the video."""
    num_real: int
    """Frames that the video has; the last one stands for those after them."""
    frames: np.ndarray
    """uint8 RGB (t, h, w, 3)."""
    sound: np.ndarray
    """float32 (2, n) in [-1, 1]."""
    sound_span: tuple[int, int]
    """Samples [first, stop) of `sound` that the medium has; the others are zeros."""

    @property
    def is_silent(self) -> bool:
        """No sample is louder than -60 dB of full scale."""
        return bool(np.abs(self.sound).max(initial=0.0) < SILENT_PEAK)


class SoundTape:
    """Sound by position, of which only what is still ahead is held."""

    def __init__(self, blocks: Iterable[np.ndarray], *, num_rows: int = 2) -> None:
        self._blocks, self._num_rows = iter(blocks), num_rows
        self._held: deque[np.ndarray] = deque()
        self._first = self._stop = 0
        self._is_over = False

    def cut(self, first: int, count: int) -> tuple[np.ndarray, tuple[int, int]]:
        """Samples [first, first + count), float32 (rows, count), and which of them there are.

        What lies before `first` is dropped: a later cut gets zeros there.
        """
        while self._held and self._first + self._held[0].shape[1] <= first:
            self._first += self._held.popleft().shape[1]
        while self._stop < first + count and not self._is_over:
            block = next(self._blocks, None)
            if block is None:
                self._is_over = True
            elif self._stop + block.shape[1] <= first and not self._held:
                self._first = self._stop = self._stop + block.shape[1]
            else:
                self._held.append(block)
                self._stop += block.shape[1]
        out = np.zeros((self._num_rows, count), np.float32)
        at = self._first
        for block in self._held:
            low, high = max(at, first), min(at + block.shape[1], first + count)
            if low < high:
                out[:, low - first : high - first] = block[:, low - at : high - at]
            at += block.shape[1]
        low = min(max(self._first - first, 0), count)
        return out, (low, max(min(self._stop - first, count), low))


def read_windows(
    video: VideoFile, form: ClipForm, *, hop_frames: int, tail: bool = True
) -> Iterator[Window]:
    """Windows from the first picture of a video to its last.

    Args:
        video: What is read.
        form: Of each window.
        hop_frames: From window to window.
        tail: Add a window that ends with the last frame, where none does.

    Raises:
        VideoError: The medium cannot be decoded.
    """
    with media_faults(video.path):
        start_s = video.start_s
        tape = SoundTape(stream_sound(video.path, video.limits, sample_rate_hz=form.sound_rate_hz))
        held: deque[np.ndarray] = deque(maxlen=form.clip_frames)
        count, due, last = 0, 0, -1
        for frame in stream_frames(
            video.path,
            video.limits,
            fps=form.fps,
            width_px=form.width_px,
            height_px=form.height_px,
        ):
            held.append(frame)
            count += 1
            if count == due + form.clip_frames:
                yield _window(form, tape, held, due, start_s)
                last, due = due, due + hop_frames
        if last < 0:
            yield _window(form, tape, held, 0, start_s)
        elif tail and last + form.clip_frames < count:
            yield _window(form, tape, held, count - form.clip_frames, start_s)


def expected_windows(video: VideoFile, form: ClipForm, hop_frames: int) -> int:
    """How many windows there will be, by the duration that the header claims; 0: not known."""
    if video.duration_s is None:
        return 0
    frames = round(video.duration_s * form.fps)
    return 1 + max(-(-(frames - form.clip_frames) // hop_frames), 0)


def _window(
    form: ClipForm, tape: SoundTape, held: Iterable[np.ndarray], first_frame: int, zero_s: float
) -> Window:
    frames = list(held)
    num_real = len(frames)
    frames += [frames[-1]] * (form.clip_frames - num_real)
    start_s = zero_s + first_frame / form.fps
    first = round((start_s + form.sound_from_s) * form.sound_rate_hz)
    sound, span = tape.cut(first, form.num_samples)
    return Window(
        first_frame=first_frame,
        start_s=start_s,
        num_real=num_real,
        frames=np.stack(frames),
        sound=sound,
        sound_span=span,
    )
