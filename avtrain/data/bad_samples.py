"""How many samples that cannot be read a run may leave out before it has to end."""

import logging
from collections.abc import Sequence

from avtrain.data.stream_plan import StreamItem
from avtrain.errors import DataError

logger = logging.getLogger(__name__)

MIN_COUNTED_ITEMS = 1000
"""The share is of at least so many items: a few bad ones early on are no rate yet."""
_LOG_EVERY = 1000
_NUM_SHOWN = 3
_ADVICE = "; run `avdata verify"
"""Of errors about one sample; said once for all of them."""


class BadSampleLimit:
    """Counts the items of one loader, logs those left out, and ends the run when they are many.

    Args:
        max_share: Of the items so far, as in `data.max_bad_share`; 0 allows none.
        keys: Key of each sample.
        where: Name of the shard set, for messages.
    """

    def __init__(self, max_share: float, *, keys: Sequence[str], where: str) -> None:
        self._max_share, self._keys, self._where = max_share, keys, where
        self._first: dict[str, str] = {}
        self.num_items = 0
        """Items so far, bad ones included."""
        self.num_bad = 0
        """Of those, the ones left out."""

    def count_good(self, num_items: int = 1) -> None:
        """Items that were read."""
        self.num_items += num_items

    def count_bad(self, item: StreamItem, error: Exception) -> None:
        """An item that is left out, and why.

        Raises:
            DataError: These are more than the limit allows.
        """
        self.num_items += 1
        self.num_bad += 1
        key = self._keys[item.sample]
        if len(self._first) < _NUM_SHOWN:
            self._first.setdefault(key, str(error).partition(_ADVICE)[0])
        self._check()
        if self.num_bad % _LOG_EVERY == 1:
            logger.warning(
                "sample %s is left out, %d of %d items so far: %s",
                key,
                self.num_bad,
                self.num_items,
                error,
            )

    def _check(self) -> None:
        counted = max(self.num_items, MIN_COUNTED_ITEMS)
        if self.num_bad > self._max_share * counted:
            raise DataError(
                f"{self.num_bad} of the first {self.num_items} items of {self._where} cannot be "
                f"read, data.max_bad_share={self._max_share:g} allows "
                f"{int(self._max_share * counted)}: {self._first_errors()}. Run `avdata verify "
                f"{self._where} --repair`, leave the samples out by --where, or raise "
                "data.max_bad_share"
            )

    def all_bad(self, num_items: int) -> DataError:
        """The error of a batch of which nothing is left."""
        return DataError(
            f"none of the {num_items} items of a batch can be read: {self._first_errors()}; see "
            f"what is damaged with `avdata verify {self._where}`"
        )

    def _first_errors(self) -> str:
        """The first few keys with their errors."""
        return "; ".join(f"{key} ({error})" for key, error in self._first.items())
