"""From listed clips to shard sets. These names are the surface that avtrain may use.

Each is imported when it is first used, so that a command line can answer before arrow is loaded.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from avdata.atomic_writing import atomic_file, remove_partial_files
    from avdata.command_line import LazyGroup, PathOrUrl
    from avdata.config import LimitsConfig, build_settings, read_recipe
    from avdata.cores import available_cores
    from avdata.decode.media import open_media, pick_audio, pick_video
    from avdata.decode.picture_stream import TimedPicture, stream_frames, stream_pictures
    from avdata.decode.playback import MediaFacts, media_facts
    from avdata.decode.sound_stream import stream_sound
    from avdata.errors import AvdataError, ConfigError, FailureReason, MediaError, ShardSetError
    from avdata.locking import LOCK_NAME, folder_lock
    from avdata.schema import (
        SCHEMA_VERSION,
        AudioSpec,
        DatasetSpec,
        LogMelSpec,
        LogMelStatistics,
        Spec,
        VideoSpec,
    )
    from avdata.shards.codec import decode_frame
    from avdata.shards.reader import ShardSet
    from avdata.shards.row_filter import RowFilter
    from avdata.shards.time_axis import TimeAxis
    from avdata.storage import StorageError
    from avdata.synthetic.ground_truth import ClipTruth, ObjectTruth, read_ground_truth

__version__ = "0.1.0"

__all__ = [
    "LOCK_NAME",
    "SCHEMA_VERSION",
    "AudioSpec",
    "AvdataError",
    "ClipTruth",
    "ConfigError",
    "DatasetSpec",
    "FailureReason",
    "LazyGroup",
    "LimitsConfig",
    "LogMelSpec",
    "LogMelStatistics",
    "MediaError",
    "MediaFacts",
    "ObjectTruth",
    "PathOrUrl",
    "RowFilter",
    "ShardSet",
    "ShardSetError",
    "Spec",
    "StorageError",
    "TimeAxis",
    "TimedPicture",
    "VideoSpec",
    "atomic_file",
    "available_cores",
    "build_settings",
    "decode_frame",
    "folder_lock",
    "media_facts",
    "open_media",
    "pick_audio",
    "pick_video",
    "read_ground_truth",
    "read_recipe",
    "remove_partial_files",
    "stream_frames",
    "stream_pictures",
    "stream_sound",
]

_HOME = {
    "AudioSpec": "avdata.schema",
    "AvdataError": "avdata.errors",
    "ClipTruth": "avdata.synthetic.ground_truth",
    "ConfigError": "avdata.errors",
    "DatasetSpec": "avdata.schema",
    "LOCK_NAME": "avdata.locking",
    "FailureReason": "avdata.errors",
    "LazyGroup": "avdata.command_line",
    "LimitsConfig": "avdata.config",
    "LogMelSpec": "avdata.schema",
    "LogMelStatistics": "avdata.schema",
    "MediaError": "avdata.errors",
    "MediaFacts": "avdata.decode.playback",
    "ObjectTruth": "avdata.synthetic.ground_truth",
    "PathOrUrl": "avdata.command_line",
    "RowFilter": "avdata.shards.row_filter",
    "SCHEMA_VERSION": "avdata.schema",
    "ShardSet": "avdata.shards.reader",
    "ShardSetError": "avdata.errors",
    "Spec": "avdata.schema",
    "StorageError": "avdata.storage",
    "TimeAxis": "avdata.shards.time_axis",
    "TimedPicture": "avdata.decode.picture_stream",
    "VideoSpec": "avdata.schema",
    "available_cores": "avdata.cores",
    "atomic_file": "avdata.atomic_writing",
    "build_settings": "avdata.config",
    "decode_frame": "avdata.shards.codec",
    "folder_lock": "avdata.locking",
    "media_facts": "avdata.decode.playback",
    "open_media": "avdata.decode.media",
    "pick_audio": "avdata.decode.media",
    "pick_video": "avdata.decode.media",
    "read_ground_truth": "avdata.synthetic.ground_truth",
    "read_recipe": "avdata.config",
    "remove_partial_files": "avdata.atomic_writing",
    "stream_frames": "avdata.decode.picture_stream",
    "stream_pictures": "avdata.decode.picture_stream",
    "stream_sound": "avdata.decode.sound_stream",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'avdata' has no attribute {name!r}")
    value: object = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value
