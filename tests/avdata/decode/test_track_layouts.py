"""Every layout of a track gets its verdict: stored as long as it lasts, or rejected by name.

The span is 6 s to 8 s of files of 12 s. A sound that is not there is never stored as silence, but
for `clips.no_audio=silence` where there is no track or an empty one.
"""

from itertools import product
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from packet_edits import joined, remux, spoiled, without, write_counted

from avdata.cli import main
from avdata.config import LimitsConfig
from avdata.decode.clip import DecodedClip
from avdata.decode.with_av import decode_clip
from avdata.errors import MediaError
from avdata.schema import AudioSpec, ClipsSpec, VideoSpec

START_S, END_S = 6.0, 8.0
FIELDS = ("frames", "audio", "both")
NO_AUDIO = ("reject", "silence")
UNCOVERED = ("reject", "pad", "shorten")
SUFFIXES = (".mp4", ".mkv", ".ts")

ALL = "2.00"
SILENT = "2.00 silent"
SHORTER = {"reject": "not_covered", "pad": "2.00 covers 0.75", "shorten": "1.50"}
"""Half a second is missing at an end."""
A_GAP = "2.00 covers 0.85"
MISSING = {"reject": "no_audio", "silence": SILENT}

Verdict = str | dict[str, str]
VERDICTS: dict[str, tuple[Verdict, Verdict, Verdict]] = {
    # layout             frames            audio                both
    "audio: no track": (ALL, "no_audio", MISSING),
    "audio: empty": (ALL, "no_audio", MISSING),
    "audio: before": (ALL, "outside_media", "outside_media"),
    "audio: after": (ALL, "outside_media", "outside_media"),
    "audio: around": (ALL, "outside_media", "outside_media"),
    "audio: undecodable": (ALL, "audio_undecodable", "audio_undecodable"),
    "audio: starts inside": (ALL, SHORTER, SHORTER),
    "audio: ends inside": (ALL, SHORTER, SHORTER),
    "audio: gap inside": (ALL, A_GAP, A_GAP),
    "audio: other rate": (ALL, ALL, ALL),
    "audio: other channels": (ALL, ALL, ALL),
    "video: no track": ("no_video", ALL, "no_video"),
    "video: empty": ("no_video", ALL, "no_video"),
    "video: before": ("outside_media", ALL, "outside_media"),
    "video: after": ("outside_media", ALL, "outside_media"),
    "video: around": (ALL, ALL, ALL),  # a picture is shown until the next one
    "video: undecodable": ("corrupt", ALL, "corrupt"),  # all are concealed
    "video: starts inside": (SHORTER, ALL, SHORTER),
    "video: ends inside": (SHORTER, ALL, SHORTER),
    "video: other size": (ALL, ALL, ALL),
}
ONLY_TS = {"audio: other rate", "audio: other channels", "video: other size"}
NOT_TS = {"video: undecodable", "video: starts inside"}
"""FFmpeg's parser makes one packet of what it does not understand; and only some of the key frames
of a transport stream bring what is needed to start there."""


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("layouts")
    for suffix in SUFFIXES:
        write_counted(folder / f"base{suffix}")
    write_counted(folder / "rate.ts", rate_hz=44100)
    write_counted(folder / "channels.ts", channels=2)
    write_counted(folder / "size.ts", enlarged=2)
    return folder


def make(layout: str, suffix: str, folder: Path) -> Path:
    """A file of that layout."""
    kind, _, name = layout.partition(": ")
    base, out = folder / f"base{suffix}", folder / f"{kind} {name}{suffix}"
    if out.exists():
        return out
    if layout in ONLY_TS:
        return joined(base, folder / f"{name.split()[1]}.ts", out, at_s=7.0)
    if name == "no track":
        return remux(base, out, kinds=("audio" if kind == "video" else "video",))
    if name == "undecodable":
        return remux(base, out, spoiled(kind, lambda _: True))
    gone = {
        "empty": lambda _: True,
        "before": lambda t: t >= 3,
        "after": lambda t: t < 10,
        "around": lambda t: 3 <= t < 10,
        "starts inside": lambda t: t < 6.49,
        "ends inside": lambda t: t >= 7.49,
        "gap inside": lambda t: 6.49 <= t < 6.79,
    }[name]
    return remux(base, out, without(kind, gone))


def seen(clip: DecodedClip, *, wanted_sound: bool) -> str:
    """A stored clip in the words of the table."""
    text = f"{clip.duration_s:.2f}"
    if clip.coverage < 0.999 and clip.duration_s > 1.9:
        text += f" covers {clip.coverage:.2f}"
    if wanted_sound and clip.samples is not None and not clip.samples.any():
        text += " silent"
    return text


def expected(verdict: Verdict, no_audio: str, uncovered: str) -> str:
    if isinstance(verdict, str):
        return verdict
    return verdict[no_audio if verdict is MISSING else uncovered]


def close(one: str, other: str) -> bool:
    """The same words, and numbers that differ by a packet of sound and a frame at most."""
    words = list(zip(one.split(), other.split(), strict=False))
    return len(one.split()) == len(other.split()) and all(
        abs(float(a) - float(b)) <= 0.065 if a[0].isdigit() and b[0].isdigit() else a == b
        for a, b in words
    )


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("layout", VERDICTS)
def test_every_layout_has_its_verdict(layout: str, suffix: str, bases: Path) -> None:
    if (layout in ONLY_TS and suffix != ".ts") or (layout in NOT_TS and suffix == ".ts"):
        pytest.skip(f"{suffix} cannot hold: {layout}")
    path = make(layout, suffix, bases)
    wrong = []
    for (fields, verdict), no_audio, uncovered in product(
        zip(FIELDS, VERDICTS[layout], strict=True), NO_AUDIO, UNCOVERED
    ):
        try:
            clip = decode_clip(
                path,
                start_s=START_S,
                end_s=END_S,
                video=None if fields == "audio" else VideoSpec(short_side_px=16, fps=25),
                audio=None if fields == "frames" else AudioSpec(),
                clips=ClipsSpec(no_audio=no_audio, uncovered=uncovered),
                limits=LimitsConfig(),
            )
            got = seen(clip, wanted_sound=fields != "frames")
        except MediaError as error:
            got = error.reason.value
        want = expected(verdict, no_audio, uncovered)
        if not close(got, want):
            wrong.append(f"{fields}, no_audio={no_audio}, uncovered={uncovered}: {got}, not {want}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("no_audio", NO_AUDIO)
@pytest.mark.parametrize("codec", ["jpeg", "h264", "copy"])
def test_builds_of_every_layout_end_well(
    codec: str, no_audio: str, bases: Path, tmp_path: Path
) -> None:
    """One set of all layouts: each is a row of the verdict above, and none is unexpected."""
    wanted, lines = {}, ["path,start_s,end_s"]
    for layout, (_, _, verdict) in VERDICTS.items():
        suffix = ".ts" if layout in ONLY_TS else ".mkv"
        path = make(layout, suffix, bases)
        wanted[path.name] = expected(verdict, no_audio, "shorten")
        lines.append(f"{path.name},{START_S},{END_S}")
    if codec == "copy":  # pictures that are not decoded cannot be seen to be damaged
        wanted["video undecodable.mkv"] = "not_copyable"
    (tmp_path / "listing.csv").write_text("\n".join(lines))
    settings = {"video.codec": codec, "video.fps": 25, "video.short_side_px": 16}
    settings |= {"clips.no_audio": no_audio}
    result = CliRunner().invoke(
        main,
        [
            *("build", "--source", str(tmp_path / "listing.csv"), "--media", str(bases)),
            *("--out", str(tmp_path / "set"), "--workers", "0"),
            *(part for name, value in settings.items() for part in ("--set", f"{name}={value}")),
        ],
    )
    assert result.exit_code == 0, result.output
    rows = pq.read_table(tmp_path / "set/manifest.parquet").to_pylist()
    rejects = pq.read_table(tmp_path / "set/rejects.parquet").to_pylist()
    seen = {row["path"]: row["reason"] for row in rejects}
    for row in rows:
        coverage = row["coverage"] if row["duration_s"] > 1.9 else 1.0
        text = f"{row['duration_s']:.2f}" + (f" covers {coverage:.2f}" if coverage < 0.999 else "")
        seen[row["media"]] = text + (" silent" if row["sound_missing"] else "")
    assert len(seen) == len(VERDICTS)
    wrong = {name: (seen.get(name), want) for name, want in wanted.items()}
    assert not {name: pair for name, pair in wrong.items() if not close(pair[0] or "-", pair[1])}
