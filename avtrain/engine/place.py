"""Takes the folder of a run, new or begun before, and finds where training stands in it."""

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType

from avdata import LOCK_NAME, AvdataError, folder_lock
from avtrain.engine.checkpoint import (
    Checkpoint,
    checkpoint_path,
    load_checkpoint,
    load_latest_checkpoint,
    remove_later_files,
)
from avtrain.engine.config import FitConfig
from avtrain.engine.ranks import from_first_rank, together
from avtrain.engine.run_folder import (
    RECORD_NAME,
    RunRecord,
    check_same_run,
    check_vacant,
    create_run,
    holds_run,
    read_run,
)
from avtrain.errors import RunError
from avtrain.objectives.across_ranks import rank


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Place:
    """A run's folder, held by this command."""

    checkpoint: Checkpoint | None
    """Where training goes on; None where it begins."""


def check_place(run: Path, record: RunRecord, *, resume: bool) -> None:
    """Refuse a folder in which this run can neither begin nor go on; writes nothing.

    Raises:
        RunError: The text says what is there, or what differs from the run that is there.
    """
    if resume or holds_run(run):
        check_same_run(read_run(run), record, run=run)
    else:
        check_vacant(run)


def take_place(run: Path, record: RunRecord, *, resume: bool, stack: ExitStack) -> Place:
    """Hold the folder until the stack is closed; with several ranks, rank 0 does.

    Raises:
        RunError: It is in use, or none of its checkpoints can be read.
    """

    def first() -> int | None:
        if rank() != 0:
            return None
        busy = RunError(
            f"{run} is in use by another `avtrain fit`; wait for it, or give another --out"
        )
        is_new = not run.exists()
        stack.enter_context(folder_lock(run, busy=busy))
        if not holds_run(run):
            if resume:
                read_run(run)  # says what is there instead
            create_run(run, record)
            stack.push(partial(_forget_if_refused, run, is_new))
        found[:] = [load_latest_checkpoint(run)]
        return found[0].step if found[0] is not None else None

    found: list[Checkpoint | None] = []
    step = from_first_rank(together(first))
    if rank() == 0:
        checkpoint = found[0]
        remove_later_files(run, step or 0)
    else:
        checkpoint = None if step is None else load_checkpoint(checkpoint_path(run, step))
    if checkpoint is not None:
        together(lambda: _check_origin(checkpoint, record, run))
    return Place(checkpoint=checkpoint)


def _forget_if_refused(
    run: Path,
    is_new: bool,
    kind: type[BaseException] | None,
    error: BaseException | None,
    traceback: TracebackType | None,
) -> None:
    """A run that was refused before it did anything leaves nothing behind, nor its new folder."""
    if kind is not None and issubclass(kind, AvdataError):
        left = {path.name for path in run.iterdir()}
        if left <= {RECORD_NAME, LOCK_NAME}:
            (run / RECORD_NAME).unlink(missing_ok=True)
            if is_new:
                (run / LOCK_NAME).unlink(missing_ok=True)
                run.rmdir()


def _check_origin(checkpoint: Checkpoint, record: RunRecord, run: Path) -> None:
    """A checkpoint that was copied here from another run is not taken for one of this run."""
    config: FitConfig = record.config
    if checkpoint.method_name != config.method:
        raise RunError(
            f"the checkpoint of step {checkpoint.step} in {run} is of method "
            f"{checkpoint.method_name!r}, the run's is {config.method!r}; give the folder of "
            f"that run, or start from its weights with --init"
        )
    if checkpoint.dataset_fingerprint != record.dataset_fingerprint:
        raise RunError(
            f"the checkpoint of step {checkpoint.step} in {run} was trained on another shard set "
            f"(fingerprint {checkpoint.dataset_fingerprint[:12]}, not "
            f"{record.dataset_fingerprint[:12]}); give that one, or start from its weights with "
            "--init"
        )
