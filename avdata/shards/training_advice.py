"""What the verdict columns of a shard set suggest for training."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from avdata.schema import DatasetSpec

MUCH = 0.9
SOME_CLIPPING = 0.001
LATE_S = 0.1
SHORT_S = 1.0
MISSED_SHARE = 0.05
LOSS_DB = 6.0
EXCESS_S = 1.5
HDR_TRANSFERS = ("smpte2084", "arib-std-b67")
"""FFmpeg's names of PQ and HLG."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Concern:
    """A property of clips that may not be wanted in training."""

    column: str
    test: Literal[">=", "<", "is", "beyond", "share", "more", "among"]
    """How a concerned clip compares with `limit`: ``>=``, ``<``, ``is``, ``beyond`` (either sign)
    or ``share`` (more than this part of `duration_s`). Clips without a value are kept where it is
    ``more`` (than `limit`) or ``among`` (`texts`)."""
    limit: float
    finding: str
    """Of the clips: "are silent for 90 % or more"."""
    means: str
    """What training makes of them."""
    texts: tuple[str, ...] = ()
    """Values of a concerned clip, for ``among``."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that the test needs."""
        return (self.column, "duration_s") if self.test == "share" else (self.column,)

    @property
    def keeps_missing(self) -> bool:
        """Whether `where` keeps the clips without a value: `not` does, a comparison does not."""
        return self.test in ("is", "more", "among")


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


_MISSING_PARTS = (
    Concern(
        column="audio_gap_s",
        test="share",
        limit=MISSED_SHARE,
        finding=f"miss more than {100 * MISSED_SHARE:g} % of their audio",
        means="silence stands for the missing parts",
    ),
    Concern(
        column="frame_gap_s",
        test="share",
        limit=MISSED_SHARE,
        finding=f"miss more than {100 * MISSED_SHARE:g} % of their frames",
        means="the frame before stands for the missing ones",
    ),
    Concern(
        column="num_corrupt_frames",
        test="more",
        limit=0,
        finding="have frames that the decoder flags as corrupt or concealed",
        means="they show damage that the world does not",
    ),
    Concern(
        column="num_dropped_frames",
        test="more",
        limit=0,
        finding="have frames that could not be placed in time",
        means="motion jumps where they are left out",
    ),
    Concern(
        column="excess_s",
        test="more",
        limit=EXCESS_S,
        finding=f"are from files cut {EXCESS_S:g} s or more too long",
        means="clips.longer_than_listed chose their seconds, the label may be about others",
    ),
)

_ODD_FORMS = (
    Concern(
        column="mono_loss_db",
        test="more",
        limit=LOSS_DB,
        finding=f"lose more than {LOSS_DB:g} dB when their channels are mixed",
        means="the channels cancel each other; a build with audio.mono=louder takes one of them",
    ),
    Concern(
        column="num_audio_forms",
        test="more",
        limit=1,
        finding="change the sample rate or the channels of their audio on the way",
        means="bandwidth and level may change with it",
    ),
    Concern(
        column="interlaced",
        test="is",
        limit=1,
        finding="are interlaced",
        means="moving edges look like combs",
    ),
    Concern(
        column="frame_clock",
        test="among",
        limit=0,
        texts=("rate",),
        finding="state no times of their frames",
        means="the stated rate stands for them, and sync may drift",
    ),
)

_HDR = Concern(
    column="color_transfer",
    test="among",
    limit=0,
    texts=HDR_TRANSFERS,
    finding="are coded for HDR displays (PQ or HLG)",
    means="they look gray and washed out: build them with video.tone_map=hable",
)


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
        *_MISSING_PARTS,
        *_ODD_FORMS,
    ]
    if spec.video is not None and spec.video.tone_map == "none":
        form = " and video.codec=jpeg or h264" if spec.video.codec == "copy" else ""
        found.append(replace(_HDR, means=f"{_HDR.means}{form}"))
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
    return tuple(found)


def advised_columns(spec: DatasetSpec) -> tuple[str, ...]:
    """Columns that `advise` needs, each once."""
    return tuple(dict.fromkeys(name for concern in concerns(spec) for name in concern.columns))


def advise(table: Any, spec: DatasetSpec) -> tuple[Advice, ...]:
    """One piece of advice for each concern that some clip of a manifest gives.

    `table` holds at least `advised_columns(spec)`.
    """
    found = (_advice(concern, table) for concern in concerns(spec))
    return tuple(advice for advice in found if advice is not None)


def _advice(concern: Concern, table: Any) -> Advice | None:
    column = table[concern.column]
    there = np.asarray(pc.is_valid(column).to_numpy())
    count = int(np.count_nonzero(_concerned(concern, table)))
    if not count:
        return None
    num_missing = 0 if concern.keeps_missing else int(np.count_nonzero(~there))
    num_left = len(column) - num_missing - count
    return Advice(
        column=concern.column,
        num_clips=count,
        num_missing=num_missing,
        text=f"{count} of {len(column)} clips {concern.finding}",
        means=concern.means,
        where=_where(concern) if num_left else None,
    )


def _concerned(concern: Concern, table: Any) -> np.ndarray:
    """bool (rows,): the clips that give the concern; those without a value do not."""
    column = table[concern.column]
    if concern.test == "among":
        among = pc.is_in(column, value_set=pa.array(concern.texts))
        return np.asarray(among.to_numpy(zero_copy_only=False), bool)
    values, limit = _numbers(column), concern.limit
    if concern.test == "share":
        return np.asarray(values > limit * _numbers(table["duration_s"]))
    tests: dict[str, np.ndarray] = {  # NaN is in no comparison
        ">=": values >= limit,
        "<": values < limit,
        "is": values == limit,
        "beyond": np.abs(values) > limit,
        "more": values > limit,
    }
    return tests[concern.test]


def _numbers(column: Any) -> np.ndarray:
    """float64 values, NaN where there is none."""
    if pa.types.is_boolean(column.type):
        column = pc.cast(column, pa.int8())
    return np.asarray(pc.cast(column, pa.float64()).to_numpy(), np.float64)


def _where(concern: Concern) -> str:
    name, limit = concern.column, f"{concern.limit:g}"
    return {
        "share": f"{name} <= {limit} * duration_s",
        "more": f"not {name} > {limit}",
        "among": f"not {name} in {concern.texts!r}",
        ">=": f"{name} < {limit}",
        "<": f"{name} >= {limit}",
        "is": f"not {name}",
        "beyond": f"{name} >= -{limit} and {name} <= {limit}",
    }[concern.test]
