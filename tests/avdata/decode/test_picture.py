"""Stored planes mean what the pictures of the medium meant."""

from fractions import Fraction

import av
import numpy as np
import pytest

from avdata.config import LimitsConfig
from avdata.decode.picture import LIMITED_RANGE, PictureScaler

BT709 = 1
WEIGHTS_709, WEIGHTS_601 = (0.2126, 0.0722), (0.299, 0.114)
"""Of red and blue in luma: ITU-R BT.709 and BT.601, item 3 of each."""


def rgb(y: np.ndarray, cb: np.ndarray, cr: np.ndarray, weights: tuple[float, float]) -> np.ndarray:
    kr, kb = weights
    red, blue = y + 2 * (1 - kr) * cr, y + 2 * (1 - kb) * cb
    return np.stack([red, (y - kr * red - kb * blue) / (1 - kr - kb), blue])


@pytest.mark.parametrize("color_range", ["full", "limited"])
def test_bt709_becomes_bt601_as_the_equations_say(color_range: str) -> None:
    rng = np.random.default_rng(0)
    luma, cb, cr = rng.integers(60, 180, (3, 8, 8))
    cb, cr = cb // 4 + 100, cr // 4 + 100
    planes = [np.kron(luma, np.ones((16, 16))), *(np.kron(c, np.ones((8, 8))) for c in (cb, cr))]
    data = np.concatenate([plane.astype(np.uint8).reshape(-1) for plane in planes])
    frame = av.VideoFrame.from_ndarray(data.reshape(192, 128), format="yuv420p")
    frame.colorspace, frame.color_range = BT709, LIMITED_RANGE
    scaler = PictureScaler(
        short_side_px=128,
        pixel_aspect=Fraction(1),
        color_range=color_range,  # type: ignore[arg-type]
        limits=LimitsConfig(),
    )
    stored = scaler.planes(frame)
    middle = slice(8, None, 16), slice(4, None, 8)
    y, u, v = (
        p[m, m].astype(float) for p, m in zip(stored, (middle[0], *middle[1:] * 2), strict=True)
    )
    meant = rgb((luma - 16) / 219, (cb - 128) / 224, (cr - 128) / 224, WEIGHTS_709)
    if color_range == "full":
        seen = rgb(y / 255, (u - 128) / 255, (v - 128) / 255, WEIGHTS_601)
    else:
        seen = rgb((y - 16) / 219, (u - 128) / 224, (v - 128) / 224, WEIGHTS_601)
    assert np.abs(seen - meant).max() * 255 < 3
    assert np.abs(seen - meant).mean() * 255 < 0.8
