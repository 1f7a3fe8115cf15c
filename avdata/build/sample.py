"""One listed clip -> the members of its sample, and its row of the manifest."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from avdata.build.source_files import SourceFile, describe_source
from avdata.build.span_in_file import SpanInFile, span_in_file
from avdata.build.verdicts import Verdicts, clip_verdicts
from avdata.config import BuildConfig
from avdata.decode.clip import DecodedClip, total_s
from avdata.decode.with_av import decode_clip
from avdata.errors import FailureReason, MediaError
from avdata.features.logmel import stored_log_mel
from avdata.schema import (
    AUDIO_SUFFIX,
    FRAME_CODECS,
    LOGMEL_SUFFIX,
    META_SUFFIX,
    ClipRef,
    ManifestRow,
    check_sample,
)
from avdata.shards.codec import encode_array, encode_audio, encode_meta
from avdata.shards.sidecar import LogMelSums
from avdata.shards.writer import ByteRange
from avdata.sources.resolve import MediaResolver

NOWHERE = ByteRange(offset=0, size=0)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sample:
    """One clip, encoded."""

    ref: ClipRef
    source: SourceFile
    span: SpanInFile
    clip: DecodedClip
    members: dict[str, bytes]
    """Suffix -> bytes."""
    verdicts: Verdicts
    frames_suffix: str
    """Of the member that holds the frames."""
    num_logmel_columns: int
    logmel_sums: LogMelSums | None

    def manifest_row(
        self, *, shard: str, ranges: Mapping[str, ByteRange], fields: tuple[str, ...]
    ) -> ManifestRow:
        """The sample's row, once its place in a shard is known."""
        ref, clip = self.ref, self.clip
        video, audio, verdicts = clip.video, clip.audio, self.verdicts
        frames = ranges.get(self.frames_suffix, NOWHERE)
        sound = ranges.get(AUDIO_SUFFIX, NOWHERE)
        logmel = ranges.get(LOGMEL_SUFFIX, NOWHERE)
        meta = ranges[META_SUFFIX]
        return ManifestRow(
            key=ref.key,
            shard=shard,
            row_index=ref.row_index,
            line_number=ref.line_number,
            source_id=ref.source_id,
            source_index=ref.source_index,
            clip_index=ref.clip_index,
            labels=list(ref.labels),
            split=ref.split,
            media=self.source.name,
            media_bytes=self.source.num_bytes,
            media_modified_s=self.source.modified_s,
            trimmed=self.span.trimmed,
            excess_s=self.span.excess_s,
            kept=ref.kept,
            listed_start_s=ref.listed_start_s,
            listed_end_s=ref.listed_end_s,
            decoded_start_s=clip.start_s,
            decoded_end_s=clip.end_s,
            duration_s=clip.duration_s,
            coverage=clip.coverage,
            padded_start_s=clip.padded_start_s,
            padded_end_s=clip.padded_end_s,
            truncated=clip.truncated,
            av_offset_s=clip.av_offset_s,
            video_start_s=video.start_s if video else None,
            video_end_s=video.end_s if video else None,
            audio_start_s=audio.start_s if audio else None,
            audio_end_s=audio.end_s if audio else None,
            video_stream=video.stream_index if video else None,
            audio_stream=audio.stream_index if audio else None,
            frame_clock=video.clock if video else None,
            native_fps=video.native_fps if video else None,
            native_jitter_s=video.native_jitter_s if video else None,
            native_width_px=video.native_width_px if video else None,
            native_height_px=video.native_height_px if video else None,
            pixel_aspect=video.pixel_aspect if video else None,
            rotation_deg=video.rotation_deg if video else None,
            mirrored=video.mirrored if video else None,
            interlaced=video.interlaced if video else None,
            color_matrix=video.color.matrix if video else None,
            color_range=video.color.range if video else None,
            color_transfer=video.color.transfer if video else None,
            native_sample_rate_hz=audio.native_sample_rate_hz if audio else None,
            native_channels=audio.native_channels if audio else None,
            native_layout=audio.native_layout if audio else None,
            ambisonic_form=audio.ambisonic_form if audio else None,
            num_audio_forms=audio.num_forms if audio else None,
            video_codec=video.codec if video else None,
            audio_codec=audio.codec if audio else None,
            num_bad_packets=clip.num_bad_packets,
            num_skipped_packets=clip.num_skipped_packets,
            num_dropped_frames=video.num_dropped if video else None,
            num_corrupt_frames=video.num_corrupt if video else None,
            frame_gap_s=total_s(clip.frame_gaps_s) if video else None,
            audio_gap_s=total_s(clip.audio_gaps_s) if audio else None,
            sound_missing=verdicts.sound_missing,
            silence_fraction=verdicts.silence_fraction,
            clipping_fraction=audio.clipping_fraction if audio else None,
            dual_mono=audio.dual_mono if audio else None,
            mono_loss_db=audio.mono_loss_db if audio else None,
            still_fraction=verdicts.still_fraction,
            black_fraction=verdicts.black_fraction,
            effective_duration_s=verdicts.effective_duration_s,
            frame_fps=video.fps if video else None,
            num_frames=video.num_frames if video else 0,
            frame_width_px=video.width_px if video else 0,
            frame_height_px=video.height_px if video else 0,
            num_audio_samples=clip.samples.shape[1]
            if clip.samples is not None and "audio" in fields
            else 0,
            num_logmel_columns=self.num_logmel_columns,
            frames_offset_bytes=frames.offset,
            frames_bytes=frames.size,
            frame_offsets=video.frames.offsets if video else [],
            frame_times_s=(video.frame_times_s - clip.start_s).tolist() if video else [],
            audio_offset_bytes=sound.offset,
            audio_bytes=sound.size,
            logmel_offset_bytes=logmel.offset,
            logmel_bytes=logmel.size,
            meta_offset_bytes=meta.offset,
            meta_bytes=meta.size,
        )


def build_sample(ref: ClipRef, *, config: BuildConfig, resolver: MediaResolver) -> Sample:
    """Find, decode and encode one clip.

    Raises:
        MediaError: With the reason why there is no sample.
    """
    media = resolver.resolve(ref)
    source = describe_source(media.path, resolver)
    span = span_in_file(ref, media, config)
    clip = decode_clip(
        media.path,
        start_s=span.start_s,
        end_s=span.end_s,
        video=config.video if config.needs_video else None,
        audio=config.audio if config.needs_audio else None,
        clips=config.clips,
        limits=config.limits,
    )
    members: dict[str, bytes] = {}
    frames_suffix, index_suffix = FRAME_CODECS[config.video.codec].suffixes
    if clip.video is not None:
        members[frames_suffix] = clip.video.frames.data
        members[index_suffix] = encode_array(clip.video.frames.index)
    if "audio" in config.fields and clip.samples is not None:
        members[AUDIO_SUFFIX] = encode_audio(clip.samples, config.audio.sample_rate_hz)
    logmel = None
    if "logmel" in config.fields and clip.samples is not None:
        logmel = _log_mel(clip.samples, config)
    if logmel is not None:
        members[LOGMEL_SUFFIX] = encode_array(logmel)
    members[META_SUFFIX] = encode_meta(_meta(ref, clip, config))
    check_sample(members, config.fields, config.video.codec)
    return Sample(
        ref=ref,
        source=source,
        span=span,
        clip=clip,
        members=members,
        verdicts=clip_verdicts(clip, config.audio.sample_rate_hz),
        frames_suffix=frames_suffix,
        num_logmel_columns=0 if logmel is None else logmel.shape[1],
        logmel_sums=None if logmel is None else LogMelSums.of(logmel),
    )


def _log_mel(samples: np.ndarray, config: BuildConfig) -> np.ndarray:
    """float16 (c, t, f) of the sound as it is stored."""
    if samples.shape[1] <= config.logmel.n_fft // 2:
        raise MediaError(
            FailureReason.TOO_SHORT,
            f"{samples.shape[1]} audio samples; log-mel with n_fft={config.logmel.n_fft} needs "
            f"more than {config.logmel.n_fft // 2}",
        )
    return stored_log_mel(samples, config.logmel)


def _meta(ref: ClipRef, clip: DecodedClip, config: BuildConfig) -> dict[str, object]:
    """What a reader of the bare tar needs to know of the sample."""
    video = clip.video
    return {
        "key": ref.key,
        "source_id": ref.source_id,
        "source_index": ref.source_index,
        "clip_index": ref.clip_index,
        "labels": list(ref.labels),
        "split": ref.split,
        "listed_start_s": ref.listed_start_s,
        "listed_end_s": ref.listed_end_s,
        "decoded_start_s": clip.start_s,
        "decoded_end_s": clip.end_s,
        "av_offset_s": clip.av_offset_s,
        "fps": video.fps if video else None,
        "frame_times_s": [round(t - clip.start_s, 6) for t in video.frame_times_s.tolist()]
        if video
        else None,
        "sample_rate_hz": config.audio.sample_rate_hz if clip.samples is not None else None,
    }
