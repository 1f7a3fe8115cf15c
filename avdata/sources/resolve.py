"""Where the file of a listed clip is, for the file-name habits found in the wild.

A clip that names its file is looked up by that name. One that names only an id, as in lists of
hosted videos, is looked for under the names that download tools give to cut segments::

    {id}_{start:06d}_{end:06d}    Kinetics        {id}_{start}_{end}
    {id}_{start_ms}_{end_ms}      SpecVQGAN       {id}_{start}
    {id}_{start:06d}              VGGSound        {id}_{start:.3f}

and then as `{id}`, the whole upload. Whole seconds are never made of fractions: a span that starts
at 30.5 s is not looked for as `_30`, which is another span.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from avdata.errors import FailureReason, MediaError
from avdata.schema import ClipRef
from avdata.sources.media_names import SOUGHT_EXTENSIONS

MAX_SUBFOLDERS = 64
"""Sub-folders of the media folder that are tried for every clip; beyond, only those named after
the label and the split, so that a clip without a file stays cheap."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedMedia:
    """The file of a clip."""

    path: Path
    trimmed: bool
    """The name says that the file holds just the listed span; else times are those of the file."""


class MediaResolver:
    """Finds the files of clips. Results depend on the files alone, not on earlier clips."""

    def __init__(self, media_dir: Path | None, listing_dir: Path) -> None:
        """Names folders and touches no file.

        Args:
            media_dir: Where media are; None when they lie beside the listing.
            listing_dir: Folder of the listing, or the listing itself if that is a folder.
        """
        self.media_dir = media_dir
        self.listing_dir = listing_dir

    def resolve(self, clip: ClipRef) -> ResolvedMedia:
        """The file of `clip`, which exists and is a regular file.

        Raises:
            MediaError: MISSING_FILE, with what was looked for and where.
        """
        if clip.path is not None:
            return self._by_path(clip.path)
        return self._by_id(clip)

    def _by_path(self, listed: str) -> ResolvedMedia:
        if "\0" in listed:
            raise _missing(f"path {listed[:80]!r} holds NUL; no file can have this name")
        bases = dict.fromkeys(b for b in (self.media_dir, self.listing_dir) if b is not None)
        tried = dict.fromkeys(base / listed for base in bases)  # an absolute path stays as it is
        faults: list[str] = []
        for path in tried:
            fault = _fault(path)
            if fault is None:
                return ResolvedMedia(path=path, trimmed=False)
            faults.append(f"{_shown(path)}: {fault}")
        raise _missing(
            f"no file for path {listed!r}; looked for {'; '.join(faults)}. Name the folder "
            "of the media, or mend the path"
        )

    def _by_id(self, clip: ClipRef) -> ResolvedMedia:
        if "/" in clip.source_id or "\0" in clip.source_id:
            raise _missing(f"id {clip.source_id[:80]!r} holds '/' or NUL; no file is named so")
        stems = trimmed_stems(clip)
        named = self._named_folders(clip)
        others = [folder for folder in self._subfolders[:MAX_SUBFOLDERS] if folder not in named]
        for folders in (named, others):
            for stem in (*stems, clip.source_id):
                for path in _candidates(folders, stem):
                    if os.path.isfile(path):
                        return ResolvedMedia(path=Path(path), trimmed=stem != clip.source_id)
        raise _missing(self._message(clip, stems=stems, named=named))

    def _message(self, clip: ClipRef, *, stems: tuple[str, ...], named: list[str]) -> str:
        span = (
            "" if clip.listed_start_s is None else f" [{clip.listed_start_s}, {clip.listed_end_s})"
        )
        names = ", ".join((*stems, clip.source_id))
        where = ", ".join(named)
        num_others = min(len(self._subfolders), MAX_SUBFOLDERS)
        if num_others:
            where += f" and {num_others} of its {len(self._subfolders)} sub-folders"
        faults = [
            f"{path} {_fault(Path(path))}"
            for stem in (*stems, clip.source_id)
            for path in _candidates(named, stem)
            if os.path.lexists(path)
        ]
        odd = f" ({'; '.join(faults)})" if faults else ""
        return _shown(
            f"no file for id {clip.source_id!r}{span}; looked for {names} with extensions "
            f"{' '.join(SOUGHT_EXTENSIONS)} in {where}{odd}. Name the folder of the media, or give "
            "a table with a path column"
        )

    def _named_folders(self, clip: ClipRef) -> list[str]:
        """The media folder and those in it named after label and split, nearest first."""
        labels = [name for label in clip.labels for name in (label, label.replace(" ", "_"))]
        labels = [name for name in dict.fromkeys(labels) if _is_plain_name(name)]
        below = list(labels)
        if clip.split is not None and _is_plain_name(clip.split):
            below += [clip.split, *(os.path.join(clip.split, label) for label in labels)]
        folders = [os.path.join(self._root, name) for name in below]
        return [str(self._root), *(folder for folder in folders if os.path.isdir(folder))]

    @property
    def _root(self) -> Path:
        return self.listing_dir if self.media_dir is None else self.media_dir

    @cached_property
    def _subfolders(self) -> list[str]:
        try:
            with os.scandir(self._root) as scan:
                names = sorted(e.name for e in scan if e.is_dir() and not e.name.startswith("."))
        except OSError:
            return []  # every lookup in this folder says so in its own message
        return [os.path.join(self._root, name) for name in names]


def trimmed_stems(clip: ClipRef) -> tuple[str, ...]:
    """File names, without extension, that say "just the listed span", best first."""
    start_s, end_s, name = clip.listed_start_s, clip.listed_end_s, clip.source_id
    if start_s is None:
        return ()
    start, start_ms = _whole(start_s), _whole(start_s * 1000)
    end = None if end_s is None else _whole(end_s)
    end_ms = None if end_s is None else _whole(end_s * 1000)
    stems: list[str] = []
    if start is not None and end is not None:
        stems.append(f"{name}_{start:06d}_{end:06d}")
    if start_ms is not None and end_ms is not None:
        stems.append(f"{name}_{start_ms}_{end_ms}")
    if start is not None:
        stems.append(f"{name}_{start:06d}")
    if start is not None and end is not None:
        stems.append(f"{name}_{start}_{end}")
    if start is not None:
        stems.append(f"{name}_{start}")
    stems.append(f"{name}_{start_s:.3f}")
    return tuple(dict.fromkeys(stems))


def _whole(value: float) -> int | None:
    nearest = round(value)
    return nearest if abs(value - nearest) < 1e-6 else None


def _candidates(folders: list[str], stem: str) -> Iterator[str]:
    for folder in folders:
        for extension in SOUGHT_EXTENSIONS:
            yield os.path.join(folder, f"{stem}.{extension}")


def _fault(path: Path) -> str | None:
    """Why `path` is not a file to open; None when it is one."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        return str(getattr(error, "strerror", None) or error)
    if stat.S_ISREG(mode):
        return None
    kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"
    return f"is {kind}, not a regular file"


def _is_plain_name(name: str) -> bool:
    return name not in ("", ".", "..") and "/" not in name and "\0" not in name


def _shown(text: str | Path) -> str:
    return str(text).encode("utf-8", "backslashreplace").decode("utf-8")


def _missing(message: str) -> MediaError:
    return MediaError(FailureReason.MISSING_FILE, message)
