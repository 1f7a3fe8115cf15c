"""How fast `avtrain localize`, `separate` and `sync` are, beside decoding and encoding alone.

    python benchmarks/apps.py [VIDEO] [--network small|published] [--rounds 3] [--json]
    python benchmarks/apps.py VIDEO --sync-run RUN --separation-run RUN

    decode     PyAV decodes pictures and sound of the file, on all cores
    floor      the same, encoded as the apps write movies: x264 veryfast crf 18, AAC of 192 kbit/s
    localize   maps, and the movie with them
    separate   sounds, both movies, the picture of the spectrograms
    sync       the offset by 101 offsets in at most 40 windows, and the file with its sound moved

All take turns in one process; medians of the rounds after one that warms up. `times_real_time` is
seconds of the video over seconds of work: higher is faster. `over_floor` is the time of an app over
that of the floor. Parts of an app's time: `network`, with copies to the device and back; `read`,
the decoding, scaling and cutting for it; `write`, everything after it: decoding again at full size,
drawing, encoding. Loading of Python and of the run, once per command, is not counted.

Without VIDEO a scene of `avdata synth` is made, 640x360 at 30 fps. Networks are untrained, of the
recipes: `small` those of sync_tiny and separation_tiny, `published` those of owens2018_*, for which
a CPU needs minutes a round: give it --seconds 5 --rounds 1. The CUDA part has never been run by its
authors.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # as the command line sets it

import av
import numpy as np
import torch
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.frame import PictureType
from av.video.stream import VideoStream

from avdata import AudioSpec, DatasetSpec, VideoSpec, available_cores
from avdata.config import read_recipe
from avtrain.apps.load import keeps_aspect, load_with
from avtrain.apps.localize import LocalizeOptions, localize, write_overlay
from avtrain.apps.map_source import ActivationMaps, CellMap
from avtrain.apps.movie_file import aac_rate_hz
from avtrain.apps.offset_scan import ScanOptions, WindowScorer, estimate_offset
from avtrain.apps.regions import choose_regions
from avtrain.apps.separate import write_movies, write_report, write_sounds
from avtrain.apps.separation_stream import RegionSeparator
from avtrain.apps.shifted_copy import write_shifted
from avtrain.apps.video_file import VideoFile, open_video
from avtrain.apps.windows import ClipForm, Window, clip_form
from avtrain.engine.device import choose_device
from avtrain.maps import SMOOTHING_CELLS
from avtrain.methods import METHODS, Method, MethodFacts

PIPELINES = Path(__file__).resolve().parents[1] / "pipelines"
RECIPES = {
    "small": {"sync": "sync_tiny.toml", "separation": "separation_tiny.toml"},
    "published": {
        "sync": "owens2018_sync_audioset_full.toml",
        "separation": "owens2018_separation.toml",
    },
}
SUBJECTS = ("decode", "floor", "localize", "separate", "sync")

Parts = dict[str, float]
"""Seconds of each part of an app's work."""


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("video", type=Path, nargs="?", help="any video with sound")
    parser.add_argument("--network", choices=list(RECIPES), default="small")
    parser.add_argument("--sync-run", type=Path, help="a trained run instead")
    parser.add_argument("--separation-run", type=Path, help="likewise")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--threads", type=int, help="of torch")
    parser.add_argument("--seconds", type=float, default=20.0, help="of the scene that is made")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help="comma-separated subjects")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    only = args.only.split(",") if args.only else list(SUBJECTS)
    if unknown := [name for name in only if name not in SUBJECTS]:
        raise SystemExit(f"--only {unknown[0]}: there are {', '.join(SUBJECTS)}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        video = open_video(args.video or scene(folder, args.seconds), purpose="a benchmark")
        device = choose_device(args.device)
        subjects = makers(video, folder, device, args)
        result = measure({name: subjects[name]() for name in only}, video, rounds=args.rounds)
        result |= {
            "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
            "processor": platform.processor() or platform.machine(),
            "cores": available_cores(),
            "threads": torch.get_num_threads(),
            "network": {
                "sync": str(args.sync_run or args.network),
                "separation": str(args.separation_run or args.network),
            },
        }
    if args.json:
        print(json.dumps(result, indent=1))
    else:
        report(result)


def scene(folder: Path, seconds: float) -> Path:
    """A synthesized movie."""
    from click.testing import CliRunner

    from avdata.cli import main as avdata

    sizes = ["--size", 360, "--set", "width_px=640", "--set", "fps=30", "--duration", seconds]
    arguments = ["synth", folder / "scenes", "--clips", 1, "--workers", 1, *sizes]
    done = CliRunner().invoke(avdata, [*map(str, arguments)])
    if done.exit_code:
        raise SystemExit(done.output)
    return next((folder / "scenes" / "media").glob("*.mp4"))


@dataclass(frozen=True, kw_only=True)
class Ready:
    """A method at work, and what its run tells the apps."""

    method: Any
    keeps_aspect: bool


def ready(run: Path | None, network: str, name: str, seam: str, device: torch.device) -> Ready:
    """The method of a run, or an untrained one."""
    if run is None:
        return Ready(method=untrained(network, name, device), keeps_aspect=False)
    loaded, method = load_with(run, device, seam=seam, instead=name)
    return Ready(method=method, keeps_aspect=keeps_aspect(loaded))


def untrained(network: str, name: str, device: torch.device) -> Method[Any, Any]:
    """A method with the networks of a recipe, as they start."""
    recipe = PIPELINES / RECIPES[network][name]
    build: Any = read_recipe(recipe, "build")
    fit: Any = read_recipe(recipe, "fit")
    kind: Any = METHODS[fit["method"]]
    config = kind.model_validate(fit[fit["method"]])
    spec = DatasetSpec.without_samples(
        tuple(build["fields"]),
        video=VideoSpec.model_validate(build["video"]),
        audio=AudioSpec.model_validate(build["audio"]),
        name="benchmark",
    )
    facts = MethodFacts(spec=spec, where="benchmark", trained_sources=None, seed=0, device=device)
    method: Method[Any, Any] = config.build(facts)
    return method.eval()


def makers(
    video: VideoFile, folder: Path, device: torch.device, args: argparse.Namespace
) -> dict[str, Callable[[], Callable[[], Parts]]]:
    """What makes each subject, by name; its networks are loaded then."""

    def localizer() -> Callable[[], Parts]:
        at = ready(args.sync_run, args.network, "sync", "maps", device)
        source = TimedMaps(
            at.method,
            device,
            keeps_aspect=at.keeps_aspect,
            mirrored=True,
            smoothing_cells=SMOOTHING_CELLS,
        )
        return lambda: run_localize(video, source, folder)

    def separator() -> Callable[[], Parts]:
        at = ready(args.separation_run, args.network, "separation", "separate", device)
        regions = choose_regions(video, mask=None, boxes=())
        timed = TimedSeparator(at.method, device, regions, sees=at.method.sees)
        form = clip_form(at.method.clip, video, keeps_aspect=False)
        return lambda: run_separate(video, timed, form, folder)

    def syncer() -> Callable[[], Parts]:
        at = ready(args.sync_run, args.network, "sync", "scores", device)
        scorer = TimedScorer(at.method, device)
        form = clip_form(at.method.clip, video, keeps_aspect=at.keeps_aspect)
        return lambda: run_sync(video, scorer, form, folder)

    return {
        "decode": lambda: lambda: decode(video.path),
        "floor": lambda: lambda: transcode(video.path, folder / "floor.mp4"),
        "localize": localizer,
        "separate": separator,
        "sync": syncer,
    }


class TimedMaps(ActivationMaps):
    """Knows how long its network worked."""

    seconds = 0.0

    def cells(self, window: Window) -> CellMap:
        """As ever."""
        started = time.perf_counter()
        found = super().cells(window)
        self.seconds += time.perf_counter() - started
        return found


class TimedSeparator(RegionSeparator):
    """Likewise."""

    seconds = 0.0

    def __call__(self, window: Window) -> np.ndarray:
        """As ever."""
        started = time.perf_counter()
        found = super().__call__(window)
        self.seconds += time.perf_counter() - started
        return found


class TimedScorer(WindowScorer):
    """Likewise."""

    seconds = 0.0

    def __call__(self, frames: np.ndarray, sounds: Any) -> np.ndarray:
        """As ever."""
        started = time.perf_counter()
        found = super().__call__(frames, sounds)
        self.seconds += time.perf_counter() - started
        return found


def parts(timed: TimedMaps | TimedSeparator | TimedScorer, first_s: float, rest_s: float) -> Parts:
    """Parts of an app that took so long until its network was done, and so long afterwards."""
    network, timed.seconds = timed.seconds, 0.0
    return {"network": network, "read": first_s - network, "write": rest_s}


def run_localize(video: VideoFile, source: TimedMaps, folder: Path) -> Parts:
    """What the command does."""
    options, started = LocalizeOptions(), time.perf_counter()
    found = localize(video, source, options)
    seen = time.perf_counter()
    write_overlay(video, found, options, out=folder / "map.mp4", png=folder / "map.png")
    return parts(source, seen - started, time.perf_counter() - seen)


def run_separate(
    video: VideoFile, separator: TimedSeparator, form: ClipForm, folder: Path
) -> Parts:
    """What the command does."""
    out, started = folder / "parts", time.perf_counter()
    out.mkdir(exist_ok=True)
    facts = write_sounds(video, form, separator, out)
    heard = time.perf_counter()
    write_movies(video, separator.regions, out)
    write_report(facts, out, {})
    return parts(separator, heard - started, time.perf_counter() - heard)


def run_sync(video: VideoFile, scorer: TimedScorer, form: ClipForm, folder: Path) -> Parts:
    """What the command does with --force."""
    started = time.perf_counter()
    found = estimate_offset(video, form, scorer, ScanOptions())
    heard = time.perf_counter()
    write_shifted(video, folder / "fixed.mp4", earlier_s=found.offset_s)
    return parts(scorer, heard - started, time.perf_counter() - heard)


def decode(path: Path) -> Parts:
    """All pictures and all sound."""
    with av.open(str(path)) as given:
        for _ in decoded(given):
            pass
    return {}


def transcode(path: Path, out: Path) -> Parts:
    """All pictures and all sound, encoded."""
    with av.open(str(path)) as given, av.open(str(out), "w") as made:
        pictures, sound = best_streams(given)
        video = made.add_stream("libx264", rate=pictures.average_rate or Fraction(30))
        video.width, video.height = pictures.width // 2 * 2, pictures.height // 2 * 2
        video.pix_fmt, video.options = "yuv420p", {"crf": "18", "preset": "veryfast"}
        video.codec_context.time_base = Fraction(1, 90000)
        video.codec_context.thread_count = min(available_cores(), 4)
        audio = made.add_stream("aac", rate=aac_rate_hz(sound.rate), layout="stereo")
        audio.bit_rate = 192_000
        for frame in decoded(given):
            if isinstance(frame, av.VideoFrame):
                plain = frame.reformat(video.width, video.height, "yuv420p")
                plain.pict_type = PictureType.NONE
                made.mux(video.encode(plain))
            else:
                made.mux(audio.encode(frame))
        made.mux(video.encode(None))
        made.mux(audio.encode(None))
    return {}


def decoded(given: InputContainer) -> Iterator[av.VideoFrame | av.AudioFrame]:
    """Frames of both streams in the file's order; pictures by all cores."""
    pictures, sound = best_streams(given)
    pictures.thread_type = "AUTO"
    for packet in given.demux([pictures, sound]):
        for frame in packet.decode():
            assert isinstance(frame, av.VideoFrame | av.AudioFrame)
            yield frame


def best_streams(given: InputContainer) -> tuple[VideoStream, AudioStream]:
    """Those that FFmpeg chooses."""
    pictures, sound = given.streams.best("video"), given.streams.best("audio")
    assert isinstance(pictures, VideoStream) and isinstance(sound, AudioStream)
    return pictures, sound


def measure(
    subjects: dict[str, Callable[[], Parts]], video: VideoFile, *, rounds: int
) -> dict[str, Any]:
    """Times of all subjects in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in subjects}
    worked: dict[str, list[float]] = {name: [] for name in subjects}
    split: dict[str, list[Parts]] = {name: [] for name in subjects}
    for turn in range(rounds + (rounds > 1)):  # the first one warms up
        for name, run in subjects.items():
            started, cpu_started = time.perf_counter(), time.process_time()
            found = run()
            spent, cpu_spent = time.perf_counter() - started, time.process_time() - cpu_started
            if turn or rounds == 1:
                seconds[name].append(spent)
                worked[name].append(cpu_spent)
                split[name].append(found)
    length_s = played_s(video)
    floor_s = statistics.median(seconds["floor"]) if "floor" in seconds else None
    rows: dict[str, dict[str, Any]] = {}
    for name in subjects:
        median_s = statistics.median(seconds[name])
        rows[name] = {
            "seconds": median_s,
            "spread": [min(seconds[name]), max(seconds[name])],
            "processor_seconds": statistics.median(worked[name]),
            "times_real_time": length_s / median_s,
        }
        if floor_s is not None and name in ("localize", "separate", "sync"):
            rows[name]["over_floor"] = median_s / floor_s
        if split[name][0]:
            rows[name]["parts"] = {
                part: statistics.median(one[part] for one in split[name]) for part in split[name][0]
            }
    return {
        "video": video.path.name,
        "video_s": length_s,
        "size": f"{video.width_px}x{video.height_px}",
        "fps": video.fps,
        "rounds": rounds,
        "subjects": rows,
    }


def played_s(video: VideoFile) -> float:
    """Length of the video as its header states it, else of its last packet."""
    if video.duration_s is not None:
        return video.duration_s
    with av.open(str(video.path)) as given:
        return max(
            float((packet.pts + (packet.duration or 0)) * packet.time_base)
            for packet in given.demux()
            if packet.pts is not None
        )


def report(result: dict[str, Any]) -> None:
    """For people."""
    for key, value in result.items():
        if key != "subjects":
            print(f"{key:10} {value}")
    print(f"\n{'':10}{'seconds':>9}{'x real time':>13}{'/ floor':>9}   parts")
    for name, row in result["subjects"].items():
        over = f"{row['over_floor']:9.2f}" if "over_floor" in row else " " * 9
        split = ", ".join(f"{part} {value:.2f}" for part, value in row.get("parts", {}).items())
        print(f"{name:10}{row['seconds']:9.2f}{row['times_real_time']:13.2f}{over}   {split}")


if __name__ == "__main__":
    main()
