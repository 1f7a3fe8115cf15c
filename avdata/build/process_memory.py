"""How much memory a process holds, may get, and whether the system ended processes for want of it.

All of it is read from /proc, so it is known on Linux alone.
"""

import logging
import resource
from functools import cache
from pathlib import Path

logger = logging.getLogger(__name__)

BACKSTOP_BYTES = 500_000_000
"""Beyond the limit of resident memory: the watch ends a process that takes memory step by step, so
that the reason is told right; what asks for this much at once is refused."""


def resident_bytes(pid: int) -> int | None:
    """Memory that process `pid` holds; None when it is gone or cannot be told here."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_bytes().split()[1]
    except (OSError, IndexError):
        if not Path("/proc/self/statm").exists():
            _say_that_nothing_is_watched()
        return None
    return int(pages) * resource.getpagesize()


@cache
def _say_that_nothing_is_watched() -> None:
    logger.warning(
        "this system has no /proc: limits.worker_memory_bytes cannot be watched, and is ignored"
    )


def limit_memory(worker_memory_bytes: int) -> None:
    """Refuse this process memory well beyond what it holds now and `worker_memory_bytes`."""
    held = _held_data_bytes()
    if held is None:
        return
    wanted = held + worker_memory_bytes + BACKSTOP_BYTES
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def _held_data_bytes() -> int | None:
    """What counts against RLIMIT_DATA: private writable memory, touched or not."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return None
    fields = (line.split() for line in text.splitlines() if line.startswith("VmData:"))
    return next((int(words[1]) * 1024 for words in fields), None)


def invite_the_system_to_end_this_process_first() -> None:
    """When the machine runs out of memory: a worker can be replaced, other programs cannot."""
    try:
        Path("/proc/self/oom_score_adj").write_text("1000")
    except OSError:
        return


def count_memory_kills() -> int:
    """Processes that the system has ended for want of memory so far; 0 where it does not say."""
    return max((_counter(path, "oom_kill") for path in _counter_files()), default=0)


def _counter_files() -> list[Path]:
    return [Path("/proc/vmstat"), *_memory_events()]


def _memory_events() -> list[Path]:
    """`memory.events` of this process's control group."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    groups = [line.removeprefix("0::").lstrip("/") for line in lines if line.startswith("0::")]
    return [Path("/sys/fs/cgroup") / group / "memory.events" for group in groups]


def _counter(path: Path, name: str) -> int:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return 0
    pairs = (line.split() for line in lines)
    return next((int(words[1]) for words in pairs if len(words) == 2 and words[0] == name), 0)
