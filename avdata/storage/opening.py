"""From what a user names to a location."""

import re
from pathlib import Path

from avdata.storage.local import LocalFolder
from avdata.storage.location import Location

_URL = re.compile(r"[a-z][a-z0-9+.-]*(::[a-z][a-z0-9+.-]*)*://", re.IGNORECASE)
_LOCAL_URL = re.compile(r"(file|local)://", re.IGNORECASE)


def is_url(text: str) -> bool:
    """Whether `text` names a place by URL, as in `s3://bucket/set`."""
    return _URL.match(text) is not None


def path_or_url(text: str) -> Path | str:
    """`text` as a local path, or as the URL that it is; `file://` is a local path."""
    if local := _LOCAL_URL.match(text):
        return Path(text[local.end() :])
    return text if is_url(text) else Path(text)


def open_location(where: Path | str | Location) -> Location:
    """The folder at a path or URL, which need not exist yet; a location is given back.

    Raises:
        StorageError: A URL of a kind that is not known, or whose driver is not installed.
    """
    if isinstance(where, str):
        where = path_or_url(where)
    if isinstance(where, Path):
        return LocalFolder(where)
    if not isinstance(where, str):
        return where
    from avdata.storage.remote import RemoteFolder  # fsspec, which local sets do not need

    return RemoteFolder(where)
