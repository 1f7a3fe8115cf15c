"""Device part of pair views: crop, color jitter, spectrogram, masks, normalization.

Letters: b clips, c channels, t video frames, s spectrogram frames, f frequency or mel bins, h w.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from avdata import DatasetSpec
from avdata.features.log_spectrogram import LogSpectrogramSpec, limit_range, log_spectrogram
from avtrain.data.augment.color import jitter_colors
from avtrain.data.augment.device_crop import crop_frames
from avtrain.data.augment.spectrum_masks import mask_spectrum
from avtrain.data.views.pair_batch import PairBatch
from avtrain.data.views.pair_config import AudioViewConfig
from avtrain.errors import DataError

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)
_STD_FLOOR = 1e-5
_INT16_MAX = 32767
_PUBLISHED_RATE_HZ = 24000
_COLORS_AT_ONCE = {"cpu": 2**20, "cuda": 2**26}
"""Colors of clips that are worked on together: on a CPU what its cache holds, on a GPU what bounds
its memory."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class PairInputs:
    """What the networks take."""

    video: Tensor
    """float32 (b, 3, t, h, w), ImageNet mean and deviation taken out."""
    audio: Tensor
    """float32 (b, 1, s, f), mean and deviation of each bin taken out."""
    source: Tensor
    """int64 (b,): memory-bank rows."""


class PairPreparation(nn.Module):
    """Batches of a pair view to network inputs; the state dict holds the audio statistics."""

    audio_mean: Tensor
    audio_std: Tensor
    video_mean: Tensor
    video_std: Tensor

    def __init__(self, audio: AudioViewConfig, spec: DatasetSpec) -> None:
        super().__init__()
        self.spectrogram: LogSpectrogramSpec | None = None
        statistics = None
        if audio.input == "spectrogram":
            self.spectrogram = spectrogram_spec(audio)
            num_bins = self.spectrogram.num_bins
        else:
            assert spec.logmel is not None
            self.log_floor = math.log(spec.logmel.log_floor)
            self.floor_is_relative = spec.logmel.filterbank == "avid"
            num_bins, statistics = spec.logmel.num_mels, spec.logmel_statistics
        mean = statistics.mean if statistics else (0.0,) * num_bins
        std = statistics.std if statistics else (1.0,) * num_bins
        self.register_buffer("audio_mean", torch.tensor(mean))
        self.register_buffer("audio_std", torch.tensor(std))
        shape = (1, 1, 3, 1, 1)
        self.register_buffer(
            "video_mean", torch.tensor(_IMAGENET_MEAN).reshape(shape), persistent=False
        )
        self.register_buffer(
            "video_std", torch.tensor(_IMAGENET_STD).reshape(shape), persistent=False
        )

    def forward(self, batch: PairBatch, device: torch.device) -> PairInputs:
        """Inputs on the device, for which nothing waits."""
        batch = batch.to(device)
        audio = (self.sound(batch) - self.audio_mean) / (self.audio_std + _STD_FLOOR)
        if batch.time_spans.shape[1] or batch.band_spans.shape[1]:
            audio = mask_spectrum(audio, time_spans=batch.time_spans, band_spans=batch.band_spans)
        return PairInputs(
            video=self.video(batch),
            audio=audio[:, None],
            source=batch.source.clone(),  # on a CPU it is the loader's own memory
        )

    def video(self, batch: PairBatch) -> Tensor:
        """Frames cropped, with other colors and normalized, float32 (b, 3, t, h, w)."""
        frames, orders = batch.frames, batch.color_orders
        assert isinstance(frames, Tensor)
        num_clips, num_frames, side = len(frames), frames.shape[1], batch.crop_px
        out = torch.empty((num_clips, 3, num_frames, side, side), device=frames.device)
        scale = 1 / self.video_std
        shift = -self.video_mean * scale
        at_once = max(_COLORS_AT_ONCE[frames.device.type] // max(out[:1].numel(), 1), 1)
        for start in range(0, num_clips, at_once):
            part = slice(start, start + at_once)
            if batch.crops is None:
                planes = frames[part].permute(0, 1, 4, 2, 3).contiguous()
                clips = planes.float().mul_(1 / 255)  # (b, t, 3, h, w)
            else:
                clips = crop_frames(frames[part], batch.crops[part], side_px=side)
            if (orders[part] >= 0).any():
                clips = jitter_colors(clips, factors=batch.color_factors[part], orders=orders[part])
            clips.mul_(scale).add_(shift)
            out[part] = clips.transpose(1, 2)
        return out

    def sound(self, batch: PairBatch) -> Tensor:
        """Log-mel or log spectrogram after the change of volume, float32 (b, s, f)."""
        if self.spectrogram is not None:
            waveform = batch.sound.float() / _INT16_MAX * batch.gain[:, None]
            return log_spectrogram(waveform, spec=self.spectrogram)
        # the gain acts on the amplitude, log-mel is the logarithm of power
        louder = batch.sound.float() + 2 * batch.gain.log()[:, None, None]
        louder = louder.clamp(min=self.log_floor)
        # the published spectrogram has a floor that depends on the window, so none is stored
        return limit_range(louder) if self.floor_is_relative else louder

    @torch.no_grad()
    def calibrate(self, batches: Iterable[PairBatch]) -> None:
        """Set mean and deviation of each bin to those of the given clips."""
        count = 0
        total = torch.zeros_like(self.audio_mean, dtype=torch.float64)
        squares = torch.zeros_like(total)
        for batch in batches:
            columns = self.sound(batch.to(self.audio_mean.device)).flatten(0, 1).double()
            count += len(columns)
            total += columns.sum(dim=0)
            squares += columns.square().sum(dim=0)
        mean = total / count
        variance = squares / count - mean.square()
        self.audio_mean.copy_(mean)
        self.audio_std.copy_(variance.clamp(min=0).sqrt())


def spectrogram_spec(audio: AudioViewConfig) -> LogSpectrogramSpec:
    """The published log spectrogram at the frame rate and number of bins of the view."""
    return LogSpectrogramSpec(
        sample_rate_hz=_PUBLISHED_RATE_HZ,
        n_fft=4 * (audio.num_bins - 1),
        hop_samples=_PUBLISHED_RATE_HZ // audio.frame_rate_hz,
        num_frames=audio.num_frames,
    )


def check_pair_data(audio: AudioViewConfig, spec: DatasetSpec, *, where: str) -> None:
    """Refuse a shard set whose stored sound cannot give the view's input.

    Raises:
        DataError: Sample rate, layout or column rate do not fit.
    """
    if audio.input == "spectrogram":
        assert spec.audio is not None
        if spec.audio.sample_rate_hz != _PUBLISHED_RATE_HZ:
            raise DataError(
                f"audio.input='spectrogram' is made of {_PUBLISHED_RATE_HZ} Hz sound, {where} has "
                f"{spec.audio.sample_rate_hz} Hz; build it again with "
                f"--set audio.sample_rate_hz={_PUBLISHED_RATE_HZ}, or take audio.input='logmel'"
            )
        if _PUBLISHED_RATE_HZ % audio.frame_rate_hz:
            raise DataError(
                f"audio.frame_rate_hz={audio.frame_rate_hz} must divide {_PUBLISHED_RATE_HZ}; the "
                "published models take 100, the small ones 50"
            )
        return
    assert spec.logmel is not None
    rate_hz = spec.logmel.sample_rate_hz / spec.logmel.hop_samples
    stride = rate_hz / audio.frame_rate_hz
    if stride < 1 or abs(stride - round(stride)) > 1e-6:
        raise DataError(
            f"audio.frame_rate_hz={audio.frame_rate_hz} must divide the {rate_hz:g} log-mel "
            f"columns per second of {where}; set it to {rate_hz:g}, or to that over a whole number"
        )
    if spec.logmel_statistics is None:
        raise DataError(
            f"{where} has log-mel and no logmel_statistics; build it again with this avdata"
        )
