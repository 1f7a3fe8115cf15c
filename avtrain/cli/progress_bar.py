"""The bar of long evaluations, on standard error."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

_QUIET_S = 10.0


def progress_bar(items: Iterable[Item], *, total: int, description: str) -> Iterator[Item]:
    """The items; on a terminal with a bar that goes when it is over, else a line now and then."""
    from tqdm import tqdm

    lively = sys.stderr.isatty()
    yield from tqdm(
        items,
        total=total,
        desc=description,
        leave=False,
        dynamic_ncols=True,
        delay=0.0 if lively else _QUIET_S,
        mininterval=0.1 if lively else _QUIET_S,
    )
