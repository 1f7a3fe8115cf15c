"""Which part of a medium becomes the clip, where it does not hold all that was wanted.

::

    listed span        [......................................)
    sound                 |=================|                       claims to go on to here  |
    pictures         |=============================================|
    both hold             |=================|
    shorten               [-----------------)
    pad                [..-----------------...................)
    reject             not_covered; and truncated, as the sound breaks off before its header says
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from avdata.decode.packets import Span
from avdata.errors import FailureReason, MediaError
from avdata.schema import ClipsSpec

SLACK_S = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class Held:
    """What a stream holds around the span, on the media clock."""

    name: str
    """As a message calls it."""
    start_s: float
    end_s: float
    claimed_end_s: float | None
    """Where its header says it ends."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipSpan:
    """The clip, on the media clock."""

    start_s: float
    end_s: float
    wanted_s: float
    """Length of what was wanted."""
    coverage: float
    padded_start_s: float
    padded_end_s: float
    truncated: bool


def clip_span(
    span: Span,
    held: Sequence[Held],
    clips: ClipsSpec,
    *,
    claimed_end_s: float | None = None,
    read_error: str | None = None,
) -> ClipSpan:
    """The clip that `clips` makes of what the wanted streams hold.

    Where the listing names no start or no end, all is wanted that the streams claim to hold
    together.

    Args:
        span: What is wanted.
        held: What the wanted streams hold.
        clips: What is done where these differ.
        claimed_end_s: Where the header says that the longest of the streams ends.
        read_error: Why reading stopped before the end, if it did.

    Raises:
        MediaError: OUTSIDE_MEDIA, TRUNCATED or NOT_COVERED.
    """
    held = _with_claim(held, claimed_end_s, span.end_s, clips.tolerance_s)
    start_s = max(span.start_s, *(h.start_s for h in held))
    end_s = min(span.end_s, *(h.end_s for h in held))
    if start_s >= end_s:
        raise MediaError(FailureReason.OUTSIDE_MEDIA, _nothing(span, held))
    wanted_start_s = span.start_s if span.start_is_listed else start_s
    wanted_end_s = span.end_s
    if math.isinf(wanted_end_s):
        wanted_end_s = min(max(h.end_s, h.claimed_end_s or h.end_s) for h in held)
    truncated = _breaks_off(held, wanted_end_s, clips.tolerance_s, read_error)
    if truncated is not None and clips.truncated == "reject":
        raise MediaError(
            FailureReason.TRUNCATED, f"{truncated}; clips.truncated='accept' takes such media"
        )
    wanted_s = wanted_end_s - wanted_start_s
    coverage = min((end_s - start_s) / wanted_s, 1.0)
    missing_s = (start_s - wanted_start_s, wanted_end_s - end_s)
    covered = max(missing_s) <= clips.tolerance_s + SLACK_S
    if not covered and (clips.uncovered == "reject" or coverage < clips.min_coverage):
        allowed = (
            f"clips.tolerance_s={clips.tolerance_s}, clips.uncovered='reject'"
            if clips.uncovered == "reject"
            else f"clips.min_coverage={clips.min_coverage}"
        )
        raise MediaError(
            FailureReason.NOT_COVERED,
            f"{end_s - start_s:.3f} s of the {wanted_s:.3f} s wanted are there "
            f"({missing_s[0]:.3f} s are missing at the start, {missing_s[1]:.3f} s at the end); "
            f"{allowed}",
        )
    if clips.uncovered == "pad":
        return ClipSpan(
            start_s=wanted_start_s,
            end_s=wanted_end_s,
            wanted_s=wanted_s,
            coverage=coverage,
            padded_start_s=missing_s[0],
            padded_end_s=missing_s[1],
            truncated=truncated is not None,
        )
    return ClipSpan(
        start_s=start_s,
        end_s=end_s,
        wanted_s=wanted_s,
        coverage=coverage,
        padded_start_s=0.0,
        padded_end_s=0.0,
        truncated=truncated is not None,
    )


def _with_claim(
    held: Sequence[Held], claimed_end_s: float | None, read_until_s: float, tolerance_s: float
) -> Sequence[Held]:
    """A claim that no stream lives up to, as far as it was read, is broken by all; else it is kept.

    Which stream is the longest is not known from a span: one that lasts for it may be.
    """
    if claimed_end_s is None:
        return held
    if max(h.end_s for h in held) >= min(claimed_end_s, read_until_s) - tolerance_s:
        return held
    return [replace(h, claimed_end_s=claimed_end_s) for h in held]


def _breaks_off(
    held: Sequence[Held], wanted_end_s: float, tolerance_s: float, read_error: str | None
) -> str | None:
    """How the medium ends too early for the span; None when it does not."""
    for stream in held:
        missing_s = min(stream.claimed_end_s or stream.end_s, wanted_end_s) - stream.end_s
        if missing_s > tolerance_s + SLACK_S:
            return (
                f"{stream.name} break off at {stream.end_s:.3f} s, and their header says "
                f"{stream.claimed_end_s:.3f} s"
            )
        if read_error is not None and wanted_end_s - stream.end_s > tolerance_s + SLACK_S:
            return f"{stream.name} break off at {stream.end_s:.3f} s: {read_error}"
    return None


def _nothing(span: Span, held: Sequence[Held]) -> str:
    end = "its end" if math.isinf(span.end_s) else f"{span.end_s:.3f} s"
    seen = ", ".join(f"{h.name} last from {h.start_s:.3f} to {h.end_s:.3f} s" for h in held)
    return f"nothing to store from {span.start_s:.3f} s to {end} of the medium: {seen}"
