"""The classes of objects: how each looks and how it sounds, one row a class."""

from dataclasses import dataclass
from typing import Literal

Shape = Literal[
    "disc", "square", "triangle", "star", "cross", "ring", "diamond", "bar", "hexagon", "chevron",
    "gear", "ell",
]  # fmt: skip
Texture = Literal["plain", "stripes", "dots", "checks", "bands", "spokes"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Timbre:
    """A struck body as a sum of decaying partials and a burst of noise."""

    ratios: tuple[float, ...]
    """Frequencies of the partials over the pitch."""
    amplitudes: tuple[float, ...]
    decay_s: float
    """Time constant of the lowest partial."""
    damping: float = 0.5
    """Partial of ratio r decays in ``decay_s / r**damping``."""
    hold_s: float = 0.0
    """Sustain before the decay starts."""
    glide: float = 0.0
    """Relative excess of the pitch at the onset; it falls away within 40 ms."""
    tremolo_hz: float = 0.0
    noise: float = 0.0
    """RMS of the noise burst over that of the partials."""
    noise_ratio: float = 4.0
    """Center of the noise band over the pitch."""
    noise_decay_s: float = 0.01
    transpose: float = 1.0
    """Factor on the pitch that the size of the object gives."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectClass:
    """What all objects of a class share."""

    name: Shape
    """Also the shape and the label."""
    texture: Texture
    timbre: Timbre


OBJECT_CLASSES: tuple[ObjectClass, ...] = (
    ObjectClass(
        name="disc",
        texture="bands",
        timbre=Timbre(  # drum: modes of a round membrane, falling pitch
            ratios=(1.0, 1.593, 2.136, 2.653, 2.918),
            amplitudes=(1.0, 0.6, 0.4, 0.25, 0.2),
            decay_s=0.11, glide=0.6, noise=0.25, noise_ratio=3.0, transpose=0.5,
        ),
    ),
    ObjectClass(
        name="square",
        texture="stripes",
        timbre=Timbre(  # wood block: short, with a knock
            ratios=(1.0, 2.57, 4.11), amplitudes=(1.0, 0.5, 0.3),
            decay_s=0.035, noise=0.2, noise_ratio=5.0, noise_decay_s=0.006, transpose=1.3,
        ),
    ),
    ObjectClass(
        name="triangle",
        texture="plain",
        timbre=Timbre(  # glass: few, wide, long partials
            ratios=(1.0, 2.32, 4.25, 6.63, 9.38), amplitudes=(1.0, 0.8, 0.6, 0.45, 0.3),
            decay_s=0.28, damping=0.2, transpose=1.6,
        ),
    ),
    ObjectClass(
        name="star",
        texture="dots",
        timbre=Timbre(  # bell: dense inharmonic partials with a hum note
            ratios=(0.5, 1.0, 1.183, 1.506, 2.0, 2.514, 3.01, 4.166, 5.43),
            amplitudes=(0.5, 1.0, 0.8, 0.6, 0.9, 0.5, 0.5, 0.35, 0.3),
            decay_s=0.28, damping=0.4,
        ),
    ),
    ObjectClass(
        name="cross",
        texture="plain",
        timbre=Timbre(  # reed: odd harmonics, held and then cut
            ratios=(1.0, 3.0, 5.0, 7.0, 9.0, 11.0), amplitudes=(1.0, 0.7, 0.6, 0.5, 0.4, 0.3),
            decay_s=0.02, damping=0.0, hold_s=0.12,
        ),
    ),
    ObjectClass(
        name="ring",
        texture="spokes",
        timbre=Timbre(  # rattle: noise bands, chopped
            ratios=(1.0,), amplitudes=(0.15,), decay_s=0.05, tremolo_hz=38.0,
            noise=6.0, noise_ratio=5.0, noise_decay_s=0.09,
        ),
    ),
    ObjectClass(
        name="diamond",
        texture="checks",
        timbre=Timbre(  # plucked string: all harmonics
            ratios=tuple(float(k) for k in range(1, 13)),
            amplitudes=tuple(1 / k**0.6 for k in range(1, 13)),
            decay_s=0.22, damping=0.7, noise=0.08, noise_ratio=8.0,
        ),
    ),
    ObjectClass(
        name="bar",
        texture="bands",
        timbre=Timbre(  # marimba: fundamental and two octaves above
            ratios=(1.0, 3.93, 9.4), amplitudes=(1.0, 0.28, 0.1), decay_s=0.18, damping=0.8,
            noise=0.05, noise_ratio=2.0, noise_decay_s=0.004,
        ),
    ),
    ObjectClass(
        name="hexagon",
        texture="dots",
        timbre=Timbre(  # siren: pitch rises to its place, trembling
            ratios=(1.0, 2.0, 3.0, 4.0), amplitudes=(1.0, 0.5, 0.35, 0.2), decay_s=0.15,
            damping=0.0, hold_s=0.08, glide=-0.6, tremolo_hz=22.0,
        ),
    ),
    ObjectClass(
        name="chevron",
        texture="stripes",
        timbre=Timbre(  # clap: one broad burst
            ratios=(1.0,), amplitudes=(0.05,), decay_s=0.02, noise=9.0, noise_ratio=2.5,
            noise_decay_s=0.022,
        ),
    ),
    ObjectClass(
        name="gear",
        texture="plain",
        timbre=Timbre(  # anvil: close pairs that beat
            ratios=(1.0, 1.04, 2.71, 2.79, 5.15, 5.3, 8.43),
            amplitudes=(0.8, 0.8, 0.8, 0.7, 0.7, 0.6, 0.5),
            decay_s=0.16, damping=0.1, noise=0.2, noise_ratio=9.0, transpose=1.2,
        ),
    ),
    ObjectClass(
        name="ell",
        texture="checks",
        timbre=Timbre(  # pipe: even octaves, held, breathy
            ratios=(1.0, 2.0, 4.0), amplitudes=(1.0, 0.4, 0.15), decay_s=0.05, damping=0.0,
            hold_s=0.2, noise=0.15, noise_ratio=6.0, noise_decay_s=0.15,
        ),
    ),
)  # fmt: skip
"""A class's position is its index; a set of n classes uses the first n."""
