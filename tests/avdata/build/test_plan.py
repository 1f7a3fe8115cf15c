"""Plans: every listed row once, unique keys, dense sources, the same plan for the same listing."""

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
