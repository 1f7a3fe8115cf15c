"""How many processor cores this process may use."""

import math
import os
from collections.abc import Iterator
from pathlib import Path


def available_cores() -> int:
    """Cores that the system lets this process run on, and pays for, where it says so; else all."""
    quota = quota_cores(Path("/"))
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        cores = len(os.sched_getaffinity(0))
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def quota_cores(root: Path) -> float | None:
    """Processor time a second that this process's control groups allow; None without a limit.

    A container on a large machine may see all its cores and be given the time of two.

    Args:
        root: Folder that holds `proc` and `sys`.
    """
    return min(_quotas(root), default=None)


def _quotas(root: Path) -> Iterator[float]:
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, kinds, group = line.split(":", 2)
        base = root / "sys/fs/cgroup"
        if "cpu" in kinds.split(","):  # version 1
            base = base / "cpu"
        elif kinds:
            continue
        inner = base / group.lstrip("/")
        for folder in (inner, *inner.parents):
            if folder.is_relative_to(base):
                yield from _quota(folder)


def _quota(folder: Path) -> Iterator[float]:
    words = _read(folder / "cpu.max").split() or [
        _read(folder / "cpu.cfs_quota_us").strip(),
        _read(folder / "cpu.cfs_period_us").strip(),
    ]
    if len(words) == 2 and all(word.isdigit() for word in words) and int(words[1]):
        yield int(words[0]) / int(words[1])  # no limit is "max" or -1


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
