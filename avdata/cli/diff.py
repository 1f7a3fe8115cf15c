"""`avdata diff`: what changed from one shard set to another."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from avdata.command_line import PathOrUrl

if TYPE_CHECKING:
    from avdata.shards.difference import Change, SetDifference
    from avdata.shards.difference_rows import ColumnChange

EXIT_DIFFERENT = 1
MAX_VALUE_CHARS = 40


@click.command()
@click.argument("a", metavar="A", type=PathOrUrl())
@click.argument("b", metavar="B", type=PathOrUrl())
@click.option("--no-bytes", is_flag=True, help="Compare settings and tables; open no shard.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def diff(a: Path | str, b: Path | str, no_bytes: bool, as_json: bool) -> None:
    """Show in what the shard set B differs from the shard set A.

    Settings, software and listing; clips that only one set has, and what became of them; facts
    and bytes of the clips that both have. Exits with 0 when nothing differs and with 1 otherwise.
    """
    from avdata.cli.progress import clip_bar
    from avdata.shards.difference import compare_sets
    from avdata.shards.reader import read_dataset_spec

    if no_bytes:
        found = compare_sets(a, b, with_bytes=False)
    else:
        total = min(read_dataset_spec(a).num_clips, read_dataset_spec(b).num_clips)
        with clip_bar(total, "diff") as bar:
            found = compare_sets(a, b, on_clips=bar.update)
            bar.total = bar.n
    if as_json:
        facts = {"same": found.same, "a": str(a), "b": str(b), **asdict(found)}
        print(json.dumps(facts, default=str))
    else:
        for line in difference_lines(found):
            print(line)
    if not found.same:
        sys.exit(EXIT_DIFFERENT)


def difference_lines(found: "SetDifference") -> Iterator[str]:
    """The text of a difference."""
    if found.same:
        seen = "no shard was opened" if found.bytes is None else _bytes_seen(found)
        yield f"the same: {found.num_both} clips; {seen}"
        return
    yield from _changes("settings", found.settings)
    yield from _changes("software", found.software)
    yield from _changes("listing", found.listing)
    yield from _changes("log-mel statistics", found.statistics)
    yield f"clips: {found.num_clips_a} in A, {found.num_clips_b} in B, {found.num_both} in both"
    for count, where, examples in (
        (found.only_a, "A", found.only_a_examples),
        (found.only_b, "B", found.only_b_examples),
    ):
        if count:
            yield f"  {count} only in {where}: {_some(examples, count)}"
    if found.order_changed:
        yield "  they stand in another order"
    if found.transitions:
        yield "what became of listed clips, A -> B"
        for t in found.transitions:
            yield f"  {t.count:>8}  {t.a} -> {t.b}: {_some(t.examples, t.count)}"
    if found.facts:
        yield "facts of clips in both"
        for column in found.facts:
            yield from _column(column)
    if found.places:
        moved = max(column.num_clips for column in found.places)
        yield f"{moved} clips in both lie elsewhere in the shards"
    if found.bytes is not None:
        yield f"bytes of clips in both: {_bytes_seen(found)}"
        for field, count in found.bytes.num_changed.items():
            if count:
                yield f"  {count:>8}  {field}: {_some(found.bytes.examples[field], count)}"
        if not any(found.bytes.num_changed.values()):
            yield "  all equal"


def _bytes_seen(found: "SetDifference") -> str:
    assert found.bytes is not None
    return (
        f"{found.bytes.num_shards_equal} shards are equal by sha256, "
        f"{found.bytes.num_clips_read} clips of {found.bytes.num_shards_other} others were read"
    )


def _changes(title: str, changes: "tuple[Change, ...]") -> Iterator[str]:
    if not changes:
        return
    yield title
    width = max(len(change.path) for change in changes)
    for change in changes:
        if isinstance(change.a, list) and isinstance(change.b, list):
            gone = [x for x in change.a if x not in set(change.b)]
            new = [x for x in change.b if x not in set(change.a)]
            parts = [f"{len(gone)} gone ({_list(gone)})"] if gone else []
            parts += [f"{len(new)} new ({_list(new)})"] if new else []
            text = ", ".join(parts) or "another order"
        else:
            text = f"{_value(change.a)} -> {_value(change.b)}"
        yield f"  {change.path:<{width}}  {text}"


def _list(values: list[object]) -> str:
    return ", ".join(map(str, values[:3])) + (" ..." if len(values) > 3 else "")


def _column(column: "ColumnChange") -> Iterator[str]:
    largest = f", by at most {column.largest:g}" if column.largest is not None else ""
    yield f"  {column.num_clips:>8}  {column.column}{largest}"
    for example in column.examples:
        yield f"            {example.key}: {_value(example.a)} -> {_value(example.b)}"


def _value(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, dict):
        value = ", ".join(f"{name}={inner}" for name, inner in value.items())
    text = repr(value) if isinstance(value, float) else str(value)
    return text if len(text) <= MAX_VALUE_CHARS else f"{text[: MAX_VALUE_CHARS - 3]}..."


def _some(examples: tuple[str, ...], count: int) -> str:
    return ", ".join(examples) + (" ..." if count > len(examples) else "")
