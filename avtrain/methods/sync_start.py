"""What a sync run takes from another one."""

import logging

from torch import nn

from avtrain.errors import RunError
from avtrain.methods.base import InitialState
from avtrain.methods.pair_method import check_same_tensors

logger = logging.getLogger(__name__)

_NETWORK, _HEAD = "model.", "model.head."


def take_up_network(method: nn.Module, initial: InitialState) -> None:
    """Load `model.` of a sync run: another frame rate, or the network with finer maps, has the
    same tensors. A head of another shape stays new.

    Raises:
        RunError: The state is not of a sync run, or its network is another one.
    """
    if initial.method != "sync":
        raise RunError(
            f"{initial.where} is a run of {initial.method}; sync starts from a run of sync, or "
            "from new weights"
        )
    given = {n: t for n, t in initial.tensors.items() if n.startswith(_NETWORK)}
    own = {n: t for n, t in method.state_dict().items() if n.startswith(_NETWORK)}
    other_head = [
        name
        for name in own
        if name.startswith(_HEAD) and name in given and given[name].shape != own[name].shape
    ]
    if other_head:
        logger.info(
            "%s has another head, %s: the head starts anew",
            initial.where,
            " and ".join(
                f"{n} {tuple(given[n].shape)}, here {tuple(own[n].shape)}"
                for n in own
                if n in other_head
            ),
        )
        given = {n: t for n, t in given.items() if not n.startswith(_HEAD)}
        own = {n: t for n, t in own.items() if not n.startswith(_HEAD)}
    check_same_tensors(given, own, where=initial.where)
    method.load_state_dict(given, strict=False)
