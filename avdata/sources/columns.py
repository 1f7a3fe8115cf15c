"""The columns of a listing with a header: those that are read, kept and passed over."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from avdata.errors import ListingError

SHOWN_COLUMNS = 20

TIME_NAMES = frozenset(
    {"start", "end", "begin", "stop", "onset", "offset", "t_start", "t_end", "from", "to"}
    | {f"{side}_{unit}" for side in ("start", "end") for unit in ("time", "seconds", "sec", "ms")}
    | {f"time_{side}" for side in ("start", "end")}
)
SIMILAR_NAMES: dict[str, frozenset[str]] = {
    "label": frozenset(
        {"class", "class_name", "classname", "class_id", "action", "target", "tag", "tags", "event",
         "category", "caption", "text", "label_name", "y"}
    ),
    "split": frozenset({"subset", "set", "fold", "partition", "phase"}),
    "id": frozenset({"video_id", "youtube_id", "yt_id", "clip_id", "clip", "name", "key", "uid"}),
}  # fmt: skip
"""Names, in lower case, that listings have for what is read under the name before them."""
TYPO_CUTOFF = 0.75


@dataclass(frozen=True, kw_only=True, slots=True)
class ListingColumns:
    """The header of a listing, and what its format makes of it."""

    names: tuple[str, ...]
    """All columns, as the header has them."""
    used: Mapping[int, str]
    """Position of each column that is read -> the name under which it is documented."""
    may_have: tuple[str, ...] = ()
    """Names that the format reads where they are there, used or not."""
    delimiter: str = ""
    """Between the cells of a line; empty for parquet."""

    @property
    def used_texts(self) -> tuple[str, ...]:
        """Columns that are read, with what they are read as where that is another name."""
        return tuple(
            self.names[at] if self.names[at].lower() == name else f"{self.names[at]} (as {name})"
            for at, name in sorted(self.used.items())
        )

    def passed_over(self, kept: Sequence[str] = ()) -> tuple[str, ...]:
        """Columns that are neither read nor `kept`."""
        return tuple(
            name for at, name in enumerate(self.names) if at not in self.used and name not in kept
        )

    def hints(self, kept: Sequence[str] = ()) -> tuple[str, ...]:
        """Hints on what the columns that are passed over may have been meant for."""
        unused = [name for name in self.may_have if name not in self.used.values()]
        hints: list[str] = []
        for name in self.passed_over(kept):
            plain = "_".join(name.lower().split())
            if plain in TIME_NAMES and {"start_s", "end_s"} & set(unused):
                hints.append("times are start_s and end_s")
                continue
            meant = next((m for m in unused if plain in SIMILAR_NAMES.get(m, ())), None)
            near = get_close_matches(plain, unused, n=1, cutoff=TYPO_CUTOFF)
            if meant or near:
                hints.append(f"did you mean {meant or near[0]} for {name}?")
        return tuple(dict.fromkeys(hints))

    def find_kept(self, wanted: Sequence[str]) -> tuple[str, ...]:
        """Names in the header of the columns to keep, which may be given without regard to case.

        Raises:
            ListingError: There is no such column, or more than one.
        """
        return tuple(dict.fromkeys(self._find(name.strip()) for name in wanted))

    def _find(self, wanted: str) -> str:
        found = [name for name in self.names if name == wanted] or [
            name for name in self.names if name.lower() == wanted.lower()
        ]
        if len(found) == 1 and found[0]:
            return found[0]
        if found:
            raise ListingError(
                f"--keep-column {wanted!r}: the listing has {len(found)} columns of that name; "
                "give each its own name"
            )
        more = len(self.names) - SHOWN_COLUMNS
        shown = ", ".join(self.names[:SHOWN_COLUMNS]) + (f" and {more} more" if more > 0 else "")
        near = get_close_matches(wanted, self.names, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ListingError(f"--keep-column {wanted!r}: the listing has columns {shown}{hint}")

    def positions(self, kept: Sequence[str]) -> dict[str, int]:
        """Position of each of the columns `kept`."""
        return {name: self.names.index(name) for name in kept}


def kept_cells(positions: Mapping[str, int], cells: Sequence[str]) -> dict[str, str]:
    """The cells to keep of one row, by column; empty ones are left out."""
    return {name: cell for name, at in positions.items() if (cell := cells[at].strip())}
