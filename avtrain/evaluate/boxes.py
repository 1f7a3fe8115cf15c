"""Boxes around what sounds in a picture, and around what is seen and silent."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """A part of a picture; x and y run from 0, left and top, to 1."""

    x0: float
    y0: float
    x1: float
    y1: float
    annotator: str | None = None
    """Who drew it; boxes of several people for one moment are weighed by how many agree."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """What is known of one moment of a sample."""

    time_s: float | None
    """From the start of the sample; None is its middle."""
    sounding: tuple[Box, ...]
    """Around what sounds; at least one."""
    silent: tuple[Box, ...] = ()
    """Around what is seen and makes no sound."""
