"""One sample of a third-party tar -> its row of the manifest."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from avdata.errors import FailureReason, MediaError
from avdata.picture_geometry import stored_size
from avdata.schema import ManifestRow, RejectRow
from avdata.shards.index_config import FrameKind, IndexConfig
from avdata.shards.index_contents import LeftOut
from avdata.shards.index_media import (
    ContainerTracks,
    SoundTrack,
    VideoTrack,
    picture_size,
    read_npy_track,
    read_tracks,
)
from avdata.shards.index_members import Member, Roles, SampleTexts, find_roles, read_texts
from avdata.shards.index_names import KIND_OF_ENDING, last_ending
from avdata.shards.tar_contents import TarSample
from avdata.shards.writer import ByteRange

GRID_SLACK = 1e-3
"""A frame may lack this share of its duration at the clip's end."""
NOWHERE = ByteRange(offset=0, size=0)


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplePlace:
    """Where a sample is and what it is called."""

    key: str
    shard: str
    """The tar, relative to the set's folder."""
    split: str | None
    row_index: int


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Frames:
    """The frames of a sample as rows have them; times on the clip clock."""

    where: ByteRange
    fps: float
    count: int
    width_px: int
    height_px: int
    offsets: list[int]
    times_s: np.ndarray


def frame_kind(sample: TarSample) -> FrameKind | None:
    """Kind of frames of a sample; None for a sample without frames, or with faults."""
    try:
        roles = find_roles(sample)
    except MediaError:
        return None
    return "video" if roles.video else "pictures" if roles.pictures else None


def reject_sample(
    sample: TarSample,
    place: SamplePlace,
    *,
    reason: FailureReason,
    message: str,
    traceback: str | None = None,
    texts: SampleTexts | None = None,
) -> RejectRow:
    """The row of a sample that cannot be used; it stands for all of its members."""
    return RejectRow(
        row_index=place.row_index,
        line_number=place.row_index + 1,
        source_id=(texts.source_id if texts else None) or place.key,
        key=place.key,
        path=place.shard,
        listed_start_s=None,
        listed_end_s=None,
        labels=list(texts.labels) if texts else [],
        split=place.split,
        reason=str(reason),
        message=message,
        traceback=traceback,
        members=[f"{sample.key}.{suffix}" for suffix in sample.members],
    )


class SampleIndexing:
    """One sample on its way to its row."""

    def __init__(
        self,
        sample: TarSample,
        place: SamplePlace,
        config: IndexConfig,
        descriptor: int,
        kind: FrameKind,
        missing: Sequence[LeftOut] = (),
    ) -> None:
        """Args: missing: Members of the sample that are left out."""
        self.sample, self.place, self.config = sample, place, config
        self.descriptor, self.kind, self.missing = descriptor, kind, missing
        self.texts: SampleTexts | None = None
        self.roles = Roles(video=None, pictures=(), sound=None)
        self._tracks: ContainerTracks | None = None

    @property
    def not_read(self) -> list[str]:
        """Names of the sample's members that its row was not made of."""
        roles = self.roles
        media = {member.suffix for member in (roles.sound, *roles.pictures) if member}
        if roles.video is not None and self._tracks is not None:
            media.add(roles.video.suffix)
        if "frames" not in self.config.fields or self.kind == "video":
            media -= {member.suffix for member in roles.pictures}
        if "audio" not in self.config.fields and roles.sound:
            media.discard(roles.sound.suffix)
        used = media | set(self.texts.read if self.texts else ())
        return [f"{self.sample.key}.{s}" for s in self.sample.members if s not in used]

    def read(self, where: ByteRange) -> bytes:
        """Bytes of a member."""
        return os.pread(self.descriptor, where.size, where.offset)

    def reject(
        self, reason: FailureReason, message: str, traceback: str | None = None
    ) -> RejectRow:
        """The row of the sample when making it failed."""
        return reject_sample(
            self.sample,
            self.place,
            reason=reason,
            message=message,
            traceback=traceback,
            texts=self.texts,
        )

    def row(self) -> ManifestRow:
        """The row of the sample.

        Raises:
            MediaError: The sample cannot be used.
        """
        self.texts = read_texts(
            self.sample, self.read, label=self.config.label, source=self.config.source
        )
        self._check_whole()
        self.roles = find_roles(self.sample)
        sound_member, sound = self._sound() if "audio" in self.config.fields else (None, None)
        video: VideoTrack | None = None
        pictures: tuple[Member, ...] = ()
        if "frames" in self.config.fields:
            if self.kind == "video":
                video = self._video()
            else:
                pictures = self._pictures()
        start_s = max(video.start_s if video else 0.0, max(sound.start_s, 0.0) if sound else 0.0)
        end_s = min(video.end_s if video else float("inf"), sound.end_s if sound else float("inf"))
        limit_s = self.config.limits.max_duration_s
        if limit_s < end_s - start_s < float("inf"):
            raise MediaError(
                FailureReason.TOO_LONG,
                f"its media last {end_s - start_s:.3f} s; limits.max_duration_s is {limit_s:g}",
            )
        frames = None
        if video is not None:
            assert self.roles.video is not None
            frames = self._video_frames(video, self.roles.video.where, start_s, end_s)
        elif pictures:
            frames = self._picture_frames(pictures, end_s - start_s)
        duration_s = frames.count / frames.fps if frames else end_s - start_s
        still = bool(pictures) and len(pictures) == 1 and sound is None
        if duration_s < self.config.min_duration_s and not still:
            raise MediaError(
                FailureReason.TOO_SHORT,
                f"pictures and sound together last {max(end_s - start_s, 0):.3f} s; "
                f"--min-duration is {self.config.min_duration_s:g}",
            )
        return self._manifest_row(start_s, duration_s, video, sound, frames, sound_member)

    # what there is

    def _check_whole(self) -> None:
        """Raise where a member that frames or sound would come of is left out."""
        needed = {"video" if self.kind == "video" else "image"} if self._needs("frames") else set()
        needed |= {"sound"} if self._needs("audio") else set()
        for member in self.missing:
            if KIND_OF_ENDING.get(last_ending(member.name)) in needed:
                raise MediaError(member.reason, f"its member {member.name}: {member.why}")

    def _needs(self, field: str) -> bool:
        return field in self.config.fields

    def _container(self) -> ContainerTracks:
        assert self.roles.video is not None
        if self._tracks is None:
            self._tracks = read_tracks(
                self.descriptor,
                self.roles.video.where,
                self.config.limits,
                decode=self.config.decode,
            )
        return self._tracks

    def _video(self) -> VideoTrack:
        if self.roles.video is None:
            raise MediaError(FailureReason.NO_VIDEO, self._lacks("video"))
        video = self._container().video
        if video is None:
            raise MediaError(FailureReason.NO_VIDEO, f"{self.roles.video.suffix} has no pictures")
        return video

    def _pictures(self) -> tuple[Member, ...]:
        if not self.roles.pictures:
            raise MediaError(FailureReason.NO_VIDEO, self._lacks("picture"))
        return self.roles.pictures

    def _sound(self) -> tuple[Member, SoundTrack]:
        member = self.roles.sound or self.roles.video
        if member is None:
            raise MediaError(FailureReason.NO_AUDIO, self._lacks("sound"))
        if member.suffix.lower().endswith("npy"):
            return member, read_npy_track(self.read(member.where), self.config.npy_rate_hz)
        tracks = (
            self._container()
            if member is self.roles.video
            else read_tracks(self.descriptor, member.where, self.config.limits, decode=False)
        )
        if tracks.sound is None:
            raise MediaError(FailureReason.NO_AUDIO, f"{member.suffix} has no sound")
        return member, tracks.sound

    def _lacks(self, what: str) -> str:
        return f"no {what} among its members {sorted(self.sample.members)[:20]}"

    # frames

    def _video_frames(
        self, video: VideoTrack, where: ByteRange, start_s: float, end_s: float
    ) -> _Frames:
        asked = self.config.video.fps
        fps = asked if asked != "native" else video.fps
        if fps is None:
            raise MediaError(FailureReason.TOO_SHORT, "a single picture has no native rate")
        count = max(int(np.floor((end_s - start_s) * fps + GRID_SLACK)), 0)
        wanted = start_s + np.arange(count) / fps
        after = np.clip(np.searchsorted(video.times_s, wanted), 1, len(video.times_s) - 1)
        if len(video.times_s) == 1:
            picks = np.zeros(count, int)
        else:  # a tie takes the later picture
            earlier = wanted - video.times_s[after - 1] < video.times_s[after] - wanted - 1e-9
            picks = np.where(earlier, after - 1, after)
        self._check_frames(video, video.times_s[picks])
        width, height = self._stored_size(video)
        return _Frames(
            where=where,
            fps=fps,
            count=count,
            width_px=width,
            height_px=height,
            offsets=[],
            times_s=video.times_s[picks] - start_s,
        )

    def _check_frames(self, video: VideoTrack, picked_s: np.ndarray) -> None:
        """Raise where a frame of the clip is known to be damaged: no trainer would get it."""
        damaged = np.intersect1d(picked_s, video.corrupt_s)
        if len(damaged):
            raise MediaError(
                FailureReason.CORRUPT,
                f"the decoder flags frames of the clip as damaged: {len(damaged)}, the first at "
                f"{damaged[0]:.3f} s",
            )

    def _stored_size(self, video: VideoTrack) -> tuple[int, int]:
        """Even width and height, upright, with square pixels and the short side that is asked."""
        size = stored_size(
            video.width_px,
            video.height_px,
            pixel_aspect=video.pixel_aspect,
            short_side_px=self.config.video.short_side_px,
        )
        return video.orientation.size(size)

    def _picture_frames(self, pictures: tuple[Member, ...], sound_s: float) -> _Frames:
        sizes = {picture_size(self.read(member.where)) for member in pictures}
        if len(sizes) > 1:
            raise MediaError(
                FailureReason.FORMAT_NOT_ALLOWED,
                f"its pictures have sizes {sorted(sizes)}",
            )
        width, height = sizes.pop()
        count, fps = len(pictures), self.config.video.fps
        if count == 1:  # a still: shown for as long as there is sound
            fps = 1 / sound_s if np.isfinite(sound_s) and sound_s > 0 else 1.0
        elif fps == "native":
            raise MediaError(
                FailureReason.FORMAT_NOT_ALLOWED,
                "numbered pictures have no native rate; give the one they were taken at as --fps",
            )
        else:
            count = min(count, int(np.floor(min(sound_s, 1e9) * fps + GRID_SLACK)))
        base = pictures[0].where.offset
        ends = [member.where.offset - base for member in pictures[1 : count + 1]]
        last = pictures[max(count, 1) - 1].where
        end = last.offset + last.size - base
        if end >= 2**32:
            raise MediaError(FailureReason.TOO_MANY_BYTES, "its pictures span more than 4 GiB")
        return _Frames(
            where=ByteRange(offset=base, size=end),
            fps=float(fps),
            count=count,
            width_px=width,
            height_px=height,
            offsets=[0, *ends[: count - 1], end] if count else [],
            times_s=np.arange(count) / float(fps),
        )

    # the row

    def _manifest_row(
        self,
        start_s: float,
        duration_s: float,
        video: VideoTrack | None,
        sound: SoundTrack | None,
        frames: _Frames | None,
        sound_member: Member | None,
    ) -> ManifestRow:
        place, texts = self.place, self.texts
        assert texts is not None
        meta = texts.json or NOWHERE
        heard = sound_member.where if sound_member else NOWHERE
        shown = frames.where if frames else NOWHERE
        first = self.roles.video or sound_member or (self.roles.pictures or (None,))[0]
        pictures = self.roles.pictures if frames and not video else ()
        return ManifestRow(
            key=place.key,
            shard=place.shard,
            row_index=place.row_index,
            line_number=place.row_index + 1,
            source_id=texts.source_id or place.key,
            source_index=0,  # numbered when all samples are known
            clip_index=0,
            labels=list(texts.labels),
            split=place.split,
            media=f"{place.shard}:{self.sample.key}.{first.suffix if first else ''}",
            num_members=len(self.sample.members) - len(self.not_read),
            trimmed=False,
            listed_start_s=None,
            listed_end_s=None,
            decoded_start_s=start_s,
            decoded_end_s=start_s + duration_s,
            duration_s=duration_s,
            coverage=1.0,
            padded_start_s=0.0,
            padded_end_s=0.0,
            truncated=False,
            av_offset_s=sound.start_s - video.start_s if sound and video else None,
            video_start_s=video.start_s if video else 0.0 if pictures else None,
            video_end_s=video.end_s if video else duration_s if pictures else None,
            audio_start_s=sound.start_s if sound else None,
            audio_end_s=sound.end_s if sound else None,
            video_stream=video.stream_index if video else None,
            audio_stream=sound.stream_index if sound else None,
            frame_clock=video.clock if video else None,
            native_fps=video.fps if video else None,
            native_jitter_s=video.jitter_s if video else None,
            native_width_px=video.width_px if video else frames.width_px if frames else None,
            native_height_px=video.height_px if video else frames.height_px if frames else None,
            pixel_aspect=video.pixel_aspect if video else 1.0 if frames else None,
            rotation_deg=video.orientation.rotation_deg if video else 0 if frames else None,
            mirrored=video.orientation.mirrored if video else False if frames else None,
            interlaced=video.interlaced if video else None,
            color_matrix=video.color.matrix if video else None,
            color_range=video.color.range if video else None,
            color_transfer=video.color.transfer if video else None,
            native_sample_rate_hz=sound.sample_rate_hz if sound else None,
            native_channels=sound.channels if sound else None,
            native_layout=sound.layout if sound else None,
            video_codec=video.codec if video else pictures[0].suffix if pictures else None,
            audio_codec=sound.codec if sound else None,
            num_bad_packets=0,
            num_corrupt_frames=0 if video and self.config.decode else None,
            sound_missing=sound is None,
            silence_fraction=None,
            clipping_fraction=None,
            dual_mono=None,
            still_fraction=None,
            black_fraction=None,
            effective_duration_s=duration_s,
            frame_fps=frames.fps if frames else None,
            num_frames=frames.count if frames else 0,
            frame_width_px=frames.width_px if frames else 0,
            frame_height_px=frames.height_px if frames else 0,
            num_audio_samples=round(duration_s * self.config.audio.sample_rate_hz) if sound else 0,
            num_logmel_columns=0,
            frames_offset_bytes=shown.offset,
            frames_bytes=shown.size,
            frame_offsets=frames.offsets if frames else [],
            frame_times_s=frames.times_s.tolist() if frames else [],
            audio_offset_bytes=heard.offset,
            audio_bytes=heard.size,
            logmel_offset_bytes=0,
            logmel_bytes=0,
            meta_offset_bytes=meta.offset,
            meta_bytes=meta.size,
        )
