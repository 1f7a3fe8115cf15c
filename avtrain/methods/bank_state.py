"""Memory banks and their normalizer, out of the state of another run."""

from torch import Tensor

from avtrain.errors import RunError
from avtrain.methods.base import InitialState
from avtrain.methods.pair_method import PairMethod

_METHODS = ("avid", "cma")
"""Whose criteria hold the same banks under the same names."""
_BANKS = ("criterion.video_memory.memory", "criterion.audio_memory.memory")
_NORMALIZER = "criterion.normalizer"


def why_no_banks(initial: InitialState) -> str | None:
    """Why the run has no banks that AVID and CMA can go on with; None where it has."""
    if initial.method not in _METHODS:
        return f"it is of method {initial.method!r}, and only {' and '.join(_METHODS)} have them"
    if not all(name in initial.tensors for name in (*_BANKS, _NORMALIZER)):
        return "it holds networks alone"
    if not initial.same_data:
        return "its banks are of other samples: each row belongs to one source"
    return None


def take_up_banks(method: PairMethod, initial: InitialState, *, num_rows: int, dim: int) -> None:
    """Copy banks and normalizer of a run that has them.

    Raises:
        RunError: The banks have another shape.
    """
    given: dict[str, Tensor] = {n: initial.tensors[n] for n in (*_BANKS, _NORMALIZER)}
    for name in _BANKS:
        if given[name].shape != (num_rows, dim):
            raise RunError(
                f"{name} of {initial.where} is {tuple(given[name].shape)} and must be "
                f"{(num_rows, dim)}; choose the model and the samples that it was trained with"
            )
    method.load_state_dict(given, strict=False)
