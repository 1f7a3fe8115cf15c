"""Every movie of folders through `avtrain localize`, `separate` and `sync`: what each one answers.

    python tests/avtrain/apps/sweep.py FOLDER... --sync RUN --separation RUN [--md FILE]

An app has to write its outputs, or to answer in one line what is wrong with the file. Outputs are
decoded whole by PyAV alone (`tests/movies/plain_decode.py`) and held against the input, decoded in
the same way:

    pictures   as many, each at its time
    length     of pictures and of everything, to one frame of the input; where `sync` moved the
               sound, its end moves too, as far as the video lasts
    sound      lies where it lay, `sync`'s moved by as much as it says: the lag of the highest
               cross-correlation; of `separate` the sum of both movies is taken

Each app runs in a process of its own. `sync` is told `--force`, to write a file in any case. The
exit status is 1 if anything failed.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "movies"))

from movie_differences import added, differences, lag_s
from plain_decode import play

import avtrain.apps.load
import avtrain.apps.localize
import avtrain.apps.offset_scan
import avtrain.apps.separate
import avtrain.apps.shifted_copy  # noqa: F401  (imported once, before the processes part)
from avtrain.cli import main as main_of_avtrain

MOST_S = 120.0
"""That an app may take for a movie, and twice the movie's length more."""
LAG_S = 0.02
"""Gaps in the sound that are shorter than this are taken for rounding, by us as by players."""


@dataclass(slots=True)
class Answer:
    """What an app made of a movie."""

    app: str
    movie: str
    status: int
    wall_s: float
    peak_mib: float
    said: str
    """Its last line, or how the outputs differ."""
    faults: list[str] = field(default_factory=list)

    @property
    def short(self) -> str:
        """For a table."""
        if self.faults:
            return "FAULT: " + "; ".join(self.faults)
        return "ok: " + self.said if self.status == 0 else f"{self.status}: {self.said}"


@dataclass(frozen=True, slots=True)
class Runs:
    """The networks."""

    sync: Path
    separation: Path


def sweep_movie(movie: Path, runs: Runs, apps: list[str]) -> list[Answer]:
    """Answers of the apps to one movie."""
    found = []
    for app in apps:
        with tempfile.TemporaryDirectory() as folder:
            found.append(_ask(app, movie, runs, Path(folder)))
    return found


def _ask(app: str, movie: Path, runs: Runs, folder: Path) -> Answer:
    commands = {
        "localize": ("localize", runs.sync, movie, "-o", folder / "out.mp4"),
        "separate": ("separate", runs.separation, movie, "-o", folder / "out"),
        "sync": ("sync", runs.sync, movie, "-o", folder / "out.mp4", "--force"),
    }
    arguments = [str(a) for a in (*commands[app], "--device", "cpu", "--json")]
    out, err = folder / "stdout", folder / "stderr"
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _be_the_command(arguments, out, err)
    _, status, used = os.wait4(child, 0)
    text = err.read_text(errors="replace").strip()
    answer = Answer(
        app=app,
        movie=movie.name,
        status=os.waitstatus_to_exitcode(status),
        wall_s=time.monotonic() - started,
        peak_mib=used.ru_maxrss / 1024,
        said=text.splitlines()[-1].strip() if text else "",
    )
    if "Traceback" in text:
        answer.faults.append("traceback: " + answer.said)
    elif answer.status == 2:
        _check_message(answer, text)
    elif answer.status == 0:
        _check_outputs(answer, movie, folder, json.loads(out.read_text()))
    else:
        answer.faults.append(f"exit status {answer.status}: {answer.said}")
    return answer


def _be_the_command(arguments: list[str], out: Path, err: Path) -> None:
    """`avtrain` in this process, which ends; a copy of one that has imported everything."""
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), number)
    code: object = 1
    try:
        main_of_avtrain(arguments, prog_name="avtrain")
    except SystemExit as end:
        code = end.code or 0
    finally:
        if sys.exc_info()[0] is not None:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def _check_message(answer: Answer, text: str) -> None:
    messages = [line for line in text.splitlines() if "avtrain: error:" in line]
    if len(messages) != 1:
        answer.faults.append(f"{len(messages)} messages: {text[-300:]}")
        return
    answer.said = messages[0].split("avtrain: error:", 1)[1].strip()
    if answer.movie not in answer.said:
        answer.faults.append(f"does not name the file: {answer.said}")


def _check_outputs(answer: Answer, movie: Path, folder: Path, record: dict[str, object]) -> None:
    given = play(movie)
    if answer.wall_s > MOST_S + 2 * given.length_s:
        answer.faults.append(f"took {answer.wall_s:.0f} s for {given.length_s:.1f} s")
    if answer.app == "separate":
        parts = [play(folder / "out" / f"{name}.mp4") for name in ("on-screen", "off-screen")]
        for name in ("mixture.wav", "on-screen.wav", "off-screen.wav", "spectrograms.png"):
            if not (folder / "out" / name).stat().st_size:
                answer.faults.append(f"{name} is empty")
        for made in parts:
            answer.faults += differences(given, made, earlier_s=0.0)
        lag = lag_s(given, added(parts), earlier_s=0.0)
    else:
        earlier_s = float(str(record["offset_s"])) if answer.app == "sync" else 0.0
        made = play(folder / "out.mp4")
        answer.faults += differences(given, made, earlier_s=earlier_s)
        lag = lag_s(given, made, earlier_s=earlier_s)
    if lag is not None and abs(lag) > LAG_S:
        answer.faults.append(f"sound lies {lag:+.3f} s off")
    answer.faults = list(dict.fromkeys(answer.faults))
    answer.said = _in_short(answer.app, record) + ("" if lag is not None else "; silent")


def _in_short(app: str, record: dict[str, object]) -> str:
    if app == "localize":
        return f"{float(str(record['shown_share'])):.0%} has a map"
    if app == "separate":
        tracks = record["tracks"]
        assert isinstance(tracks, list)
        return f"{float(tracks[1]['share']):.0%} on screen"
    sure = "sure" if record["sure"] else "not sure"
    return f"{float(str(record['offset_s'])):+.2f} s, {sure}"


def table(answers: list[Answer]) -> str:
    """Markdown: a row a movie, a column an app."""
    apps = list(dict.fromkeys(answer.app for answer in answers))
    rows: dict[str, dict[str, str]] = {}
    for answer in answers:
        rows.setdefault(answer.movie, {})[answer.app] = answer.short
    lines = [f"| movie | {' | '.join(apps)} |", f"|---{'|---' * len(apps)}|"]
    for movie, row in rows.items():
        lines.append(f"| {movie} | {' | '.join(row.get(app, '') for app in apps)} |")
    return "\n".join(lines)


def main() -> None:
    """Ask, and tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER_OR_MOVIE")
    parser.add_argument("--sync", type=Path, required=True, help="run of sync")
    parser.add_argument("--separation", type=Path, required=True, help="run of separation")
    parser.add_argument("--apps", default="localize,separate,sync")
    parser.add_argument("--md", type=Path, help="write the table to this file")
    args = parser.parse_args()
    movies = [
        movie
        for folder in args.folders
        for movie in (sorted(folder.iterdir()) if folder.is_dir() else [folder])
    ]
    runs = Runs(sync=args.sync, separation=args.separation)
    answers: list[Answer] = []
    for movie in movies:
        for answer in sweep_movie(movie, runs, args.apps.split(",")):
            answers.append(answer)
            print(
                f"{answer.movie:42} {answer.app:9} {answer.wall_s:6.1f} s {answer.peak_mib:6.0f} "
                f"MiB  {answer.short}",
                flush=True,
            )
    faults = sum(bool(answer.faults) for answer in answers)
    written = sum(answer.status == 0 for answer in answers)
    print(f"{len(movies)} movies: {written} written, {len(answers) - written} refused; {faults=}")
    if args.md is not None:
        args.md.write_text(table(answers) + "\n")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
