"""Damage media, decode spans of them, and balance the account of what is stored and what is not.

    python tests/fuzz/conservation.py DATA [--count 1000] [--first 0] [--seed 0]

For each of `--count` damaged copies of ten files (a function of seed and number alone) one span is
decoded and compared with a plain decoding of the damaged copy and of the whole one, neither of them
by this project's code:

- stored seconds, gaps and what is missing at the ends add up to the span, and so does coverage;
- no more audio is stored as heard than the plain decoder puts out;
- silence that neither decoder puts out is never longer than the gaps that are stated;
- frames that stand in for others are never more than the stated gaps hold;
- a copy that is not stored has a known reason.

Prints one JSON object; ends with 1 when the account of one does not balance.
"""

import argparse
import json
import random
import sys
import tempfile
import time
import traceback
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from itertools import takewhile
from multiprocessing import get_context
from pathlib import Path

import av
import numpy as np
from mutation import mutation

sys.path.append(str(Path(__file__).resolve().parents[1] / "movies"))
from packet_edits import Edit, remux, write_counted

from avdata.config import LimitsConfig
from avdata.decode.clip import DecodedClip, total_s
from avdata.decode.packets import clock_origin_s
from avdata.decode.with_av import decode_clip
from avdata.errors import MediaError
from avdata.schema import AudioSpec, ClipsSpec, VideoSpec

SOURCES = (
    "clips/realshort.mp4",
    "clips/rabbit320.mp4",
    "odd/edit_list_bipbop.mp4",
    "clips/gizmo.webm",
    "clips/flipping_a_pancake.mkv",
    "clips/nasa_13013.avi",
    "sets/ucf101_subset/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi",
    "odd/start_10s_mpegts.ts",
    "odd/theora_flac.ogv",
)
SYNTHETIC = "synthetic.ts"
NUM_FILES = len(SOURCES) + 1
RATE_HZ = 24000
SLACK_S = 0.02
QUIET_S = 0.02
"""Shorter stretches of zeros are no matter."""
PART_QUIET_S = 0.003
"""But within a single frame of audio, which may be a part of a longer one."""
MAX_SPAN_S = 4.0
TICK_S = 1.1e-3
SAME_AGAIN_BYTES = 8
"""Packets of MPEG-4 that are no larger show the picture before once more."""


@dataclass
class Plain:
    """A file as plain PyAV decodes it; times on the file's own clock."""

    origin_s: float = 0.0
    packets: list[tuple[float, float, int]] = field(default_factory=list)
    """Times of showing and of decoding, and size, in file order."""
    has_all_times: bool = True
    """Every video packet has a presentation time, and play order is that of these times."""
    heard: list[tuple[float | None, float, float]] = field(default_factory=list)
    """Seconds of every audio frame: start, length, zeros (in runs of `PART_QUIET_S` or more)."""

    def packets_s(self, end_s: float, min_bytes: int) -> list[float]:
        """Times of packets in order; one in the file behind the span's end comes too late."""
        before = takewhile(lambda packet: packet[1] < end_s, self.packets)
        return sorted(time for time, _, size in before if size >= min_bytes)

    def heard_s(self, start_s: float, end_s: float) -> float:
        """Audio inside, of frames with a time, and of all frames without one."""
        return sum(
            length if at is None else max(min(at + length, end_s) - max(at, start_s), 0.0)
            for at, length, _ in self.heard
        )

    def zeros_s(self, start_s: float, end_s: float) -> float:
        return sum(
            zeros
            for at, length, zeros in self.heard
            if at is None or (at < end_s and at + length > start_s)
        )


def plain(path: Path) -> Plain:
    """Packets and sound of a file, as far as they can be read and decoded."""
    out = Plain()
    with av.open(str(path), metadata_errors="ignore") as container:
        videos = [s for s in container.streams.video if not int(s.disposition) & 0x400]
        chosen = [*videos[:1], *container.streams.audio[:1]]
        try:
            for packet in container.demux(*chosen):
                time = None if packet.pts is None else float(packet.pts * packet.time_base)
                if packet.stream.type == "video":
                    if packet.size and not packet.is_discard:
                        out.has_all_times &= time is not None
                        if time is not None:
                            dts = packet.pts if packet.dts is None else packet.dts
                            out.packets.append((time, float(dts * packet.time_base), packet.size))
                    continue
                try:
                    for frame in packet.decode():
                        out.heard.append(_heard(frame))
                except (av.FFmpegError, ValueError):
                    pass
        except (av.FFmpegError, OSError, ValueError):
            pass
    return out


def _heard(frame: av.AudioFrame) -> tuple[float | None, float, float]:
    at = None if frame.pts is None else float(frame.pts * frame.time_base)
    rate = frame.sample_rate or 1
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    loud = np.abs(samples) * 32768 >= 1 if samples.dtype.kind == "f" else samples != 0
    zeros = zero_runs(loud, round(PART_QUIET_S * rate)).sum()
    return at, frame.samples / rate, float(zeros / rate)


def zero_runs(samples: np.ndarray, num_least: int) -> np.ndarray:
    """Which samples of (c, n) lie in a run of that many zeros or more; bool (n,)."""
    zero = np.concatenate([[False], ~samples.any(axis=0), [False]])
    edges = np.flatnonzero(zero[1:] != zero[:-1]).reshape(-1, 2)
    out = np.zeros(samples.shape[1], bool)
    for start, stop in edges:
        if stop - start >= num_least:
            out[start:stop] = True
    return out


def lose_packets(source: Path, out: Path, rng: random.Random) -> None:
    """A copy without some packets, single ones or a stretch, of one track or of all."""
    kinds = rng.choice((("audio",), ("video",), ("audio", "video")))
    share, start_s = rng.choice((0.02, 0.1, 0.3)), rng.uniform(0, 8)
    length_s, is_single = rng.choice((0.1, 0.4, 1.5)), rng.random() < 0.5

    def edit(packet: Edit) -> Iterable[Edit]:
        time_s = (packet.time_s or 0.0) % 10
        hit = rng.random() < share if is_single else start_s <= time_s < start_s + length_s
        return [] if packet.kind in kinds and packet.number and hit else [packet]

    remux(source, out, edit)


def damaged(sources: list[Path], out: Path, *, seed: int, number: int) -> tuple[Path, str]:
    """Damaged copy `number`: which file it is of, and how it was damaged."""
    rng = random.Random(f"conservation/{seed}/{number}")
    source = sources[number % len(sources)]
    if number // len(sources) % 2:
        try:
            lose_packets(source, out, rng)
            return source, "packets"
        except (av.FFmpegError, ValueError):
            pass  # a form that cannot be written: other damage
    _, data = mutation([source.read_bytes()], seed=seed, number=number)
    out.write_bytes(data)
    return source, "bytes"


def decode(path: Path, start_s: float, end_s: float, uncovered: str) -> DecodedClip:
    return decode_clip(
        path,
        start_s=start_s,
        end_s=end_s,
        video=VideoSpec(short_side_px=16, fps="native"),
        audio=AudioSpec(sample_rate_hz=RATE_HZ),
        clips=ClipsSpec(uncovered=uncovered, min_coverage=0.1, truncated="accept"),
        limits=LimitsConfig(max_missing_fraction=1.0),
    )


def faults_of(
    clip: DecodedClip, whole: DecodedClip | None, facts: Plain, start_s: float, end_s: float
) -> list[str]:
    """Why the account of a stored clip does not balance; the span is on the file's clock."""
    video, samples = clip.video, clip.samples
    assert video is not None
    assert samples is not None
    faults, wanted_s, frame_s = [], end_s - start_s, 1 / video.fps
    ends_s = clip.padded_start_s + clip.padded_end_s
    if not ends_s:
        ends_s = (clip.start_s - start_s) + (end_s - clip.end_s)
    missing_s = total_s(clip.gaps_s)
    total = clip.coverage * wanted_s + missing_s + ends_s
    if abs(total - wanted_s) > frame_s + SLACK_S:
        faults.append(
            f"coverage {clip.coverage:.3f} of {wanted_s:.3f} s, gaps {missing_s:.3f} s and ends "
            f"{ends_s:.3f} s make {total:.3f} s"
        )
    if abs(samples.shape[1] / RATE_HZ - clip.duration_s) > 1 / RATE_HZ:
        faults.append(f"{samples.shape[1]} samples for {clip.duration_s} s")
    if abs(video.num_frames / video.fps - clip.duration_s) > 1e-6:
        faults.append(f"{video.num_frames} frames for {clip.duration_s} s")
    first_s, last_s = clip.start_s + clip.padded_start_s, clip.end_s - clip.padded_end_s
    audio_gap_s = total_s(clip.audio_gaps_s)
    claimed_s = last_s - first_s - audio_gap_s
    heard_s = facts.heard_s(first_s - 0.1, last_s + 0.1)
    if claimed_s > heard_s + SLACK_S:
        faults.append(f"{claimed_s:.3f} s of sound are claimed, {heard_s:.3f} s decode")
    quiet = zero_runs(samples, round(QUIET_S * RATE_HZ))
    if whole is not None and whole.samples is not None:
        at = round((whole.start_s - clip.start_s) * RATE_HZ)
        was = zero_runs(whole.samples, round(QUIET_S * RATE_HZ))
        place = np.arange(len(quiet)) - at
        inside = (place >= 0) & (place < len(was))
        quiet[inside] &= ~was[place[inside]]
    inserted_s = quiet.sum() / RATE_HZ
    stated_s = audio_gap_s + ends_s + facts.zeros_s(first_s, last_s)
    if inserted_s > stated_s + SLACK_S:
        faults.append(f"{inserted_s:.3f} s of silence are inserted, {stated_s:.3f} s are stated")
    if facts.has_all_times:
        # a small packet of MPEG-4 brings out a picture that was packed before it, or nothing new
        both = [facts.packets_s(end_s, least) for least in (1, SAME_AGAIN_BYTES + 1)]
        faults += _frame_faults(clip, both, first_s, last_s)
    return faults


def _frame_faults(
    clip: DecodedClip, packets_s: Sequence[list[float]], first_s: float, last_s: float
) -> list[str]:
    """Stored frames that are neither the last picture before their time nor the nearest one."""
    video = clip.video
    assert video is not None
    wrong = 0
    for k, shown_s in enumerate(video.frame_times_s):
        grid_s = clip.start_s + k / video.fps
        if first_s <= grid_s < last_s:
            wrong += not any(_stands_at(shown_s, grid_s, times) for times in packets_s)
    allowed = total_s(clip.frame_gaps_s) * video.fps + 1 + 1e-6
    if wrong > allowed:
        return [f"{wrong} frames stand in for others, the gaps hold {allowed:.1f}"]
    return []


def _stands_at(shown_s: float, grid_s: float, times: list[float]) -> bool:
    if not times:
        return True
    before, *after = times[max(bisect_right(times, grid_s + TICK_S) - 1, 0) :][:2]
    least = min(abs(grid_s - time) for time in (before, *after))
    return abs(before - shown_s) <= TICK_S or abs(grid_s - shown_s) <= least + TICK_S


@dataclass
class Outcome:
    """The account of one damaged copy."""

    number: int
    verdict: str
    """stored, unreadable, or why it was rejected."""
    how: str
    name: str
    faults: list[str] = field(default_factory=list)
    gap_s: float = 0.0
    seconds: float = 0.0


def write_synthetic(folder: Path) -> Path:
    return write_counted(folder / SYNTHETIC, seconds=3.0, bframes=2)


def sources_in(data: Path, folder: Path) -> list[Path]:
    """The ten files."""
    return [*(data / name for name in SOURCES), write_synthetic(folder)]


def account(sources: list[Path], folder: Path, *, seed: int, number: int) -> Outcome:
    """Damage, decode, compare."""
    rng = random.Random(f"span/{seed}/{number}")
    path = folder / f"{number:05d}{sources[number % len(sources)].suffix}"
    source, how = damaged(sources, path, seed=seed, number=number)
    with av.open(str(source)) as container:
        seconds = (container.duration or 0) / 1e6
    length_s = rng.uniform(0.6, MAX_SPAN_S)
    start_s = rng.choice((0.0, rng.uniform(0, max(seconds - length_s, 0))))
    end_s = min(start_s + length_s, seconds + 0.3)
    uncovered = rng.choice(("pad", "shorten"))
    out = Outcome(number=number, verdict="stored", how=how, name=source.name)
    try:
        clip = decode(path, start_s, end_s, uncovered)
    except MediaError as error:
        out.verdict = error.reason.value
        return out
    except MemoryError:  # FFmpeg was asked for too much: the builder gives it a name
        out.verdict = "out_of_memory"
        return out
    except Exception:  # noqa: BLE001 - what the builder would call unexpected
        out.verdict, out.faults = "unexpected", [traceback.format_exc(limit=-3)]
        return out
    finally:
        if path.exists() and out.verdict != "stored":
            path.unlink()
    try:
        whole = decode(source, start_s, end_s, uncovered)
    except MediaError:
        whole = None
    facts = plain(path)
    with av.open(str(path), metadata_errors="ignore") as container:
        facts.origin_s = clock_origin_s(container)
    out.faults = faults_of(clip, whole, facts, facts.origin_s + start_s, facts.origin_s + end_s)
    out.gap_s, out.seconds = total_s(clip.gaps_s), clip.duration_s
    path.unlink()
    return out


def accounts(
    sources: list[Path], folder: Path, *, seed: int, numbers: Iterable[int]
) -> Iterator[Outcome]:
    """`account` of each, in a process that may die of a fault of FFmpeg, as a builder's may."""
    pool = _process()
    for number in numbers:
        try:
            yield pool.submit(account, sources, folder, seed=seed, number=number).result(120)
        except BrokenProcessPool:
            yield Outcome(
                number=number, verdict="crashed", how="", name=sources[number % len(sources)].name
            )
            pool = _process()
    pool.shutdown()


def _process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=get_context("fork"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    av.logging.set_level(av.logging.PANIC)
    started = time.monotonic()
    outcomes = []
    with tempfile.TemporaryDirectory() as name:
        sources = sources_in(args.data, Path(name))
        numbers = range(args.first, args.first + args.count)
        for outcome in accounts(sources, Path(name), seed=args.seed, numbers=numbers):
            outcomes.append(outcome)
            if outcome.faults:
                print(outcome, file=sys.stderr, flush=True)
    stored = [o for o in outcomes if o.verdict == "stored"]
    facts = {
        "damaged": len(outcomes),
        "stored": len(stored),
        "stored_s": round(sum(o.seconds for o in stored), 1),
        "stored_with_gaps": sum(o.gap_s > 0 for o in stored),
        "gaps_s": round(sum(o.gap_s for o in stored), 1),
        "verdicts": dict(Counter(o.verdict for o in outcomes).most_common()),
        "not_balanced": sum(bool(o.faults) for o in outcomes),
        "seconds": round(time.monotonic() - started, 1),
    }
    print(json.dumps(facts, indent=1))
    sys.exit(bool(facts["not_balanced"]))


if __name__ == "__main__":
    main()
