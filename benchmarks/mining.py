"""How long the mining of CMA's positives takes, and in how much memory, as banks grow.

    python benchmarks/mining.py --rows 10000 20000 40000
    python benchmarks/mining.py --device cuda --rows 232067 1784108

Against the two products of all pairs alone (the floor), and against the published way: 16 queries
at a time, their similarities to all rows, and a topk over those. Both are timed on a part of the
queries and scaled, since their time is linear in queries. On the CPU seconds are those of the
process, with one thread, so that other work on the machine does not count; on CUDA they are of the
wall clock.
"""

import argparse
import ctypes
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from avtrain.objectives import MemoryBank, MiningSizes, mine_positives

DIM, NUM_POSITIVES = 128, 32
PUBLISHED_CHUNK = 16
FULL_SIZES = {"Kinetics-400": 232_067, "AudioSet": 1_784_108}
MIB = 2**20


def main() -> None:
    """Print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 20_000, 40_000])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--peer-queries", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=2, help="the fastest counts")
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(options.device)
    results = [measure(n, device, options.peer_queries, options.rounds) for n in options.rows]
    report = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu, one thread",
        "rows": results,
        **extrapolation(results),
    }
    print(json.dumps(report, indent=1))


def measure(num_rows: int, device: torch.device, peer_queries: int, rounds: int) -> dict:
    """Seconds and memory for banks of one size."""
    video, audio = banks(num_rows, device)
    candidates = torch.arange(num_rows, device=device)
    sizes = MiningSizes.for_device(device)
    queries = min(num_rows, max(peer_queries, sizes.chunk_rows))

    def mine() -> None:
        mine_positives(video, audio, candidates=candidates, num_positives=NUM_POSITIVES)

    def floor() -> None:
        products(video.memory, audio.memory, queries, sizes)

    def peer() -> None:
        published(video.memory, audio.memory, min(peer_queries, num_rows))

    times = {"mine": math.inf, "products": math.inf, "published": math.inf}
    for _ in range(rounds):  # in turn
        times["mine"] = min(times["mine"], seconds(mine, device))
        times["products"] = min(times["products"], seconds(floor, device) * num_rows / queries)
        times["published"] = min(
            times["published"], seconds(peer, device) * num_rows / min(peer_queries, num_rows)
        )
    return {
        "num_rows": num_rows,
        "mine_s": round(times["mine"], 2),
        "products_s_scaled": round(times["products"], 2),
        "published_s_scaled": round(times["published"], 2),
        "mine/products": round(times["mine"] / times["products"], 2),
        "published/mine": round(times["published"] / times["mine"], 2),
        "mine_mib_beside_banks": round(peak_bytes(mine, device) / MIB),
        "banks_mib": round(2 * num_rows * DIM * 4 / MIB),
        "all_pairs_would_be_mib": round(num_rows**2 * 4 / MIB),
    }


def banks(num_rows: int, device: torch.device) -> tuple[MemoryBank, MemoryBank]:
    """Banks with a class for every hundred rows, in random order."""
    generator = torch.Generator(device).manual_seed(0)
    num_classes = max(num_rows // 100, 1)
    label = torch.randint(num_classes, (num_rows,), generator=generator, device=device)
    made = []
    for _ in range(2):
        bank = MemoryBank(num_rows=num_rows, dim=DIM, momentum=0.5, generator=generator)
        centers = F.normalize(
            torch.randn(num_classes, DIM, generator=generator, device=device), dim=1
        )
        bank.memory.mul_(1.2).add_(centers[label])
        bank.memory.copy_(F.normalize(bank.memory, dim=1))
        made.append(bank)
    return made[0], made[1]


def products(video: Tensor, audio: Tensor, num_queries: int, sizes: MiningSizes) -> None:
    """The two products of so many queries with all rows, in the blocks of mining."""
    room = video.new_empty(sizes.chunk_rows * sizes.block_rows)
    for first in range(0, len(video), sizes.block_rows):
        for start in range(0, num_queries, sizes.chunk_rows):
            for memory in (video, audio):
                block = memory[first : first + sizes.block_rows]
                chunk = memory[start : min(start + sizes.chunk_rows, num_queries)]
                shape = (len(chunk), len(block))
                torch.mm(chunk, block.T, out=room[: shape[0] * shape[1]].view(shape))


def published(video: Tensor, audio: Tensor, num_queries: int) -> None:
    """The published way, written anew: chunks of 16 queries, topk over all rows, first dropped."""
    for start in range(0, num_queries, PUBLISHED_CHUNK):
        chunk = slice(start, min(start + PUBLISHED_CHUNK, num_queries))
        rho = torch.minimum(video[chunk] @ video.T, audio[chunk] @ audio.T)
        rho.topk(NUM_POSITIVES + 1, dim=1).indices[:, 1:].sort(dim=1)


def seconds(work: Callable[[], None], device: torch.device) -> float:
    """Of the process on the CPU, of the wall clock on CUDA."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = clock()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - start


def peak_bytes(work: Callable[[], None], device: torch.device) -> int:
    """Memory that `work` takes at most, beside what is there."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    ctypes.CDLL(None).malloc_trim(0)  # memory that was freed would be used again unseen
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = resident_bytes("VmRSS")
    work()
    return resident_bytes("VmHWM") - before


def resident_bytes(name: str) -> int:
    """A line of /proc/self/status."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))


def extrapolation(results: list[dict]) -> dict:
    """Exponent of time in rows, and from it the seconds of the published sets on this device."""
    if len(results) < 2:
        return {}
    x = torch.tensor([math.log(r["num_rows"]) for r in results], dtype=torch.float64)
    y = torch.tensor([math.log(max(r["mine_s"], 1e-3)) for r in results], dtype=torch.float64)
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum())
    largest = results[-1]
    measured = {r["num_rows"] for r in results}
    return {
        "exponent": round(slope, 2),
        "extrapolated_s_with_exponent_2": {
            name: round(largest["mine_s"] * (n / largest["num_rows"]) ** 2)
            for name, n in FULL_SIZES.items()
            if n not in measured
        },
    }


if __name__ == "__main__":
    main()
