"""The bar of long work: lively on a terminal, a line now and then in a log."""

import sys
from typing import Any

from tqdm import tqdm

LOG_INTERVAL_S = 10.0


def clip_bar(total: int, description: str) -> Any:
    """A tqdm bar that counts clips, on standard error."""
    return tqdm(
        total=total,
        desc=description,
        unit="clip",
        smoothing=0.05,
        dynamic_ncols=True,
        mininterval=0.1 if sys.stderr.isatty() else LOG_INTERVAL_S,
    )
