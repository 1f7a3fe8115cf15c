"""Plans: every listed row once, unique keys, dense sources, the same plan for the same listing."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avdata.build.plan import BuildPlan, clip_key, make_plan
from avdata.config import BuildConfig, build_settings
from avdata.schema import KEY_PATTERN, MAX_KEY_CHARS, ListedClip, MalformedLine

times = st.one_of(st.none(), st.floats(0, 1000).map(lambda t: round(t, 3)))


@st.composite
def listings(draw: st.DrawFn) -> list[ListedClip | MalformedLine]:
    rows: list[ListedClip | MalformedLine] = []
    for line in range(1, draw(st.integers(0, 40)) + 1):
        if draw(st.integers(0, 9)) == 0:
            rows.append(MalformedLine(line_number=line, text="x", message="is not a clip"))
            continue
        name = draw(
            st.sampled_from(["a", "b/c.mp4", "b/c.webm", "d.c.mp4", "ü☃", "-x_", "y" * 200])
        )
        start = draw(times)
        rows.append(
            ListedClip(
                line_number=line,
                source_id=name,
                path=draw(st.sampled_from([None, name])),
                listed_start_s=start,
                listed_end_s=draw(st.sampled_from([None, (start or 0) + 10])),
                labels=tuple(draw(st.lists(st.sampled_from("pqr"), unique=True))),
            )
        )
    return rows


def config(clips_per_shard: int = 7) -> BuildConfig:
    return build_settings(BuildConfig, {"shards": {"clips_per_shard": clips_per_shard}})


def rows_of(plan: BuildPlan) -> list[int]:
    return [row.row_index for shard in plan.shards for row in (*shard.clips, *shard.rejects)]


@given(listings(), st.integers(1, 20))
def test_every_row_is_planned_once(
    rows: list[ListedClip | MalformedLine], clips_per_shard: int
) -> None:
    plan = make_plan(rows, config(clips_per_shard))
    assert sorted(rows_of(plan)) == list(range(len(rows)))
    assert all(shard.num_rows == clips_per_shard for shard in plan.shards[:-1])
    assert [shard.shard_index for shard in plan.shards] == list(range(len(plan.shards)))
    clips = [clip for shard in plan.shards for clip in shard.clips]
    keys = [clip.key for clip in clips]
    assert len(set(keys)) == len(keys)
    assert all(KEY_PATTERN.fullmatch(key) and len(key) <= MAX_KEY_CHARS for key in keys)
    names = list(dict.fromkeys(row.source_id for row in rows if isinstance(row, ListedClip)))
    assert plan.num_sources == len(names)
    assert all(names[clip.source_index] == clip.source_id for clip in clips)
    assert make_plan(rows, config(clips_per_shard)) == plan


def test_a_repeated_clip_is_a_rejected_row() -> None:
    rows = [ListedClip(line_number=n, source_id="a", listed_start_s=1.0) for n in (4, 5)]
    plan = make_plan(rows, config())
    assert [c.line_number for c in plan.shards[0].clips] == [4]
    assert plan.shards[0].rejects[0].reason == "duplicate"
    assert plan.shards[0].rejects[0].message == "the same clip is listed on line 4"


def test_several_clips_of_a_source_share_its_index() -> None:
    rows = [
        ListedClip(line_number=n, source_id=name, listed_start_s=float(n))
        for n, name in enumerate(["a", "b", "a", "a"])
    ]
    clips = make_plan(rows, config()).shards[0].clips
    assert [c.source_index for c in clips] == [0, 1, 0, 0]
    assert [c.clip_index for c in clips] == [0, 0, 1, 2]


def test_settings_and_listing_decide_the_hash_and_the_time_limit_does_not() -> None:
    rows = [ListedClip(line_number=1, source_id="a")]
    plan = make_plan(rows, config())
    other = build_settings(BuildConfig, {"shards": {"clips_per_shard": 7}}, ["video.fps=8"])
    patient = build_settings(
        BuildConfig, {"shards": {"clips_per_shard": 7}}, ["limits.clip_timeout_s=9"]
    )
    assert make_plan(rows, other).build_hash != plan.build_hash
    assert make_plan(rows * 2, config()).build_hash != plan.build_hash
    assert make_plan(rows, patient).build_hash == plan.build_hash


def test_readable_keys() -> None:
    assert clip_key(ListedClip(line_number=1, source_id="b/c.mp4", path="b/c.mp4")) == "c"
    row = ListedClip(line_number=1, source_id="-Qo.x", listed_start_s=34, listed_end_s=44)
    assert clip_key(row) == "-Qo_x_34000_44000"


def test_shards_are_a_sequence_that_unpacks_what_is_asked_for() -> None:
    rows = [
        ListedClip(
            line_number=n,
            source_id=f"{'v' * (n % 40)}{n}",
            listed_start_s=n / 7,
            labels=("ü", "a,b") if n % 3 else (),
            split="train" if n % 2 else None,
        )
        for n in range(1, 1001)
    ]
    plan = make_plan(iter(rows), config(17))
    shards = list(plan.shards)
    assert len(plan.shards) == len(shards) == 59
    assert [plan.shards[i] for i in range(59)] == shards
    assert plan.shards[-1] == shards[58]
    assert plan.shards[3:50:7] == shards[3:50:7]
    for index in (59, -60):
        with pytest.raises(IndexError, match=f"shard {index} of 59"):
            plan.shards[index]
    clips = [clip for shard in shards for clip in shard.clips]
    for clip, row in zip(clips, rows, strict=True):
        assert clip.listed_start_s == row.listed_start_s
        assert (clip.labels, clip.split) == (row.labels, row.split)
        assert (clip.source_id, clip.line_number) == (row.source_id, row.line_number)
    assert pickle.loads(pickle.dumps(shards[3])) == shards[3]


def test_zero_is_one_time_and_none_is_no_name() -> None:
    rows = [
        ListedClip(line_number=1, source_id="a", listed_start_s=0.0),
        ListedClip(line_number=2, source_id="a", listed_start_s=-0.0),
        ListedClip(line_number=3, source_id="a", listed_start_s=0.0, path="None"),
        ListedClip(line_number=4, source_id="a"),
        ListedClip(line_number=5, source_id="a'|None", listed_start_s=0.0),
    ]
    plan = make_plan(rows, config())
    assert [clip.line_number for clip in plan.shards[0].clips] == [1, 3, 4, 5]
    assert [row.line_number for row in plan.shards[0].rejects] == [2]


def test_auto_size_goes_by_the_whole_listing() -> None:
    def sizes(num_rows: int) -> list[int]:
        rows = (ListedClip(line_number=n, source_id=f"v{n}") for n in range(1, num_rows + 1))
        plan = make_plan(rows, build_settings(BuildConfig, {}))
        return [shard.num_rows for shard in plan.shards]

    assert sizes(0) == []
    assert sizes(20) == [8, 8, 4]
    assert sizes(960) == [30] * 32
    assert sizes(9000) == [256] * 35 + [40]


@pytest.mark.slow
def test_long_listings_take_little_memory(tmp_path: Path) -> None:
    """300,000 rows; held as objects they take over 300 MB."""
    listing = tmp_path / "segments.csv"
    with listing.open("w") as file:
        file.write("# YTID, start_seconds, end_seconds, positive_labels\n")
        for n in range(300_000):
            file.write(f'v{n:010d}, {n % 500}.000, {n % 500 + 10}.000, "/m/0{n % 527:03x}"\n')
    program = """if True:
        import resource, sys
        from pathlib import Path
        from avdata.build.plan import make_plan
        from avdata.config import BuildConfig
        from avdata.sources import read_listing
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        plan = make_plan(read_listing(Path(sys.argv[1]), "audioset"), BuildConfig())
        assert sum(shard.num_rows for shard in plan.shards) == 300_000
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    done = subprocess.run(
        [sys.executable, "-c", program, listing], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 200_000  # kB
