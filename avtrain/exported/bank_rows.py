"""Rows of the authors' memory banks -> rows by source_index of a shard set."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import torch
import torch.nn.functional as F
from torch import Tensor

from avdata import ShardSet
from avtrain.errors import WeightsError

_SPAN = re.compile(r"_\d+_\d+$")
"""`_START_END` behind a video's id, as downloaders write it."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AlignedBanks:
    """Banks whose rows are sources of a shard set."""

    banks: dict[str, Tensor]
    num_rows: int
    num_matched: int
    num_sources: int
    """Sources that have a sample."""


def align_banks(banks: Mapping[str, Tensor], *, names: Path, shards: ShardSet) -> AlignedBanks:
    """Banks in which row i is source i of the set; sources that have none get a random direction.

    A name is a source's where it equals its id, or does without folder, ending and `_START_END`.

    Args:
        names: Text file with the name of each row, one a line.

    Raises:
        WeightsError: The list has another length than the banks, or matches no source.
    """
    rows = _read_names(names)
    for name, bank in banks.items():
        if len(bank) != len(rows):
            raise WeightsError(
                f"{names} has {len(rows)} names and {name} {len(bank)} rows; give the list that "
                "the checkpoint was trained with, one name a line, in its order"
            )
    exact = {name: row for row, name in enumerate(rows)}
    by_id = _unique_ids(rows)
    table = shards.manifest
    own = zip(table["source_index"].to_pylist(), table["source_id"].to_pylist(), strict=True)
    sources: dict[int, str] = dict(own)
    target, origin = [], []
    for index, source_id in sources.items():
        row = exact.get(source_id, by_id.get(source_id, by_id.get(video_id_of(source_id))))
        if row is not None:
            target.append(index)
            origin.append(row)
    if not target:
        raise WeightsError(
            f"none of the {len(sources)} sources of {shards.location} is among the {len(rows)} "
            f"names of {names}: they look like {next(iter(sources.values()))!r} and {rows[0]!r}"
        )
    num_rows = shards.spec.num_sources
    generator = torch.Generator().manual_seed(0)
    aligned = {}
    for name in sorted(banks):
        fresh = torch.randn(num_rows, banks[name].shape[1], generator=generator)
        fresh = F.normalize(fresh, dim=1)
        fresh[target] = banks[name][origin].float()
        aligned[name] = fresh
    return AlignedBanks(
        banks=aligned, num_rows=num_rows, num_matched=len(target), num_sources=len(sources)
    )


def video_id_of(name: str) -> str:
    """`class/ID_000030_000040.mp4` -> `ID`: without folder, ending and span."""
    path = PurePosixPath(name)
    media = {".mp4", ".mkv", ".webm", ".avi", ".mov"}
    stem = path.stem if path.suffix.lower() in media else path.name
    return _SPAN.sub("", stem)


def _unique_ids(rows: list[str]) -> dict[str, int]:
    """Row by id, of the ids that name one row only."""
    found: dict[str, int] = {}
    twice: set[str] = set()
    for row, name in enumerate(rows):
        for short in {name, video_id_of(name)}:
            if found.setdefault(short, row) != row:
                twice.add(short)
    return {name: row for name, row in found.items() if name not in twice}


def _read_names(path: Path) -> list[str]:
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"{path} cannot be read as a list of names: {error}") from None
    while lines and not lines[-1].strip():
        lines.pop()
    return [line.strip() for line in lines]
