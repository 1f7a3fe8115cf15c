"""Which names a folder may hold, by hashes: 8 bytes a media file.

A folder is listed when it is first asked for, and what is known of it counts as long as its
modification time stays. After a change it is listed again, but never so often that listing takes
more than a twentieth of the time: meanwhile, as for folders past `MAX_NAMES` and for those that
changed a moment ago, nothing is known and every name has to be tried. So what is known never rules
out a file that is there.
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from avdata.sources.media_names import SOUGHT_EXTENSIONS

MAX_NAMES = 16_000_000
"""Names known of all folders together: 128 MB."""
SETTLED_NS = 2_000_000_000
"""A folder that changed less than this ago may change again within the same tick of its clock."""
PAUSE_PER_COST = 20
"""A folder is listed again no sooner than this many times as long as the last listing took."""

_SOUGHT = frozenset(SOUGHT_EXTENSIONS)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FolderListing:
    """One folder as it was listed."""

    changed_ns: int | None
    """Modification time that `stem_hashes` belong to; None when they rule nothing out."""
    stem_hashes: np.ndarray
    """Sorted int64: `hash` of the names of media files, without extension."""
    subfolders: tuple[str, ...]
    """Names, sorted; without those that start with a dot."""
    next_listing_s: float
    """On the monotonic clock: not before this is the folder listed again."""


class FolderNames:
    """What the folders asked for hold."""

    def __init__(self, max_names: int = MAX_NAMES) -> None:
        self._max_names = max_names
        self._listings: dict[str, FolderListing] = {}
        self._num_names = 0

    def may_hold(self, folder: str, hashes: np.ndarray) -> list[int]:
        """Positions in `hashes`, those of `hash_stems`, of stems that `folder` may have a media
        file of.

        All where nothing is known; none where there is no such folder.
        """
        try:
            changed_ns = os.stat(folder).st_mtime_ns
            listing = self._listing(folder, changed_ns)
        except (OSError, ValueError):
            return []
        if listing.changed_ns != changed_ns:
            return list(range(len(hashes)))
        known = listing.stem_hashes
        if not len(known):
            return []
        places = np.searchsorted(known, hashes)
        places[places == len(known)] = 0
        found: list[int] = np.flatnonzero(known[places] == hashes).tolist()
        return found

    def subfolders(self, folder: str) -> tuple[str, ...]:
        """Names of the folders in `folder`, sorted; those that start with a dot do not count.

        One that was made since may be missed while the folder keeps changing.
        """
        try:
            return self._listing(folder, os.stat(folder).st_mtime_ns).subfolders
        except (OSError, ValueError):
            return ()

    def _listing(self, folder: str, changed_ns: int) -> FolderListing:
        listing = self._listings.get(folder)
        if listing is not None:
            if listing.changed_ns == changed_ns or time.monotonic() < listing.next_listing_s:
                return listing
            self._num_names -= len(listing.stem_hashes)
        listing = _list(folder, changed_ns, max_names=self._max_names - self._num_names)
        self._num_names += len(listing.stem_hashes)
        self._listings[folder] = listing
        return listing


def hash_stems(stems: Sequence[str]) -> np.ndarray:
    """int64 hashes of file names without extension; of this process alone."""
    return np.fromiter((hash(stem) for stem in stems), np.int64, len(stems))


def _list(folder: str, changed_ns: int, *, max_names: int) -> FolderListing:
    """`folder` as it is now.

    Raises:
        OSError: It cannot be listed.
    """
    started_s = time.monotonic()
    known: int | None = changed_ns if time.time_ns() - changed_ns > SETTLED_NS else None
    subfolders: list[str] = []
    hashes: list[int] = []
    with os.scandir(folder) as scan:
        for entry in scan:
            stem, dot, extension = entry.name.rpartition(".")
            if dot and extension.lower() in _SOUGHT:
                hashes.append(hash(stem))
            if entry.is_dir() and not entry.name.startswith("."):
                subfolders.append(entry.name)
    if len(hashes) > max_names:
        known, hashes = None, []
    cost_s = time.monotonic() - started_s
    return FolderListing(
        changed_ns=known,
        stem_hashes=np.sort(np.array(hashes, np.int64)),
        subfolders=tuple(sorted(subfolders)),
        next_listing_s=started_s + cost_s + PAUSE_PER_COST * cost_s,
    )
