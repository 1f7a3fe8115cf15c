"""What the verdict columns of a shard set suggest for training."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from avdata.schema import DatasetSpec

MUCH = 0.9
SOME_CLIPPING = 0.001
LATE_S = 0.1
SHORT_S = 1.0
HIGH_DYNAMIC_RANGE = ("smpte2084", "arib-std-b67")
"""FFmpeg's names of the transfers PQ and HLG."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Concern:
    """A property of clips that may not be wanted in training."""

    column: str
    test: str
    """How a concerned clip compares with `limit`: ``>=``, ``<``, ``is``, ``beyond`` (either sign)
    or, for a column of text, ``in``."""
    limit: float | tuple[str, ...]
    finding: str
    """Of the clips: "are silent for 90 % or more"."""
    means: str
    """What training makes of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Advice:
    """A concern that some clips of a set give."""

    column: str
    num_clips: int
    num_missing: int
    """Clips without a value of the column that `where` leaves out too."""
    text: str
    means: str
    where: str | None
    """The clips without this concern, as an expression for `--where`; None when it leaves none."""


def concerns(spec: DatasetSpec) -> tuple[Concern, ...]:
    """What is looked for in a set of this spec."""
    found = [
        Concern(
            column="sound_missing",
            test="is",
            limit=1,
            finding="have no sound that can be heard",
            means="they pair a picture with nothing",
        ),
        Concern(
            column="silence_fraction",
            test=">=",
            limit=MUCH,
            finding=f"are silent for {100 * MUCH:g} % or more",
            means="most windows cut from them have no sound to learn from",
        ),
        Concern(
            column="clipping_fraction",
            test=">=",
            limit=SOME_CLIPPING,
            finding=f"have {100 * SOME_CLIPPING:g} % or more of their sound at full scale",
            means="distortion is heard as a property of the class",
        ),
        Concern(
            column="dual_mono",
            test="is",
            limit=1,
            finding="have the same sound in both channels",
            means="nothing about space can be learned from them",
        ),
        Concern(
            column="still_fraction",
            test=">=",
            limit=MUCH,
            finding=f"stand still for {100 * MUCH:g} % or more",
            means="slides and covers show nothing that sounds",
        ),
        Concern(
            column="black_fraction",
            test=">=",
            limit=0.5,
            finding="are black for half of the time or more",
            means="most windows cut from them show nothing",
        ),
        Concern(
            column="av_offset_s",
            test="beyond",
            limit=LATE_S,
            finding=f"have streams that start more than {1000 * LATE_S:g} ms apart",
            means="sync is kept by the clock, but the start of one stream is missing",
        ),
        Concern(
            column="coverage",
            test="<",
            limit=MUCH,
            finding=f"hold less than {100 * MUCH:g} % of the listed span",
            means="the label may be about the part that is missing",
        ),
        Concern(
            column="effective_duration_s",
            test="<",
            limit=SHORT_S,
            finding=f"have less than {SHORT_S:g} s that is neither silent nor black",
            means="a training window hardly fits into them",
        ),
    ]
    if spec.video is not None and spec.video.fps != "native":
        found.append(
            Concern(
                column="native_fps",
                test="<",
                limit=round(0.99 * spec.video.fps, 4),  # 23.976 is not fewer than 24
                finding=f"had fewer pictures a second than the {spec.video.fps:g} stored",
                means="some stored frames repeat the one before",
            )
        )
    if spec.video is not None and spec.video.tone_map == "none":
        form = " and video.codec=jpeg or h264" if spec.video.codec == "copy" else ""
        found.append(
            Concern(
                column="color_transfer",
                test="in",
                limit=HIGH_DYNAMIC_RANGE,
                finding="are PQ or HLG (HDR), stored as they were coded",
                means="their frames look gray and washed out next to others: build them with "
                f"video.tone_map=hable{form}",
            )
        )
    return tuple(found)


def advise(table: Any, spec: DatasetSpec) -> tuple[Advice, ...]:
    """One piece of advice for each concern that some clip of a manifest gives.

    `table` holds at least the columns of `concerns(spec)`.
    """
    found = (_advice(concern, table[concern.column]) for concern in concerns(spec))
    return tuple(advice for advice in found if advice is not None)


def _advice(concern: Concern, column: Any) -> Advice | None:
    if isinstance(concern.limit, tuple):
        return _advice_on_names(concern, concern.limit, column)
    known = column.drop_null()
    if pa.types.is_boolean(column.type):
        known = pc.cast(known, pa.int8())
    values = np.asarray(known.to_numpy(), np.float64)
    count = int(np.count_nonzero(_concerned(values, concern.test, concern.limit)))
    if not count:
        return None
    # `not` keeps the clips without a value, a comparison does not
    num_missing = 0 if concern.test == "is" else len(column) - len(values)
    num_left = len(column) - num_missing - count
    return Advice(
        column=concern.column,
        num_clips=count,
        num_missing=num_missing,
        text=f"{count} of {len(column)} clips {concern.finding}",
        means=concern.means,
        where=_where(concern) if num_left else None,
    )


def _advice_on_names(concern: Concern, names: tuple[str, ...], column: Any) -> Advice | None:
    count = pc.sum(pc.is_in(column, value_set=pa.array(names, pa.string()))).as_py() or 0
    if not count:
        return None
    return Advice(
        column=concern.column,
        num_clips=count,
        num_missing=0,
        text=f"{count} of {len(column)} clips {concern.finding}",
        means=concern.means,
        where=_where(concern) if count < len(column) else None,
    )


def _concerned(values: np.ndarray, test: str, limit: float) -> np.ndarray:
    tests: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
        ">=": operator.ge,
        "<": operator.lt,
        "is": operator.eq,
        "beyond": lambda all_values, limit: np.abs(all_values) > limit,
    }
    return tests[test](values, limit)


def _where(concern: Concern) -> str:
    name = concern.column
    if isinstance(concern.limit, tuple):
        return f"not ({name} in {concern.limit})"
    limit = f"{concern.limit:g}"
    return {
        ">=": f"{name} < {limit}",
        "<": f"{name} >= {limit}",
        "is": f"not {name}",
        "beyond": f"{name} >= -{limit} and {name} <= {limit}",
    }[concern.test]
