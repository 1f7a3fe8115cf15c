"""Small shard sets, written with the public pieces of the writer."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from avdata.manifest import (
    MANIFEST_NAME,
    MANIFEST_SCHEMA,
    REJECTS_NAME,
    REJECTS_SCHEMA,
    TableWriter,
)
from avdata.schema import (
    AudioSpec,
    DatasetSpec,
    LogMelSpec,
    ManifestRow,
    RejectRow,
    VideoSpec,
    shard_name,
)
from avdata.shards.codec import encode_array, encode_audio, encode_frames, encode_meta
from avdata.shards.sidecar import LogMelSums, ShardReport, read_sidecar, write_sidecar
from avdata.shards.writer import ByteRange, ShardWriter

FPS, RATE_HZ, WIDTH_PX, HEIGHT_PX = 4.0, 8000, 32, 16
LOGMEL = LogMelSpec(
    sample_rate_hz=RATE_HZ, n_fft=256, win_samples=256, hop_samples=80, num_mels=16, fmax_hz=4000
)
LABELS = ("cat", "dog")
ALL_FIELDS = ("frames", "audio", "logmel")
SHARDS = (((0, 1), ()), ((2,), (3,)), ((), (4, 5)))
"""Stored and rejected row_index of each shard; the last shard is an empty tar."""


def _members(index: int, fields: tuple[str, ...]) -> tuple[dict[str, bytes], list[int], np.ndarray]:
    """A sample of 2 + index frames, 1 / FPS each."""
    generator = np.random.default_rng(index)
    num_frames = 2 + index
    num_samples = round(num_frames / FPS * RATE_HZ)
    shade = generator.integers(0, 255, (num_frames, 1, 1, 3), np.uint8)
    pictures = np.broadcast_to(shade, (num_frames, HEIGHT_PX, WIDTH_PX, 3))
    stream, offsets = encode_frames(
        [simplejpeg.encode_jpeg(np.ascontiguousarray(picture)) for picture in pictures]
    )
    logmel = generator.normal(size=(1, LOGMEL.num_columns(num_samples), LOGMEL.num_mels))
    logmel = logmel.astype(np.float16)
    sound = generator.integers(-9000, 9000, (1, num_samples)).astype(np.int16)
    by_field = {
        "frames": {"frames.mjpg": stream, "frames.npy": offsets},
        "audio": {"audio.flac": encode_audio(sound, RATE_HZ)},
        "logmel": {"logmel.npy": encode_array(logmel)},
    }
    meta = {
        "key": f"clip_{index}",
        "source_id": f"source {index}",
        "source_index": index,
        "clip_index": 0,
        "labels": [LABELS[index % 2]],
        "decoded_start_s": 0.5,
        "decoded_end_s": 0.5 + num_frames / FPS,
        "av_offset_s": 0.01,
        "fps": FPS,
        "sample_rate_hz": RATE_HZ,
    }
    members = {suffix: data for name in fields for suffix, data in by_field[name].items()}
    members["meta.json"] = encode_meta(meta)
    table = [*np.cumsum([0, *_jpeg_sizes(offsets)]).tolist()] if "frames" in fields else []
    return members, table, logmel


def _jpeg_sizes(index: bytes) -> list[int]:
    from avdata.shards.codec import decode_array

    return np.diff(decode_array(index).astype(np.int64)).tolist()


def _row(
    index: int, shard: str, fields: tuple[str, ...], ranges: dict[str, ByteRange], table: list[int]
) -> ManifestRow:
    nowhere = ByteRange(offset=0, size=0)
    num_frames = 2 + index
    num_samples = round(num_frames / FPS * RATE_HZ)
    places = {}
    for field, suffix in (
        ("frames", "frames.mjpg"),
        ("audio", "audio.flac"),
        ("logmel", "logmel.npy"),
        ("meta", "meta.json"),
    ):
        where = ranges.get(suffix, nowhere)
        places |= {f"{field}_offset_bytes": where.offset, f"{field}_bytes": where.size}
    return ManifestRow(
        key=f"clip_{index}",
        shard=shard,
        row_index=index,
        line_number=index + 1,
        source_id=f"source {index}",
        source_index=index,
        clip_index=0,
        labels=[LABELS[index % 2]],
        split="train",
        media=f"clip_{index}.mp4",
        trimmed=False,
        listed_start_s=0.5,
        listed_end_s=None,
        decoded_start_s=0.5,
        decoded_end_s=0.5 + num_frames / FPS,
        duration_s=num_frames / FPS,
        coverage=1.0,
        padded_start_s=0.0,
        padded_end_s=0.0,
        truncated=False,
        av_offset_s=0.01,
        video_start_s=0.5,
        video_end_s=0.5 + num_frames / FPS,
        audio_start_s=0.51,
        audio_end_s=0.5 + num_frames / FPS,
        video_stream=0,
        audio_stream=1,
        native_fps=25.0,
        native_jitter_s=0.0,
        native_width_px=64,
        native_height_px=32,
        pixel_aspect=1.0,
        rotation_deg=0,
        native_sample_rate_hz=44100,
        native_channels=2,
        native_layout="mono",
        video_codec="h264",
        audio_codec="aac",
        num_bad_packets=0,
        sound_missing=False,
        silence_fraction=0.0,
        clipping_fraction=0.0,
        dual_mono=None,
        still_fraction=0.0,
        black_fraction=0.0,
        effective_duration_s=num_frames / FPS,
        frame_fps=FPS,
        num_frames=num_frames if "frames" in fields else 0,
        frame_width_px=WIDTH_PX if "frames" in fields else 0,
        frame_height_px=HEIGHT_PX if "frames" in fields else 0,
        num_audio_samples=num_samples if "audio" in fields else 0,
        num_logmel_columns=LOGMEL.num_columns(num_samples) if "logmel" in fields else 0,
        frame_offsets=table,
        frame_times_s=[k / FPS for k in range(num_frames)] if "frames" in fields else [],
        **places,
    )


def _reject(index: int) -> RejectRow:
    return RejectRow(
        row_index=index,
        line_number=index + 1,
        source_id=f"source {index}",
        key=f"clip_{index}",
        path=None,
        listed_start_s=None,
        listed_end_s=None,
        labels=["cat"],
        split="train",
        reason="missing_file" if index != 5 else "too_short",
        message=f"no file for source {index}",
        traceback=None,
    )


def write_tiny_set(directory: Path, fields: tuple[str, ...] = ALL_FIELDS) -> Path:
    """A set of 3 clips and 3 rejects in 3 shards."""
    directory.mkdir(parents=True, exist_ok=True)
    manifest = TableWriter(directory / MANIFEST_NAME, MANIFEST_SCHEMA)
    rejects = TableWriter(directory / REJECTS_NAME, REJECTS_SCHEMA)
    total: LogMelSums | None = None
    for number, (stored, rejected) in enumerate(SHARDS):
        shard, rows, sums = shard_name(number), [], None
        with ShardWriter(directory / shard) as writer:
            for index in stored:
                members, table, logmel = _members(index, fields)
                ranges = writer.add(f"clip_{index}", members)
                rows.append(_row(index, shard, fields, ranges, table))
                of_sample = LogMelSums.of(logmel)
                sums = of_sample if sums is None else sums + of_sample
                total = of_sample if total is None else total + of_sample
            sha256, num_bytes = writer.commit()
        report = ShardReport(
            shard=shard,
            build_hash="a build",
            sha256=sha256,
            num_bytes=num_bytes,
            rows=rows,
            rejects=[_reject(index) for index in rejected],
            logmel_sums=sums if "logmel" in fields else None,
        )
        write_sidecar(directory, report)
        manifest.append(report.rows)
        rejects.append(report.rejects)
    manifest.close()
    rejects.close()
    assert total is not None
    spec = DatasetSpec(
        fields=fields,
        video=VideoSpec(fps=FPS, short_side_px=HEIGHT_PX) if "frames" in fields else None,
        audio=AudioSpec(sample_rate_hz=RATE_HZ) if {"audio", "logmel"} & set(fields) else None,
        logmel=LOGMEL if "logmel" in fields else None,
        logmel_statistics=total.statistics() if "logmel" in fields else None,
        num_shards=len(SHARDS),
        num_listed=6,
        num_clips=3,
        num_rejected=3,
        num_sources=6,
        labels=LABELS,
        labels_hash=hashlib.sha256(json.dumps(LABELS).encode()).hexdigest(),
        build_hash="a build",
        listing_name="listing.csv",
        software={},
    )
    (directory / "dataset.json").write_text(spec.model_dump_json())
    return directory


def rewrite_sidecar(directory: Path, shard: str) -> None:
    """Make a shard's sidecar agree with the bytes of its tar, as a forger would."""
    report = read_sidecar(directory, shard)
    assert report is not None
    data = (directory / shard).read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    write_sidecar(directory, replace(report, sha256=sha256, num_bytes=len(data)))


@pytest.fixture(scope="session")
def tiny_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_set(tmp_path_factory.mktemp("tiny") / "set")


@pytest.fixture
def tiny_set(tiny_template: Path, tmp_path: Path) -> Path:
    """A finished set of 3 clips and 3 rejects in 3 shards, the last one without samples."""
    return Path(shutil.copytree(tiny_template, tmp_path / "tiny_set"))


@pytest.fixture
def make_tiny_set() -> Callable[..., Path]:
    """`(directory, fields) -> directory`, the set with other fields."""
    return write_tiny_set


@pytest.fixture
def agree() -> Callable[[Path, str], None]:
    """`(directory, shard)`: make the sidecar agree with a damaged tar."""
    return rewrite_sidecar
