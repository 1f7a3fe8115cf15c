"""Rhythms and paths: when an object strikes, and how it moves from strike to strike.

A path is a chain of arcs. Between contact k and contact k + 1, u runs from 0 to 1::

    position(u) = (1 - u) * point[k] + u * point[k + 1] + 4 * u * (1 - u) * lift[k]

so that hops (lift against gravity), hammers (equal points, lift off the anvil) and flights from
wall to wall (no lift) are one thing, and the object is at its contact exactly when it strikes.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
MotionKind = Literal["hop", "hammer", "flight"]
MOTION_KINDS: tuple[MotionKind, ...] = ("hop", "hammer", "flight")
SHORTEST_INTERVAL_S = 0.18
"""Shorter intervals would let one flash run into the next."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """Where the centers of objects may be, in pixels of the still camera."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Surface:
    """A line that an object lands on, in pixels of the still camera."""

    x0_px: float
    y0_px: float
    x1_px: float
    y1_px: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False, repr=False)
class Path:
    """Where an object is at any time from its first to its last contact."""

    contact_times_s: Floats
    """Strictly increasing, shape (k,); the first is before 0, the last after the clip's end."""
    points_px: Floats
    """Center at each contact, shape (k, 2), x before y."""
    lifts_px: Floats
    """Height and direction of the arc after each contact, shape (k, 2)."""
    normals: Floats
    """Unit vector from the surface to the object at each contact, shape (k, 2)."""
    tilt_rad: float
    tilt_hz: float
    """The object rocks by this much, this often."""
    surface: Surface | None

    def __repr__(self) -> str:
        return f"Path({len(self.contact_times_s)} contacts)"

    def position_px(self, times_s: Floats) -> Floats:
        """Centers at `times_s`, shape (t, 2)."""
        last = len(self.contact_times_s) - 2
        k = np.clip(np.searchsorted(self.contact_times_s, times_s, side="right") - 1, 0, last)
        start_s, end_s = self.contact_times_s[k], self.contact_times_s[k + 1]
        u = ((times_s - start_s) / (end_s - start_s))[:, None]
        straight = (1 - u) * self.points_px[k] + u * self.points_px[k + 1]
        return np.asarray(straight + 4 * u * (1 - u) * self.lifts_px[k])


def sample_contact_times(
    rng: np.random.Generator, *, duration_s: float, strikes_hz: float
) -> Floats:
    """Times of contacts in a rhythm that repeats, from before 0 to after `duration_s`."""
    cell = rng.choice([0.5, 0.75, 1.0, 1.0, 1.5, 2.0], size=int(rng.integers(2, 5)))
    cell = cell / cell.mean() / strikes_hz
    num_intervals = int((duration_s + 4.0) / cell.mean()) + 2 * len(cell)
    intervals = np.tile(cell, num_intervals // len(cell) + 1)
    intervals = intervals * rng.uniform(0.97, 1.03, len(intervals))
    times = np.cumsum(np.maximum(intervals, SHORTEST_INTERVAL_S)) - rng.uniform(1.0, 2.0)
    before = max(0, int(np.searchsorted(times, 0.0)) - 1)
    after = int(np.searchsorted(times, duration_s, side="right")) + 1
    times = times[before:after]
    return np.asarray(np.concatenate([[-0.7], times]) if times[0] >= 0 else times)


def sample_path(
    rng: np.random.Generator,
    contact_times_s: Floats,
    *,
    kind: MotionKind,
    box: Box,
    radius_px: float,
) -> Path:
    """A path of `kind` whose centers stay inside `box` and which touches at `contact_times_s`."""
    build = {"hop": _hop, "hammer": _hammer, "flight": _flight}[kind]
    points, lifts, normals, surface = build(rng, np.diff(contact_times_s), box, radius_px)
    return Path(
        contact_times_s=contact_times_s,
        points_px=points,
        lifts_px=lifts,
        normals=normals,
        tilt_rad=float(rng.uniform(0.0, 0.25)),
        tilt_hz=float(rng.uniform(0.2, 0.8)),
        surface=surface,
    )


Arcs = tuple[Floats, Floats, Floats, Surface | None]


def _hop(rng: np.random.Generator, intervals_s: Floats, box: Box, radius_px: float) -> Arcs:
    height = box.bottom - box.top
    floor_y = rng.uniform(box.top + 0.5 * height, box.bottom)
    room = floor_y - box.top
    gravity = 8.0 * room * rng.uniform(0.6, 1.0) / np.quantile(intervals_s, 0.9) ** 2
    lift = np.minimum(gravity * intervals_s**2 / 8.0, room)
    span = rng.uniform(0.15, 0.7) * (box.right - box.left)
    left = rng.uniform(box.left, box.right - span)
    steps = rng.uniform(0.1, 0.45) * span * rng.uniform(0.5, 1.0, len(intervals_s))
    walk = rng.uniform(0.0, span) + np.concatenate([[0.0], np.cumsum(steps)])
    x = left + np.abs((walk % (2 * span)) - span)  # a walk to and fro
    k = len(x)
    points = np.stack([x, np.full(k, floor_y)], axis=1)
    lifts = np.stack([np.zeros(k), -np.append(lift, 0.0)], axis=1)
    normals = np.tile([0.0, -1.0], (k, 1))
    y = floor_y + radius_px
    surface = Surface(x0_px=left - radius_px, y0_px=y, x1_px=left + span + radius_px, y1_px=y)
    return points, lifts, normals, surface


def _hammer(rng: np.random.Generator, intervals_s: Floats, box: Box, radius_px: float) -> Arcs:
    angle = rng.uniform(0.0, 2 * np.pi)
    normal = np.array([np.cos(angle), np.sin(angle)])
    reach = 0.4 * min(box.right - box.left, box.bottom - box.top)
    swing = reach * rng.uniform(0.6, 1.0)
    low = np.array([box.left, box.top]) - np.minimum(swing * normal, 0.0)
    high = np.array([box.right, box.bottom]) - np.maximum(swing * normal, 0.0)
    anvil = rng.uniform(low, high)
    k = len(intervals_s) + 1
    amplitude = swing * np.clip(intervals_s / np.quantile(intervals_s, 0.9), 0.35, 1.0)
    lifts = np.append(amplitude, 0.0)[:, None] * normal
    along = np.array([-normal[1], normal[0]]) * 1.3 * radius_px
    foot = anvil - radius_px * normal
    surface = Surface(
        x0_px=float(foot[0] - along[0]),
        y0_px=float(foot[1] - along[1]),
        x1_px=float(foot[0] + along[0]),
        y1_px=float(foot[1] + along[1]),
    )
    return np.tile(anvil, (k, 1)), lifts, np.tile(normal, (k, 1)), surface


def _flight(rng: np.random.Generator, intervals_s: Floats, box: Box, radius_px: float) -> Arcs:
    k = len(intervals_s) + 1
    walls = np.cumsum(rng.integers(1, 4, k)) % 4  # never the same wall twice in a row
    along = rng.uniform(0.1, 0.9, k)
    x = box.left + along * (box.right - box.left)
    y = box.top + along * (box.bottom - box.top)
    x = np.select([walls == 0, walls == 2], [box.left, box.right], x)
    y = np.select([walls == 1, walls == 3], [box.top, box.bottom], y)
    inward = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    return np.stack([x, y], axis=1), np.zeros((k, 2)), inward[walls], None
