"""Windows of sound alone, for classification: random augmented ones, or evenly spaced ones.

Letters: b windows, n audio samples, s spectrogram frames, f frequency or mel bins.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.signal  # type: ignore[import-untyped]
import torch
from torch import Tensor

from avdata import ShardSetError
from avtrain.data.sample_generator import sample_generator
from avtrain.data.stream import StreamItem
from avtrain.data.views.labelled_video import even_shares
from avtrain.data.views.pair_reader import PairReader
from avtrain.data.views.pair_window import even_pair_windows

SoundForm = Literal["logmel", "waveform"]
"""What a view reads: the stored log-mel, or the stored sound."""

Beyond = Literal["silence", "repeat"]
"""What lies beyond the end of a sample: silence, or the sample again from its start."""

_SPEED_MARGIN_S = 0.05
"""Sound on both sides of a window whose speed changes: the resampling takes it for a ring."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AudioClipBatch:
    """Windows of sound, and the volume that the device applies."""

    sound: Tensor
    """float16 log-mel (b, s, f), or int16 mono waveform (b, n)."""
    gain: Tensor
    """float32 (b,): factor of the amplitude."""

    def __repr__(self) -> str:
        return f"AudioClipBatch(sound={tuple(self.sound.shape)})"


@dataclass(frozen=True, kw_only=True, slots=True)
class AudioAugmentation:
    """Ranges of what changes in a random window."""

    volume: float = 0.1
    """Amplitude factor in [1 - x, 1 + x]."""
    speed: tuple[float, float] | None = None
    """Length by a factor of this range, with the pitch; needs the stored sound."""


class AudioClips:
    """Windows of the sound of one shard set as arrays, and where in a sample they may lie.

    Args:
        form: What is read.
        margin: Samples of sound on both sides of a waveform window, for what is computed of it.
    """

    def __init__(
        self,
        reader: PairReader,
        *,
        form: SoundForm,
        beyond: Beyond,
        margin: int = 0,
        pin_memory: bool,
    ) -> None:
        spec = reader.shards.spec
        self.reader, self.form, self.beyond, self.margin = reader, form, beyond, margin
        self.pin_memory = pin_memory
        self.has_frames = spec.video is not None
        if form == "logmel":
            assert spec.logmel is not None
            self.rate_hz = spec.logmel.sample_rate_hz / spec.logmel.hop_samples
            self.num_bins, self.log_floor = spec.logmel.num_mels, spec.logmel.log_floor
            self.lengths = reader.table.num_logmel_columns
            self.stride = round(self.rate_hz / reader.audio.frame_rate_hz)
            self.window = reader.audio.num_frames * self.stride
        else:
            assert spec.audio is not None
            self.rate_hz = float(spec.audio.sample_rate_hz)
            self.lengths = reader.table.num_audio_samples
            self.window = round(reader.audio.window_s * self.rate_hz)

    def allocate(self, num_windows: int) -> AudioClipBatch:
        """Batch of `num_windows` empty slots, at their own volume."""
        pin = self.pin_memory
        if self.form == "logmel":
            shape: tuple[int, ...] = (num_windows, self.reader.audio.num_frames, self.num_bins)
            sound = torch.empty(shape, dtype=torch.float16, pin_memory=pin)
        else:
            shape = (num_windows, self.window + 2 * self.margin)
            sound = torch.empty(shape, dtype=torch.int16, pin_memory=pin)
        return AudioClipBatch(sound=sound, gain=torch.ones(num_windows, pin_memory=pin))

    def duration_s(self, sample: int) -> float:
        return float(self.lengths[sample] / self.rate_hz)

    def even_starts_s(self, sample: int, num_windows: int, *, with_video: bool) -> list[float]:
        """Starts of evenly spaced windows; `with_video`: where a video clip fits beside them."""
        audio = self.reader.audio
        if with_video and self.has_frames:
            windows = even_pair_windows(
                num_windows,
                video=self.reader.video,
                audio=audio,
                video_duration_s=self.reader.video_duration_s(sample),
                audio_duration_s=self.duration_s(sample),
            )
            return [window.audio_start_s for window in windows]
        last_s = max(self.duration_s(sample) - audio.window_s, 0.0)
        return [last_s * share for share in even_shares(num_windows)]

    def read(self, sample: int, start_s: float, *, speed: float = 1.0) -> np.ndarray:
        """The window at `start_s`, as long as a slot.

        Args:
            speed: Length of the result by length of what is read; for waveforms alone.
        """
        start = max(round(start_s * self.rate_hz), 0)
        if self.form == "logmel":
            silence = np.float16(np.log(self.log_floor))
            columns = self._read(sample, start, start + self.window, silence)
            cut: np.ndarray = columns[:: self.stride]
            return cut
        size = self.window + 2 * self.margin
        start -= self.margin
        if speed == 1.0:
            return self._read(sample, start, start + size, np.int16(0))
        extra = round(_SPEED_MARGIN_S * self.rate_hz)
        num_read = round((size + 2 * extra) / speed)
        whole = self._read(sample, start - extra, start - extra + num_read, np.int16(0))
        changed = scipy.signal.resample(whole.astype(np.float32), size + 2 * extra)
        window = np.rint(changed[extra : extra + size]).clip(-32768, 32767)
        out: np.ndarray = window.astype(np.int16)
        return out

    def _read(self, sample: int, start: int, stop: int, silence: np.generic) -> np.ndarray:
        """Positions [start, stop) of the first channel, some of them beyond the sample."""
        length = int(self.lengths[sample])
        if start >= 0 and stop <= length:
            return self._stored(sample, start, stop)
        if self.beyond == "repeat" and length:
            return self._stored(sample, 0, length)[np.arange(start, stop) % length]
        inside = self._stored(sample, max(start, 0), min(max(stop, 0), length))
        out = np.full((stop - start, *inside.shape[1:]), silence)
        at = max(-start, 0)
        out[at : at + len(inside)] = inside
        return out

    def _stored(self, sample: int, start: int, stop: int) -> np.ndarray:
        shards = self.reader.shards
        try:
            if self.form == "logmel":
                stored: np.ndarray = shards.read_logmel(sample, start, stop)[0]
            else:
                stored = shards.read_audio(sample, start, stop)[0]
        except (ValueError, RuntimeError) as error:  # soundfile's errors are RuntimeErrors
            raise ShardSetError(
                f"sound of sample {shards.keys[sample]} in {shards.location} cannot be decoded "
                f"({error}); run `avdata verify {shards.location}` and build its shard again"
            ) from None
        return stored


class RandomAudioView:
    """One window of each item at a random place, with random volume and speed."""

    def __init__(self, clips: AudioClips, *, seed: int, augmentation: AudioAugmentation) -> None:
        self.clips, self.seed, self.augmentation = clips, seed, augmentation

    def allocate(self, num_items: int) -> AudioClipBatch:
        """One slot an item."""
        return self.clips.allocate(num_items)

    def fill(self, batch: AudioClipBatch, slot: int, item: StreamItem) -> None:
        """Draw everything from the generator of (seed, epoch, occurrence, key)."""
        clips, augmentation = self.clips, self.augmentation
        rng = sample_generator(
            seed=self.seed,
            epoch=item.epoch,
            occurrence=item.occurrence,
            key=clips.reader.table.keys[item.sample],
        )
        duration_s = clips.duration_s(item.sample)
        # what repeats may be cut anywhere; what ends in silence is cut where there is sound
        window_s = clips.reader.audio.window_s
        free_s = duration_s if clips.beyond == "repeat" else max(duration_s - window_s, 0.0)
        start_s = free_s * rng.random()
        speed = 1.0
        if augmentation.speed is not None:
            low, high = augmentation.speed
            speed = low + (high - low) * rng.random()
        batch.sound[slot].numpy()[...] = clips.read(item.sample, start_s, speed=speed)
        batch.gain[slot] = 1 + augmentation.volume * (2 * rng.random() - 1)

    def select(self, batch: AudioClipBatch, slots: list[int]) -> AudioClipBatch:
        """A batch of only these slots."""
        return AudioClipBatch(sound=batch.sound[slots], gain=batch.gain[slots])


class EvenAudioView:
    """Evenly spaced windows of each item as they are, in neighboring slots."""

    def __init__(self, clips: AudioClips, *, num_windows: int, with_video: bool) -> None:
        self.clips, self.num_windows, self.with_video = clips, num_windows, with_video

    def allocate(self, num_items: int) -> AudioClipBatch:
        """`num_windows` neighboring slots an item."""
        return self.clips.allocate(num_items * self.num_windows)

    def fill(self, batch: AudioClipBatch, slot: int, item: StreamItem) -> None:
        """Write all windows of the item."""
        starts_s = self.clips.even_starts_s(
            item.sample, self.num_windows, with_video=self.with_video
        )
        for i, start_s in enumerate(starts_s):
            at = slot * self.num_windows + i
            batch.sound[at].numpy()[...] = self.clips.read(item.sample, start_s)
            batch.gain[at] = 1

    def select(self, batch: AudioClipBatch, slots: list[int]) -> AudioClipBatch:
        """A batch of only the windows of these items."""
        kept = [slot * self.num_windows + i for slot in slots for i in range(self.num_windows)]
        return AudioClipBatch(sound=batch.sound[kept], gain=batch.gain[kept])
