"""Samples of a third-party tar by its headers alone, and every member that belongs to none.

`members == members of samples + members left out`, directories aside. Rules, the same for media and
labels:

- Members of a sample adjoin. Of a key that is there again further on, the first stretch with media
  is the sample; the members of the others are left out. A sample that lacks media for that reason
  is rejected, one that lacks a label is used without.
- Of members with one name, upper and lower case of the ending aside, the first is read.
- Hard and symbolic links stand for the bytes of the member that they lead to, if it is in the tar.
- Bytes of a name that are not UTF-8 are written as `\\xNN`.
- Sparse files, devices, and what is behind the damage of a tar are not read.
"""

import os
import posixpath
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from avdata.errors import FailureReason
from avdata.shards.index_names import MemberName, TarNaming
from avdata.shards.tar_contents import TarSample
from avdata.shards.writer import ByteRange

BLOCK_BYTES = 512
MAX_LINKS = 40
"""Links in a row that are followed; more are a circle."""
ZEROS_AT_A_TIME = 1 << 20
SORT_REMEDY = "write the tar with sorted names (tar --sort=name)"
HEADER_FAULTS = (tarfile.TarError, ValueError, OverflowError, EOFError, LookupError, RecursionError)
"""Errors that Python's tarfile raises on damaged headers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftOut:
    """A member that is in no sample."""

    name: str
    key: str | None
    """The sample that it would belong to; None where its name does not say."""
    reason: FailureReason
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ForeignContents:
    """All that the headers of a third-party tar say."""

    samples: tuple[TarSample, ...]
    """In tar order, each key once; the name of a member is ``{key}.{suffix}``."""
    left_out: tuple[LeftOut, ...]
    damage: str | None
    """The fault of the tar itself, if any: members behind it are unknown."""

    @property
    def num_members(self) -> int:
        """Entries of the tar that are not directories, as far as its headers can be read."""
        return sum(len(sample.members) for sample in self.samples) + len(self.left_out)

    def names(self) -> list[str]:
        """Names of all members; one that is there twice is listed twice."""
        taken = [f"{sample.key}.{suffix}" for sample in self.samples for suffix in sample.members]
        return taken + [member.name for member in self.left_out]

    def missing(self) -> dict[str, list[LeftOut]]:
        """Members that samples lack, by key; second copies are not missing."""
        found: dict[str, list[LeftOut]] = {}
        for member in self.left_out:
            if member.key is not None and member.reason != FailureReason.DUPLICATE:
                found.setdefault(member.key, []).append(member)
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    """One header."""

    name: str
    where: ByteRange
    link_to: str | None = None
    """Name that a link leads to, written as names of the tar are."""
    fault: tuple[FailureReason, str] | None = None


def read_foreign_contents(path: Path) -> ForeignContents:
    """Samples of the tar at `path`, and what is in none; damage is told, never raised."""
    try:
        with path.open("rb") as file:
            entries, damage = _entries(file)
    except OSError as error:
        entries, damage = [], f"the tar cannot be read ({error.strerror or error})"
    return _grouped(_resolved(entries), damage)


def _entries(file: IO[bytes]) -> tuple[list[_Entry], str | None]:
    num_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    entries: list[_Entry] = []
    at = 0
    try:
        with tarfile.open(
            fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape"
        ) as tar:
            for info in tar:
                tar.members = []  # type: ignore[attr-defined]  # a tar may hold very many
                at = tar.offset  # type: ignore[attr-defined]
                if not info.isdir():
                    entries.append(_entry(info, num_bytes))
    except HEADER_FAULTS as error:
        return entries, _cut_or_damaged(file, at, num_bytes, str(error))
    return entries, _end_fault(file, at, num_bytes)


def _entry(info: tarfile.TarInfo, num_bytes: int) -> _Entry:
    name = readable(info.name)
    where = ByteRange(offset=info.offset_data, size=info.size)
    if info.islnk() or info.issym():
        target = readable(info.linkname)
        if info.issym():
            target = posixpath.join(posixpath.dirname(name), target)
        return _Entry(name=name, where=where, link_to=posixpath.normpath(target))
    fault = None
    if info.issparse():
        fault = (
            FailureReason.FORMAT_NOT_ALLOWED,
            "it is a sparse file, whose bytes are not in one piece; write the tar without --sparse",
        )
    elif not info.isreg():
        fault = (FailureReason.FORMAT_NOT_ALLOWED, "it is a device or another special file")
    elif where.offset + where.size > num_bytes:
        fault = (FailureReason.TRUNCATED, "the tar ends in the middle of it; copy the tar again")
    return _Entry(name=name, where=where, fault=fault)


def readable(name: str) -> str:
    r"""The name with bytes that are not UTF-8 written as `\xNN`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _cut_or_damaged(file: IO[bytes], at: int, num_bytes: int, error: str) -> str:
    if at == 0:
        return f"it is not a tar ({error}); if it is compressed, unpack it"
    if at >= num_bytes:
        return _no_end(num_bytes)
    return _damaged(at, num_bytes)


def _no_end(num_bytes: int) -> str:
    return (
        f"the tar ends after {num_bytes} bytes without an end mark: it was cut or is still being "
        "written"
    )


def _damaged(at: int, num_bytes: int) -> str:
    return (
        f"the tar is damaged at byte {at}: the {num_bytes - at} bytes from there on are not read; "
        "copy or write the tar again"
    )


def _end_fault(file: IO[bytes], at: int, num_bytes: int) -> str | None:
    """Fault of the end of a tar whose last member ends at `at`; None where it is whole."""
    file.seek(at)
    block = file.read(BLOCK_BYTES)
    if len(block) < BLOCK_BYTES or at + 2 * BLOCK_BYTES > num_bytes:
        return _no_end(num_bytes)
    if any(block):
        return _damaged(at, num_bytes)
    behind = at + BLOCK_BYTES
    while data := file.read(ZEROS_AT_A_TIME):
        if data.count(0) != len(data):
            return (
                f"there is more behind the end mark of the tar at byte {at}, which is not read; if "
                "tars were joined, join them by `tar --concatenate`"
            )
        behind += len(data)
    return None


def _resolved(entries: list[_Entry]) -> list[_Entry]:
    """The entries with links replaced by what they lead to, or by a fault."""
    by_name: dict[str, _Entry] = {}
    for entry in entries:
        by_name.setdefault(posixpath.normpath(entry.name), entry)
    return [entry if entry.link_to is None else _followed(entry, by_name) for entry in entries]


def _followed(link: _Entry, by_name: dict[str, _Entry]) -> _Entry:
    at: _Entry | None = link
    for _ in range(MAX_LINKS):
        assert at is not None and at.link_to is not None
        at = by_name.get(at.link_to)
        if at is None:
            break
        if at.link_to is None:
            return _Entry(name=link.name, where=at.where, fault=at.fault)
    why = "leads in a circle" if at else f"leads to {link.link_to}, not to a member of this tar"
    fault = (
        FailureReason.MISSING_FILE,
        f"it is a link that {why}; write the tar with the files themselves (tar --dereference)",
    )
    return _Entry(name=link.name, where=link.where, fault=fault)


def _grouped(entries: list[_Entry], damage: str | None) -> ForeignContents:
    naming = TarNaming(entry.name for entry in entries)
    left_out: list[LeftOut] = []
    stretches: list[_Stretch] = []
    for entry in entries:
        name = naming.split(entry.name)
        if name is None:
            left_out.append(_nameless(entry))
            continue
        if not stretches or stretches[-1].key != name.key:
            stretches.append(_Stretch(key=name.key, entries=[]))
        stretches[-1].entries.append((name, entry))
    samples = []
    chosen = _chosen(stretches)
    for stretch in stretches:
        if stretch is chosen[stretch.key]:
            sample = TarSample(key=stretch.key, members={})
            left_out += stretch.take(sample)
            if sample.members:
                samples.append(sample)
        else:
            left_out += stretch.left_out(chosen[stretch.key])
    return ForeignContents(samples=tuple(samples), left_out=tuple(left_out), damage=damage)


def _nameless(entry: _Entry) -> LeftOut:
    why = "its name has no ending, or begins with a dot; name members KEY.ENDING"
    reason, text = entry.fault or (FailureReason.NOT_READ, why)
    return LeftOut(name=entry.name, key=None, reason=reason, why=text)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Stretch:
    """Members of one key that adjoin."""

    key: str
    entries: list[tuple[MemberName, _Entry]]

    @property
    def has_media(self) -> bool:
        return any(
            name.kind in ("video", "image", "sound") and not entry.fault
            for name, entry in self.entries
        )

    @property
    def suffixes(self) -> set[str]:
        return {name.suffix.lower() for name, entry in self.entries if not entry.fault}

    def take(self, sample: TarSample) -> Iterator[LeftOut]:
        """Put the members into `sample`; those that it cannot hold come back."""
        seen: set[str] = set()
        for name, entry in self.entries:
            if entry.fault:
                yield _left(name, entry, *entry.fault)
            elif name.suffix.lower() in seen:
                yield _left(name, entry, FailureReason.DUPLICATE, _AGAIN)
            else:
                seen.add(name.suffix.lower())
                sample.members[name.suffix] = entry.where

    def left_out(self, sample: "_Stretch") -> Iterator[LeftOut]:
        """The members, none of which is read: `sample` is elsewhere."""
        there = sample.suffixes
        for name, entry in self.entries:
            if entry.fault:
                yield _left(name, entry, *entry.fault)
            elif name.suffix.lower() in there:
                yield _left(name, entry, FailureReason.DUPLICATE, _AGAIN)
            else:
                yield _left(name, entry, FailureReason.NOT_ADJOINING, _APART)


_AGAIN = "the sample has a member of that name already, which is read; leave the others out"
_APART = (
    "it does not adjoin the rest of its sample: members of other samples are in between; "
    f"{SORT_REMEDY}"
)


def _left(name: MemberName, entry: _Entry, reason: FailureReason, why: str) -> LeftOut:
    return LeftOut(name=entry.name, key=name.key, reason=reason, why=why)


def _chosen(stretches: list[_Stretch]) -> dict[str, _Stretch]:
    """The stretch of each key that is the sample: the first with media, else the first."""
    chosen: dict[str, _Stretch] = {}
    for stretch in stretches:
        before = chosen.get(stretch.key)
        if before is None or (stretch.has_media and not before.has_media):
            chosen[stretch.key] = stretch
    return chosen
