"""What a build consists of for those who carry it out: one shard, and what all shards share.

Light on purpose: executors and supervisors know these types without importing a decoder.
"""

from dataclasses import dataclass
from pathlib import Path

from avdata.build.plan import ShardPlan
from avdata.config import BuildConfig
from avdata.schema import RejectRow
from avdata.sources.resolve import MediaResolver
from avdata.storage import LocalFolder, Location


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildContext:
    """What all shards of a build share."""

    config: BuildConfig
    out_dir: Path
    """Folder where shards are written."""
    resolver: MediaResolver
    build_hash: str
    upload_to: Location | None = None
    """Where shards go from `out_dir`, and stay; None when `out_dir` is the shard set."""

    @property
    def location(self) -> Location:
        """Where the shard set is made."""
        return self.upload_to or LocalFolder(self.out_dir)


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardJob:
    """One shard to build."""

    plan: ShardPlan
    given_up: tuple[RejectRow, ...] = ()
    """Rows of clips that ended workers before: they are not tried again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipDone:
    """Progress: one more row of a shard is settled. Executors say it once a row."""

    row_index: int
    reason: str | None
    """Why it was rejected; None when it was stored."""
