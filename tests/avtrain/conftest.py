"""Tiny shard sets with known content, written with the public pieces of the contract."""

import colorsys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
import torch
from pretend_cuda import CUDA, PretendCuda, pretend_cuda

from avdata.atomic_writing import write_atomically
from avdata.manifest import (
    MANIFEST_NAME,
    MANIFEST_SCHEMA,
    REJECTS_NAME,
    REJECTS_SCHEMA,
    TableWriter,
)
from avdata.schema import (
    AUDIO_SUFFIX,
    FRAMES_INDEX_SUFFIX,
    FRAMES_SUFFIX,
    LOGMEL_SUFFIX,
    META_SUFFIX,
    AudioSpec,
    DatasetSpec,
    LogMelSpec,
    ManifestRow,
    VideoSpec,
    shard_name,
)
from avdata.shards.codec import encode_array, encode_audio, encode_frames, encode_meta
from avdata.shards.sidecar import LogMelSums, ShardReport, write_sidecar
from avdata.shards.writer import ByteRange, ShardWriter

SIDE_PX = 64
CLIPS_PER_SHARD = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardSetPlan:
    """What a tiny shard set holds."""

    num_clips: int = 24
    fields: tuple[str, ...] = ("frames", "audio", "logmel")
    fps: float = 16.0
    sample_rate_hz: int = 24000
    durations_s: tuple[float, ...] = (3.0, 3.5, 4.0)
    """Taken in turn."""
    num_labels: int = 4
    num_splits: int = 2
    """0: no splits; 2: every third clip is test."""
    build_hash: str = "fixture"
    width_px: int = 88
    silent_every: int = 0
    """Every so many-th clip is silent; 0: none."""


MakeShardSet = Callable[..., Path]


@pytest.fixture(scope="session")
def make_shard_set(tmp_path_factory: pytest.TempPathFactory) -> MakeShardSet:
    """Function that writes the shard set of a `ShardSetPlan`'s settings and returns its folder."""
    made: dict[ShardSetPlan, Path] = {}

    def make(**settings: object) -> Path:
        plan = ShardSetPlan(**settings)
        if plan not in made:
            made[plan] = tmp_path_factory.mktemp("shards")
            _write_shard_set(made[plan], plan)
        return made[plan]

    return make


@pytest.fixture(scope="session")
def shard_set(make_shard_set: MakeShardSet) -> Path:
    """24 clips of 24 sources, 3 to 4 s, 64 px, 4 labels, splits train (16) and test (8).

    Clip i has one color that moves, and one tone: both are functions of i, so that they match.
    """
    return make_shard_set()


def _write_shard_set(out: Path, plan: ShardSetPlan) -> None:
    logmel_spec = LogMelSpec(sample_rate_hz=plan.sample_rate_hz, fmax_hz=plan.sample_rate_hz / 2)
    manifest = TableWriter(out / MANIFEST_NAME, MANIFEST_SCHEMA)
    total: LogMelSums | None = None
    num_shards = -(-plan.num_clips // CLIPS_PER_SHARD)
    for shard_index in range(num_shards):
        name = shard_name(shard_index)
        rows: list[ManifestRow] = []
        with ShardWriter(out / name) as writer:
            first = shard_index * CLIPS_PER_SHARD
            for index in range(first, min(first + CLIPS_PER_SHARD, plan.num_clips)):
                clip = _Clip(index, plan, logmel_spec)
                total = clip.sums if total is None else total + clip.sums
                ranges = writer.add(clip.key, clip.members)
                rows.append(clip.row(name, ranges))
            sha256, num_bytes = writer.commit()
        report = ShardReport(
            shard=name,
            build_hash=plan.build_hash,
            sha256=sha256,
            num_bytes=num_bytes,
            rows=rows,
            rejects=[],
            logmel_sums=None,
        )
        write_sidecar(out, report)
        manifest.append(rows)
    manifest.close()
    TableWriter(out / REJECTS_NAME, REJECTS_SCHEMA).close()
    assert total is not None
    spec = DatasetSpec(
        fields=plan.fields,
        video=VideoSpec(fps=plan.fps, short_side_px=SIDE_PX) if "frames" in plan.fields else None,
        audio=AudioSpec(sample_rate_hz=plan.sample_rate_hz) if "audio" in plan.fields else None,
        logmel=logmel_spec if "logmel" in plan.fields else None,
        logmel_statistics=total.statistics() if "logmel" in plan.fields else None,
        num_shards=num_shards,
        num_listed=plan.num_clips,
        num_clips=plan.num_clips,
        num_rejected=0,
        num_sources=plan.num_clips,
        labels=tuple(f"label{i}" for i in range(plan.num_labels)),
        labels_hash="labels",
        build_hash=plan.build_hash,
        listing_name="fixture",
        software={},
    )
    write_atomically(out / "dataset.json", spec.model_dump_json().encode())


class _Clip:
    """One clip: a bright bar of a color on a dark ground, with a tone."""

    def __init__(self, index: int, plan: ShardSetPlan, logmel_spec: LogMelSpec) -> None:
        self.index, self.plan = index, plan
        self.key = f"clip-{index:03d}"
        share = index / plan.num_clips
        self.duration_s = plan.durations_s[index % len(plan.durations_s)]
        rng = np.random.default_rng(index)
        jpegs = [self._jpeg(k, share) for k in range(round(self.duration_s * plan.fps))]
        self.num_audio_samples = round(self.duration_s * plan.sample_rate_hz)
        self.num_columns = logmel_spec.num_columns(self.num_audio_samples)
        stream, offsets = encode_frames(jpegs)
        self.frame_offsets = np.cumsum([0, *map(len, jpegs)]).tolist()
        self.num_frames = len(jpegs)
        bins = np.arange(logmel_spec.num_mels)
        tone = 12 * np.exp(-(((bins - 10 - 100 * share) / 4) ** 2)) - 15
        logmel = tone + rng.normal(0, 0.5, (1, self.num_columns, logmel_spec.num_mels))
        self.sums = LogMelSums.of(logmel.astype(np.float16))
        members = {META_SUFFIX: encode_meta({"key": self.key})}
        if "frames" in plan.fields:
            members |= {FRAMES_SUFFIX: stream, FRAMES_INDEX_SUFFIX: offsets}
        if "audio" in plan.fields:
            time = np.arange(self.num_audio_samples) / plan.sample_rate_hz
            sound = 8000 * np.sin(2 * np.pi * (300 + 5000 * share) * time)
            sound += rng.normal(0, 20, sound.shape)
            if plan.silent_every and index % plan.silent_every == 0:
                sound *= 0
            members[AUDIO_SUFFIX] = encode_audio(sound[None].astype(np.int16), plan.sample_rate_hz)
        if "logmel" in plan.fields:
            members[LOGMEL_SUFFIX] = encode_array(logmel.astype(np.float16))
        self.members = members

    def _jpeg(self, frame: int, share: float) -> bytes:
        picture = np.full((SIDE_PX, self.plan.width_px, 3), 20, np.uint8)
        color = np.multiply(colorsys.hsv_to_rgb(share, 1, 1), 255)
        left = (3 * frame + 5 * self.index) % 48
        picture[8:56, left : left + 40] = color
        return simplejpeg.encode_jpeg(picture, quality=85, colorspace="RGB")

    def row(self, shard: str, ranges: dict[str, ByteRange]) -> ManifestRow:
        nowhere = ByteRange(offset=0, size=0)
        frames = ranges.get(FRAMES_SUFFIX, nowhere)
        audio = ranges.get(AUDIO_SUFFIX, nowhere)
        logmel = ranges.get(LOGMEL_SUFFIX, nowhere)
        meta = ranges[META_SUFFIX]
        plan, index = self.plan, self.index
        split = None
        if plan.num_splits:
            split = "test" if index % 3 == 2 else "train"
        return ManifestRow(
            key=self.key,
            shard=shard,
            row_index=index,
            line_number=index + 1,
            source_id=f"source-{index}",
            source_index=index,
            clip_index=0,
            labels=[f"label{index * plan.num_labels // plan.num_clips}"] * bool(plan.num_labels),
            split=split,
            media="fixture.mp4",
            trimmed=True,
            listed_start_s=None,
            listed_end_s=None,
            decoded_start_s=0.0,
            decoded_end_s=self.duration_s,
            duration_s=self.duration_s,
            coverage=1.0,
            padded_start_s=0.0,
            padded_end_s=0.0,
            truncated=False,
            av_offset_s=0.0,
            video_start_s=0.0,
            video_end_s=self.duration_s,
            audio_start_s=0.0,
            audio_end_s=self.duration_s,
            video_stream=0,
            audio_stream=1,
            native_fps=plan.fps,
            native_jitter_s=0.0,
            native_width_px=plan.width_px,
            native_height_px=SIDE_PX,
            pixel_aspect=1.0,
            rotation_deg=0,
            native_sample_rate_hz=plan.sample_rate_hz,
            native_channels=1,
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
            effective_duration_s=self.duration_s,
            frame_fps=plan.fps,
            num_frames=self.num_frames if frames.size else 0,
            frame_width_px=plan.width_px,
            frame_height_px=SIDE_PX,
            num_audio_samples=self.num_audio_samples,
            num_logmel_columns=self.num_columns if logmel.size else 0,
            frames_offset_bytes=frames.offset,
            frames_bytes=frames.size,
            frame_offsets=self.frame_offsets if frames.size else [],
            frame_times_s=[k / plan.fps for k in range(self.num_frames)] if frames.size else [],
            audio_offset_bytes=audio.offset,
            audio_bytes=audio.size,
            logmel_offset_bytes=logmel.offset,
            logmel_bytes=logmel.size,
            meta_offset_bytes=meta.offset,
            meta_bytes=meta.size,
        )


TINY_RUN = (
    "seed=3",
    "data.batch_size=6",
    "data.split=train",
    "data.loader_threads=2",
    "avid.model=tiny",
    "avid.criterion.num_negatives=8",
    "avid.video.crop_px=32",
    "avid.video.clip_frames=4",
    "avid.audio.window_s=1.0",
    "avid.audio.frame_rate_hz=50",
    "schedule.max_steps=10",
    "log.every_steps=3",
    "log.keys=true",
    "log.tensorboard=false",
)


@pytest.fixture(scope="session")
def tiny_run() -> tuple[str, ...]:
    """Settings, as for `--set`, of a run of 10 steps of 6 clips in about a second."""
    return TINY_RUN


@pytest.fixture
def one_torch_thread() -> Iterator[None]:
    """Small networks on one thread: on a busy machine threads mostly wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def pretended_cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[PretendCuda]:
    """A pretended CUDA device for commands: what their `--device cuda` names."""

    def choose(name: str, **_: object) -> torch.device:
        return CUDA if name == "cuda" else torch.device("cpu")

    monkeypatch.setattr("avtrain.engine.device.choose_device", choose)
    monkeypatch.setattr("avtrain.engine.ranks.choose_device", choose)
    with pretend_cuda() as pretended:
        yield pretended
