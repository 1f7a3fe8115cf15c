"""Ctrl-C and SIGTERM as a request to stop after the current step."""

import signal
from types import FrameType, TracebackType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """Notes the first signal; the second one ends the process at once.

    Use as a context manager, in the main thread.
    """

    def __init__(self) -> None:
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
        self.signal_number = number
        for each in _SIGNALS:
            signal.signal(each, signal.SIG_DFL)
