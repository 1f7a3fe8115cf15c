"""Ctrl-C and SIGTERM as a request to stop after the current step."""

import signal
import time
from types import FrameType, TracebackType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Notes the first signal; a second one ends the process at once.

    Use as a context manager, in the main thread.

    Args:
        same_s: Signals within so many seconds of the first are taken for the same request: when
            Ctrl-C is pressed, torchrun passes on what the terminal has sent to all by itself.
    """

    def __init__(self, *, same_s: float = 0.0) -> None:
        self._same_s, self._first_s = same_s, 0.0
        self.signal_number: int | None = None
        """The signal that asked to stop, if one did."""
        self._before: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        for number in _SIGNALS:
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        now_s = time.monotonic()
        if self.signal_number is None:
            self.signal_number, self._first_s = number, now_s
            if not self._same_s:  # also where the process is busy outside of Python
                for each in _SIGNALS:
                    signal.signal(each, signal.SIG_DFL)
        elif now_s - self._first_s >= self._same_s:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
