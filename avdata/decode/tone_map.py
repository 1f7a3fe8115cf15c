"""Tone mapping: RGB of PQ and HLG to RGB of a standard display."""

from typing import Protocol

import numpy as np

from avdata.picture_color import BT2020_PRIMARIES, HLG, PRIMARIES_XY, TRANSFERS, rgb_to_xyz
from avdata.schema import ToneMap

PQ_NITS, HLG_NITS = 10_000.0, 1000.0
"""Light of signal 1: SMPTE ST 2084; the nominal display of BT.2100 for HLG."""
HLG_GAMMA = 1.2
"""System gamma of that display: BT.2100, table 5."""
REFERENCE_NITS = 100.0
"""Light that a standard display shows as white."""
PEAK_NITS = 1000.0
"""Light that becomes the brightest white; brighter light is cut there."""
DISPLAY_GAMMA = 2.4
"""Gamma of a standard display: ITU-R BT.1886."""
BT709_PRIMARIES = 1


class ToneMapping(Protocol):
    """Maps RGB as coded, float (h, w, 3) in [0, 1], to RGB for a standard display."""

    def __call__(self, signal: np.ndarray, *, transfer: int, primaries: int) -> np.ndarray: ...


def hable(signal: np.ndarray, *, transfer: int, primaries: int) -> np.ndarray:
    """Return RGB of BT.709 for a standard display: float32 (h, w, 3) in [0, 1].

    The steps of FFmpeg's documentation of its filter `tonemap`: linear light in units of 100 cd/m2,
    primaries of BT.709, the largest of R, G and B by Hable's curve with all three scaled alike, and
    the gamma of the display.

    Args:
        signal: RGB as coded, in [0, 1].
        transfer: `AVColorTransferCharacteristic`, PQ or HLG.
        primaries: `AVColorPrimaries`; BT.2020 where none is stated.

    Reference: Hable 2010, "Uncharted 2: HDR Lighting", GDC; FFmpeg, vf_tonemap.c.
    """
    if primaries not in PRIMARIES_XY:
        primaries = BT2020_PRIMARIES
    light = display_light(signal, transfer, primaries) / REFERENCE_NITS
    to_bt709 = np.linalg.solve(rgb_to_xyz(BT709_PRIMARIES), rgb_to_xyz(primaries))
    light = np.maximum(light @ to_bt709.T.astype(np.float32), 0)
    brightest = np.maximum(light.max(-1, keepdims=True), 1e-6)
    mapped = _hable_curve(brightest) / _hable_curve(np.array(PEAK_NITS / REFERENCE_NITS))
    light *= mapped / brightest
    return np.clip(light, 0, 1) ** np.float32(1 / DISPLAY_GAMMA)


def display_light(signal: np.ndarray, transfer: int, primaries: int) -> np.ndarray:
    """Return linear RGB in cd/m2: float32 (h, w, 3)."""
    light = TRANSFERS[transfer].decode(signal).astype(np.float32)
    if transfer != HLG:
        return light * np.float32(PQ_NITS)
    luminance = light @ rgb_to_xyz(primaries)[1].astype(np.float32)
    ootf = np.maximum(luminance, 1e-6)[..., None] ** np.float32(HLG_GAMMA - 1)  # BT.2100, table 5
    return np.asarray(light * ootf * np.float32(HLG_NITS))


def _hable_curve(light: np.ndarray) -> np.ndarray:
    a, b, c, d, e, f = 0.15, 0.50, 0.10, 0.20, 0.02, 0.30
    return np.asarray(
        (light * (light * a + b * c) + d * e) / (light * (light * a + b) + d * f) - e / f
    )


TONE_MAPS: dict[ToneMap, ToneMapping] = {"hable": hable}
"""By `video.tone_map`."""
