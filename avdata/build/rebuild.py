"""Choice of the shards that a build makes: those that are missing, and those to be built again.

A committed shard is built again when it holds rejects of a reason to retry, or clips of a source
file that has changed since. Such shards are first written into `build.json`, then removed, then
struck from it; only then is the first of them built. The plain command thus resumes a run that
was ended anywhere in between.
"""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Literal

from avdata.build.commit import is_committed
from avdata.build.job import BuildContext
from avdata.build.plan import BuildPlan, ShardPlan
from avdata.build.source_files import SourceFile, changed_sources
from avdata.errors import BuildError, ConfigError, FailureReason, MediaError
from avdata.schema import ClipRef, shard_name, sidecar_name
from avdata.shards.sidecar import ShardReport, read_sidecars
from avdata.sources.resolve import MediaResolver
from avdata.storage import Location

OF_THE_LISTING = frozenset({FailureReason.MALFORMED_LINE, FailureReason.DUPLICATE})
"""Reasons that stay as long as the listing does; with another listing it is another build."""
OF_AN_INDEX = frozenset(
    {FailureReason.NOT_READ, FailureReason.NOT_ADJOINING, FailureReason.DAMAGED_TAR}
)
"""Reasons that no build gives."""

RETRY_WHEN: dict[str, str] = {
    FailureReason.MISSING_FILE: "when they are there",
    FailureReason.NOT_MEDIA: "when whole files are in their place",
    FailureReason.TRUNCATED: "when whole files are in their place",
    FailureReason.LONGER_THAN_LISTED: "when files cut to the span are in their place",
    FailureReason.TIMEOUT: "with a larger limits.clip_timeout_s",
    FailureReason.OUT_OF_MEMORY: "with a larger limits.worker_memory_bytes",
}
"""The rejects that become samples without another build, and what it takes."""

STATS_AT_ONCE = 16
"""Source files looked at in parallel: on a network file system each costs a round trip."""

ChangedSources = Literal["refuse", "rebuild", "keep"]
CHANGED_SOURCES: tuple[ChangedSources, ...] = ("refuse", "rebuild", "keep")


@dataclass(frozen=True, kw_only=True, slots=True)
class RebuildOptions:
    """Choice of the committed shards that a build makes again."""

    retry: frozenset[FailureReason] = frozenset()
    """Shards that hold rejects of these reasons."""
    changed_sources: ChangedSources = "refuse"
    """When source files have changed since their clips were stored: `refuse` to go on, `rebuild`
    the shards that hold such clips, or `keep` the clips as they are stored."""


@dataclass(kw_only=True, slots=True)
class Survey:
    """The committed shards of a build, as a run finds them, and which of them it makes again."""

    options: RebuildOptions
    stay: set[int] = field(default_factory=set)
    """Indices of the shards that stay as they are."""
    again: list[int] = field(default_factory=list)
    """Indices of the committed shards that are built again."""
    num_retried: int = 0
    """Rejects that are built again for `options.retry`."""
    num_still_missing: int = 0
    """Rejects of reason missing_file, asked for, whose file is still not there."""
    changed: dict[str, tuple[SourceFile, SourceFile]] = field(default_factory=dict)
    """Source files that are others than when their clips were stored: name -> then and now."""
    num_changed_shards: int = 0
    """Shards that hold clips of changed source files."""

    @property
    def num_committed(self) -> int:
        return len(self.stay) + len(self.again)

    def __repr__(self) -> str:
        return (
            f"Survey({self.num_committed} shards committed, {len(self.again)} built again, "
            f"{self.num_retried} rejects retried, {len(self.changed)} source files changed)"
        )

    def sentences(self) -> list[str]:
        """Return what a user wants to know before the build begins; empty as a rule."""
        said = [self._retries()] if self.options.retry and self.num_committed else []
        if self.changed:
            fate = "built again" if self.options.changed_sources == "rebuild" else "kept as stored"
            said.append(f"{self._changes()}: {fate}")
        return said

    def refusal(self) -> BuildError:
        """Return the error that names the changed source files and the choices."""
        same_size = all(then.num_bytes == now.num_bytes for then, now in self.changed.values())
        copied = " Sizes are as they were: were the files copied?" if same_size else ""
        return BuildError(
            f"{self._changes()}.{copied} Put the files back, or choose --changed-sources rebuild "
            "to build these shards again, or --changed-sources keep to leave them as they are"
        )

    def _retries(self) -> str:
        asked = f"--retry {','.join(sorted(self.options.retry))}"
        missing = f"{_counted(self.num_still_missing, 'file')} still missing"
        if self.num_retried:
            more = f", {missing}" if self.num_still_missing else ""
            return f"{asked}: {_counted(self.num_retried, 'reject')} built again{more}"
        why = missing if self.num_still_missing else "no shard holds such rejects"
        return f"{asked}: nothing is built again, {why}"

    def _changes(self) -> str:
        then, now = next(iter(self.changed.values()))
        how = (
            f"{then.num_bytes} bytes then, {now.num_bytes} now"
            if then.num_bytes != now.num_bytes
            else "of the same size, modified at another time"
        )
        return (
            f"{_counted(len(self.changed), 'source file')} changed since the clips were stored "
            f"(first: {then.name}, {how}), in {self.num_changed_shards} of "
            f"{_counted(self.num_committed, 'shard')}"
        )


def parse_reasons(text: str) -> frozenset[FailureReason]:
    """Return the reasons that `--retry REASON[,...]` names.

    Raises:
        ConfigError: There is none, one is unknown, or building again cannot help.
    """
    allowed = [
        str(reason) for reason in FailureReason if reason not in OF_THE_LISTING | OF_AN_INDEX
    ]
    reasons = set()
    for name in (part.strip() for part in text.split(",")):
        if name in OF_THE_LISTING:
            raise ConfigError(
                f"--retry {name}: the listing itself is at fault, building again cannot help; "
                "correct the listing and build it into another --out"
            )
        if name not in allowed:
            near = get_close_matches(name.lower().replace("-", "_"), allowed, n=3, cutoff=0.6)
            hint = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(allowed)}"
            raise ConfigError(f"--retry {name!r}: no such reason; {hint}")
        reasons.add(FailureReason(name))
    return frozenset(reasons)


def retry_hints(reasons: Mapping[str, int]) -> list[str]:
    """Return one line for each reason of rejects that `--retry` may turn into samples.

    Args:
        reasons: Number of rejects by reason.
    """
    return [
        f"{count} {reason}: {RETRY_WHEN[reason]}, --retry {reason}"
        for reason, count in reasons.items()
        if reason in RETRY_WHEN
    ]


def survey_shards(
    plan: BuildPlan,
    context: BuildContext,
    options: RebuildOptions,
    on_committed: Callable[[ShardPlan], None],
) -> Survey:
    """Read the sidecars of all shards and choose those to be built again; change nothing.

    `on_committed` hears of each shard that stays.

    Raises:
        BuildError: Source files have changed, and `options` refuse that.
        ShardSetError: A sidecar is damaged.
    """
    location, survey = context.location, Survey(options=options)
    rebuilds = options.changed_sources == "rebuild"
    changed_ids: set[str] = set()
    sizes = location.sizes()
    names = [shard_name(index) for index in range(len(plan.shards))]
    with ThreadPoolExecutor(STATS_AT_ONCE) as threads:
        for index, report in enumerate(read_sidecars(location, names, sizes)):
            if report is None or not is_committed(report, sizes.get(names[index]), plan.build_hash):
                continue
            shard = plan.shards[index]
            changed = {
                then.name: (then, now)
                for then, now in changed_sources(report.rows, context.resolver, threads)
            }
            survey.changed.update(changed)
            survey.num_changed_shards += bool(changed)
            changed_ids.update(row.source_id for row in report.rows if row.media in changed)
            if _retries(survey, shard, report, context.resolver) or (changed and rebuilds):
                survey.again.append(index)
            else:
                survey.stay.add(index)
                if not rebuilds:
                    on_committed(shard)
    if survey.changed and options.changed_sources == "refuse":
        raise survey.refusal()
    if rebuilds:
        _add_rejects_of(changed_ids, survey, plan)
        for index in sorted(survey.stay):
            on_committed(plan.shards[index])
    return survey


def _add_rejects_of(source_ids: set[str], survey: Survey, plan: BuildPlan) -> None:
    """Add shards whose clips of changed sources were all rejected: they may be stored now."""
    for index in sorted(survey.stay) if source_ids else ():
        if any(clip.source_id in source_ids for clip in plan.shards[index].clips):
            survey.stay.remove(index)
            survey.again.append(index)
    survey.again.sort()


def _retries(
    survey: Survey, shard: ShardPlan, report: ShardReport, resolver: MediaResolver
) -> bool:
    """Whether the shard is built again for its rejects; files still missing are no reason to."""
    rows = [row for row in report.rejects if row.reason in survey.options.retry]
    missing = {row.row_index for row in rows if row.reason == FailureReason.MISSING_FILE}
    refs = (clip for clip in shard.clips if clip.row_index in missing)
    num_missing = sum(not _is_there(clip, resolver) for clip in refs)
    survey.num_still_missing += num_missing
    survey.num_retried += len(rows) - num_missing
    return len(rows) > num_missing


def _is_there(clip: ClipRef, resolver: MediaResolver) -> bool:
    try:
        resolver.resolve(clip)
    except MediaError:
        return False
    return True


def remove_shards(location: Location, indices: Iterable[int]) -> None:
    """Remove shards; of each first the sidecar, which is what marks it as committed."""
    for shard in map(shard_name, indices):
        location.delete(sidecar_name(shard))
        location.delete(shard)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
