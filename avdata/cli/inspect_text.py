"""The lines that `avdata inspect` prints."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from avdata.shards.stored_sample import StoredSample
    from avdata.shards.summary import SetSummary, Spread
    from avdata.shards.tar_contents import TarSample

NUM_LABELS = 10
"""Labels that are told; the others are counted."""
MESSAGE_CHARS = 100
NAME_WIDTH = 14


def set_lines(directory: Path, summary: "SetSummary") -> list[str]:
    """A shard set's numbers."""
    spec = summary.spec
    missing = f", {summary.num_missing_shards} missing" if summary.num_missing_shards else ""
    facts = [
        ("shard set", str(directory)),
        ("listing", f"{spec.listing_name}, {spec.num_listed} clips of {spec.num_sources} sources"),
        ("stored", f"{spec.num_clips} clips, {spec.num_rejected} rejected"),
        ("shards", f"{spec.num_shards}{missing}, {_bytes(summary.num_bytes)}"),
    ]
    if summary.duration_s:
        facts.append(("time", f"{_long_time(summary.total_duration_s)} in all"))
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
    if summary.splits:
        splits = ", ".join(f"{name} {count}" for name, count in summary.splits.items())
        facts.append(("splits", splits))
    lines = [*_table(facts), "", "fields", *_field_lines(summary)]
    lines += _label_lines(summary)
    if summary.rejects:
        lines += ["", f"rejects  {spec.num_rejected}"]
        width = max(len(group.reason) for group in summary.rejects)
        for group in summary.rejects:
            example = _cut(f"line {group.example_line}: {group.example_message}", MESSAGE_CHARS)
            lines.append(f"  {group.reason:<{width}}  {group.count:>6}  {example}")
    return lines


def _field_lines(summary: "SetSummary") -> list[str]:
    spec = summary.spec
    how = {"meta": "json"}
    if spec.video:
        sizes = [f"{size} ({count})" for size, count in summary.frame_sizes.items()]
        more = f" and {len(sizes) - 3} more sizes" if len(sizes) > 3 else ""
        how["frames"] = (
            f"{spec.video.fps:g} fps, {spec.video.codec} quality {spec.video.quality}, "
            f"{spec.video.projection}, {', '.join(sizes[:3])}{more}"
        )
    if spec.audio:
        how["audio"] = f"{spec.audio.sample_rate_hz} Hz, {spec.audio.layout}, flac"
    if spec.logmel:
        mel = spec.logmel
        how["logmel"] = (
            f"{mel.num_mels} {mel.mel_scale} mels of {mel.fmin_hz:g} to {mel.fmax_hz:g} Hz, "
            f"n_fft {mel.n_fft}, window {mel.win_samples}, hop {mel.hop_samples} "
            f"({1000 * mel.hop_samples / mel.sample_rate_hz:g} ms)"
        )
    return [
        f"  {name:<8}{_bytes(spread.mean):>9} a clip  {how.get(name, '')}".rstrip()
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


def shard_lines(shard: Path, samples: "Sequence[TarSample]") -> list[str]:
    """Keys of one shard with their members' sizes."""
    num_bytes = sum(sample.num_bytes for sample in samples)
    lines = [f"{shard}  {len(samples)} samples, {_bytes(num_bytes)}"]
    if not samples:
        return lines
    suffixes = list(dict.fromkeys(suffix for sample in samples for suffix in sample.members))
    width = max(len("key"), *(len(sample.key) for sample in samples))
    widths = [max(len(suffix), 8) for suffix in suffixes]
    columns = zip(suffixes, widths, strict=True)
    lines.append("  ".join(["key".ljust(width), *(name.rjust(room) for name, room in columns)]))
    for sample in samples:
        cells = [
            (_bytes(sample.members[suffix].size) if suffix in sample.members else "-").rjust(room)
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
        facts += _row_facts(sample)
    else:
        simple = {k: v for k, v in meta.items() if k not in ("key", "labels") and v is not None}
        facts += [(k, str(v)) for k, v in simple.items() if not isinstance(v, list | dict)]
    lines = [*_table(facts), "", "members"]
    width = max(map(len, sample.sample.members))
    for suffix, where in sample.sample.members.items():
        lines.append(f"  {suffix:<{width}}  {_bytes(where.size):>9}  at byte {where.offset}")
    return lines


def _row_facts(sample: "StoredSample") -> list[tuple[str, str]]:
    row = sample.row
    assert row is not None
    trimmed = ", taken as already cut to the listed span" if row.trimmed else ""
    facts = [
        ("media", f"{row.media}{trimmed}"),
        ("source", f"{row.source_id} (index {row.source_index}, its clip {row.clip_index})"),
        ("listed", f"line {row.line_number}, {_span(row.listed_start_s, row.listed_end_s)}"),
        ("decoded", f"{_span(row.decoded_start_s, row.decoded_end_s)}, {row.duration_s:.4f} s"),
    ]
    if row.split:
        facts.append(("split", row.split))
    if row.video_start_s is not None:
        facts.append(("video stream", _span(row.video_start_s, row.video_end_s)))
    if row.audio_start_s is not None:
        facts.append(("audio stream", _span(row.audio_start_s, row.audio_end_s)))
    if row.av_offset_s is not None:
        facts.append(("sound - picture", f"{1000 * row.av_offset_s:+.2f} ms"))
    if row.video_codec:
        turned = f", turned by {row.rotation_deg} degrees" if row.rotation_deg else ""
        fps = f" at {row.native_fps:.3f} fps" if row.native_fps else ""
        size = f"{row.native_width_px}x{row.native_height_px}"
        facts.append(("native video", f"{row.video_codec} {size}{fps}{turned}"))
    if row.audio_codec:
        rate = f"{row.native_channels} channels at {row.native_sample_rate_hz} Hz"
        facts.append(("native audio", f"{row.audio_codec} {rate}"))
    if row.num_bad_packets:
        facts.append(("bad packets", str(row.num_bad_packets)))
    if row.num_frames:
        size = f"{row.frame_width_px}x{row.frame_height_px}"
        facts.append(("frames", f"{row.num_frames} of {size}"))
    if row.num_audio_samples:
        facts.append(("audio", f"{row.num_audio_samples} samples"))
    if row.num_logmel_columns:
        facts.append(("logmel", f"{row.num_logmel_columns} columns"))
    return facts


def _table(facts: Iterable[tuple[str, str]]) -> list[str]:
    pairs = list(facts)
    width = max(NAME_WIDTH, *(len(name) for name, _ in pairs))
    return [f"{name:<{width}}  {value}" for name, value in pairs]


def _span(start_s: float | None, end_s: float | None) -> str:
    if start_s is None and end_s is None:
        return "the whole medium"
    end = "the end)" if end_s is None else f"{end_s:.4f}) s"
    return f"[{start_s or 0.0:.4f}, {end}"


def _spread(spread: "Spread", unit: str, *, decimals: int) -> str:
    low, middle, high = (
        f"{value:.{decimals}f}" for value in (spread.min, spread.median, spread.max)
    )
    return f"{low} to {high} {unit}, median {middle}"


def _long_time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _cut(text: str, num_chars: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= num_chars else f"{text[: num_chars - 3]}..."
