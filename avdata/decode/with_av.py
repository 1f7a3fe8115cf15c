"""Decode one clip with PyAV: both streams in one demux pass on one clock, cut by timestamps.

::

    media clock    video   |----------------------------|
                   audio      |------------------------------|
    listed span         [.....................................)
    stored clip               |-------------------------|        by the policy of `coverage`

Pictures that no stored frame needs and no other picture refers to are not decoded; the stored
ones stay bit-exact.
"""

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream

from avdata.config import LimitsConfig
from avdata.decode.ambisonics import states_loudspeakers
from avdata.decode.clip import (
    AudioFacts,
    DecodedClip,
    EncodedFrames,
    Gaps,
    PictureVerdicts,
    VideoFacts,
    cut_to,
    joined,
    total_s,
)
from avdata.decode.coverage import ClipSpan, Held, clip_span
from avdata.decode.frame_stores import ClipFrames, H264Frames, JpegFrames
from avdata.decode.grid import nearest_times
from avdata.decode.media import open_media, pick_audio, pick_video, pixel_aspect
from avdata.decode.packets import (
    SeekFailedError,
    Span,
    SpanPackets,
    StreamPackets,
    media_span,
    read_packets,
)
from avdata.decode.picture import PictureFacts, PictureScaler, picture_facts
from avdata.decode.picture_run import GRID_SLACK, PictureRun, decoded, one_picture
from avdata.decode.sound import Sound, ambisonic_form, laid_out, stored_sound
from avdata.decode.stream_copy import CopyRange, copied_frames, copy_ranges, first_key_s
from avdata.decode.verdicts import verdicts_on
from avdata.errors import FailureReason, MediaError
from avdata.frame_clock import PACKING_CODECS, FrameClock, PlayOrder
from avdata.picture_geometry import stored_size
from avdata.schema import AudioSpec, ClipsSpec, VideoSpec

_PROFILES_WITH_A_NOTE = frozenset({"High 4:4:4 Predictive"})
"""Profiles of H.264 that need the first packet: x264 notes its version there alone, and FFmpeg
decodes 4:4:4 by it."""
MAX_NATIVE_FPS = 240.0
MAX_UNEVEN = 4.0
"""Frames of an uneven stream are stored at its usual rate, up to so many times its mean rate."""
MAX_SLACK = 0.25
"""Largest share of a frame at native rate: the time base of some files is a frame."""


def decode_clip(
    path: Path,
    *,
    start_s: float | None,
    end_s: float | None,
    video: VideoSpec | None,
    audio: AudioSpec | None,
    clips: ClipsSpec,
    limits: LimitsConfig,
) -> DecodedClip:
    """The span [start_s, end_s) of `path`, as far as every wanted stream holds it.

    Args:
        path: A local media file.
        start_s: Seconds from the medium's start; None is its start.
        end_s: None is its end.
        video: How to store pictures; None when none are wanted. Likewise `audio`.
        clips: What is done where the medium does not hold all of the span.
        limits: What the medium may ask of the machine.

    Raises:
        MediaError: With the reason why there is no clip.
    """

    def run(may_seek: bool) -> DecodedClip:
        with open_media(path, limits) as container:
            wanted = _Decoding(path, container, start_s, end_s, video, audio, clips, limits)
            return wanted.run(may_seek=may_seek)

    try:
        return run(may_seek=True)
    except SeekFailedError:
        return run(may_seek=False)


class _Decoding:
    """The state of one `decode_clip`."""

    def __init__(
        self,
        path: Path,
        container: InputContainer,
        start_s: float | None,
        end_s: float | None,
        video: VideoSpec | None,
        audio: AudioSpec | None,
        clips: ClipsSpec,
        limits: LimitsConfig,
    ) -> None:
        self.path, self.container, self.clips, self.limits = path, container, clips, limits
        self.video_spec, self.audio_spec = video, audio
        self.video = pick_video(container, limits) if video else None
        self.pixel_aspect = Fraction(1) if self.video is None else pixel_aspect(self.video)
        self.audio = self._pick_audio() if audio else None
        self.span: Span = media_span(container, start_s, end_s)
        self.num_bad_packets = 0
        self.frame_gaps_s: Gaps = ()
        if self.span.end_s - self.span.start_s > limits.max_duration_s and end_s is not None:
            raise self._too_long(f"the listed span is {self.span.end_s - self.span.start_s:.1f} s")
        if self.video is None and self.audio is None:
            raise MediaError(
                FailureReason.NO_AUDIO, "the file has no sound, and no pictures are wanted"
            )

    def _pick_audio(self) -> AudioStream | None:
        if self.clips.no_audio == "silence" and not self.container.streams.audio:
            return None
        return pick_audio(self.container, self.limits)

    def run(self, *, may_seek: bool) -> DecodedClip:
        packets = self._read(may_seek=may_seek)
        sound = None if packets.audio is None else self._decode_audio(packets.audio)
        held_audio = None
        if sound is not None and packets.audio is not None:
            held_audio = self._audio_held(sound, packets.audio)
        clip = None
        video = None
        if packets.video is not None:
            video, clip = self._video(packets, held_audio)
        else:
            assert held_audio is not None
            clip = self._clip_span([held_audio], packets)
        start_s, end_s = clip.start_s, clip.end_s
        if video is not None:  # the clip lasts for whole frames
            end_s = start_s + video.num_frames / video.fps
        self._check_duration(end_s - start_s)
        frame_gaps_s = cut_to(joined(self.frame_gaps_s), start_s, end_s)
        audio_gaps_s = cut_to(sound.gaps_s, start_s, end_s) if sound else ()
        return DecodedClip(
            start_s=start_s,
            end_s=end_s,
            coverage=self._coverage(clip, frame_gaps_s, audio_gaps_s),
            padded_start_s=clip.padded_start_s,
            padded_end_s=max(clip.padded_end_s - max(clip.end_s - end_s, 0.0), 0.0),
            truncated=clip.truncated,
            video=video,
            audio=self._audio_facts(sound, start_s, end_s) if sound else None,
            samples=self._samples(sound, start_s, end_s - start_s),
            num_bad_packets=self.num_bad_packets,
            num_skipped_packets=sum(
                found.num_skipped(start_s, end_s)
                for found in (packets.video, packets.audio)
                if found is not None
            ),
            frame_gaps_s=frame_gaps_s,
            audio_gaps_s=audio_gaps_s,
        )

    def _coverage(self, clip: ClipSpan, frame_gaps_s: Gaps, audio_gaps_s: Gaps) -> float:
        """Share of the wanted span that is there, without the gaps inside."""
        missing_s = total_s(joined((*frame_gaps_s, *audio_gaps_s)))
        allowed, length_s = self.limits.max_missing_fraction, clip.end_s - clip.start_s
        if missing_s > allowed * length_s:
            raise MediaError(
                FailureReason.CORRUPT,
                f"{missing_s:.3f} s of the {length_s:.3f} s are missing inside (frames: "
                f"{total_s(frame_gaps_s):.3f} s, audio: {total_s(audio_gaps_s):.3f} s); "
                f"limits.max_missing_fraction={allowed}",
            )
        coverage = clip.coverage - missing_s / clip.wanted_s
        if coverage < self.clips.min_coverage and missing_s > 0:
            raise MediaError(
                FailureReason.NOT_COVERED,
                f"{max(coverage, 0.0) * clip.wanted_s:.3f} s of the {clip.wanted_s:.3f} s wanted "
                f"are there ({missing_s:.3f} s are missing inside); "
                f"clips.min_coverage={self.clips.min_coverage}",
            )
        return max(coverage, 0.0)

    def _needs_its_start(self) -> bool:
        """Whether pictures decode wrongly without the first packet of the file."""
        return self.video is not None and self.video.codec_context.profile in _PROFILES_WITH_A_NOTE

    def _read(self, *, may_seek: bool) -> SpanPackets:
        limits, span = self.limits, self.span
        packets = read_packets(
            self.container,
            self.video,
            self.audio,
            span,
            stop_s=min(span.end_s, span.start_s + limits.max_duration_s + 1),
            max_bytes=limits.max_decoded_bytes,
            may_seek=may_seek and not self._needs_its_start(),
        )
        self.num_bad_packets = int(packets.read_error is not None)
        decoded_bytes = 0
        for stream, found in ((self.video, packets.video), (self.audio, packets.audio)):
            if found is None or stream is None:
                continue
            last_s = max((t for t in found.times_s if t is not None), default=span.start_s)
            # a clock that jumps goes on behind the longest clip
            last_s = min(max(last_s, found.next_s or last_s), span.end_s)
            if last_s - span.start_s > limits.max_duration_s:
                raise self._too_long(f"there are {last_s - span.start_s:.1f} s or more")
            decoded_bytes += found.num_bytes
            if isinstance(stream, AudioStream):
                seconds = max(last_s - span.start_s, 0.0)
                decoded_bytes += round(4 * stream.rate * stream.channels * seconds)
            elif self.video_spec is not None and self.video_spec.codec != "copy":
                decoded_bytes += 3 * stream.width * stream.height * len(found) // 2
        if decoded_bytes > limits.max_decoded_bytes:
            raise MediaError(
                FailureReason.TOO_MANY_BYTES,
                f"decoding the clip would make {decoded_bytes} bytes or more; "
                f"limits.max_decoded_bytes={limits.max_decoded_bytes}",
            )
        return packets

    # sound

    def _decode_audio(self, packets: StreamPackets) -> Sound | None:
        """The audio of the span; None where the track is empty and silence may stand for it."""
        assert self.audio is not None
        if not packets.packets:
            if not self._is_empty(self.audio):
                raise self._outside("the audio track has no packet there")
            if self.clips.no_audio == "silence" and self.video is not None:
                return None
            raise MediaError(FailureReason.NO_AUDIO, "the audio track of the file has no packet")
        bad = 0

        def frames() -> Iterator[av.AudioFrame]:
            nonlocal bad
            assert self.audio is not None
            for frame in decoded(self.audio, packets.packets):
                if frame is None:
                    bad += 1
                else:
                    yield frame

        sound = laid_out(
            frames(), self.audio.time_base, loudspeakers=states_loudspeakers(self.audio)
        )
        if sound is None:
            raise MediaError(
                FailureReason.AUDIO_UNDECODABLE,
                f"none of {len(packets)} audio packets of the span decodes",
            )
        self._check_bad(bad, len(packets), "audio")
        return sound

    def _is_empty(self, stream: VideoStream | AudioStream) -> bool:
        """Whether a track has no packet and claims none, read by an opening of its own."""
        if stream.frames > 0:
            return False
        with open_media(self.path, self.limits) as container:
            try:
                packets = container.demux(container.streams[stream.index])
                return not any(packet.size for packet in packets)
            except MemoryError:  # also what FFmpeg raises: no fault of the file
                raise
            except (av.FFmpegError, OSError, ValueError):
                return True

    def _audio_held(self, sound: Sound, packets: StreamPackets) -> Held:
        return Held(
            name="sound",
            start_s=sound.start_s,
            end_s=sound.end_s,
            # a track that goes on behind the span does not break off
            claimed_end_s=packets.claimed_end_s if packets.next_s is None else None,
        )

    def _samples(self, sound: Sound | None, start_s: float, duration_s: float) -> np.ndarray | None:
        spec = self.audio_spec
        if spec is None:
            return None
        num_samples = round(duration_s * spec.sample_rate_hz)
        if sound is None:
            return np.zeros((spec.num_channels, num_samples), np.int16)
        return stored_sound(sound, spec, start_s=start_s, num_samples=num_samples)

    def _audio_facts(self, sound: Sound, start_s: float, end_s: float) -> AudioFacts:
        assert self.audio is not None and self.audio_spec is not None
        runs = sound.within(start_s, end_s)
        verdicts = verdicts_on(sound, start_s, end_s)
        return AudioFacts(
            stream_index=self.audio.index,
            native_sample_rate_hz=runs[0].sample_rate_hz,
            native_channels=len(runs[0].channel_names),
            native_layout=self.audio.layout.name,
            ambisonic_form=ambisonic_form(
                sound,
                self.audio_spec,
                start_s=start_s,
                num_samples=round((end_s - start_s) * self.audio_spec.sample_rate_hz),
            ),
            codec=self.audio.codec_context.name,
            num_forms=len(runs),
            clipping_fraction=verdicts.clipping_fraction,
            dual_mono=verdicts.dual_mono,
            mono_loss_db=verdicts.mono_loss_db if self.audio_spec.layout == "mono" else None,
            start_s=max(sound.start_s, self.span.start_s),
            end_s=min(sound.end_s, self.span.end_s),
        )

    # pictures

    def _video(self, packets: SpanPackets, held_audio: Held | None) -> tuple[VideoFacts, ClipSpan]:
        """Stored frames, and the clip that they and the sound make."""
        assert self.video is not None
        assert packets.video is not None and self.video_spec is not None
        found = packets.video
        if not found.packets:
            if self._is_empty(self.video):
                raise MediaError(
                    FailureReason.NO_VIDEO, "the video track of the file has no packet"
                )
            raise self._outside("the video track has no packet there")
        if not found.shown:
            raise self._outside("all frames lie before the start of the edit list")

        def span_of(start_s: float, end_s: float) -> ClipSpan:
            pictures = Held(
                name="pictures",
                start_s=start_s,
                end_s=end_s,
                claimed_end_s=found.claimed_end_s,
            )
            held = [pictures] if held_audio is None else [pictures, held_audio]
            return self._clip_span(held, packets)

        start_s, end_s = found.shown[0][0], found.end_s() or 0.0
        if self.video_spec.codec == "copy":
            start_s = max(start_s, first_key_s(found))
            clip = span_of(start_s, end_s)
            return self._copied(found, clip), clip
        clip = span_of(start_s, end_s)
        fps = self._frame_rate(found)
        run = self._picture_run(found, clip, fps, skip=True)
        if run.times[0] > max(start_s, clip.start_s):
            # the first pictures do not decode: the clip starts later, and shows other pictures
            start_s = run.times[0]
            clip = span_of(start_s, end_s)
            self.video.codec_context.flush_buffers()
            run = self._picture_run(found, clip, fps, skip=False)
        gap_s = found.typical_gap_s()
        if run.next_s + 1.5 * gap_s < min(end_s, clip.end_s):
            # nor do the last ones: it ends earlier
            end_s = run.next_s
            clip = span_of(start_s, end_s)
        self.frame_gaps_s = run.lost_s
        corrupt = sum(clip.start_s <= time_s < clip.end_s for time_s in run.corrupt_s)
        self._check_bad(run.bad, len(found), "video", num_corrupt=len(run.corrupt_s))
        slack = self._slack(found, fps)
        count = math.floor((clip.end_s - clip.start_s) * fps + slack)
        run.picker.finish(clip.end_s - slack / fps)
        times = run.picker.times_s[:count]
        self._check_duration(len(times) / fps)
        scaler = run.frames.scaler
        assert scaler.facts is not None
        return (
            self._video_facts(
                found,
                frames=run.frames.encoded(len(times)),
                fps=fps,
                times_s=times,
                verdicts=run.frames.verdicts(len(times)),
                size=(scaler.width_px, scaler.height_px),
                native=run.native,
                facts=scaler.facts,
                held=(start_s, end_s),
                clock=run.clock,
                num_dropped=run.num_dropped,
                num_corrupt=corrupt,
            ),
            clip,
        )

    def _frame_rate(self, packets: StreamPackets) -> float:
        assert self.video is not None and self.video_spec is not None
        if self.video_spec.fps != "native":
            return self.video_spec.fps
        rate = packets.rate(self.video.average_rate)
        if not rate:
            rate = float(self.video.average_rate or 1)
        if packets.jitter_s(self.video.average_rate) and (gap_s := packets.typical_gap_s()):
            # uneven: by the mean rate, frames that follow each other quickly would be lost
            rate = min(max(rate, round(1 / gap_s, 6)), MAX_UNEVEN * rate)
        return min(rate, MAX_NATIVE_FPS)

    def _picture_run(
        self, packets: StreamPackets, clip: ClipSpan, fps: float, *, skip: bool
    ) -> PictureRun:
        assert self.video is not None and self.video_spec is not None
        spec = self.video_spec
        scaler = PictureScaler(
            short_side_px=spec.short_side_px,
            pixel_aspect=self.pixel_aspect,
            color_range="full" if spec.codec == "jpeg" else "limited",
            limits=self.limits,
            tone_map=spec.tone_map,
        )
        frames: ClipFrames
        if spec.codec == "jpeg":
            frames = JpegFrames(scaler, spec)
        else:
            frames = H264Frames(scaler, spec, fps=fps)
        slack = self._slack(packets, fps)
        return PictureRun(self.video, packets, clip, frames=frames, fps=fps, slack=slack, skip=skip)

    def _slack(self, packets: StreamPackets, fps: float) -> float:
        """Share of a frame that the last one may lack: at native rate the rounding of times."""
        assert self.video_spec is not None
        if self.video_spec.fps != "native":
            return GRID_SLACK
        return min(max(GRID_SLACK, 2 * packets.seconds(1) * fps), MAX_SLACK)

    def _copied(self, packets: StreamPackets, clip: ClipSpan) -> VideoFacts:
        """Facts of a clip whose pictures are not decoded, but for its key frame."""
        assert self.video is not None and self.video_spec is not None
        which, picture = self._key_picture(packets, clip)
        fps = self._frame_rate(packets)
        count = math.floor((clip.end_s - clip.start_s) * fps + self._slack(packets, fps))
        times, clock = self._copied_times(packets, which)
        shown = [time_s for time_s, _ in packets.shown]
        picks = nearest_times(times, clip.start_s, fps, count, shown)
        facts = picture_facts(picture)
        size = stored_size(
            picture.width,
            picture.height,
            pixel_aspect=self.pixel_aspect,
            short_side_px=self.video_spec.short_side_px,
        )
        return self._video_facts(
            packets,
            frames=copied_frames(self.video, packets, which, times_s=times, start_s=clip.start_s),
            fps=fps,
            times_s=[times[i] for i in picks],
            verdicts=None,
            size=facts.orientation.size(size),
            native=(picture.width, picture.height),
            facts=facts,
            held=(packets.shown[0][0], packets.end_s() or 0.0),
            clock=clock,
            num_dropped=None,
            num_corrupt=None,
        )

    def _copied_times(
        self, packets: StreamPackets, which: CopyRange
    ) -> tuple[list[float], FrameClock]:
        """Times of the frames that the copied packets bring out, in order.

        Those of codecs that may pack several frames into a packet are decoded to know.
        """
        assert self.video is not None
        if self.video.codec_context.name not in PACKING_CODECS:
            inside = [time_s for time_s, i in packets.shown if which.first <= i < which.stop]
            return inside, packets.clock
        order: PlayOrder[None] = PlayOrder(clock=packets.clock)
        self.video.codec_context.flush_buffers()
        ticks: list[int] = []
        for frame in decoded(self.video, packets.packets[which.first : which.stop]):
            if frame is not None and frame.pts is not None:
                ticks += [tick for _, tick in order.push(None, frame.pts)]
        ticks += [tick for _, tick in order.finish()]
        return [packets.seconds(tick) for tick in ticks], order.clock

    def _key_picture(
        self, packets: StreamPackets, clip: ClipSpan
    ) -> tuple[CopyRange, av.VideoFrame]:
        """The packets to copy, and their first picture, which stands for itself."""
        assert self.video is not None
        for which in copy_ranges(packets, clip.start_s, clip.end_s):
            picture = one_picture(self.video, packets.packets[which.first])
            if picture is not None and not picture.is_corrupt:
                return which, picture
            self.video.codec_context.flush_buffers()
        raise MediaError(
            FailureReason.NOT_COPYABLE,
            f"no key frame at or before {clip.start_s:.3f} s decodes by itself; use "
            "video.codec='jpeg' or 'h264'",
        )

    def _video_facts(
        self,
        packets: StreamPackets,
        *,
        frames: EncodedFrames,
        fps: float,
        times_s: list[float],
        verdicts: PictureVerdicts | None,
        size: tuple[int, int],
        native: tuple[int, int],
        facts: PictureFacts,
        held: tuple[float, float],
        clock: FrameClock,
        num_dropped: int | None,
        num_corrupt: int | None,
    ) -> VideoFacts:
        assert self.video is not None
        return VideoFacts(
            frames=frames,
            fps=fps,
            frame_times_s=np.array(times_s),
            verdicts=verdicts,
            width_px=size[0],
            height_px=size[1],
            stream_index=self.video.index,
            native_width_px=native[0],
            native_height_px=native[1],
            native_fps=packets.rate(self.video.average_rate) or None,
            native_jitter_s=packets.jitter_s(self.video.average_rate),
            clock=clock,
            num_dropped=num_dropped,
            num_corrupt=num_corrupt,
            pixel_aspect=float(self.pixel_aspect),
            rotation_deg=facts.orientation.rotation_deg,
            mirrored=facts.orientation.mirrored,
            interlaced=facts.interlaced,
            color=facts.color,
            codec=self.video.codec_context.name,
            start_s=max(held[0], self.span.start_s),
            end_s=min(held[1], self.span.end_s),
        )

    # both

    def _clip_span(self, held: list[Held], packets: SpanPackets) -> ClipSpan:
        return clip_span(
            self.span,
            held,
            self.clips,
            claimed_end_s=packets.claimed_end_s,
            read_error=packets.read_error,
        )

    def _check_bad(self, bad: int, total: int, kind: str, *, num_corrupt: int = 0) -> None:
        self.num_bad_packets += bad
        allowed = self.limits.max_bad_packet_fraction
        if bad + num_corrupt > allowed * total:
            concealed = f", {num_corrupt} decode with damage" if num_corrupt else ""
            raise MediaError(
                FailureReason.CORRUPT,
                f"{bad} of {total} {kind} packets fail to decode{concealed}; "
                f"limits.max_bad_packet_fraction={allowed}",
            )

    def _outside(self, seen: str) -> MediaError:
        end = "its end" if math.isinf(self.span.end_s) else f"{self.span.end_s:.3f} s"
        return MediaError(
            FailureReason.OUTSIDE_MEDIA,
            f"nothing to store from {self.span.start_s:.3f} s to {end} of the medium: {seen}",
        )

    def _check_duration(self, duration_s: float) -> None:
        if duration_s > self.limits.max_duration_s:
            raise self._too_long(f"the clip lasts at least {duration_s:.1f} s")
        if duration_s < self.clips.min_duration_s:
            raise MediaError(
                FailureReason.TOO_SHORT,
                f"{duration_s:.3f} s hold all that is wanted; "
                f"clips.min_duration_s={self.clips.min_duration_s}",
            )

    def _too_long(self, seen: str) -> MediaError:
        return MediaError(
            FailureReason.TOO_LONG, f"{seen}; limits.max_duration_s={self.limits.max_duration_s}"
        )
