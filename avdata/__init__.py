"""From listed clips to shard sets. These names are the surface that avtrain may use.

Each is imported when it is first used, so that a command line can answer before arrow is loaded.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from avdata.atomic_writing import atomic_file, remove_partial_files
    from avdata.command_line import LazyGroup, PathOrUrl
    from avdata.config import build_settings, read_recipe
    from avdata.cores import available_cores
    from avdata.errors import AvdataError, ConfigError, ShardSetError
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
    from avdata.storage import StorageError

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
    "PathOrUrl",
    "RowFilter",
    "ShardSet",
    "ShardSetError",
    "Spec",
    "StorageError",
    "VideoSpec",
    "atomic_file",
    "available_cores",
    "build_settings",
    "decode_frame",
    "folder_lock",
    "read_recipe",
    "remove_partial_files",
]

_HOME = {
    "AudioSpec": "avdata.schema",
    "AvdataError": "avdata.errors",
    "ConfigError": "avdata.errors",
    "DatasetSpec": "avdata.schema",
    "LOCK_NAME": "avdata.locking",
    "LazyGroup": "avdata.command_line",
    "LogMelSpec": "avdata.schema",
    "LogMelStatistics": "avdata.schema",
    "PathOrUrl": "avdata.command_line",
    "RowFilter": "avdata.shards.row_filter",
    "SCHEMA_VERSION": "avdata.schema",
    "ShardSet": "avdata.shards.reader",
    "ShardSetError": "avdata.errors",
    "Spec": "avdata.schema",
    "StorageError": "avdata.storage",
    "VideoSpec": "avdata.schema",
    "available_cores": "avdata.cores",
    "atomic_file": "avdata.atomic_writing",
    "build_settings": "avdata.config",
    "decode_frame": "avdata.shards.codec",
    "folder_lock": "avdata.locking",
    "read_recipe": "avdata.config",
    "remove_partial_files": "avdata.atomic_writing",
}


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'avdata' has no attribute {name!r}")
    value: object = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value
