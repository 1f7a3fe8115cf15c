"""The trainings of the study: one row each, by name. What they share stands in the recipe."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from avdata import read_recipe

RECIPE = Path(__file__).with_name("instance_discrimination.toml")

SetName = Literal["clean", "swapped", "twins"]
MethodName = Literal["avid", "cma", "robust-xid"]

OTHER_SECTIONS = ("cma", "robust_xid")
"""Of methods that the recipe may say more about."""

XID = ("robust_xid.criterion.weighting=false", 'robust_xid.criterion.targets="none"')
WEIGHTED = ('robust_xid.criterion.targets="none"', "robust_xid.warmup_share=0.5")
SOFT = ("robust_xid.criterion.weighting=false", "robust_xid.warmup_share=0.5")


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedRun:
    """One training, but for its seed."""

    name: str
    part: str
    """Letter of the claims that need it."""
    shards: SetName
    method: MethodName
    settings: tuple[str, ...] = ()
    """Beside those of the recipe, as for `avtrain fit --set`."""
    init: str | None = None
    """Run of the same seed that it starts from."""
    share: float = 1.0
    """Of the steps of a run."""


EARLY = 1 / 3
"""Share of the runs of CMA: after whole ones AVID is at 99 % here, and nothing can be added."""


def _mode(name: str) -> PlannedRun:
    settings = (f'avid.criterion.mode="{name}"',)
    return PlannedRun(name=name, part="a", shards="clean", method="avid", settings=settings)


PLANNED_RUNS = (
    _mode("cross"),
    _mode("joint"),
    _mode("self"),
    PlannedRun(name="cross-early", part="b", shards="clean", method="avid", share=EARLY),
    PlannedRun(
        name="cross-longer",
        part="b",
        shards="clean",
        method="avid",
        init="cross-early",
        share=EARLY,
    ),
    PlannedRun(
        name="cma",
        part="b",
        shards="clean",
        method="cma",
        settings=("cma.criterion.num_positives=16", "cma.criterion.resample_epochs=5"),
        init="cross-early",
        share=EARLY,
    ),
    PlannedRun(name="xid-swapped", part="ce", shards="swapped", method="robust-xid", settings=XID),
    PlannedRun(
        name="weighted-swapped", part="c", shards="swapped", method="robust-xid", settings=WEIGHTED
    ),
    PlannedRun(name="xid-twins", part="d", shards="twins", method="robust-xid", settings=XID),
    PlannedRun(name="soft-twins", part="d", shards="twins", method="robust-xid", settings=SOFT),
    PlannedRun(
        name="robust-swapped",
        part="e",
        shards="swapped",
        method="robust-xid",
        settings=("robust_xid.warmup_share=0.5",),
    ),
    PlannedRun(
        name="robust-cold-swapped",
        part="e",
        shards="swapped",
        method="robust-xid",
        settings=("robust_xid.warmup_share=0.0",),
    ),
)


def runs_of_parts(parts: str) -> tuple[PlannedRun, ...]:
    """The runs that the claims with these letters need, in an order that may be trained in."""
    return tuple(run for run in PLANNED_RUNS if set(run.part) & set(parts))


def recipe_settings(method: MethodName) -> tuple[str, ...]:
    """The recipe's `[fit]` as `--set` of one method: what stands under avid is of all methods."""
    section = method.replace("-", "_")
    settings = []
    for path, value in _leaves(read_recipe(RECIPE, "fit")):
        names = path.split(".")
        if names[0] in OTHER_SECTIONS and names[0] != section:
            continue
        if names[0] == "avid":
            names[0] = section
        text = f'"{value}"' if isinstance(value, str) else str(value).lower()
        settings.append(f"{'.'.join(names)}={text}")
    return tuple(settings)


def _leaves(table: dict[str, object], prefix: str = "") -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for name, value in table.items():
        if isinstance(value, dict):
            found += _leaves(value, f"{prefix}{name}.")
        else:
            found.append((prefix + name, value))
    return found
