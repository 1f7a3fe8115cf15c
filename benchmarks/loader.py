"""Samples a second of the training loader, against decoding alone and against peers, in one run.

    python benchmarks/loader.py MEDIA [--rounds 5] [--seconds 3] [--json]
    python benchmarks/loader.py SHARDS ...        # a shard set: without the mp4 row

An item is 8 frames at 16 fps and 2 s of log-mel; batches of 16; 2 threads or worker processes.

    floor        threads that read the needed bytes and decode into a reused batch; whole frames
    device       BatchLoader and PairTrainView, whole frames: the device crops
    loader       the same, frames cropped and resized in the loader's threads
    webdataset   its WebLoader on the same shards, a function in `map` decodes the needed frames
    mp4          seek and decode the sources in DataLoader workers, as the published code does

All take turns; a round drains what each had prepared while the others ran. MEDIA is what
`make_media.py` makes; shards are built of it in a temporary folder, and the mp4 row reads the
files of 640x360.
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # worker processes and threads are what is compared

import argparse
import io
import json
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import simplejpeg
import torch
import webdataset
from av.video.reformatter import VideoReformatter

from avdata import ShardSet
from avdata.features.logmel import stored_log_mel
from avdata.schema import LogMelSpec
from avtrain.data.loader import BatchLoader
from avtrain.data.samples import read_sample_table
from avtrain.data.stream import StreamPlan, batches
from avtrain.data.views.pair import PairTrainView
from avtrain.data.views.pair_config import AudioViewConfig, VideoViewConfig
from avtrain.data.views.pair_reader import PairReader

BATCH, FRAMES, FPS, CROP_PX, SOUND_S = 16, 8, 16.0, 224, 2.0
THREADS = 2
TARGETS = {"device / floor": 0.85, "device / webdataset": 1.35, "device / mp4": 22.0}
PREPARED = 8
"""Batches that a subject may have ready when its turn comes: 2 workers with 2 each, or 5 ahead."""

Take = Callable[[], int]
"""Takes the next batch; how many items it has."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("where", type=Path, metavar="MEDIA_OR_SHARDS")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each subject and round")
    parser.add_argument("--only", help="comma-separated subjects")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    with ExitStack() as stack:
        shards, media = opened(args.where, stack)
        makers: dict[str, Callable[[], Take]] = {
            "floor": lambda: floor(shards, stack),
            "device": lambda: ours(shards, stack, crop_on="device"),
            "loader": lambda: ours(shards, stack, crop_on="loader"),
            "webdataset": lambda: web(shards),
        }
        if media:
            makers["mp4"] = lambda: mp4(media)
        only = args.only.split(",") if args.only else list(makers)
        if unknown := [name for name in only if name not in makers]:
            raise SystemExit(f"--only {unknown[0]}: there are {', '.join(makers)} here")
        subjects = {name: makers[name]() for name in only}
        rates = measure(subjects, rounds=args.rounds, seconds=args.seconds)
    report(rates, shards, as_json=args.json)


def opened(where: Path, stack: ExitStack) -> tuple[ShardSet, list[Path]]:
    """The set to read, and the sources of the mp4 row."""
    if (where / "dataset.json").exists():
        return ShardSet(where), []
    media = sorted(where.glob("360_*.mp4"))
    if not media:
        raise SystemExit(f"{where} has neither dataset.json nor 360_*.mp4 of make_media.py")
    from click.testing import CliRunner

    from avdata.cli import main as avdata

    out = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "shards"
    arguments = ["build", "--source", where, "--media", where, "--out", out, "--workers", 0]
    result = CliRunner().invoke(avdata, [*map(str, arguments)])
    if result.exit_code:
        raise SystemExit(result.output)
    return ShardSet(out), media


def measure(
    subjects: dict[str, Take], *, rounds: int, seconds: float
) -> dict[str, dict[str, float]]:
    """Items a second of each subject: median, least and most of `rounds` turns."""
    seen: dict[str, list[float]] = {name: [] for name in subjects}
    for turn in range(rounds + 1):
        for name, take in subjects.items():
            started, prepared = time.perf_counter(), 0
            while prepared < PREPARED and time.perf_counter() - started < 4 * seconds:
                take()
                prepared += 1
            count, started = 0, time.perf_counter()
            while (spent := time.perf_counter() - started) < seconds:
                count += take()
            if turn:  # the first turn warms up
                seen[name].append(count / spent)
    return {
        name: {"median": statistics.median(all), "min": min(all), "max": max(all)}
        for name, all in seen.items()
    }


def report(rates: dict[str, dict[str, float]], shards: ShardSet, *, as_json: bool) -> None:
    ratios = {
        f"{over} / {under}": rates[over]["median"] / rates[under]["median"]
        for over, under in (
            ("device", "floor"),
            ("loader", "floor"),
            ("device", "webdataset"),
            ("loader", "webdataset"),
            ("device", "mp4"),
            ("loader", "mp4"),
        )
        if over in rates and under in rates
    }
    facts = {
        "items_per_s": rates,
        "ratios": ratios,
        "wanted": TARGETS,
        "clips": len(shards),
        "frame_px": [
            int(max(shards.manifest[f"frame_{side}_px"].to_pylist()))
            for side in ("height", "width")
        ],
        "cores": os.cpu_count(),
        "cpu": cpu_name(),
        "torch": torch.__version__,
        "load_average": os.getloadavg()[0],
    }
    if as_json:
        print(json.dumps(facts))
        return
    print(f"{facts['cores']} cores, {facts['cpu']}, torch {torch.__version__}; {len(shards)} clips")
    for name, rate in rates.items():
        spread = f"({rate['min']:.0f} to {rate['max']:.0f})"
        print(f"{name:12} {rate['median']:8.1f} items/s {spread}")
    for name, ratio in ratios.items():
        wanted = f"   wanted {TARGETS[name]}" if name in TARGETS else ""
        print(f"{name:24} {ratio:6.2f}{wanted}")


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.processor()


def floor(shards: ShardSet, stack: ExitStack) -> Take:
    """Least work there is: read the bytes of the window, decode into the batch, nothing else."""
    columns = {
        name: shards.manifest[name].to_pylist()
        for name in ("shard", "frames_offset_bytes", "frame_offsets", "num_logmel_columns",
                     "logmel_offset_bytes", "logmel_bytes", "frame_height_px", "frame_width_px")
    }  # fmt: skip
    files = {name: os.open(shards.directory / name, os.O_RDONLY) for name in shards.shards}
    stack.callback(lambda: [os.close(file) for file in files.values()])
    assert shards.spec.logmel is not None
    num_mels, column_s = shards.spec.logmel.num_mels, 0.01
    size = (max(columns["frame_height_px"]), max(columns["frame_width_px"]))
    num_columns = round(SOUND_S / column_s)
    buffers = [
        (
            np.empty((BATCH, FRAMES, *size, 3), np.uint8),
            np.empty((BATCH, num_columns, num_mels), np.float16),
        )
        for _ in range(2)
    ]
    pool = stack.enter_context(ThreadPoolExecutor(THREADS))
    rngs = [random.Random(i) for i in range(BATCH)]

    def fill(which: int, slot: int) -> None:
        rng = rngs[slot]
        sample = rng.randrange(len(shards))
        file, offsets = files[columns["shard"][sample]], columns["frame_offsets"][sample]
        first = rng.randrange(len(offsets) - FRAMES)
        ends = offsets[first : first + FRAMES + 1]
        start = columns["frames_offset_bytes"][sample] + ends[0]
        data = memoryview(os.pread(file, ends[-1] - ends[0], start))
        frames, mels = buffers[which]
        for i in range(FRAMES):
            jpeg = data[ends[i] - ends[0] : ends[i + 1] - ends[0]]
            simplejpeg.decode_jpeg(jpeg, buffer=frames[slot, i])
        length = columns["num_logmel_columns"][sample]
        column = rng.randrange(length - num_columns)
        member_end = columns["logmel_offset_bytes"][sample] + columns["logmel_bytes"][sample]
        at = member_end - (length - column) * num_mels * 2
        sound = os.pread(file, num_columns * num_mels * 2, at)
        mels[slot] = np.frombuffer(sound, np.float16).reshape(num_columns, num_mels)

    def submit(which: int) -> list:
        return [pool.submit(fill, which, slot) for slot in range(BATCH)]

    ahead = [submit(0)]

    def take() -> int:
        now = ahead.pop()
        which = take.count % 2
        ahead.append(submit(1 - which))
        for slot in now:
            slot.result()
        take.count += 1
        return BATCH

    take.count = 0
    return take


def ours(shards: ShardSet, stack: ExitStack, *, crop_on: str) -> Take:
    """BatchLoader and PairTrainView, as training reads."""
    reader = PairReader(
        shards,
        read_sample_table(shards),
        video=VideoViewConfig(clip_frames=FRAMES, fps=FPS, crop_px=CROP_PX, crop_on=crop_on),
        audio=AudioViewConfig(window_s=SOUND_S),
    )
    view = PairTrainView(reader, seed=0, pin_memory=False)
    plan = StreamPlan(samples=tuple(range(len(shards))), seed=0, batch_size=BATCH)
    loader = stack.enter_context(
        BatchLoader(view, batches(plan), num_threads=THREADS, prefetch_batches=2)
    )

    def take() -> int:
        loaded = next(loader)
        loader.release(loaded)
        return len(loaded.items)

    return take


def web(shards: ShardSet) -> Take:
    """Stock pipeline: whole samples stream by, a function decodes the window of each."""
    # listed many times: a small set would have its pipeline begin anew all the time
    urls = [str(shards.directory / name) for name in shards.shards] * 64
    data = webdataset.WebDataset(urls, shardshuffle=len(urls), empty_check=False).shuffle(20)
    data = data.map(web_item).repeat().batched(BATCH)
    stream = iter(webdataset.WebLoader(data, batch_size=None, num_workers=THREADS))
    return lambda: len(next(stream)[0])


def web_item(sample: dict) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.load(io.BytesIO(sample["frames.npy"])).astype(int)
    first = random.randrange(len(offsets) - FRAMES)
    data = memoryview(sample["frames.mjpg"])
    cuts = offsets[first : first + FRAMES + 1]
    pictures = [simplejpeg.decode_jpeg(data[a:b]) for a, b in pairwise(cuts)]
    top, left = (random.randrange(side - CROP_PX + 1) for side in pictures[0].shape[:2])
    cut = np.stack([p[top : top + CROP_PX, left : left + CROP_PX] for p in pictures])
    mel = np.load(io.BytesIO(sample["logmel.npy"]))
    column = random.randrange(mel.shape[1] - 200)
    return cut, mel[0, column : column + 200]


class Mp4Windows(torch.utils.data.IterableDataset):
    """Random windows out of movie files: seek to the key frame before, decode up to the window."""

    def __init__(self, files: list[Path]) -> None:
        self.files = files

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        worker = torch.utils.data.get_worker_info()
        rng = random.Random(worker.id if worker else 0)
        while True:
            path = rng.choice(self.files)
            start_s = rng.uniform(0, 10 - SOUND_S - 0.1)
            frames = movie_frames(path, start_s)
            top, left = (rng.randrange(side - CROP_PX + 1) for side in frames[0].shape[:2])
            cut = np.stack([f[top : top + CROP_PX, left : left + CROP_PX] for f in frames])
            yield cut, stored_log_mel(movie_sound(path, start_s), LogMelSpec())[0, :200]


def movie_frames(path: Path, start_s: float) -> list[np.ndarray]:
    """The frame shown at each of the times, short side 256."""
    wanted, out, before = [start_s + k / FPS for k in range(FRAMES)], [], None
    reformatter = VideoReformatter()
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.codec_context.thread_count = "NONE", 1
        width = round(stream.width * 256 / stream.height / 2) * 2
        container.seek(int(start_s / stream.time_base), stream=stream)
        pictures = (frame for frame in container.decode(stream))
        for frame in pictures:
            while before is not None and len(out) < FRAMES and frame.time > wanted[len(out)] + 1e-6:
                out.append(rgb(reformatter, before, width))
            if len(out) == FRAMES:
                return out
            before = frame
    assert before is not None
    return out + [rgb(reformatter, before, width)] * (FRAMES - len(out))


def rgb(reformatter: VideoReformatter, frame: av.VideoFrame, width: int) -> np.ndarray:
    picture = reformatter.reformat(
        frame, width, 256, format="rgb24", interpolation="AREA", threads=1
    )
    return picture.to_ndarray()


def movie_sound(path: Path, start_s: float) -> np.ndarray:
    """The window at 24 kHz, int16 (1, n); zeros where the file has no more."""
    chunks, first_s, rate_hz = [], None, 24000
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        container.seek(int(start_s / stream.time_base), stream=stream)
        resampler = av.AudioResampler("s16", "mono", rate_hz)
        for frame in container.decode(stream):
            if frame.time + frame.samples / frame.sample_rate <= start_s:
                continue
            first_s = frame.time if first_s is None else first_s
            chunks += [f.to_ndarray()[0] for f in resampler.resample(frame)]
            if frame.time > start_s + SOUND_S + 0.05:
                break
    length = round(SOUND_S * rate_hz)
    if first_s is None:
        return np.zeros((1, length), np.int16)
    skip = max(0, round((start_s - first_s) * rate_hz))
    sound = np.concatenate(chunks)[skip : skip + length]
    return np.pad(sound, (0, length - len(sound)))[None]


def mp4(files: list[Path]) -> Take:
    """DataLoader workers over movie files."""
    stream = iter(
        torch.utils.data.DataLoader(Mp4Windows(files), batch_size=BATCH, num_workers=THREADS)
    )
    return lambda: len(next(stream)[0])


if __name__ == "__main__":
    main()
