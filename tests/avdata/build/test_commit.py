"""Two workers that build one shard: tar and sidecar always come from the same one."""

import hashlib
import shutil
from pathlib import Path

import pytest

from avdata.build.job import BuildContext, ShardJob
from avdata.build.plan import make_plan, reject
from avdata.build.worker import RowSettled, build_shard
from avdata.config import BuildConfig, build_settings
from avdata.errors import FailureReason
from avdata.shards.sidecar import read_sidecar
from avdata.sources import MediaResolver, read_listing

SHARD = "shard-000000.tar"


@pytest.fixture
def shard(media: Path, tmp_path: Path) -> tuple[ShardJob, BuildContext]:
    """Three clips."""
    listing = tmp_path / "listing.csv"
    names = [f"clip_{i:02d}.mp4" for i in range(3)]
    listing.write_text("path\n" + "".join(f"{name}\n" for name in names))
    config = build_settings(BuildConfig, {}, ["video.short_side_px=64"])
    plan = make_plan(read_listing(listing, "table"), config)
    context = BuildContext(
        config=config,
        out_dir=tmp_path / "out",
        resolver=MediaResolver(media, tmp_path),
        build_hash=plan.build_hash,
    )
    context.out_dir.mkdir()
    return ShardJob(plan=plan.shards[0]), context


def agree(directory: Path) -> int:
    """Rows of the committed shard, whose sidecar is that of its tar."""
    report = read_sidecar(directory, SHARD)
    assert report is not None
    data = (directory / SHARD).read_bytes()
    assert hashlib.sha256(data).hexdigest() == report.sha256
    return len(report.rows)


def test_the_first_to_commit_wins(shard: tuple[ShardJob, BuildContext]) -> None:
    job, context = shard
    given_up = reject(job.plan.clips[1], FailureReason.TIMEOUT, "too slow here")
    slow = build_shard(job, context)
    for _ in range(3):
        next(slow)  # opened, and two of three rows
    poorer = ShardJob(plan=job.plan, given_up=(given_up,))
    events = [event for event in build_shard(poorer, context) if isinstance(event, RowSettled)]
    assert [event.reason for event in events] == [None, "timeout", None]
    assert agree(context.out_dir) == 2
    assert len(list(slow)) == 1
    assert agree(context.out_dir) == 2
    assert not list(context.out_dir.glob("*.partial*"))


@pytest.mark.parametrize("spoilt", ["cut tar", "no tar", "damaged sidecar", "another build"])
def test_what_is_not_a_whole_shard_of_this_build_is_replaced(
    spoilt: str, shard: tuple[ShardJob, BuildContext]
) -> None:
    job, context = shard
    list(build_shard(job, context))
    tar, sidecar = context.out_dir / SHARD, context.out_dir / "shard-000000.json"
    whole = shutil.copy(tar, context.out_dir / "copy")
    if spoilt == "cut tar":
        tar.write_bytes(tar.read_bytes()[:1000])
    elif spoilt == "no tar":
        tar.unlink()
    elif spoilt == "damaged sidecar":
        sidecar.write_text("{")
    else:
        sidecar.write_text(sidecar.read_text().replace(context.build_hash, "another"))
        tar.write_bytes(b"another")
    list(build_shard(job, context))
    assert agree(context.out_dir) == 3
    assert tar.read_bytes() == Path(whole).read_bytes()
