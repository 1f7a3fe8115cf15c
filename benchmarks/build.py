"""Speed of `avdata build` against decoding alone and against one ffmpeg process a clip.

    python benchmarks/build.py MEDIA [--match 360] [--workers 2] [--rounds 3] [--repeat 3]

MEDIA is what `make_media.py` wrote. Everything of a real build is on: Ray, supervision, deadlines,
hashes, fsync, sidecars, manifest. Start-up (of Ray and of worker processes, `start_up_s`) is told
apart from building: a rate is the slope of settled clips over time, without the first and the last
tenth of them. Each round measures

    floor       video and sound decoded, nothing kept; one thread, as many processes as workers
    floor_one   the same in one process: how far the machine's cores are independent
    ray         avdata build on Ray, JPEG at 16 fps and 256 px, FLAC, log-mel
    one         the same on Ray with one worker
    inside      the same in this process, without Ray (compare with `one`)
    copy        as `ray`, with frames.codec=copy
    ffmpeg      one ffmpeg process a clip, as many at a time as workers

and the last line is one JSON object with the medians, their ratios, and the milliseconds of the
parts of a clip (see `stages.py`).
"""

import os

for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # before numpy: two BLAS threads a process cost 17 %

import argparse
import json
import multiprocessing
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import av
import imageio_ffmpeg
from stages import stage_milliseconds

from avdata.build.job import BuildContext, ClipDone, ShardJob
from avdata.build.local import run_local
from avdata.build.on_ray import run_on_ray
from avdata.build.plan import make_plan
from avdata.build.rebuild import RebuildOptions
from avdata.build.run import run_build
from avdata.config import BuildConfig, build_settings
from avdata.schema import ListedClip
from avdata.sources import MediaResolver

STAGE_FILES = 20
"""So many files are enough to see where the time goes."""

Execute = Callable[[Iterator[ShardJob], BuildContext], Iterator[ClipDone]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """What all measurements share."""

    files: list[Path]
    repeat: int
    workers: int
    settings: tuple[str, ...]
    work: Path
    cut_s: float = 0.0
    """Clips are cut from the files by time, so long each; 0 takes whole files."""

    @property
    def num_cuts(self) -> int:
        """Clips a file."""
        if not self.cut_s:
            return 1
        with av.open(str(self.files[0])) as container:
            return int((container.duration or 0) / 1e6 // self.cut_s)

    def rows(self) -> list[ListedClip]:
        """The listing."""
        spans: list[tuple[float | None, float | None]] = [(None, None)]
        if self.cut_s:
            spans = [(self.cut_s * i, self.cut_s * (i + 1)) for i in range(self.num_cuts)]
        clips = [(path, *span) for path in link_media(self) for span in spans]
        return [
            ListedClip(
                line_number=i, source_id=path, path=path, listed_start_s=start, listed_end_s=end
            )
            for i, (path, start, end) in enumerate(clips, 1)
        ]


def decode_only(path: str) -> int:
    """Frames of video and sound of a file, decoded on one thread and thrown away."""
    count = 0
    with av.open(path) as container:
        streams = [container.streams.video[0], container.streams.audio[0]]
        for stream in streams:
            stream.thread_type, stream.codec_context.thread_count = "NONE", 1
        for packet in container.demux(*streams):
            count += len(packet.decode())
    return count


def floor_rate(job: Job, num_processes: int) -> float:
    """Clips/s of decoding alone."""
    paths = [str(path) for path in job.files for _ in range(job.repeat)]
    with multiprocessing.get_context("spawn").Pool(num_processes) as pool:
        pool.map(decode_only, paths[:num_processes], chunksize=1)  # they are up now
        started = time.perf_counter()
        pool.map(decode_only, paths, chunksize=1)
        return len(paths) * job.num_cuts / (time.perf_counter() - started)


def build_rate(job: Job, execute: Execute, *settings: str) -> tuple[float, float]:
    """Clips/s of a build from its first to its last settled clip, and seconds until the first."""
    config = build_settings(BuildConfig, {}, (*job.settings, *settings))
    plan = make_plan(job.rows(), config)
    out = Path(tempfile.mkdtemp(dir=job.work))
    resolver = MediaResolver(job.work / "links", job.work)
    context = BuildContext(
        config=config, out_dir=out, resolver=resolver, build_hash=plan.build_hash
    )
    settled: list[float] = []
    started = time.perf_counter()
    summary = run_build(
        plan,
        context,
        listing_name="benchmark",
        execute=execute,
        on_progress=lambda event: (
            settled.append(time.perf_counter()) if isinstance(event, ClipDone) else None
        ),
        options=RebuildOptions(),
    )
    assert summary.ok == plan.num_listed, summary
    shutil.rmtree(out)
    # rows are reported in batches and the last shard leaves workers idle: slope of the middle
    times = settled[len(settled) // 10 : len(settled) * 9 // 10]
    rate = statistics.linear_regression(times, range(len(times))).slope
    return rate, settled[0] - started


def link_media(job: Job) -> list[str]:
    """`repeat` names for every file, because a clip that is listed twice is built once."""
    folder = job.work / "links"
    folder.mkdir(exist_ok=True)
    names = []
    for turn in range(job.repeat):
        for path in job.files:
            names.append(f"{turn}_{path.name}")
            if not (folder / names[-1]).exists():
                (folder / names[-1]).symlink_to(path.absolute())
    return names


def ffmpeg_rate(job: Job) -> float:
    """Clips/s of one ffmpeg process a clip: JPEG frames and FLAC, nothing else."""
    exe = imageio_ffmpeg.get_ffmpeg_exe()
    out = Path(tempfile.mkdtemp(dir=job.work))

    def one(number: int, path: Path) -> None:
        folder = out / str(number)
        folder.mkdir()
        frames = ["-map", "0:v:0", "-vf", "fps=16,scale=-2:256:flags=area", "-q:v", "3"]
        sound = ["-map", "0:a:0", "-ac", "1", "-ar", "24000", str(folder / "audio.flac")]
        command = [exe, "-v", "error", "-nostdin", "-threads", "1", "-filter_threads", "1"]
        command += ["-i", str(path), *frames, "-threads", "1", str(folder / "%04d.jpg"), *sound]
        subprocess.run(command, check=True)
        shutil.rmtree(folder)

    started = time.perf_counter()
    with ThreadPoolExecutor(job.workers) as pool:
        list(pool.map(one, range(len(job.files)), job.files))
    return len(job.files) / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("media", type=Path)
    parser.add_argument(
        "--match", default="", help="files whose name starts so [default: 360, 720]"
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=3, help="how often each file is built")
    parser.add_argument("--cut", type=float, default=0.0, help="cut clips of so many seconds")
    parser.add_argument("--set", dest="settings", action="append", default=["video.quality=90"])
    parser.add_argument("--only", help="measurements, as in floor,ray")
    parser.add_argument("--work", type=Path, help="where shards go [default: a temporary folder]")
    args = parser.parse_args()
    matches = tuple(args.match.split(",")) if args.match else ("360", "720")
    files = sorted(p for p in args.media.iterdir() if p.name.startswith(matches))
    if not files:
        raise SystemExit(f"{args.media} has no files that start with {matches}; see make_media.py")
    with tempfile.TemporaryDirectory(dir=args.work) as folder:
        job = Job(
            files=files,
            repeat=args.repeat,
            workers=args.workers,
            settings=("shards.clips_per_shard=20", *args.settings),
            work=Path(folder),
            cut_s=args.cut,
        )
        print(json.dumps(measure(job, args.rounds, args.only)))


def measure(job: Job, rounds: int, only: str | None) -> dict[str, object]:
    """Medians over the rounds, and their ratios."""

    def ray(num_workers: int) -> Execute:
        return lambda jobs, context: run_on_ray(jobs, context, num_workers=num_workers)

    start_up: list[float] = []

    def on_ray(num_workers: int, *settings: str, longer: int = 1) -> float:
        many = replace(job, repeat=longer * job.repeat)
        rate, seconds = build_rate(many, ray(num_workers), *settings)
        start_up.append(seconds)
        return rate

    measurements: dict[str, Callable[[], float]] = {
        "floor": lambda: floor_rate(job, job.workers),
        "floor_one": lambda: floor_rate(job, 1),
        "ray": lambda: on_ray(job.workers),
        "one": lambda: on_ray(1),
        "inside": lambda: build_rate(job, run_local)[0],
        "copy": lambda: on_ray(job.workers, "frames.codec=copy", longer=8),
        "ffmpeg": lambda: ffmpeg_rate(job),
    }
    wanted = only.split(",") if only else list(measurements)
    rates: dict[str, list[float]] = {name: [] for name in wanted}
    for turn in range(rounds):
        for name in wanted:
            rates[name].append(measurements[name]())
            print(f"round {turn + 1}: {name} {rates[name][-1]:.2f} clips/s", file=sys.stderr)
    medians = {name: statistics.median(values) for name, values in rates.items()}

    def ratio(over: str, under: str) -> float | None:
        if over not in rates or under not in rates:
            return None
        pairs = zip(rates[over], rates[under], strict=True)
        return round(statistics.median(a / b for a, b in pairs), 3)

    config = build_settings(BuildConfig, {}, job.settings)
    return {
        "files": len(job.files),
        "clips_a_build": len(job.files) * job.repeat * job.num_cuts,
        "workers": job.workers,
        "settings": job.settings,
        "clips_per_s": {name: round(rate, 2) for name, rate in medians.items()},
        "clips_per_s_core": round(medians["ray"] / job.workers, 2) if "ray" in medians else None,
        "milliseconds": stage_milliseconds(job.files[:STAGE_FILES], config) if not only else None,
        "build_to_decode": ratio("ray", "floor"),
        "ray_to_in_process": ratio("one", "inside"),
        "workers_to_one": ratio("ray", "one"),
        "workers_to_one_of_floor": ratio("floor", "floor_one"),
        "build_to_ffmpeg": ratio("ray", "ffmpeg"),
        "copy_to_jpeg": ratio("copy", "ray"),
        "start_up_s": round(statistics.median(start_up), 1) if start_up else None,
        "cores": os.cpu_count(),
    }


if __name__ == "__main__":
    main()
