"""Decoders that misbehave, by the name of the file: on PYTHONPATH of a build, and nowhere else.

`av.open` of a file named `fault_KIND.mp4` or `fault_KIND-12.mp4` does what KIND says before
anything is read; a member of a tar names it in its first bytes, as in `\0\0\0\0ftypfault_KIND.mp4`.
KIND_once does it the first time only, as far as the folder AV_FAULTS_SEEN
remembers. While the file AV_FAULTS_HOLD exists, slow ones with a number from HELD_FROM on wait.
"""

import ctypes
import importlib.util
import os
import re
import signal
import sys
import time
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import Any


def segfault() -> None:
    ctypes.string_at(0)


def spin() -> None:
    """In C, with the GIL held."""
    re.match(r"(a+)+$", "a" * 50 + "b")


def hang() -> None:
    """In C, without the GIL."""
    ctypes.CDLL(None).sleep(10_000)


def hang_with_gil() -> None:
    ctypes.PyDLL(None).sleep(10_000)


def deaf_hang() -> None:
    """As a decoder that blocks signals; SIGKILL cannot be blocked."""
    signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))
    time.sleep(10_000)


def eat_in_python() -> None:
    eaten = []
    while True:
        eaten.append(b"x" * 10_000_000)


def eat_in_c() -> None:
    """As C++ does: abort when there is no more."""
    libc = ctypes.CDLL(None)
    libc.malloc.restype = ctypes.c_void_p
    while True:
        block = libc.malloc(10_000_000)
        if not block:
            libc.abort()
        ctypes.memset(block, 1, 10_000_000)


def ask_for_a_terabyte() -> None:
    bytearray(1 << 40)


HELD_FROM = 80


def slow(number: int) -> None:
    time.sleep(0.1)
    while number >= HELD_FROM and os.path.exists(os.environ.get("AV_FAULTS_HOLD", "")):
        time.sleep(0.05)


FAULTS = {
    "segfault": segfault,
    "abort": os.abort,
    "spin": spin,
    "hang": hang,
    "hang_with_gil": hang_with_gil,
    "deaf_hang": deaf_hang,
    "eat_in_python": eat_in_python,
    "eat_in_c": eat_in_c,
    "ask_for_a_terabyte": ask_for_a_terabyte,
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "killed_with_supervisor": lambda: os.kill(os.getppid(), signal.SIGKILL),
    "exit": lambda: os._exit(7),
    "bug": lambda: {}["no such key"],
    "chatter": lambda: os.write(1, b"a library prints to standard output\n" * 10_000),
}


def _name(file: Any) -> str:
    if not hasattr(file, "seek"):
        return str(file)
    head = file.read(100)
    file.seek(0)
    return head[8:].split(b"\0")[0].decode(errors="replace")  # type: ignore[no-any-return]


def _misbehave(path: str) -> None:
    match = re.fullmatch(r"fault_(\w+?)(_once)?(?:-(\d+))?", Path(path).stem)
    if match is None:
        return
    kind, once, number = match.groups()
    if once:
        seen = Path(os.environ["AV_FAULTS_SEEN"], kind)
        if seen.exists():
            return
        seen.touch()
    if kind == "slow":
        slow(int(number or 0))
    else:
        FAULTS[kind]()


def _wrap(av: ModuleType) -> None:
    opened = av.open

    def open_or_misbehave(file: object, *arguments: Any, **settings: Any) -> object:
        _misbehave(_name(file))
        return opened(file, *arguments, **settings)

    av.open = open_or_misbehave  # type: ignore[attr-defined]


class _WhenImported(MetaPathFinder):
    """Wraps `av` when it is imported, so that nothing is imported that would not be."""

    def find_spec(self, name: str, path: object, target: object = None) -> Any:
        if name != "av":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec("av")
        assert spec is not None and spec.loader is not None
        execute = spec.loader.exec_module

        def execute_and_wrap(module: ModuleType) -> None:
            execute(module)
            _wrap(module)

        spec.loader.exec_module = execute_and_wrap  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, _WhenImported())
