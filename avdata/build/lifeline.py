"""Notices that a service this process needs is gone, before a library ends the process for it."""

import math
import os
import socket
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from avdata.command_line import EXIT_USER_FAULT
from avdata.errors import BuildError

LOOK_EVERY_S = 1.0
ANSWER_PATIENCE_S = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Service:
    """Something that listens at a TCP port as long as it lives."""

    name: str
    host: str
    port: int
    patience_s: float
    """It may be silent for so long, as when it is started again."""


def answers(host: str, port: int) -> bool:
    """Whether something takes connections there."""
    try:
        socket.create_connection((host, port), timeout=ANSWER_PATIENCE_S).close()
    except OSError:
        return False
    return True


class Lifeline:
    """Looks at services now and then."""

    def __init__(self, services: Sequence[Service]) -> None:
        self._answered_at = dict.fromkeys(services, time.monotonic())
        self._next_look_at = -math.inf
        self._all_answered = True

    def check(self) -> bool:
        """Look at all services, if it is time to; returns whether all answered the last time.

        Raises:
            BuildError: One has been silent for longer than its patience.
        """
        now = time.monotonic()
        if now < self._next_look_at:
            return self._all_answered
        self._all_answered = True
        for service, answered_at in self._answered_at.items():
            if answers(service.host, service.port):
                self._answered_at[service] = now
                continue
            self._all_answered = False
            if now - answered_at > service.patience_s:
                raise BuildError(
                    f"{service.name} at {service.host}:{service.port} is gone; what is committed "
                    "stays: run the same command again when it runs"
                )
        self._next_look_at = time.monotonic() + LOOK_EVERY_S
        return self._all_answered


class LastResort:
    """A context that ends this process when a service is gone and its caller cannot say so.

    A library that waits for a dead service may not come back for a minute, and then end the
    process without a word. A thread looks too; a caller that leaves the context in time is faster.
    """

    def __init__(self, services: Sequence[Service], *, grace_s: float) -> None:
        self._services, self._grace_s = services, grace_s
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="avdata-lifeline", daemon=True)

    def __enter__(self) -> "LastResort":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()

    def _watch(self) -> None:
        lifeline = Lifeline(self._services)
        while not self._left.wait(LOOK_EVERY_S):
            try:
                lifeline.check()
            except BuildError as error:
                if not self._left.wait(self._grace_s):
                    sys.stderr.write(f"avdata: error: {error}\n")
                    sys.stderr.flush()
                    os._exit(EXIT_USER_FAULT)
                return
