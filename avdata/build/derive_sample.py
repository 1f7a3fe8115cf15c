"""A stored sample -> the members and the row of the sample derived from it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from avdata.build.derive_config import DeriveConfig, computes_logmel, computes_sound
from avdata.decode.sound import Waveform, to_stored
from avdata.errors import FailureReason
from avdata.features.logmel import stored_log_mel
from avdata.schema import (
    AUDIO_SUFFIX,
    LOGMEL_SUFFIX,
    META_SUFFIX,
    AudioSpec,
    DatasetSpec,
    ManifestRow,
    RejectRow,
    check_sample,
    member_suffixes,
)
from avdata.shards.codec import (
    decode_array,
    decode_audio,
    decode_meta,
    encode_array,
    encode_audio,
    encode_meta,
)
from avdata.shards.field_members import data_suffixes
from avdata.shards.logmel_length import num_logmel_samples
from avdata.shards.sidecar import LogMelSums
from avdata.shards.writer import ByteRange

_NOWHERE = ByteRange(offset=0, size=0)
_CHANNELS = {
    "mono": ("FC",),
    "stereo": ("FL", "FR"),
    "foa": ("AMBI0", "AMBI1", "AMBI2", "AMBI3"),
}
"""FFmpeg's names of stored channels."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DerivedSample:
    """One sample, encoded."""

    row: ManifestRow
    """But for its byte ranges, see `placed_row`."""
    members: dict[str, bytes]
    logmel_sums: LogMelSums | None


def derive_sample(
    row: ManifestRow, members: Mapping[str, bytes], config: DeriveConfig, source: DatasetSpec
) -> DerivedSample | RejectRow:
    """The derived sample of a stored one; a rejected row where its sound is too short.

    Raises:
        ShardSetError: `members` are not those of `source`.
        ValueError: A member is damaged.
    """
    codec = source.video.codec if source.video else "jpeg"
    check_sample(members, source.fields, codec)
    suffixes = member_suffixes(config.fields, codec)
    out = {suffix: members[suffix] for suffix in suffixes if suffix in members}
    facts: dict[str, object] = {}
    samples: np.ndarray | None = None
    if computes_sound(config, source) or computes_logmel(config, source):
        samples = decode_audio(members[AUDIO_SUFFIX])[0]
    if computes_sound(config, source):
        assert samples is not None and source.audio is not None and config.audio is not None
        rate_hz = config.audio.sample_rate_hz
        num_samples = round(samples.shape[1] * rate_hz / source.audio.sample_rate_hz)
        samples = resampled(samples, source.audio, rate_hz, num_samples)
        out[AUDIO_SUFFIX] = encode_audio(samples, rate_hz)
        facts["sample_rate_hz"] = rate_hz
        row = replace(row, num_audio_samples=num_samples)
    if computes_logmel(config, source):
        assert samples is not None and config.audio is not None and config.logmel is not None
        spec = config.logmel
        num_samples = num_logmel_samples(spec, samples.shape[1], config.audio.sample_rate_hz)
        if num_samples <= spec.n_fft // 2:
            return _too_short(row, num_samples, spec.n_fft)
        waveform = resampled(samples, config.audio, spec.sample_rate_hz, num_samples)
        out[LOGMEL_SUFFIX] = encode_array(stored_log_mel(waveform, spec))
    if "frames" in source.fields and "frames" not in config.fields:
        facts |= {"fps": None, "frame_times_s": None}
    if facts:
        out[META_SUFFIX] = encode_meta({**decode_meta(members[META_SUFFIX]), **facts})
    check_sample(out, config.fields, codec)
    logmel = decode_array(out[LOGMEL_SUFFIX]) if "logmel" in config.fields else None
    return DerivedSample(
        row=_without_fields(row, config, 0 if logmel is None else logmel.shape[1]),
        members=out,
        logmel_sums=None if logmel is None else LogMelSums.of(logmel),
    )


def placed_row(row: ManifestRow, ranges: Mapping[str, ByteRange], codec: str) -> ManifestRow:
    """`row` with the byte ranges of its members."""
    places: dict[str, int] = {}
    for name, suffix in data_suffixes(codec).items():
        where = ranges.get(suffix, _NOWHERE)
        places |= {f"{name}_offset_bytes": where.offset, f"{name}_bytes": where.size}
    return replace(row, **places)  # type: ignore[arg-type]


def resampled(samples: np.ndarray, stored: AudioSpec, rate_hz: int, num_samples: int) -> np.ndarray:
    """int16 (c, num_samples) at `rate_hz` of stored sound int16 (c, n), as the builder does it."""
    if rate_hz == stored.sample_rate_hz:
        return samples
    wave = Waveform(
        samples=np.ascontiguousarray(samples.T.astype(np.float32) / 32768),
        channel_names=_CHANNELS[stored.layout],
        sample_rate_hz=stored.sample_rate_hz,
        start_s=0.0,
    )
    # stored ambisonics are in order already, whatever the media held
    spec = AudioSpec(sample_rate_hz=rate_hz, layout=stored.layout, ambisonic_order="acn_sn3d")
    return to_stored(wave, spec, start_s=0.0, num_samples=num_samples)


def _without_fields(row: ManifestRow, config: DeriveConfig, num_columns: int) -> ManifestRow:
    """`row` without the facts of fields that are left out."""
    row = replace(row, num_logmel_columns=num_columns)
    if "audio" not in config.fields:
        row = replace(row, num_audio_samples=0)
    if "frames" not in config.fields:
        row = replace(
            row,
            frame_fps=None,
            num_frames=0,
            frame_width_px=0,
            frame_height_px=0,
            frame_offsets=[],
            frame_times_s=[],
        )
    return row


def _too_short(row: ManifestRow, num_samples: int, n_fft: int) -> RejectRow:
    return RejectRow(
        row_index=row.row_index,
        line_number=row.line_number,
        source_id=row.source_id,
        key=row.key,
        path=None,
        listed_start_s=row.listed_start_s,
        listed_end_s=row.listed_end_s,
        labels=row.labels,
        split=row.split,
        reason=FailureReason.TOO_SHORT,
        message=f"{num_samples} audio samples; log-mel with n_fft={n_fft} needs more than "
        f"{n_fft // 2}",
        traceback=None,
    )
