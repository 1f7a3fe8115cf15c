"""What a separation run takes from another one."""

import logging

from torch import Tensor, nn

from avtrain.errors import RunError
from avtrain.methods.base import InitialState
from avtrain.methods.pair_method import check_same_tensors

logger = logging.getLogger(__name__)

STARTS = ("sync", "separation")
"""Methods whose runs can be started from."""
_NETWORKS, _MULTISENSORY, _HEAD = "model.", "model.multisensory.", "model.multisensory.head."


def take_up_networks(method: nn.Module, initial: InitialState) -> None:
    """Load all networks of a separation run, or of a sync run the one that sees and hears.

    Scales of normalizations, which sync runs do not have, stay as they are; so does the head, which
    separation does not use, where its shape is another one.

    Raises:
        RunError: The state is of another method, or a tensor does not fit.
    """
    if initial.method not in STARTS:
        raise RunError(
            f"separation cannot start from {initial.where}, a run of {initial.method!r}; give one "
            f"of {', '.join(STARTS)}"
        )
    state: dict[str, Tensor] = method.state_dict()
    given = {n: t for n, t in initial.tensors.items() if n.startswith(_NETWORKS)}
    own = {n: t for n, t in state.items() if n.startswith(_NETWORKS)}
    if initial.method == "sync":
        own = {n: t for n, t in own.items() if n.startswith(_MULTISENSORY)}
        if not own:
            raise RunError(
                f"{initial.where} is a run of sync and this one has no network that sees; set "
                "separation.use_video=true, or start without --init"
            )
        given = {_MULTISENSORY + n.removeprefix(_NETWORKS): t for n, t in given.items()}
        scales = {
            n for n, t in own.items() if n.endswith(".weight") and t.ndim == 1 and n not in given
        }
        head = {
            n for n in own if n.startswith(_HEAD) and n in given and given[n].shape != own[n].shape
        }
        logger.info(
            "%s gives no scales of normalizations: %d start at 1", initial.where, len(scales)
        )
        own = {n: t for n, t in own.items() if n not in scales | head}
        given = {n: t for n, t in given.items() if n not in head}
    check_same_tensors(given, own, where=initial.where)
    method.load_state_dict(given, strict=False)
