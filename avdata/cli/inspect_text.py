"""The lines that `avdata inspect` prints."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from avdata.shards.field_texts import field_texts
from avdata.shards.quantity_text import bytes_text, long_time_text
from avdata.shards.row_facts import row_facts

if TYPE_CHECKING:
    from avdata.shards.stored_sample import StoredSample
    from avdata.shards.summary import SetSummary, Spread
    from avdata.shards.tar_contents import TarSample

NUM_LABELS = 10
"""Labels that are told; the others are counted."""
MESSAGE_CHARS = 100
NAME_WIDTH = 14


def set_lines(directory: Path | str, summary: "SetSummary") -> list[str]:
    """A shard set's numbers."""
    spec = summary.spec
    missing = f", {summary.num_missing_shards} missing" if summary.num_missing_shards else ""
    facts = [
        ("shard set", str(directory)),
        ("listing", f"{spec.listing_name}, {spec.num_listed} clips of {spec.num_sources} sources"),
        ("stored", f"{spec.num_clips} clips, {spec.num_rejected} rejected"),
        ("shards", f"{spec.num_shards}{missing}, {bytes_text(summary.num_bytes)}"),
    ]
    if summary.duration_s:
        facts.append(("time", f"{long_time_text(summary.total_duration_s)} in all"))
        facts.append(("clip", _spread(summary.duration_s, "s", decimals=2)))
    if summary.av_offset_s:
        offset = summary.av_offset_s
        facts.append(
            (
                "sound - picture",
                f"{1000 * offset.min:+.1f} to {1000 * offset.max:+.1f} ms "
                f"(median {1000 * offset.median:+.1f})",
            )
        )
    if spec.kept_columns:
        facts.append(("kept columns", ", ".join(spec.kept_columns)))
    if summary.splits:
        splits = ", ".join(f"{name} {count}" for name, count in summary.splits.items())
        facts.append(("splits", splits))
    lines = [*_table(facts), "", "fields", *_field_lines(summary)]
    lines += _label_lines(summary)
    if summary.rejects:
        lines += ["", f"rejects  {spec.num_rejected}"]
        width = max(len(group.reason) for group in summary.rejects)
        for group in summary.rejects:
            first = group.examples[0]
            example = _cut(f"line {first.line}: {first.message}", MESSAGE_CHARS)
            lines.append(f"  {group.reason:<{width}}  {group.count:>6}  {example}")
    return lines


def _field_lines(summary: "SetSummary") -> list[str]:
    how = field_texts(summary)
    return [
        f"  {name:<8}{bytes_text(spread.mean):>9} a clip  {how.get(name, '')}".rstrip()
        for name, spread in summary.bytes_by_field.items()
    ]


def _label_lines(summary: "SetSummary") -> list[str]:
    if not summary.labels:
        return []
    shown = list(summary.labels.items())[:NUM_LABELS]
    width = min(max(len(label) for label, _ in shown), 60)
    unlabeled = f", {summary.num_unlabeled} clips without" if summary.num_unlabeled else ""
    lines = ["", f"labels  {len(summary.spec.labels)}{unlabeled}"]
    lines += [f"  {_cut(label, 60):<{width}}  {count:>6}" for label, count in shown]
    if len(summary.labels) > NUM_LABELS:
        lines.append(f"  and {len(summary.labels) - NUM_LABELS} more")
    return lines


def shard_lines(shard: Path | str, samples: "Sequence[TarSample]") -> list[str]:
    """Keys of one shard with their members' sizes."""
    num_bytes = sum(sample.num_bytes for sample in samples)
    lines = [f"{shard}  {len(samples)} samples, {bytes_text(num_bytes)}"]
    if not samples:
        return lines
    suffixes = list(dict.fromkeys(suffix for sample in samples for suffix in sample.members))
    width = max(len("key"), *(len(sample.key) for sample in samples))
    widths = [max(len(suffix), 8) for suffix in suffixes]
    columns = zip(suffixes, widths, strict=True)
    lines.append("  ".join(["key".ljust(width), *(name.rjust(room) for name, room in columns)]))
    for sample in samples:
        cells = [
            (bytes_text(sample.members[suffix].size) if suffix in sample.members else "-").rjust(
                room
            )
            for suffix, room in zip(suffixes, widths, strict=True)
        ]
        lines.append("  ".join([sample.key.ljust(width), *cells]))
    return lines


def sample_lines(sample: "StoredSample", meta: Mapping[str, object]) -> list[str]:
    """One sample: where it is from, its times, what the file was, its members."""
    labels = meta.get("labels")
    facts = [("sample", sample.key), ("shard", str(sample.shard))]
    if isinstance(labels, list) and labels:
        facts.append(("labels", ", ".join(map(str, labels))))
    if sample.row is not None:
        facts += row_facts(sample.row)
    else:
        simple = {k: v for k, v in meta.items() if k not in ("key", "labels") and v is not None}
        facts += [(k, str(v)) for k, v in simple.items() if not isinstance(v, list | dict)]
    lines = [*_table(facts), "", "members"]
    width = max(map(len, sample.sample.members))
    for suffix, where in sample.sample.members.items():
        lines.append(f"  {suffix:<{width}}  {bytes_text(where.size):>9}  at byte {where.offset}")
    return lines


def _table(facts: Iterable[tuple[str, str]]) -> list[str]:
    pairs = list(facts)
    width = max(NAME_WIDTH, *(len(name) for name, _ in pairs))
    return [f"{name:<{width}}  {value}" for name, value in pairs]


def _spread(spread: "Spread", unit: str, *, decimals: int) -> str:
    low, middle, high = (
        f"{value:.{decimals}f}" for value in (spread.min, spread.median, spread.max)
    )
    return f"{low} to {high} {unit}, median {middle}"


def _cut(text: str, num_chars: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= num_chars else f"{text[: num_chars - 3]}..."
