"""The build hash watches the packages that shape bytes: just those that a worker imports."""

import json
import pickle
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from avdata.build.job import BuildContext, ShardJob
from avdata.build.plan import BYTE_SHAPING_PACKAGES, make_plan, software_versions
from avdata.config import BuildConfig, build_settings
from avdata.sources import MediaResolver, read_listing

SHAPES_NO_BYTE = {
    "pydantic": "checks settings",
    "pydantic-core": "of pydantic",
    "annotated-types": "of pydantic",
    "typing-inspection": "of pydantic",
    "typing-extensions": "of pydantic",
    "threadpoolctl": "sets the number of threads, on which no byte depends",
    "cffi": "carries the calls of soundfile",
    "charset-normalizer": "imported by scipy, for the text of Fortran files",
    "avtoolkit": "the builder itself: its schema version is in the hash",
}
"""Packages that a worker imports as well."""

WORKER = """
import json, pickle, sys
before = set(sys.modules)
job_and_contexts = pickle.load(sys.stdin.buffer)
from avdata.build.worker import build_shard
from avdata.features.logmel import use_one_thread
use_one_thread()
for job, context in job_and_contexts:
    for _ in build_shard(job, context):
        pass
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
"""


def shard(media: Path, out: Path, *settings: str) -> tuple[ShardJob, BuildContext]:
    out.mkdir()
    listing = out / "listing.csv"
    listing.write_text("path\nclip_00.mp4\n")
    config = build_settings(BuildConfig, {}, ["video.short_side_px=64", *settings])
    plan = make_plan(read_listing(listing, "table"), config)
    context = BuildContext(
        config=config,
        out_dir=out,
        resolver=MediaResolver(media, out),
        build_hash=plan.build_hash,
    )
    return ShardJob(plan=plan.shards[0]), context


def test_the_watched_packages_are_those_that_a_worker_imports(media: Path, tmp_path: Path) -> None:
    shards = [
        shard(media, tmp_path / codec, f"video.codec={codec}") for codec in ("jpeg", "h264", "copy")
    ]
    done = subprocess.run(
        [sys.executable, "-c", WORKER], input=pickle.dumps(shards), capture_output=True, timeout=100
    )
    assert done.returncode == 0, done.stderr.decode()
    assert len(list(tmp_path.glob("*/shard-000000.json"))) == 3
    packages = packages_distributions()
    imported = {
        name.lower().replace("_", "-")
        for module in json.loads(done.stdout)
        for name in packages.get(module, [])
    }
    assert imported - SHAPES_NO_BYTE.keys() == set(BYTE_SHAPING_PACKAGES)
    assert imported.isdisjoint({"torch", "torchaudio"})


@pytest.mark.parametrize("name", BYTE_SHAPING_PACKAGES)
def test_another_version_of_a_watched_package_is_another_build(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = BuildConfig()
    before = make_plan([], config).build_hash
    versions = {**software_versions(), name: "0.0.1"}
    monkeypatch.setattr("avdata.build.plan.version", versions.__getitem__)
    assert make_plan([], config).build_hash != before
