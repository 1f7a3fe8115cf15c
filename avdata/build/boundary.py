"""The one boundary where a fault of a clip becomes a rejected row, for every command."""

import errno
import traceback
from dataclasses import dataclass

from avdata.config import LimitsConfig
from avdata.errors import FailureReason, MediaError

OUT_OF_MEMORY_TEXTS = ("can't allocate memory", "bad_alloc")
"""Texts by which torch and C++ libraries say it, in a RuntimeError."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """A fault as a rejected row tells it."""

    reason: FailureReason
    message: str
    traceback: str | None


def fault_of(error: Exception, limits: LimitsConfig) -> Fault:
    """Tell an exception as a fault: known of the medium, want of memory, or unexpected.

    Call it where the exception is handled: it takes the traceback from there.
    """
    if _is_out_of_memory(error):
        limit = limits.worker_memory_bytes
        return Fault(
            reason=FailureReason.OUT_OF_MEMORY,
            message=f"an allocation was refused ({type(error).__name__}); "
            f"limits.worker_memory_bytes={limit}",
            traceback=traceback.format_exc(),
        )
    if isinstance(error, MediaError):
        return Fault(reason=error.reason, message=error.message, traceback=None)
    return Fault(
        reason=FailureReason.UNEXPECTED,
        message=f"{type(error).__name__}: {error}",
        traceback=traceback.format_exc(),
    )


def _is_out_of_memory(error: BaseException | None) -> bool:
    """Whether memory ran out, also where a decoder took that for damage of the medium."""
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:
            return True
        if isinstance(error, RuntimeError) and any(t in str(error) for t in OUT_OF_MEMORY_TEXTS):
            return True
        error = error.__cause__ or error.__context__
    return False
