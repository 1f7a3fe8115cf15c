"""The lines in which `avdata build` says how it understood a listing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from avdata.sources import ListingColumns


@dataclass(frozen=True, kw_only=True, slots=True)
class ListingReading:
    """The format and the columns by which a listing is read."""

    format: str
    columns: "ListingColumns | None"
    """None for a listing without a header."""
    kept: tuple[str, ...]

    def lines(self, repairs: Mapping[str, int]) -> list[str]:
        """Columns that are read, kept and passed over, and the rows that were repaired."""
        lines = []
        columns = self.columns
        if columns is not None:
            semicolons = ", separated by semicolons" if columns.delimiter == ";" else ""
            lines.append(f"columns used: {', '.join(columns.used_texts)}{semicolons}")
            if self.kept:
                lines.append(f"kept: {', '.join(self.kept)}")
            if passed_over := columns.passed_over(self.kept):
                told = f"passed over: {', '.join(passed_over)}"
                lines.append("; ".join([told, *columns.hints(self.kept)]))
        for what, count in repairs.items():
            lines.append(f"repaired: {count} {'row' if count == 1 else 'rows'}, {what}")
        return lines

    def facts(self, repairs: Mapping[str, int]) -> dict[str, object]:
        """The same for `--json`."""
        facts: dict[str, object] = {"format": self.format, "repairs": dict(repairs)}
        columns = self.columns
        if columns is not None:
            facts["columns"] = {
                "used": {name: columns.names[at] for at, name in sorted(columns.used.items())},
                "kept": list(self.kept),
                "passed_over": list(columns.passed_over(self.kept)),
                "hints": list(columns.hints(self.kept)),
            }
        return facts
