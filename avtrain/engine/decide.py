"""What all ranks agree on before a step: go on, stop, save. One exchange of numbers a step."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from avdata import AvdataError
from avtrain.data.loader import LoadedBatch
from avtrain.engine.ranks import raise_together
from avtrain.objectives.across_ranks import exchange_numbers

EndReason = Literal["finished", "max_minutes", "stopped"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Decision:
    """The same on every rank, but for the parts."""

    reason: EndReason | None = None
    """Why training ends here; None where it goes on."""
    signal_number: int | None = None
    save_is_due: bool = False
    """A checkpoint is to be written after this step."""
    num_skipped: int = 0
    """Clips of the batch, on all ranks, that could not be read."""
    parts: list[LoadedBatch[Any]] = field(default_factory=list)
    """This rank's part of the batch, in the order in which it is trained."""


def decide(
    load: Callable[[], list[LoadedBatch[Any]]],
    *,
    signal_number: int | None,
    time_is_over: bool,
    save_is_due: bool,
) -> Decision:
    """What becomes of the next step, after a look at this rank's next batch.

    Raises:
        AvdataError: A rank cannot load its batch; all ranks end.
    """
    parts: list[LoadedBatch[Any]] = []
    fault: AvdataError | None = None
    if signal_number is None and not time_is_over:
        try:
            parts = load()
        except AvdataError as error:
            fault = error
    skipped = sum(len(part.skipped) for part in parts)
    own = (fault is not None, signal_number or 0, time_is_over, save_is_due, skipped)
    faults, signals, over, due, skips = zip(*exchange_numbers(own), strict=True)
    if any(faults):
        raise_together(fault)
    reason: EndReason | None = "stopped" if any(signals) else "max_minutes" if any(over) else None
    return Decision(
        reason=reason,
        signal_number=max(signals) or None,
        save_is_due=bool(max(due)),
        num_skipped=sum(skips),
        parts=parts,
    )
