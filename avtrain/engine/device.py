"""Names of devices to devices."""

from typing import Literal

import torch

from avtrain.errors import AvtrainError

DeviceName = Literal["auto", "cpu", "cuda"]


def choose_device(name: DeviceName, *, local_rank: int | None = None) -> torch.device:
    """The device of that name; auto is CUDA where there is one.

    Args:
        name: As on the command line.
        local_rank: Number of this rank among those of its machine, each of which has its own GPU.

    Raises:
        AvtrainError: CUDA is asked for and there is none, or none for this rank.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise AvtrainError("--device cuda: torch sees no CUDA device; use --device cpu or auto")
    if not available or name == "cpu":
        return torch.device("cpu")
    if local_rank is None:
        return torch.device("cuda")
    if local_rank >= torch.cuda.device_count():
        raise AvtrainError(
            f"rank {local_rank} of this machine has no GPU: torch sees "
            f"{torch.cuda.device_count()}; start as many ranks with torchrun --nproc-per-node"
        )
    return torch.device("cuda", local_rank)
