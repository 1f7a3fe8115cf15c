"""THE CONTRACT between the builder and the trainer: what a shard set is, on disk and in types.

A shard set is a directory::

    dataset.json         DatasetSpec: schema version, fields, specs, statistics, counts, hashes
    manifest.parquet     one ManifestRow a stored sample, in shard order
    rejects.parquet      one RejectRow a listed clip that has no sample
    shard-000000.tar     WebDataset tar: the members of a sample are adjacent and share its key
    shard-000000.json    sidecar of the shard; its presence means "committed"
    build.json           BuildRecord: what the running or finished build was asked for

Times are float64 seconds and intervals are half open, ``[start_s, end_s)``. The clip clock::

    media clock   origin ........ decoded_start_s ............................. decoded_end_s
                                  |                                             |
    clip clock                    0 ........................................... duration_s
    frames                        frame k is the picture shown nearest to k / fps
    audio                         sample n is the sound at n / sample_rate_hz
    logmel                        column t is centered on audio sample t * hop_samples

The origin of the media clock is the start that the container states. It is 0 where the stated start
is up to 0.25 s below zero (the priming of audio encoders), but for MPEG-TS and MPEG-PS.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from avdata.errors import FailureReason, ShardSetError

SCHEMA_VERSION = 3
READABLE_VERSIONS = (2, 3)
"""Version 3 adds columns to the manifest; sets of version 2 are read with these columns empty."""

FieldName = Literal["frames", "audio", "logmel"]
"""Fields that a build can be asked for; ``meta`` is always stored."""

KEY_PATTERN = re.compile(r"[A-Za-z0-9_-]+")
"""WebDataset splits a member's name at its first dot, so a key has none."""

MAX_KEY_CHARS = 80
"""A tar (ustar) name holds 100 characters: a key and the longest suffix fit."""

FRAMES_SUFFIX = "frames.mjpg"
FRAMES_INDEX_SUFFIX = "frames.npy"
H264_SUFFIX = "frames.mp4"
COPY_SUFFIX = "frames.mkv"
AUDIO_SUFFIX = "audio.flac"
LOGMEL_SUFFIX = "logmel.npy"
META_SUFFIX = "meta.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredField:
    """How one field of a sample is laid down in a shard."""

    suffixes: tuple[str, ...]
    """Tar members of the field: ``{key}.{suffix}``; the first holds the data."""
    codec: str
    """What the bytes of the first member are."""
    dtype: str
    """Element type after decoding."""
    axes: str
    """Axes after decoding: b batch, c channels, t frames, f mel bins, n audio samples, h, w."""
    needs_video: bool = False
    needs_audio: bool = False


FIELDS: dict[str, StoredField] = {
    "frames": StoredField(
        suffixes=(FRAMES_SUFFIX, FRAMES_INDEX_SUFFIX),
        codec="by video.codec, see FRAME_CODECS",
        dtype="uint8",
        axes="t h w c",
        needs_video=True,
    ),
    "audio": StoredField(
        suffixes=(AUDIO_SUFFIX,), codec="flac, 16 bit", dtype="int16", axes="c n", needs_audio=True
    ),
    "logmel": StoredField(
        suffixes=(LOGMEL_SUFFIX,), codec="npy", dtype="float16", axes="c t f", needs_audio=True
    ),
    "meta": StoredField(suffixes=(META_SUFFIX,), codec="json", dtype="object", axes=""),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameCodec:
    """How `frames` lie in a shard under one `video.codec`."""

    suffixes: tuple[str, ...]
    """Tar members: the data, then its index."""
    index: str
    """What the `.npy` index holds."""


FRAME_CODECS: dict[str, FrameCodec] = {
    "jpeg": FrameCodec(
        suffixes=(FRAMES_SUFFIX, FRAMES_INDEX_SUFFIX),
        index="t + 1 uint32 byte offsets; frame i is the JPEG at [i] to [i + 1]",
    ),
    "h264": FrameCodec(
        suffixes=(H264_SUFFIX, FRAMES_INDEX_SUFFIX),
        index="t + 1 uint32 byte offsets; frame i is the packet at [i] to [i + 1] of the mp4. "
        "Every gop_frames-th packet is a key frame with its parameter sets; no B-frames",
    ),
    "copy": FrameCodec(
        suffixes=(COPY_SUFFIX, FRAMES_INDEX_SUFFIX),
        index="float64 clip-clock seconds of the pictures of the mkv, in order of time; those "
        "before 0 only lead from the key frame to the clip. The mkv's own times are these from "
        "the first packet on, rounded to milliseconds",
    ),
}


def member_suffixes(fields: tuple[str, ...], codec: str = "jpeg") -> list[str]:
    """Suffixes of all members of a sample with `fields` and frames of `codec`, sorted."""
    names = (*fields, "meta")
    own = {s for name in names if name != "frames" for s in FIELDS[name].suffixes}
    return sorted(own | set(FRAME_CODECS[codec].suffixes if "frames" in fields else ()))


class Spec(BaseModel):
    """Base of all settings: immutable, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


ToneMap = Literal["none", "hable"]


class VideoSpec(Spec):
    """How stored frames are made."""

    fps: Annotated[float, Field(gt=0, le=240)] | Literal["native"] = 16.0
    """Stored frames per second; frame k shows the picture nearest to k / fps, but none sooner than
    half a second before its own time. `native` is each file's own rate, so that every frame is
    stored, once where the rate is even: then `frame_fps` of the manifest differs by row."""
    short_side_px: int = Field(default=256, ge=16, le=4096, multiple_of=2)
    """Length of the shorter side; the longer one keeps the aspect and is even. Frames of codec
    `copy` keep the size of the medium and get this one when they are read."""
    codec: Literal["jpeg", "h264", "copy"] = "jpeg"
    """`jpeg`: one JPEG a frame. `h264`: groups of `gop_frames` frames, a third of the bytes.
    `copy`: the medium's own packets from the key frame before the clip on; nothing is decoded."""
    quality: int = Field(default=85, ge=1, le=100)
    """JPEG quality; 85 is 41 dB of luma at 24 kB a frame of 456x256."""
    crf: int = Field(default=20, ge=0, le=51)
    """Of x264, for codec `h264`: lower is better and larger."""
    gop_frames: int = Field(default=16, ge=1, le=600)
    """Distance of key frames, for codec `h264`."""
    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium"] = "ultrafast"
    """Of x264, for codec `h264`: slower is smaller."""
    tone_map: ToneMap = "none"
    """For media whose transfer is PQ or HLG, which look gray and washed out as they are coded.
    `hable`: mapped for a standard display by Hable's curve, 1000 cd/m2 becoming white. Not for
    codec `copy`."""
    projection: Literal["flat", "equirectangular"] = "flat"

    @model_validator(mode="after")
    def _decoded_where_tone_mapped(self) -> "VideoSpec":
        if self.codec == "copy" and self.tone_map != "none":
            raise ValueError(
                f"tone_map={self.tone_map!r} needs frames that are decoded: set codec to jpeg or "
                "h264, or tone_map to none"
            )
        return self


AUDIO_CHANNELS: dict[str, int] = {"mono": 1, "stereo": 2, "foa": 4}


class AudioSpec(Spec):
    """How stored sound is made."""

    sample_rate_hz: int = Field(default=24000, ge=4000, le=192000)
    layout: Literal["mono", "stereo", "foa"] = "mono"
    """``foa`` is first-order ambisonics, channel order ACN (W Y Z X), SN3D."""
    ambisonic_order: Literal["auto", "acn_sn3d", "fuma", "xyz0w0"] = "auto"
    """How the media hold ambisonics, for layout ``foa``. ``auto`` goes by the file: a stream that
    says it is ambisonic, or has four channels, is ACN/SN3D; six channels of which two are silent
    are the X Y Z 0 W 0 that hosted 360-degree videos come as."""
    mono: Literal["mix", "louder"] = "mix"
    """Way from several channels to one, for layout ``mono``: mixed, or the loudest of them, which
    helps where channels cancel each other (`mono_loss_db` of the manifest)."""

    @property
    def num_channels(self) -> int:
        return AUDIO_CHANNELS[self.layout]


class LogMelSpec(Spec):
    """How a waveform becomes the stored log-mel: natural logarithm of mel power."""

    sample_rate_hz: int = Field(default=24000, ge=4000, le=192000)
    """Rate of the waveform that the STFT runs on; equal to the stored audio's, and in a set made by
    `avdata derive` at most that."""
    n_fft: int = Field(default=1024, ge=16)
    win_samples: int = Field(default=1024, ge=16)
    """Length of the periodic Hann window."""
    hop_samples: int = Field(default=240, ge=1)
    """Distance between frames; frame 0 is centered on sample 0, edges are reflected."""
    num_mels: int = Field(default=128, ge=1)
    fmin_hz: float = Field(default=0.0, ge=0)
    fmax_hz: float = Field(default=12000.0, gt=0)
    filterbank: Literal["mel", "linear", "avid"] = "mel"
    """``linear`` keeps all n_fft / 2 + 1 bins; ``avid`` keeps bin 0 and the means of the pairs
    (1, 2), (3, 4) ...: the log spectrogram of Morgado et al. 2021. Both ignore the mel settings,
    and num_mels is the number of bins."""
    mel_scale: Literal["htk", "slaney"] = "htk"
    """Slaney is linear below 1 kHz, HTK is not: never leave it implied."""
    log_floor: float = Field(default=1e-10, gt=0)
    """Power below this is raised to it before the logarithm."""

    @model_validator(mode="after")
    def _consistent(self) -> "LogMelSpec":
        if self.win_samples > self.n_fft:
            raise ValueError(f"win_samples={self.win_samples} must not exceed n_fft={self.n_fft}")
        if self.n_fft % 2:
            raise ValueError(f"n_fft={self.n_fft} must be even: frames are centered on samples")
        if self.filterbank != "mel":
            self._check_num_bins()
        elif not self.fmin_hz < self.fmax_hz <= self.sample_rate_hz / 2:
            raise ValueError(
                f"fmin_hz={self.fmin_hz} < fmax_hz={self.fmax_hz} <= half the sample rate "
                f"({self.sample_rate_hz / 2}) must hold"
            )
        return self

    def _check_num_bins(self) -> None:
        """Refuse a num_mels that is not the number of bins of a `filterbank` without mels."""
        if self.filterbank == "avid" and self.n_fft % 4:
            raise ValueError(
                f"filterbank='avid' averages pairs of bins: n_fft={self.n_fft} must be a multiple "
                "of 4"
            )
        num_bins = self.n_fft // (4 if self.filterbank == "avid" else 2) + 1
        if self.num_mels != num_bins:
            raise ValueError(
                f"filterbank={self.filterbank!r} of n_fft={self.n_fft} has {num_bins} bins: set "
                f"num_mels={num_bins}, not {self.num_mels}"
            )

    def num_columns(self, num_samples: int) -> int:
        """Log-mel columns of a waveform of `num_samples`."""
        return num_samples // self.hop_samples + 1


class LogMelStatistics(Spec):
    """Moments of the stored log-mel, per mel bin, over all time and samples of the set."""

    num_columns: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


class ClipsSpec(Spec):
    """Which part of a medium becomes a clip, and what is done where it is not all there."""

    min_duration_s: float = Field(default=0.5, gt=0)
    """Shorter clips are rejected as too_short."""
    uncovered: Literal["reject", "pad", "shorten"] = "shorten"
    """When sound and picture do not both last for the whole span: ``reject`` the clip as
    not_covered, ``pad`` with silence and the nearest picture, or ``shorten`` to what both hold.
    The span of a listed clip without an end is all that the medium says it holds."""
    tolerance_s: float = Field(default=0.25, ge=0)
    """Less than this missing at either end counts as covered: it is cut off, never a fault."""
    min_coverage: float = Field(default=0.5, ge=0, le=1)
    """Share of the span that sound and picture must both hold, else not_covered."""
    longer_than_listed: Literal["reject", "first", "last", "accept"] = "reject"
    """A file cut to the listed span, as its name says, that is more than 1.5 s longer than the
    span; tools that cut at key frames add seconds before it. ``reject`` as longer_than_listed,
    take the ``first`` or the ``last`` seconds of the file, as many as are listed, or ``accept``
    all of the file as the clip. `excess_s` states what is too much."""
    truncated: Literal["reject", "accept"] = "reject"
    """A medium that breaks off inside the span, before its own header says it ends."""
    no_audio: Literal["reject", "silence"] = "reject"
    """A medium without a sound stream: reject as no_audio, or store silence and set
    `sound_missing`."""


class DatasetSpec(Spec):
    """`dataset.json`: everything a trainer may assume of a shard set."""

    schema_version: int = SCHEMA_VERSION
    fields: tuple[str, ...]
    video: VideoSpec | None = None
    """None when the set has no frames; likewise for audio and logmel."""
    audio: AudioSpec | None = None
    logmel: LogMelSpec | None = None
    clips: ClipsSpec = ClipsSpec()
    """The policy that made the clips."""
    logmel_statistics: LogMelStatistics | None = None
    num_shards: int
    num_listed: int
    """Rows of the listing: ``num_listed == num_clips + num_rejected``."""
    num_clips: int
    num_rejected: int
    num_sources: int
    """Distinct media of the listing; ``source_index`` is in ``[0, num_sources)``."""
    labels: tuple[str, ...]
    """All labels of the listing, sorted; a label's position is its class index."""
    labels_hash: str
    kept_columns: tuple[str, ...] = ()
    """Columns of the listing that the manifest carries as text, behind its own."""
    build_hash: str
    """Hash of listing, settings and schema: equal hashes promise equal shards."""
    listing_name: str
    software: dict[str, str]
    """Versions of what shaped the bytes."""

    @classmethod
    def without_samples(
        cls,
        fields: tuple[str, ...],
        *,
        name: str,
        video: VideoSpec | None = None,
        audio: AudioSpec | None = None,
        logmel: LogMelSpec | None = None,
    ) -> "DatasetSpec":
        """The form that samples would have, where there is no set of them."""
        return cls(
            fields=fields,
            video=video,
            audio=audio,
            logmel=logmel,
            num_shards=0,
            num_listed=0,
            num_clips=0,
            num_rejected=0,
            num_sources=0,
            labels=(),
            labels_hash="",
            build_hash="",
            listing_name=name,
            software={},
        )


class BuildRecord(Spec):
    """`build.json`: written before the first shard, so that a second run knows what it resumes."""

    schema_version: int = SCHEMA_VERSION
    build_hash: str
    listing_name: str
    listing_sha256: str
    num_listed: int
    num_shards: int
    kept_columns: tuple[str, ...] = ()
    """Columns of the listing that were asked for by `--keep-column`."""
    config: dict[str, object]
    being_removed: tuple[int, ...] = ()
    """Indices of the shards that a run is removing, to build them again; empty at other times."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedClip:
    """One readable line of a listing, before any file was looked for."""

    line_number: int
    """1-based line of the listing (for parquet and folders: 1-based row)."""
    source_id: str
    """Name of the medium the clip is cut from: a video id, or the path as listed."""
    path: str | None = None
    """File as the listing names it; None when it follows from `source_id` and the times."""
    listed_start_s: float | None = None
    listed_end_s: float | None = None
    """None: from the start, or to the end, of the medium."""
    labels: tuple[str, ...] = ()
    split: str | None = None
    kept: dict[str, str] = field(default_factory=dict, hash=False)
    """Cells of the columns to keep, by name; those that are empty are left out."""
    repair: str = ""
    """Repairs made to read a damaged row; empty for one read as it is."""

    def __post_init__(self) -> None:
        if not self.source_id:
            raise ValueError(f"line {self.line_number}: empty source_id")
        start = self.listed_start_s
        if start is not None and not 0 <= start < 1e7:
            raise ValueError(f"line {self.line_number}: start {start} s must be in [0, 1e7)")
        if self.listed_end_s is not None and not (start or 0.0) < self.listed_end_s < 1e7:
            raise ValueError(
                f"line {self.line_number}: end {self.listed_end_s} s must be after start {start} s"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class MalformedLine:
    """One line of a listing that cannot be read: becomes a rejected row."""

    line_number: int
    text: str
    """The line as it stands, cut to 200 characters."""
    message: str
    """What was seen and what is allowed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipRef:
    """One listed clip with its place in the shard set: what a worker is told to build."""

    row_index: int
    """0-based position among all rows of the listing, readable or not."""
    line_number: int
    key: str
    """Unique in the set; matches `KEY_PATTERN`."""
    source_id: str
    source_index: int
    """Dense in ``[0, num_sources)``, by first appearance in the listing: memory-bank row."""
    clip_index: int
    """0-based count of this source's clips so far in the listing."""
    path: str | None
    listed_start_s: float | None
    listed_end_s: float | None
    labels: tuple[str, ...]
    split: str | None
    kept: dict[str, str] = field(default_factory=dict, hash=False)
    """Cells of the kept columns, by name; those that are empty are left out."""

    def __post_init__(self) -> None:
        if not KEY_PATTERN.fullmatch(self.key) or len(self.key) > MAX_KEY_CHARS:
            raise ValueError(f"key {self.key!r} must match {KEY_PATTERN.pattern}, at most 80 long")


@dataclass(frozen=True, kw_only=True, slots=True)
class ManifestRow:
    """One stored sample. Column names and order of `manifest.parquet`."""

    key: str
    shard: str
    row_index: int
    line_number: int
    source_id: str
    source_index: int
    clip_index: int
    labels: list[str]
    split: str | None
    media: str
    """File the sample was made from, as found."""
    num_members: int | None = None
    """Members of a third-party tar that the sample is made of; None in sets of `avdata build`."""
    media_bytes: int | None = None
    media_modified_s: float | None = None
    """Size of that file, and when it was last changed, in seconds since 1970."""
    trimmed: bool
    """The file was taken to hold just the listed span: listed times count from its start."""
    excess_s: float | None = None
    """Seconds that such a file holds beyond the listed span; None for files that were not cut."""
    listed_start_s: float | None
    listed_end_s: float | None
    decoded_start_s: float
    """Media clock (see the module): where the stored clip starts."""
    decoded_end_s: float
    duration_s: float
    coverage: float
    """Share of the wanted span that sound and picture both hold, in [0, 1]."""
    padded_start_s: float
    padded_end_s: float
    """Seconds at either end that stand for what the medium lacks (`clips.uncovered` is pad)."""
    truncated: bool
    """The medium breaks off inside the span, before its own header says it ends."""
    av_offset_s: float | None
    """First sound minus first picture of the span, in seconds: positive when sound starts late."""
    video_start_s: float | None
    video_end_s: float | None
    audio_start_s: float | None
    audio_end_s: float | None
    """What the streams hold of the listed span, on the media clock, as decoded."""
    video_stream: int | None
    audio_stream: int | None
    """Index of the track that was taken: the container's default one."""
    frame_clock: str | None = None
    """Source of the times of the frames: `pts` (presentation times), `sorted` (the same in rising
    order, where they run backwards), `dts` (decoding times, where there are no others), or `rate`
    (the stated rate, where there are none)."""
    native_fps: float | None
    """Mean rate of the pictures' times."""
    native_jitter_s: float | None
    """Standard deviation of the distances between frames: 0 where these are of a constant rate,
    but for the rounding of times."""
    native_width_px: int | None
    native_height_px: int | None
    pixel_aspect: float | None
    """Width by height of a native pixel; stored pixels are square."""
    rotation_deg: int | None
    """Counterclockwise turn that was applied to set the frames upright."""
    mirrored: bool | None = None
    """The file asks for a mirror image as well; it was applied."""
    interlaced: bool | None = None
    """The decoder flags frames of the clip as interlaced."""
    color_matrix: str | None = None
    color_range: str | None = None
    color_transfer: str | None = None
    """FFmpeg's names of what the file states (bt709, bt2020nc; tv, pc; smpte2084 ...); None where
    it states nothing."""
    native_sample_rate_hz: int | None
    native_channels: int | None
    native_layout: str | None
    """FFmpeg's name of the channel layout: stereo, 5.1, ambisonic 1 ..."""
    ambisonic_form: str | None = None
    """The form of ambisonics that the stored audio was made of; None for other audio."""
    num_audio_forms: int | None = None
    """Stretches of one sample rate and channel layout that the audio consists of; 1 as a rule."""
    video_codec: str | None
    audio_codec: str | None
    num_bad_packets: int
    """Packets of the clip that fail to decode."""
    num_skipped_packets: int | None = None
    """Packets of the clip without data, or that the container flags as damaged."""
    num_dropped_frames: int | None = None
    """Decoded frames of the clip that could not be placed in time."""
    num_corrupt_frames: int | None = None
    """Decoded frames of the clip that the decoder flags as corrupt or concealed."""
    frame_gap_s: float | None = None
    """Seconds of the clip for which frames are missing: the frame before stands for them."""
    audio_gap_s: float | None = None
    """Seconds of the clip, inside the audio, that are missing: silence stands for them."""
    sound_missing: bool
    """There is no sound stream, or not one audible moment (peak above -60 dB) in the clip."""
    silence_fraction: float | None
    """Share of 20 ms windows whose peak is below -60 dB of full scale."""
    clipping_fraction: float | None
    """Share of native samples at full scale."""
    dual_mono: bool | None
    """Two native channels that are the same; None for other numbers of channels."""
    mono_loss_db: float | None = None
    """Level of the native channels above that of their mono mix, in dB: high where channels cancel
    each other. None where the stored audio is no mix."""
    still_fraction: float | None
    """Share of neighboring stored pictures between which nothing moves."""
    black_fraction: float | None
    """Share of stored frames that are black."""
    effective_duration_s: float
    """Seconds of the clip, without padding, that are neither silent nor black."""
    frame_fps: float | None
    """Stored frames per second."""
    num_frames: int
    frame_width_px: int
    frame_height_px: int
    num_audio_samples: int
    num_logmel_columns: int
    frames_offset_bytes: int
    frames_bytes: int
    frame_offsets: list[int]
    """num_frames + 1 offsets from frames_offset_bytes: any frame of codec jpeg is one ranged read,
    any group of codec h264; empty for codec copy."""
    frame_times_s: list[float]
    """Clip-clock time (float32) of the picture behind each stored frame."""
    audio_offset_bytes: int
    audio_bytes: int
    logmel_offset_bytes: int
    logmel_bytes: int
    meta_offset_bytes: int
    meta_bytes: int
    """Byte ranges of the members in the shard; 0 bytes when the set lacks the field."""
    kept: dict[str, str] = field(default_factory=dict)
    """Cells of `DatasetSpec.kept_columns`, by name; those that are empty are left out. In the table
    each is a column of text, NULL where the cell is empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RejectRow:
    """One listed clip that has no sample. Column names and order of `rejects.parquet`."""

    row_index: int
    line_number: int
    source_id: str | None
    """None, like the other facts, when the line itself could not be read."""
    key: str | None
    path: str | None
    listed_start_s: float | None
    listed_end_s: float | None
    labels: list[str]
    split: str | None
    reason: str
    """A `FailureReason`."""
    message: str
    traceback: str | None
    """Only for `FailureReason.UNEXPECTED`."""
    members: list[str] | None = None
    """Names of the members of a third-party tar that the row stands for; None in other sets."""

    def __post_init__(self) -> None:
        FailureReason(self.reason)


def shard_name(shard_index: int) -> str:
    """File name of a shard: `shard-000000.tar`."""
    return f"shard-{shard_index:06d}.tar"


def sidecar_name(shard: str) -> str:
    """File name of the sidecar of shard file `shard`."""
    return shard.removesuffix(".tar") + ".json"


def check_schema_version(seen: object, *, where: str) -> None:
    """Refuse an unknown schema version.

    Raises:
        ShardSetError: `seen` is not a version this software reads.
    """
    if seen not in READABLE_VERSIONS:
        raise ShardSetError(
            f"{where} has schema version {seen!r}; this avdata reads versions "
            f"{' and '.join(map(str, READABLE_VERSIONS))}. "
            "Build the set again with `avdata build`, or use the avdata release that wrote it"
        )


def check_sample(
    members: Mapping[str, bytes], fields: tuple[str, ...], codec: str = "jpeg"
) -> None:
    """Check that a sample has exactly the members that `fields` promise, none of them empty.

    Raises:
        ShardSetError: A member is missing, empty, or not part of the contract.
    """
    promised = member_suffixes(fields, codec)
    if promised != sorted(members):
        raise ShardSetError(f"sample has members {sorted(members)}, promised {promised}")
    empty = sorted(s for s, data in members.items() if not data)
    if empty:
        raise ShardSetError(f"sample has empty members {empty}")
