"""The fields of a sample made small enough for a page: pictures, spectrograms, waveform, sound."""

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import simplejpeg
from PIL import Image

from avdata.errors import ShardSetError
from avdata.schema import LogMelSpec, ManifestRow
from avdata.shards.page_sound import Sound, peaks, playable_sound
from avdata.shards.picture_panels import (
    LogMelPanel,
    color_range,
    frequency_ticks,
    logmel_pixels,
)
from avdata.shards.reader import ShardSet
from avdata.shards.time_axis import TimeAxis
from avdata.shards.verify_frames import UNDECODABLE

BYTES_A_CHAR = 0.75
"""Of base64."""
SOUND_SHARE = 0.5
"""Part of a sample's room that its sound may take."""
OTHER_BYTES = 60_000
"""Room for what is neither sound nor the sheet of frames: spectrograms, thumbnail, facts."""
TILE_AREAS_PX = (57_600, 32_400, 20_736, 11_664, 6_400)
"""Sizes of a frame on the sheet: 320x180 and smaller ones of any shape."""
JPEG_BYTES_A_PX = 0.15
TILES_PER_S = 8.0
MIN_TILES_PER_S = 4.0
"""The tile is made smaller until as many fit."""
TILE_QUALITY, THUMB_QUALITY, SPECTROGRAM_QUALITY = 62, 75, 80
THUMB_AREA_PX = 32_400
SPECTROGRAM_WIDTH_PX = 900
SPECTROGRAM_HEIGHTS_PX = (128, 256)
SOUND_FFT = 1024


IMPOSSIBLE = (LookupError, ArithmeticError)
"""Met where a row of the manifest states what its sample does not hold."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sheet:
    """Frames of a clip beside each other in one JPEG, row by row."""

    jpeg: bytes
    tile_width_px: int
    tile_height_px: int
    tiles_across: int
    times_s: tuple[float, ...]
    """Clip-clock time of each tile's frame."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SampleMedia:
    """What a page shows of a sample; None or empty for fields that the set lacks."""

    shown_s: float
    """Length that is shown, from the start of the clip; shorter than a very long clip."""
    thumb: bytes | None
    """A JPEG of the clip's middle."""
    thumb_size_px: tuple[int, int] | None
    sheet: Sheet | None
    spectrograms: tuple[bytes, ...]
    """A JPEG a channel, over [0, shown_s)."""
    frequency_ticks: tuple[tuple[float, str], ...]
    """Height from the top, as a share, and name."""
    peaks: tuple[bytes, ...]
    """A channel each: NUM_PEAKS pairs of int8, least and greatest, relative to the loudest."""
    peak_dbfs: float | None
    sound: Sound | None
    fault: str | None = None
    """Why there is nothing to show: the sample does not decode."""

    @classmethod
    def damaged(cls, row: ManifestRow, fault: str) -> "SampleMedia":
        """Stand for a sample that does not decode."""
        return cls(
            shown_s=row.duration_s,
            thumb=None,
            thumb_size_px=None,
            sheet=None,
            spectrograms=(),
            frequency_ticks=(),
            peaks=(),
            peak_dbfs=None,
            sound=None,
            fault=fault,
        )


def read_media(shard_set: ShardSet, sample: int, row: ManifestRow, room_chars: int) -> SampleMedia:
    """Pictures and sound of a sample in at most about `room_chars` of base64.

    Raises:
        ShardSetError: A field does not decode.
    """
    try:
        return _read_media(shard_set, sample, row, round(room_chars * BYTES_A_CHAR))
    except (*UNDECODABLE, *IMPOSSIBLE, OSError) as error:
        raise ShardSetError(
            f"sample {row.key} does not decode ({error}); run `avdata verify {shard_set.location}`"
        ) from None


def _read_media(shard_set: ShardSet, sample: int, row: ManifestRow, room: int) -> SampleMedia:
    shown_s, sound, audio = row.duration_s, None, None
    if row.num_audio_samples:
        assert shard_set.spec.audio is not None
        rate_hz = shard_set.spec.audio.sample_rate_hz
        stored, audio = shard_set.read_bytes(sample, "audio"), shard_set.read_audio(sample)
        sound, shown_s = playable_sound(stored, audio, rate_hz, round(SOUND_SHARE * room))
        shown_s = min(shown_s, row.duration_s)
        audio = audio[:, : round(shown_s * rate_hz)]
    left = room - OTHER_BYTES - (len(sound.data) if sound else 0)
    sheet = thumb = thumb_size = None
    if row.num_frames and row.frame_fps:
        sheet, thumb, thumb_size = _pictures(shard_set, sample, row, shown_s, max(left, 0))
    panel = _stored_panel(shard_set, sample, row)
    if panel is None and audio is not None:
        panel = sound_panel(audio, rate_hz)
    spectrograms, ticks = _spectrograms(panel, shown_s) if panel is not None else ((), ())
    peak = int(np.abs(audio.astype(np.int32)).max(initial=0)) if audio is not None else 0
    return SampleMedia(
        shown_s=shown_s,
        thumb=thumb,
        thumb_size_px=thumb_size,
        sheet=sheet,
        spectrograms=spectrograms,
        frequency_ticks=ticks,
        peaks=tuple(peaks(channel, peak) for channel in audio) if audio is not None else (),
        peak_dbfs=20 * math.log10(peak / 32768) if peak else None,
        sound=sound,
    )


def _pictures(
    shard_set: ShardSet, sample: int, row: ManifestRow, shown_s: float, room: int
) -> tuple[Sheet, bytes, tuple[int, int]]:
    """The sheet of frames, and a thumbnail with its size."""
    assert row.frame_fps is not None
    num_shown = max(1, min(row.num_frames, math.ceil(shown_s * row.frame_fps)))
    size_px, count = _sheet_plan(row, shown_s, num_shown, room)
    indices = np.unique(np.floor((np.arange(count) + 0.5) * num_shown / count).astype(np.int64))
    thumb_px = _tile_size(row, THUMB_AREA_PX)
    least_px = (max(size_px[0], thumb_px[0]), max(size_px[1], thumb_px[1]))
    frames = _read_frames(shard_set, sample, indices.tolist(), least_px)
    tiles = [_resized(frame, size_px) for frame in frames]
    jpeg, across = _joined(tiles)
    if len(jpeg) > 1.2 * room and len(tiles) > 1:  # more detail than most pictures have
        places = np.linspace(0, len(tiles) - 1, max(1, int(len(tiles) * room / len(jpeg))))
        keep = np.unique(places.astype(np.int64))
        indices = indices[keep]
        jpeg, across = _joined([tiles[k] for k in keep])
    sheet = Sheet(
        jpeg=jpeg,
        tile_width_px=size_px[0],
        tile_height_px=size_px[1],
        tiles_across=across,
        times_s=tuple((indices / row.frame_fps).tolist()),
    )
    thumb = np.ascontiguousarray(_resized(frames[len(frames) // 2], thumb_px))
    return sheet, _jpeg(thumb, THUMB_QUALITY), thumb_px


def _sheet_plan(
    row: ManifestRow, shown_s: float, num_shown: int, room: int
) -> tuple[tuple[int, int], int]:
    """Size and number of the tiles: the largest tiles of which enough for motion fit."""
    wanted = max(1, min(num_shown, round(shown_s * TILES_PER_S)))
    least = max(1, min(num_shown, round(shown_s * MIN_TILES_PER_S)))
    for area in TILE_AREAS_PX:
        width, height = _tile_size(row, area)
        fit = int(room / (width * height * JPEG_BYTES_A_PX))
        if fit >= least:
            break
    return (width, height), max(1, min(wanted, fit))


def _tile_size(row: ManifestRow, area_px: int) -> tuple[int, int]:
    """Width and height of a stored frame at about `area_px`, never larger than stored."""
    width, height = row.frame_width_px, row.frame_height_px
    scale = min(1.0, math.sqrt(area_px / (width * height)))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _read_frames(
    shard_set: ShardSet, sample: int, indices: Sequence[int], least_px: tuple[int, int]
) -> list[np.ndarray]:
    """Frames at rising `indices`, uint8 (h, w, 3), none smaller than `least_px`."""
    video = shard_set.spec.video
    if video is None or video.codec != "jpeg":
        return list(shard_set.read_frames(sample, indices))
    first = indices[0]
    jpegs = shard_set.read_jpegs(sample, first, indices[-1] + 1)
    return [_decode_small(jpegs[k - first], least_px) for k in indices]


def _decode_small(data: memoryview, size_px: tuple[int, int]) -> np.ndarray:
    """Picture of at least `size_px`, scaled down by the decoder as far as that goes."""
    if bytes(data[:4]) == b"\x89PNG":  # tars of others may hold them
        with Image.open(io.BytesIO(data)) as picture:
            return np.asarray(picture.convert("RGB"))
    return np.asarray(
        simplejpeg.decode_jpeg(data, "RGB", min_width=size_px[0], min_height=size_px[1])
    )


def _resized(frame: np.ndarray, size_px: tuple[int, int]) -> np.ndarray:
    if frame.shape[:2] == size_px[::-1]:
        return frame
    return np.asarray(Image.fromarray(frame).resize(size_px, Image.Resampling.BOX))


def _joined(tiles: list[np.ndarray]) -> tuple[bytes, int]:
    """Sheet of equal tiles, and how many stand in a row."""
    height, width = tiles[0].shape[:2]
    across = math.ceil(math.sqrt(len(tiles) * height / width))
    down = math.ceil(len(tiles) / across)
    sheet = np.zeros((down * height, across * width, 3), np.uint8)
    for k, tile in enumerate(tiles):
        y, x = k // across * height, k % across * width
        sheet[y : y + height, x : x + width] = tile
    return _jpeg(sheet, TILE_QUALITY), across


def _jpeg(picture: np.ndarray, quality: int, subsampling: str = "420") -> bytes:
    return bytes(simplejpeg.encode_jpeg(picture, quality=quality, colorsubsampling=subsampling))


def _stored_panel(shard_set: ShardSet, sample: int, row: ManifestRow) -> LogMelPanel | None:
    """The stored log-mel."""
    spec = shard_set.spec.logmel
    if not row.num_logmel_columns or spec is None:
        return None
    column_s = spec.hop_samples / spec.sample_rate_hz
    return LogMelPanel(values=shard_set.read_logmel(sample), column_s=column_s, spec=spec)


def sound_panel(audio: np.ndarray, rate_hz: int) -> LogMelPanel:
    """Log power spectrogram of int16 (c, n), to look at where no log-mel is stored.

    Frequencies are linear; column t is centered on sample t * hop, as in a stored log-mel.
    """
    hop, bins = max(rate_hz // 100, 1), SOUND_FFT // 2 + 1
    around = ((0, 0), (SOUND_FFT // 2, SOUND_FFT // 2))
    padded = np.pad(audio.astype(np.float32) / 32768, around)
    windows = np.lib.stride_tricks.sliding_window_view(padded, SOUND_FFT, axis=1)[:, ::hop]
    power = np.abs(np.fft.rfft(windows * np.hanning(SOUND_FFT + 1)[:-1])) ** 2
    spec = LogMelSpec(
        sample_rate_hz=rate_hz,
        n_fft=SOUND_FFT,
        win_samples=SOUND_FFT,
        hop_samples=hop,
        num_mels=bins,
        fmax_hz=rate_hz / 2,
        filterbank="linear",
    )
    values = np.log(np.maximum(power, spec.log_floor)).astype(np.float32)
    return LogMelPanel(values=values, column_s=hop / rate_hz, spec=spec)


def _spectrograms(
    panel: LogMelPanel, shown_s: float
) -> tuple[tuple[bytes, ...], tuple[tuple[float, str], ...]]:
    """A JPEG a channel, and the marks of the frequencies."""
    spec, (least, most) = panel.spec, SPECTROGRAM_HEIGHTS_PX
    width = max(1, min(SPECTROGRAM_WIDTH_PX, round(shown_s / panel.column_s)))
    axis = TimeAxis(left_px=0, width_px=width, duration_s=shown_s)
    height, ends, jpegs = min(max(panel.values.shape[2], least), most), color_range(panel), []
    for channel in range(len(panel.values)):
        pixels = Image.fromarray(logmel_pixels(panel, channel, axis, ends))
        shown = np.asarray(pixels.resize((width, height), Image.Resampling.BILINEAR))
        jpegs.append(_jpeg(shown, SPECTROGRAM_QUALITY, "444"))
    ticks = [(y / height, text) for y, text in frequency_ticks(spec, height)]
    return tuple(jpegs), tuple(ticks)


def data_uri(mime: str, data: bytes) -> str:
    """`data:` address of a file."""
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"
