"""The exceptions of avdata and the reasons why a listed clip can be rejected."""

from enum import StrEnum


class AvdataError(Exception):
    """A fault that a user can mend; its text says what was seen, what is allowed, what to do."""


class ConfigError(AvdataError):
    """A recipe or a `--set` that does not describe a build."""


class ListingError(AvdataError):
    """A listing that cannot be read as any known source format."""


class ShardSetError(AvdataError):
    """A shard set that is missing, damaged, of an unknown schema version, or not what was asked."""


class BuildError(AvdataError):
    """A build that cannot start or cannot finish."""


class FailureReason(StrEnum):
    """Why a listed clip has no sample. Every rejected row carries exactly one."""

    MALFORMED_LINE = "malformed_line"
    """The line of the listing cannot be read."""
    DUPLICATE = "duplicate"
    """The same clip (source, start, end) is listed on an earlier line."""
    NOT_READ = "not_read"
    """`avdata index`: members of a third-party tar that no sample is made of."""
    NOT_ADJOINING = "not_adjoining"
    """`avdata index`: members of a third-party tar that do not adjoin the rest of their sample."""
    DAMAGED_TAR = "damaged_tar"
    """`avdata index`: a third-party tar that is cut or damaged; the rest of it is not read."""
    MISSING_FILE = "missing_file"
    """No media file was found for the clip."""
    NOT_MEDIA = "not_media"
    """The file cannot be opened as a media container."""
    FORMAT_NOT_ALLOWED = "format_not_allowed"
    """The file is a playlist, a script or another form that is not on the list of containers."""
    NO_VIDEO = "no_video"
    """A field needs pictures and the file has no video stream (cover art does not count)."""
    NO_AUDIO = "no_audio"
    """A field needs sound and the file has no audio stream."""
    VIDEO_UNDECODABLE = "video_undecodable"
    """There is a video stream, and not one picture of the clip decodes."""
    AUDIO_UNDECODABLE = "audio_undecodable"
    """There is an audio stream, and no sound of the clip decodes."""
    NOT_COPYABLE = "not_copyable"
    """`video.codec` is copy, and the packets cannot be kept as they are."""
    CORRUPT = "corrupt"
    """More packets fail to decode than `limits.max_bad_packet_fraction` allows."""
    OUTSIDE_MEDIA = "outside_media"
    """The listed span has nothing in common with what the file holds."""
    TOO_SHORT = "too_short"
    """Sound and picture together last less than `clips.min_duration_s`."""
    NOT_COVERED = "not_covered"
    """The file holds less of the listed span than `clips.min_coverage` asks for."""
    CLOCK_RESTARTS = "clock_restarts"
    """The times of a stream go back by more than a second: its clock was restarted."""
    LONGER_THAN_LISTED = "longer_than_listed"
    """The file is named as cut to the listed span, and holds more than 1.5 s beyond its length."""
    TRUNCATED = "truncated"
    """The medium breaks off inside the span, before its own header says it ends."""
    TOO_MANY_PIXELS = "too_many_pixels"
    """Pictures are larger than `limits.max_pixels`, or so narrow that none can be stored."""
    TOO_LONG = "too_long"
    """The clip is longer than `limits.max_duration_s`."""
    TOO_MANY_CHANNELS = "too_many_channels"
    """The sound has more channels than `limits.max_channels`."""
    TOO_MANY_STREAMS = "too_many_streams"
    """The file has more streams than `limits.max_streams`."""
    TOO_MANY_BYTES = "too_many_bytes"
    """Decoding the clip would make more bytes than `limits.max_decoded_bytes`."""
    UNSUPPORTED_AUDIO_LAYOUT = "unsupported_audio_layout"
    """The channels of the file cannot give the channels that `audio.layout` asks for."""
    TIMEOUT = "timeout"
    """The clip took longer than `limits.clip_timeout_s`; its worker was ended."""
    CRASHED = "crashed"
    """The worker process died while it worked on this clip."""
    OUT_OF_MEMORY = "out_of_memory"
    """The clip asked for more memory than `limits.worker_memory_bytes`."""
    UNEXPECTED = "unexpected"
    """A fault of ours or of a library; the traceback stands in the rejected row."""


class MediaError(AvdataError):
    """A known failure of one media file: becomes a rejected row, never a crash."""

    def __init__(self, reason: FailureReason, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message

    def __reduce__(self) -> tuple[type["MediaError"], tuple[FailureReason, str]]:
        return type(self), (self.reason, self.message)
