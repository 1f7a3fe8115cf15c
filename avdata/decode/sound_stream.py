"""All sound of a medium on the clock, in constant memory; see `avdata.decode.playback`."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer

from avdata.config import LimitsConfig
from avdata.decode.ambisonics import stated_form
from avdata.decode.audio_layout import GAP_TOLERANCE_S, placed_frames
from avdata.decode.media import open_media, pick_audio
from avdata.decode.packets import clock_origin_s
from avdata.decode.picture_run import decoded
from avdata.decode.sound import RunBuilder, Waveform, frame_times, mix
from avdata.decode.whole_stream import MAX_GAP_S, all_packets, damaged_times
from avdata.errors import FailureReason, MediaError

_BLOCK_S = 0.5
"""Sound is laid out and resampled in blocks of about this length."""


def stream_sound(path: Path, limits: LimitsConfig, *, sample_rate_hz: int) -> Iterator[np.ndarray]:
    """Stereo sound from the clock's 0 on, without gaps: blocks float32 (2, n), nominally [-1, 1].

    Surround and ambisonics are mixed to two channels, mono is both of them.

    Raises:
        MediaError: There is no sound, none decodes, or its times are damaged.
    """
    with open_media(path, limits) as container:
        stream = pick_audio(container, limits)
        origin_s = clock_origin_s(container)
        laid = _LaidSound(sample_rate_hz)
        heard = False
        for wave in _waves(container, stream):
            heard = True
            yield from laid.add(wave, wave.start_s - origin_s)
        if not heard:
            raise MediaError(FailureReason.AUDIO_UNDECODABLE, "none of its sound decodes")
        yield from laid.finish()


def _waves(container: InputContainer, stream: AudioStream) -> Iterator[Waveform]:
    """Contiguous stretches of decoded sound; gaps lie between them."""
    packets = all_packets(container, stream)
    frames = (frame for frame in decoded(stream, packets) if frame is not None)
    run: RunBuilder | None = None
    for placed in placed_frames(frames, frame_times(stream.time_base)):
        ends = placed.starts_run or placed.gap_samples
        if run is not None and (ends or run.num_samples >= _BLOCK_S * run.sample_rate_hz):
            yield run.waveform()
            run = None
        if run is None:
            rate = placed.frame.sample_rate
            run = RunBuilder(placed.frame, placed.start_s + placed.gap_samples / rate)
        run.write(placed.frame, placed.skip)
    if run is not None:
        yield run.waveform()


class _LaidSound:
    """Puts stretches of sound one behind the other on the clock, at one rate."""

    def __init__(self, sample_rate_hz: int) -> None:
        self._rate = sample_rate_hz
        self._end_s: float | None = None
        """Until when sound has been laid out; None before the first."""
        self._native_rate = 0
        self._resampler: av.AudioResampler | None = None

    def add(self, wave: Waveform, start_s: float) -> Iterator[np.ndarray]:
        """Blocks that are complete with `wave`, which starts at `start_s`."""
        form = stated_form(wave.channel_names, "auto")
        samples = mix(wave.samples, wave.channel_names, "stereo", form)
        rate = wave.sample_rate_hz
        if self._end_s is None:
            if start_s > MAX_GAP_S:
                raise damaged_times("sound", 0.0, start_s)
            yield from _silence(round(start_s * self._rate))
            self._end_s = max(start_s, 0.0)
        missing_s = start_s - self._end_s
        if missing_s > MAX_GAP_S:
            raise damaged_times("sound", self._end_s, start_s)
        if rate != self._native_rate:
            yield from self.finish()
            self._native_rate = rate
            self._resampler = av.AudioResampler("fltp", "stereo", self._rate)
        if missing_s > GAP_TOLERANCE_S:
            for quiet in _silence(round(missing_s * rate), block=rate):
                yield from self._resampled(quiet.T)
                self._end_s += quiet.shape[1] / rate
        elif missing_s < -GAP_TOLERANCE_S:
            samples = samples[round(-missing_s * rate) :]
        self._end_s += len(samples) / rate
        if len(samples):
            yield from self._resampled(samples)

    def finish(self) -> Iterator[np.ndarray]:
        """What the resampler still holds."""
        if self._resampler is not None:
            for part in self._resampler.resample(None):
                yield part.to_ndarray()
            self._resampler = None

    def _resampled(self, samples: np.ndarray) -> Iterator[np.ndarray]:
        assert self._resampler is not None
        block = np.ascontiguousarray(samples, np.float32).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(block, format="flt", layout="stereo")
        frame.sample_rate = self._native_rate
        for part in self._resampler.resample(frame):
            yield part.to_ndarray()


def _silence(count: int, block: int = 48000) -> Iterator[np.ndarray]:
    for first in range(0, count, block):
        yield np.zeros((2, min(block, count - first)), np.float32)
