"""`avdata build --dry-run`: what is listed, which media there are, what a build takes."""

import json
import tempfile
from collections import Counter
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from avdata.cli.listing_report import ListingReading
from avdata.shards.quantity_text import bytes_text, long_time_text

if TYPE_CHECKING:
    from avdata.build.plan import BuildPlan
    from avdata.build.preview import Estimate, MediaLook, Probe
    from avdata.config import BuildConfig

NAME_WIDTH = 9
SHOWN_REJECTS = 5
MESSAGE_CHARS = 300


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedBuild:
    """A build as it was asked for, with its plan."""

    plan: "BuildPlan"
    config: "BuildConfig"
    reading: ListingReading
    source: Path
    media: Path | None
    out: Path | str | None
    num_workers: int | None
    """None is one a core; 0 builds in the process of the command."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """Media, probe and free disk of a planned build; None for what could not be found out."""

    look: "MediaLook"
    probed: "Probe | None"
    estimated: "Estimate | None"
    num_workers: int
    folder: Path
    """Where shards would be written; the current folder where that is not said."""
    free_bytes: int
    fault: str
    """Why there is no probe, where there should be one."""


def show_plan(build: PlannedBuild, *, as_json: bool) -> int:
    """Print the facts of a build; returns the number of rows that can be read."""
    plan, reading = build.plan, build.reading
    reasons = Counter(row.reason for shard in plan.shards for row in shard.rejects)
    num_readable = plan.num_listed - reasons.total()
    facts = {
        "source": str(build.source),
        "format": reading.format,
        "listed": plan.num_listed,
        "readable": num_readable,
        "rejected": reasons.total(),
        "reasons": dict(reasons.most_common()),
        "sources": plan.num_sources,
        "labels": len(plan.labels),
        "shards": len(plan.shards),
    }
    preview = _preview(build) if num_readable else None
    if as_json:
        media = {} if preview is None else _preview_facts(preview)
        print(json.dumps({**facts, **reading.facts(plan.repairs), **media}))
        return num_readable
    for name, value in facts.items():
        if name != "reasons":
            print(f"{name:>{NAME_WIDTH}}  {value}")
    for reason, count in reasons.most_common():
        print(f"{count:>{NAME_WIDTH}}  {reason}")
    for row in islice((row for shard in plan.shards for row in shard.rejects), SHOWN_REJECTS):
        print(f"{'':>{NAME_WIDTH}}  line {row.line_number}: {row.message}")
    for line in reading.lines(plan.repairs):
        print(line)
    for line in [] if preview is None else _preview_lines(preview):
        print(line)
    print("dry run: nothing was written")
    return num_readable


def _preview(build: PlannedBuild) -> Preview:
    from avdata.build.job import BuildContext
    from avdata.build.preview import estimate, free_bytes, look_for_media, probe
    from avdata.cores import available_cores
    from avdata.errors import BuildError
    from avdata.sources import MediaResolver

    listing_dir = build.source if build.source.is_dir() else build.source.parent
    media = build.media.absolute() if build.media else None
    resolver = MediaResolver(media, listing_dir.absolute())
    workers = available_cores() if build.num_workers is None else max(build.num_workers, 1)
    num_workers = max(min(workers, len(build.plan.shards)), 1)
    if isinstance(build.out, str):  # shards are written there before they are uploaded
        folder = Path(tempfile.gettempdir())
    else:
        folder = Path.cwd() if build.out is None else build.out
    look = look_for_media(build.plan, resolver)
    probed, fault = None, ""
    if look.examples:
        context = BuildContext(
            config=build.config,
            out_dir=folder,
            resolver=resolver,
            build_hash=build.plan.build_hash,
        )
        try:
            probed = probe(look.examples, context)
        except (BuildError, OSError) as error:
            fault = str(error)
    return Preview(
        look=look,
        probed=probed,
        estimated=estimate(look, probed, num_workers=num_workers) if probed else None,
        num_workers=num_workers,
        folder=folder,
        free_bytes=free_bytes(folder),
        fault=fault,
    )


def _preview_lines(preview: Preview) -> list[str]:
    look, probed, estimated = preview.look, preview.probed, preview.estimated
    habits = ", ".join(f"{count} by {habit}" for habit, count in look.found.items())
    of = f"{look.num_looked}" + (f" looked for of {look.num_clips}" if look.share < 1 else "")
    lines = [f"media: {look.num_found} of {of} found{f' ({habits})' if habits else ''}"]
    if look.num_missing:
        tried = ", ".join(f"{habit} {count}" for habit, count in look.missing.items())
        lines.append(f"missing: {look.num_missing}, by each name tried: {tried}")
        lines.append(f"{'':>{NAME_WIDTH}}  {_cut(look.first_missing)}")
    if probed is not None and estimated is not None:
        reasons = ", ".join(f"{count} {reason}" for reason, count in probed.reasons.items())
        rejected = f", {reasons}" if reasons else ""
        workers = f"{preview.num_workers} worker{'s' if preview.num_workers > 1 else ''}"
        lines.append(
            f"estimate: {long_time_text(3600 * estimated.hours)} of clips, "
            f"{bytes_text(estimated.num_bytes)}, built in {long_time_text(60 * estimated.minutes)} "
            f"by {workers} (from {probed.num_probed} clips built on trial: {probed.num_ok} ok"
            f"{rejected})"
        )
    if preview.fault:
        lines.append(f"estimate: none, no clip could be built on trial: {_cut(preview.fault)}")
    lines.append(
        f"free disk: {bytes_text(preview.free_bytes)} at {preview.folder}{_too_small(preview)}"
    )
    return lines


def _too_small(preview: Preview) -> str:
    estimated = preview.estimated
    if estimated is None or estimated.num_bytes <= preview.free_bytes:
        return ""
    return ", less than the build may need"


def _preview_facts(preview: Preview) -> dict[str, object]:
    """The same for `--json`."""
    look, probed, estimated = preview.look, preview.probed, preview.estimated
    facts: dict[str, object] = {
        "media": {
            "looked_for": look.num_looked,
            "found": look.num_found,
            "found_by": look.found,
            "missing": look.num_missing,
            "missing_by": look.missing,
            "first_missing": look.first_missing or None,
        },
        "free_bytes": preview.free_bytes,
        "estimate": None,
    }
    if probed is not None and estimated is not None:
        facts["estimate"] = {
            "hours": estimated.hours,
            "bytes": round(estimated.num_bytes),
            "minutes": estimated.minutes,
            "workers": preview.num_workers,
            "probed": probed.num_probed,
            "probed_ok": probed.num_ok,
            "probed_reasons": probed.reasons,
        }
    return facts


def _cut(text: str) -> str:
    return text if len(text) <= MESSAGE_CHARS else f"{text[: MESSAGE_CHARS - 3]}..."
