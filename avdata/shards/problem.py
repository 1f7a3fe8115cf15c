"""One thing that is wrong with a shard set."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A fact of the disk that contradicts what the set promises."""

    where: str
    """File, and where it applies sample or member."""
    seen: str
    expected: str

    def __str__(self) -> str:
        return f"{self.where}: {self.seen}; expected {self.expected}"
