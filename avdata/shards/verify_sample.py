"""Does one sample decode to what its manifest row says?"""

import io
from collections.abc import Iterator, Mapping

import numpy as np
import soundfile

from avdata.schema import (
    AUDIO_SUFFIX,
    LOGMEL_SUFFIX,
    META_SUFFIX,
    DatasetSpec,
    ManifestRow,
)
from avdata.shards.codec import decode_array, decode_audio, decode_meta
from avdata.shards.logmel_length import num_logmel_columns
from avdata.shards.problem import Problem
from avdata.shards.verify_frames import UNDECODABLE, check_frames

META_FACTS = ("source_id", "source_index", "clip_index", "decoded_start_s", "decoded_end_s")
"""Facts that meta and manifest both hold, besides the key."""


def check_sample_data(
    data: Mapping[str, bytes], row: ManifestRow, spec: DatasetSpec
) -> Iterator[Problem]:
    """What is wrong with a sample's members, by suffix; members that are not there are skipped."""
    where = f"{row.shard} {row.key}"
    if "frames" in spec.fields:
        for suffix, seen, expected in check_frames(data, row, spec):
            yield Problem(where=f"{where}.{suffix}", seen=seen, expected=expected)
    checks = (
        (AUDIO_SUFFIX, _check_audio),
        (LOGMEL_SUFFIX, _check_logmel),
        (META_SUFFIX, _check_meta),
    )
    for suffix, check in checks:
        if suffix not in data or not _has_spec(suffix, spec):
            continue
        member = f"{where}.{suffix}"
        try:
            for seen, expected in check(data[suffix], row, spec):
                yield Problem(where=member, seen=seen, expected=expected)
        except UNDECODABLE as error:
            yield Problem(
                where=member,
                seen=f"does not decode ({type(error).__name__}: {error})",
                expected="whole, undamaged data",
            )
    yield from _check_lengths(where, row, spec)


def _has_spec(suffix: str, spec: DatasetSpec) -> bool:
    """Whether `dataset.json` says how the member is made; that it must is checked there."""
    if suffix == AUDIO_SUFFIX:
        return spec.audio is not None
    if suffix == LOGMEL_SUFFIX:
        return spec.audio is not None and spec.logmel is not None
    return True


def _check_audio(data: bytes, row: ManifestRow, spec: DatasetSpec) -> Iterator[tuple[str, str]]:
    assert spec.audio is not None
    promised = (spec.audio.num_channels, row.num_audio_samples, spec.audio.sample_rate_hz)
    with soundfile.SoundFile(io.BytesIO(data)) as sound:  # the header first: it may ask for much
        stated = (sound.channels, sound.frames, sound.samplerate)
    if stated != promised:
        yield _sound(*stated), _sound(*promised)
        return
    samples, _ = decode_audio(data)
    if samples.shape != promised[:2]:
        yield f"{samples.shape[1]} samples decode", f"{promised[1]}"


def _sound(num_channels: int, num_samples: int, sample_rate_hz: int) -> str:
    return f"{num_channels} channels of {num_samples} samples at {sample_rate_hz} Hz"


def _check_logmel(data: bytes, row: ManifestRow, spec: DatasetSpec) -> Iterator[tuple[str, str]]:
    assert spec.logmel is not None and spec.audio is not None
    logmel = decode_array(data)
    promised = (spec.audio.num_channels, row.num_logmel_columns, spec.logmel.num_mels)
    if logmel.shape != promised or logmel.dtype != np.float16:
        yield f"{logmel.dtype} of shape (c, t, f) = {logmel.shape}", f"float16 of {promised}"
        return
    if bad := int(np.count_nonzero(~np.isfinite(logmel))):
        yield f"{bad} values are not finite", "finite values"


def _check_meta(data: bytes, row: ManifestRow, spec: DatasetSpec) -> Iterator[tuple[str, str]]:
    meta = decode_meta(data)
    for name in ("key", *META_FACTS):
        if meta.get(name) != getattr(row, name):
            yield f"{name} is {meta.get(name)!r}", f"{getattr(row, name)!r} as in the manifest"
    if meta.get("labels") != row.labels:
        yield f"labels are {meta.get('labels')!r}", f"{row.labels!r} as in the manifest"


def _check_lengths(where: str, row: ManifestRow, spec: DatasetSpec) -> Iterator[Problem]:
    """All fields last as long as the clip, and log-mel has a column a hop."""
    if abs(row.decoded_end_s - row.decoded_start_s - row.duration_s) > 1e-6:
        yield Problem(
            where=where,
            seen=f"duration_s {row.duration_s:.6f}",
            expected=f"decoded_end_s - decoded_start_s = "
            f"{row.decoded_end_s - row.decoded_start_s:.6f}",
        )
    if "frames" in spec.fields and spec.video and row.frame_fps:
        length_s = row.num_frames / row.frame_fps
        yield from _check_length(where, "frames", length_s, row, slack_s=1e-6)
    if "audio" in spec.fields and spec.audio:
        rate_hz = spec.audio.sample_rate_hz
        length_s = row.num_audio_samples / rate_hz
        yield from _check_length(where, "audio", length_s, row, slack_s=1 / rate_hz)
        if "logmel" in spec.fields and spec.logmel:
            promised = num_logmel_columns(spec.logmel, row.num_audio_samples, rate_hz)
            if row.num_logmel_columns != promised:
                yield Problem(
                    where=where,
                    seen=f"{row.num_logmel_columns} log-mel columns",
                    expected=f"{promised} for {row.num_audio_samples} audio samples",
                )


def _check_length(
    where: str, field: str, length_s: float, row: ManifestRow, *, slack_s: float
) -> Iterator[Problem]:
    if abs(length_s - row.duration_s) > slack_s:
        yield Problem(
            where=where,
            seen=f"{field} last {length_s:.6f} s",
            expected=f"duration_s {row.duration_s:.6f}",
        )
