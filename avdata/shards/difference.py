"""What changed between two shard sets: settings, rows, facts of rows, rejects, bytes.

Tables are compared by columns and joined by key, so that a million rows take seconds.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from avdata.manifest import MANIFEST_SCHEMA
from avdata.schema import BuildRecord, DatasetSpec
from avdata.shards.build_record import DERIVED, read_build_record
from avdata.shards.difference_bytes import ByteChanges, compare_bytes
from avdata.shards.difference_rows import (
    ColumnChange,
    JoinedRows,
    Transition,
    changed_columns,
    transitions,
)
from avdata.shards.reader import read_dataset_spec

PLACE_COLUMNS = tuple(
    name for name in MANIFEST_SCHEMA.names if name == "shard" or name.endswith("_offset_bytes")
)
"""Where a sample lies: a change of it is no change of the sample."""

NOT_SETTINGS = frozenset(
    {"num_shards", "num_listed", "num_clips", "num_rejected", "num_sources", "labels"}
    | {"labels_hash", "build_hash", "listing_name", "software", "logmel_statistics"}
    | {"schema_version"}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One fact that differs; None where a set does not have it."""

    path: str
    a: object
    b: object


@dataclass(frozen=True, kw_only=True, slots=True)
class SetDifference:
    """What changed from set A to set B."""

    settings: tuple[Change, ...]
    software: tuple[Change, ...]
    listing: tuple[Change, ...]
    """Name, number of rows, sources, labels, and the hash of the rows where both sets know it."""
    statistics: tuple[Change, ...]
    """Largest difference of the log-mel's mean and deviation, in `b`."""
    num_clips_a: int
    num_clips_b: int
    num_both: int
    only_a: int
    only_a_examples: tuple[str, ...]
    only_b: int
    only_b_examples: tuple[str, ...]
    transitions: tuple[Transition, ...]
    """Listed clips that came to something else: stored, rejected with a reason, not listed."""
    facts: tuple[ColumnChange, ...]
    """Columns whose values differ for clips of both sets."""
    places: tuple[ColumnChange, ...]
    """The same for the columns that say where a sample lies."""
    order_changed: bool
    """The clips of both sets stand in another order."""
    bytes: ByteChanges | None
    """None when bytes were not compared."""

    @property
    def same(self) -> bool:
        """Whether nothing differs that was compared."""
        lists = (self.settings, self.software, self.listing, self.statistics)
        changed = self.bytes is not None and any(self.bytes.num_changed.values())
        rows = (self.only_a or self.only_b, self.transitions, self.facts, self.places)
        return not (any(lists) or any(rows) or self.order_changed or changed)


def compare_sets(
    a: Path | str,
    b: Path | str,
    *,
    with_bytes: bool = True,
    on_clips: Callable[[int], object] = lambda count: None,
) -> SetDifference:
    """Everything in which set `b` differs from set `a`, folders or URLs.

    `on_clips` hears how many more clips were compared byte by byte.

    Raises:
        ShardSetError: One is no finished shard set, or it is damaged.
    """
    spec_a, spec_b = read_dataset_spec(a), read_dataset_spec(b)
    rows = JoinedRows(a, b)
    columns = changed_columns(rows)
    records = [_record(a, spec_a), _record(b, spec_b)]
    known = all(records)
    record_a, record_b = records if known else (None, None)
    return SetDifference(
        settings=tuple(_setting_changes(_settings(record_a, spec_a), _settings(record_b, spec_b))),
        software=tuple(_changes(spec_a.software, spec_b.software)),
        listing=tuple(_changes(_listing(record_a, spec_a), _listing(record_b, spec_b))),
        statistics=tuple(_statistics(spec_a, spec_b)),
        num_clips_a=rows.num_a,
        num_clips_b=rows.num_b,
        num_both=len(rows.at_a),
        only_a=rows.num_a - len(rows.at_a),
        only_a_examples=rows.examples_only_a(),
        only_b=rows.num_b - len(rows.at_a),
        only_b_examples=rows.examples_only_b(),
        transitions=transitions(rows),
        facts=tuple(c for c in columns if c.column not in PLACE_COLUMNS),
        places=tuple(c for c in columns if c.column in PLACE_COLUMNS),
        order_changed=rows.order_changed,
        bytes=compare_bytes(rows, on_clips) if with_bytes else None,
    )


def _changes(a: Mapping[str, object], b: Mapping[str, object]) -> Iterator[Change]:
    for path in dict.fromkeys([*a, *b]):
        if a.get(path) != b.get(path):
            yield Change(path=path, a=a.get(path), b=b.get(path))


def _flat(table: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Nested tables as paths: `{"clip": {"fps": 8}}` is `{"clip.fps": 8}`."""
    flat: dict[str, object] = {}
    for name, value in table.items():
        path = f"{prefix}{name}"
        flat |= _flat(value, f"{path}.") if isinstance(value, dict) else {path: value}
    return flat


def _record(where: Path | str, spec: DatasetSpec) -> BuildRecord | None:
    """What the build was asked for, where that is known."""
    record = read_build_record(where)
    return record if record and record.build_hash == spec.build_hash else None


def _settings(record: BuildRecord | None, spec: DatasetSpec) -> dict[str, object]:
    """Settings that made the set: those of the spec, and those that the build was asked for."""
    made = {k: v for k, v in spec.model_dump(mode="json").items() if k not in NOT_SETTINGS}
    asked = {k: v for k, v in record.config.items() if k != DERIVED} if record else {}
    return {**asked, **made}


def _setting_changes(a: dict[str, object], b: dict[str, object]) -> Iterator[Change]:
    """Setting by setting; a group that one set does not have is one change."""
    for name in dict.fromkeys([*a, *b]):
        in_a, in_b = a.get(name), b.get(name)
        if isinstance(in_a, dict) and isinstance(in_b, dict):
            yield from _changes(_flat(in_a, f"{name}."), _flat(in_b, f"{name}."))
        else:
            yield from _changes({name: in_a}, {name: in_b})


def _listing(record: BuildRecord | None, spec: DatasetSpec) -> dict[str, object]:
    return {
        "name": spec.listing_name,
        "sha256 of its rows": record.listing_sha256 if record else None,
        "rows": spec.num_listed,
        "rejected": spec.num_rejected,
        "sources": spec.num_sources,
        "labels": list(spec.labels),
    }


def _statistics(a: DatasetSpec, b: DatasetSpec) -> Iterator[Change]:
    of_a, of_b = a.logmel_statistics, b.logmel_statistics
    if of_a == of_b:
        return
    if of_a is None or of_b is None or len(of_a.mean) != len(of_b.mean):
        yield Change(
            path="num_mels",
            a=None if of_a is None else len(of_a.mean),
            b=None if of_b is None else len(of_b.mean),
        )
        return
    yield from _changes({"num_columns": of_a.num_columns}, {"num_columns": of_b.num_columns})
    for name in ("mean", "std"):
        largest = max(
            abs(x - y) for x, y in zip(getattr(of_a, name), getattr(of_b, name), strict=True)
        )
        if largest:
            yield Change(path=f"largest change of {name}", a=0.0, b=largest)
