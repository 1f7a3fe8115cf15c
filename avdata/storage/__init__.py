"""Where the files of a shard set are: a local folder, or any store that fsspec reaches by URL."""

from avdata.storage.local import LocalFolder
from avdata.storage.location import EndOfFileError, Location, StorageError
from avdata.storage.opening import is_url, open_location, path_or_url

__all__ = [
    "EndOfFileError",
    "LocalFolder",
    "Location",
    "StorageError",
    "is_url",
    "open_location",
    "path_or_url",
]
