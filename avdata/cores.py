"""How many processor cores this process may use."""

import os


def available_cores() -> int:
    """Cores that the system lets this process run on, where it says so; else all of them."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
