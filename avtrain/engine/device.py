"""Names of devices to devices."""

from typing import Literal

import torch

from avtrain.errors import AvtrainError

DeviceName = Literal["auto", "cpu", "cuda"]


def choose_device(name: DeviceName) -> torch.device:
    """The device of that name; auto is CUDA where there is one.

    Raises:
        AvtrainError: CUDA is asked for and there is none.
    """
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise AvtrainError("--device cuda: torch sees no CUDA device; use --device cpu or auto")
    return torch.device("cuda" if available and name != "cpu" else "cpu")
