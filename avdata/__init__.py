"""From listed clips to shard sets. These names are the surface that avtrain may use."""

from avdata.atomic_file import atomic_file, remove_partial_files
from avdata.command_line import LazyGroup
from avdata.config import build_settings, read_recipe
from avdata.errors import AvdataError, ConfigError, ShardSetError
from avdata.folder_lock import LOCK_NAME, folder_lock
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

__version__ = "0.1.0"

__all__ = [
    "LOCK_NAME",
    "SCHEMA_VERSION",
    "AudioSpec",
    "AvdataError",
    "ConfigError",
    "DatasetSpec",
    "LazyGroup",
    "LogMelSpec",
    "LogMelStatistics",
    "ShardSet",
    "ShardSetError",
    "Spec",
    "VideoSpec",
    "atomic_file",
    "build_settings",
    "decode_frame",
    "folder_lock",
    "read_recipe",
    "remove_partial_files",
]
