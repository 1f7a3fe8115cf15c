"""Where the file of a listed clip is, for the file-name habits found in the wild.

A clip that names its file is looked up by that name. One that names only an id, as in lists of
hosted videos, is looked for under the names that download tools give to cut segments::

    {id}_{start:06d}_{end:06d}    Kinetics        {id}_{start}
    {id}_{start_ms}_{end_ms}      SpecVQGAN       {id}_{start:.3f}
    {id}_{start:06d}              VGGSound        {id}_{start:.3f}_{end:.3f}
    {id}_{start}_{end}                            {id}_{start_ms}    AudioSet strong labels
                                                  {id}-{start}       YT-360

and then as `{id}`, the whole upload; each also after `v_` (ActivityNet) and, for ids of 11
characters, after `Y` (AudioSet). Extensions are in lower or upper case. Whole seconds are never
made of fractions: a span that starts at 30.5 s is not looked for as `_30`, which is another span.

Looked in are the media folder, the folders in it named after label and split, and then its other
sub-folders, one level deep.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from avdata.errors import FailureReason, MediaError
from avdata.schema import ClipRef
from avdata.sources.folder_names import FolderNames, hash_stems
from avdata.sources.media_names import (
    AUDIO_EXTENSIONS,
    SOUGHT_EXTENSIONS,
    VIDEO_EXTENSIONS,
)

MAX_SUBFOLDERS = 1024
"""Sub-folders of the media folder that are tried for every clip; beyond, only those named after
the label and the split, so that a clip without a file stays cheap."""

PREFIXES = ("", "v_")
HOSTED_ID_CHARS = 11
HOSTED_PREFIX = "Y"
BY_PATH = "path"
WHOLE = "{id}"

_NAMES = FolderNames()
"""One a process, so that the shards it builds share what is known of the folders."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedMedia:
    """The file of a clip."""

    path: Path
    trimmed: bool
    """The name says that the file holds just the listed span; else times are those of the file."""
    habit: str = field(default=BY_PATH, compare=False)
    """The name habit by which it was found."""


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
        trimmed = _with_prefixes(clip, trimmed_stems(clip))
        stems = (*trimmed, *_with_prefixes(clip, (clip.source_id,)))
        named = self._named_folders(clip)
        found = _first_file(named, stems) or _first_file(self._other_folders(named), stems)
        if found is None:
            raise _missing(self._message(clip, named=named))
        return ResolvedMedia(
            path=Path(found.path), trimmed=found.stem in trimmed, habit=_habit(clip, found.stem)
        )

    def _message(self, clip: ClipRef, *, named: list[str]) -> str:
        stems = trimmed_stems(clip)
        span = (
            "" if clip.listed_start_s is None else f" [{clip.listed_start_s}, {clip.listed_end_s})"
        )
        names = ", ".join((*stems, clip.source_id))
        where = ", ".join(folder for folder in named if os.path.isdir(folder)) or named[0]
        num_folders = len(_NAMES.subfolders(named[0]))
        if num_folders:
            where += f" and {min(num_folders, MAX_SUBFOLDERS)} of its {num_folders} sub-folders"
        faults = [
            f"{path} {_fault(Path(path))}"
            for stem, folders in _places(named, (*stems, clip.source_id))
            for folder in folders
            for path in _candidates(folder, stem, SOUGHT_EXTENSIONS)
            if os.path.lexists(path)
        ]
        odd = f" ({'; '.join(faults)})" if faults else ""
        prefixes = " and ".join(_prefixes(clip)[1:])
        return _shown(
            f"no file for id {clip.source_id!r}{span}; looked for {names} with extensions "
            f"{' '.join(SOUGHT_EXTENSIONS)}, also after {prefixes}, in {where}{odd}. Name the "
            "folder of the media, or give a table with a path column"
        )

    def _named_folders(self, clip: ClipRef) -> list[str]:
        """The media folder and those in it named after label and split, nearest first."""
        labels = [name for label in clip.labels for name in (label, label.replace(" ", "_"))]
        labels = [name for name in dict.fromkeys(labels) if _is_plain_name(name)]
        below = list(labels)
        if clip.split is not None and _is_plain_name(clip.split):
            below += [clip.split, *(os.path.join(clip.split, label) for label in labels)]
        return [str(self._root), *(os.path.join(self._root, name) for name in below)]

    def _other_folders(self, named: list[str]) -> list[str]:
        """Sub-folders of the media folder that are not among `named`."""
        names = _NAMES.subfolders(named[0])[:MAX_SUBFOLDERS]
        folders = (os.path.join(named[0], name) for name in names)
        return [folder for folder in folders if folder not in named]

    @property
    def _root(self) -> Path:
        return self.listing_dir if self.media_dir is None else self.media_dir


def trimmed_stems(clip: ClipRef) -> tuple[str, ...]:
    """File names, without extension, that say "just the listed span", best first."""
    return tuple(_trimmed_habits(clip))


def name_habits(clip: ClipRef) -> tuple[str, ...]:
    """The name habits under which the file of `clip` is looked for, best first; a path is one."""
    if clip.path is not None:
        return (BY_PATH,)
    return (*dict.fromkeys(_trimmed_habits(clip).values()), WHOLE)


def _trimmed_habits(clip: ClipRef) -> dict[str, str]:
    """`trimmed_stems` with the habit that each is of."""
    start_s, end_s, name = clip.listed_start_s, clip.listed_end_s, clip.source_id
    if start_s is None:
        return {}
    start, start_ms = _whole(start_s), _whole(start_s * 1000)
    end = None if end_s is None else _whole(end_s)
    end_ms = None if end_s is None else _whole(end_s * 1000)
    habits: list[tuple[str, str]] = []
    if start is not None and end is not None:
        habits.append((f"{name}_{start:06d}_{end:06d}", "{id}_{start:06d}_{end:06d}"))
    if start_ms is not None and end_ms is not None:
        habits.append((f"{name}_{start_ms}_{end_ms}", "{id}_{start_ms}_{end_ms}"))
    if start is not None:
        habits.append((f"{name}_{start:06d}", "{id}_{start:06d}"))
    if start is not None and end is not None:
        habits.append((f"{name}_{start}_{end}", "{id}_{start}_{end}"))
    if start is not None:
        habits.append((f"{name}_{start}", "{id}_{start}"))
    habits.append((f"{name}_{start_s:.3f}", "{id}_{start:.3f}"))
    if end_s is not None:
        habits.append((f"{name}_{start_s:.3f}_{end_s:.3f}", "{id}_{start:.3f}_{end:.3f}"))
    if start_ms is not None:
        habits.append((f"{name}_{start_ms}", "{id}_{start_ms}"))
    if start is not None:
        habits.append((f"{name}-{start}", "{id}-{start}"))
    first: dict[str, str] = {}
    for stem, habit in habits:
        first.setdefault(stem, habit)
    return first


def _whole(value: float) -> int | None:
    nearest = round(value)
    return nearest if abs(value - nearest) < 1e-6 else None


def _prefixes(clip: ClipRef) -> tuple[str, ...]:
    hosted = len(clip.source_id) == HOSTED_ID_CHARS
    return (*PREFIXES, HOSTED_PREFIX) if hosted else PREFIXES


def _habit(clip: ClipRef, stem: str) -> str:
    habits = {**_trimmed_habits(clip), clip.source_id: WHOLE}
    return next(
        f"{prefix}{habits[rest]}"
        for prefix in _prefixes(clip)
        if stem.startswith(prefix) and (rest := stem.removeprefix(prefix)) in habits
    )


def _with_prefixes(clip: ClipRef, stems: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(prefix + stem for prefix in _prefixes(clip) for stem in stems)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    path: str
    stem: str


def _first_file(folders: list[str], stems: tuple[str, ...]) -> _Found | None:
    """The file of the best stem; of these a video before a sound, then of the first folder, then
    of the first extension."""
    for stem, holding in _places(folders, stems):
        for extensions in (VIDEO_EXTENSIONS, AUDIO_EXTENSIONS):
            for folder in holding:
                for path in _candidates(folder, stem, extensions):
                    if os.path.isfile(path):
                        return _Found(path=path, stem=stem)
    return None


def _places(folders: list[str], stems: tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
    """Stems, best first, each with the folders that may hold it, nearest first."""
    hashes = hash_stems(stems)
    held: dict[int, list[str]] = {}
    for folder in folders:
        for at in _NAMES.may_hold(folder, hashes):
            held.setdefault(at, []).append(folder)
    for at in sorted(held):
        yield stems[at], held[at]


def _candidates(folder: str, stem: str, extensions: tuple[str, ...]) -> Iterator[str]:
    for extension in extensions:
        yield os.path.join(folder, f"{stem}.{extension}")
        yield os.path.join(folder, f"{stem}.{extension.upper()}")


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
