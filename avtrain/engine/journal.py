"""What a run writes down while it trains: log.jsonl, keys.jsonl and TensorBoard events."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

LOG_NAME = "log.jsonl"
KEYS_NAME = "keys.jsonl"


@dataclass(frozen=True, kw_only=True, slots=True)
class LogLine:
    """One line of log.jsonl."""

    step: int
    epoch: int
    """Epoch in which the batch of this step began."""
    loss: float
    """Mean over the steps since the line before; likewise the terms."""
    terms: dict[str, float]
    lr: float
    samples_per_s: float
    data_wait: float
    """Share of the time in which the step waited for data."""
    seconds: float
    """Training time of all sessions so far."""


class Journal:
    """Appends to the logs of one run; opening it cuts off what lies after `step`."""

    def __init__(self, run: Path, *, step: int, keys: bool, tensorboard: bool) -> None:
        for name in (LOG_NAME, KEYS_NAME):
            _cut_after(run / name, step)
        self._log = (run / LOG_NAME).open("a")
        self._keys: TextIO | None = (run / KEYS_NAME).open("a") if keys else None
        self._events = _open_events(run / "tensorboard", step) if tensorboard else None

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._log.close()
        if self._keys is not None:
            self._keys.close()
        if self._events is not None:
            self._events.close()

    def write_keys(self, step: int, keys: list[str]) -> None:
        """Note the samples of a step, if they are wanted."""
        if self._keys is not None:
            self._keys.write(json.dumps({"step": step, "keys": keys}) + "\n")

    def write(self, line: LogLine) -> None:
        """Append a line, and the same numbers for TensorBoard."""
        self._log.write(json.dumps(asdict(line)) + "\n")
        self.flush()
        if self._events is not None:
            self._events.add_scalar("loss", line.loss, line.step)
            for name, value in line.terms.items():
                self._events.add_scalar(f"terms/{name}", value, line.step)
            self._events.add_scalar("speed/samples_per_s", line.samples_per_s, line.step)
            self._events.add_scalar("speed/data_wait", line.data_wait, line.step)

    def flush(self) -> None:
        """Hand everything to the operating system, so that a killed process loses nothing."""
        self._log.flush()
        if self._keys is not None:
            self._keys.flush()


def _cut_after(path: Path, step: int) -> None:
    """Keep the whole lines up to `step`."""
    if not path.exists():
        return
    size = 0
    with path.open("rb") as file:
        for line in file:
            try:
                if not line.endswith(b"\n") or json.loads(line)["step"] > step:
                    break
            except (ValueError, KeyError, TypeError):  # a line that was torn by a crash
                break
            size += len(line)
    with path.open("rb+") as file:
        file.truncate(size)


def _open_events(directory: Path, step: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter  # slow to import, and not always wanted

    return SummaryWriter(str(directory), purge_step=step + 1 if step else None)  # type: ignore[no-untyped-call]
