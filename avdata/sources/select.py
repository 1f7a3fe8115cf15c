"""Rows of a listing by label and split: `--labels`, `--split`, `--limit`.

Rows that do not match are not listed at all, so that the rest is a listing of its own. Malformed
lines stay, since nobody knows what they were.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from avdata.errors import ListingError
from avdata.schema import ListedClip
from avdata.sources.packaged import audioset_names, label_lines, read_subset, subset_names
from avdata.sources.source import ListedRow

SHOWN_UNKNOWN = 5
SHOWN_SPLITS = 20
NEAR_LABELS = 3

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelChoice:
    """Labels that a row may have, of which it needs one."""

    named: tuple[str, ...]
    """Named by the user: each must occur in the listing."""
    packaged: tuple[str, ...] = ()
    """Of packaged subsets: a listing may lack some of them, but not all."""


def read_label_choice(values: Iterable[str]) -> LabelChoice:
    """What `--labels` asks for: labels, `@FILE` with one a line, or names of packaged subsets.

    Raises:
        ListingError: A file cannot be read, or an empty label or file is named.
    """
    named: list[str] = []
    packaged: list[str] = []
    subsets = subset_names()
    for value in values:
        subset = value.strip().lower().replace("_", "-")
        if value.startswith("@"):
            named += _read_label_file(Path(value[1:]))
        elif subset in subsets:
            packaged += read_subset(subset)
        elif value.strip():
            named.append(value.strip())
        else:
            raise ListingError(
                "--labels '' is no label; give a label, @FILE with one a line, or a packaged "
                f"subset ({', '.join(subsets)})"
            )
    return LabelChoice(named=tuple(named), packaged=tuple(packaged))


def _read_label_file(path: Path) -> list[str]:
    try:
        labels = label_lines(path.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ListingError(
            f"--labels @{path} cannot be read: {reason}; give a text file with one label a line"
        ) from error
    if not labels:
        raise ListingError(f"--labels @{path} has no labels; write one a line")
    return labels


def select_rows(
    rows: Iterable[ListedRow],
    *,
    labels: LabelChoice | None = None,
    splits: Iterable[str] = (),
    limit: int | None = None,
) -> Iterator[ListedRow]:
    """The first `limit` rows of those with one of `labels` and one of `splits`; all that there are
    where one of these is not given.

    Labels and splits are compared without regard to case, and underscores count as spaces;
    machine ids of AudioSet count as their names. Distinct labels and splits are remembered, rows
    are not. Names are checked against the whole listing, past `limit`, after the last row.

    Raises:
        ListingError: A label or a split does not occur in the listing.
    """
    if labels is None and not (splits := tuple(splits)):
        yield from rows if limit is None else _first(rows, limit)
        return
    choice = _Choice(labels, tuple(splits))
    num_given = 0
    for row in rows:
        if isinstance(row, ListedClip) and not choice.holds(row):
            continue
        if limit is None or num_given < limit:
            num_given += 1
            yield row
    choice.check()


def _first(rows: Iterable[ListedRow], limit: int) -> Iterator[ListedRow]:
    for _, row in zip(range(limit), rows, strict=False):
        yield row


class _Choice:
    """Which rows are wanted, and what the listing has."""

    def __init__(self, labels: LabelChoice | None, splits: tuple[str, ...]) -> None:
        self._labels = labels
        self._splits = splits
        choices = (*labels.named, *labels.packaged) if labels else ()
        self._wanted = {form for name in choices for form in _forms(name)}
        self._wanted_splits = {_plain(name) for name in splits}
        self._by_label: dict[str, bool] = {}
        self._by_split: dict[str | None, bool] = {None: False}
        self._num_by_split: Counter[str | None] = Counter()

    def holds(self, row: ListedClip) -> bool:
        labelled = self._labels is None
        for label in row.labels:  # all of them, for the record of those seen
            wanted = self._by_label.get(label)
            if wanted is None:
                wanted = self._by_label[label] = _plain(label) in self._wanted
            labelled |= wanted
        split = row.split
        self._num_by_split[split] += 1
        if split not in self._by_split:
            self._by_split[split] = _plain(split or "") in self._wanted_splits
        return labelled and (not self._splits or self._by_split[split])

    def check(self) -> None:
        """Refuse names that the listing does not have.

        Raises:
            ListingError: As said.
        """
        if self._labels is not None:
            self._check_labels(self._labels)
        seen = {_plain(split) for split in self._num_by_split if split is not None}
        unknown = [name for name in self._splits if _plain(name) not in seen]
        if unknown:
            counts = [f"{s} ({n})" for s, n in self._num_by_split.most_common() if s is not None]
            there = f"it has {', '.join(counts[:SHOWN_SPLITS])}" if counts else "it names no split"
            raise ListingError(f"--split {unknown[0]}: the listing has no such split; {there}")

    def _check_labels(self, labels: LabelChoice) -> None:
        seen = {_plain(label): label for label in self._by_label}
        unknown = [name for name in labels.named if not _forms(name) & seen.keys()]
        absent = [name for name in labels.packaged if not _forms(name) & seen.keys()]
        if absent and len(absent) == len(labels.packaged) and not labels.named:
            unknown = absent
        elif absent:
            logger.warning(
                "%d of %d labels of the subset are not in the listing: %s",
                len(absent),
                len(labels.packaged),
                ", ".join(absent),
            )
        if not unknown:
            return
        if not seen:
            raise ListingError(f"--labels {unknown[0]!r}: no row of the listing has a label")
        shown = "; ".join(_near(name, seen) for name in unknown[:SHOWN_UNKNOWN])
        more = len(unknown) - SHOWN_UNKNOWN
        raise ListingError(
            f"--labels: {shown}{f'; and {more} more' if more > 0 else ''}; the listing has "
            f"{len(seen)} labels"
        )


def _near(name: str, seen: dict[str, str]) -> str:
    near = get_close_matches(_plain(name), seen, n=NEAR_LABELS, cutoff=0.5)
    there = f" (near: {', '.join(repr(seen[form]) for form in near)})" if near else ""
    return f"{name!r} is no label of the listing{there}"


def _plain(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").split())


def _forms(name: str) -> set[str]:
    """How a wanted label may stand in a listing: as it is, or as the name of a machine id."""
    return {_plain(name), _plain(audioset_names().get(name, name))}
