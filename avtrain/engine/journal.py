"""What a run writes down while it trains: log.jsonl, keys.jsonl, TensorBoard, Weights & Biases."""

import importlib.util
import json
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from avtrain.errors import RunError

LOG_NAME = "log.jsonl"
KEYS_NAME = "keys.jsonl"
WANDB_NAME = "wandb_id"


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
    grad_norm: float | None = None
    """Length of the gradient of this step, before it is clipped."""
    stage_rates: dict[str, float] = field(default_factory=dict)
    """Clips a second that each stage of loading would reach alone, by name."""
    advice: str | None = None
    """What holds the data up and what helps, where steps wait for it."""
    num_skipped: int = 0
    """Clips since the line before that could not be read."""


class Journal:
    """Appends to the logs of one run; opening it cuts off what lies after `step`."""

    def __init__(
        self, run: Path, *, step: int, keys: bool, tensorboard: bool, wandb: bool = False
    ) -> None:
        for name in (LOG_NAME, KEYS_NAME):
            _cut_after(run / name, step)
        self._log = (run / LOG_NAME).open("a")
        self._keys: TextIO | None = (run / KEYS_NAME).open("a") if keys else None
        self._events = _open_events(run / "tensorboard", step) if tensorboard else None
        self._wandb = _open_wandb(run) if wandb else None

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
        if self._wandb is not None:
            self._wandb.finish(exit_code=0 if error is None else 1)

    def write_keys(self, step: int, keys: list[str]) -> None:
        """Note the samples of a step, if they are wanted."""
        if self._keys is not None:
            self._keys.write(json.dumps({"step": step, "keys": keys}) + "\n")

    def write(self, line: LogLine) -> None:
        """Append a line, and the same numbers for TensorBoard."""
        self._log.write(json.dumps(asdict(line)) + "\n")
        self.flush()
        numbers = _numbers(line)
        if self._events is not None:
            for name, value in numbers.items():
                self._events.add_scalar(name, value, line.step)
        if self._wandb is not None:
            self._wandb.log(numbers, step=line.step)

    def flush(self) -> None:
        """Hand everything to the operating system, so that a killed process loses nothing."""
        self._log.flush()
        if self._keys is not None:
            self._keys.flush()


class NoJournal:
    """What ranks but the first write down."""

    def write(self, line: LogLine) -> None:
        """Nothing: rank 0 has the same line."""

    def write_keys(self, step: int, keys: list[str]) -> None:
        """Nothing."""

    def flush(self) -> None:
        """Nothing."""


def check_wandb() -> None:
    """Refuse to send numbers to Weights & Biases where it is not installed.

    Raises:
        RunError: The text says what to install.
    """
    if importlib.util.find_spec("wandb") is None:
        raise RunError(
            "log.wandb=true needs the package wandb, which is not installed: `pip install wandb`, "
            "or set log.wandb to false"
        )


def _numbers(line: LogLine) -> dict[str, float]:
    """The line as flat names and numbers."""
    numbers = {
        "loss": line.loss,
        **{f"terms/{name}": value for name, value in line.terms.items()},
        "optim/lr": line.lr,
        "speed/samples_per_s": line.samples_per_s,
        "speed/data_wait": line.data_wait,
        **{f"speed/{name}_per_s": value for name, value in line.stage_rates.items()},
        "data/skipped": line.num_skipped,
    }
    if line.grad_norm is not None:
        numbers["optim/grad_norm"] = line.grad_norm
    return numbers


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


def _open_wandb(run: Path) -> Any:
    """The run's own session, gone on with where there is one."""
    import wandb  # type: ignore[import-not-found]

    name = run / WANDB_NAME
    if not name.exists():
        name.write_text(secrets.token_hex(8))
    config = json.loads((run / "run.json").read_text())["config"]
    return wandb.init(
        project="avtrain",
        name=run.name,
        id=name.read_text(),
        resume="allow",
        dir=str(run),
        config=config,
    )
