"""Stated colors of a frame, and RGB by every matrix that a file may state.

FFmpeg's scaler converts the matrices in `SCALER_MATRICES` and refuses the others; those in
`DECODED_MATRICES` are decoded here, after the frame is scaled, as ITU-T H.273 (2024), section 8.3,
defines them. Any other matrix counts as BT.601.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from av.video.frame import VideoFrame
from av.video.plane import VideoPlane
from av.video.reformatter import Colorspace, VideoReformatter

MATRIX_NAMES = {
    0: "gbr",
    1: "bt709",
    4: "fcc",
    5: "bt470bg",
    6: "smpte170m",
    7: "smpte240m",
    8: "ycgco",
    9: "bt2020nc",
    10: "bt2020c",
    11: "smpte2085",
    12: "chroma-derived-nc",
    13: "chroma-derived-c",
    14: "ictcp",
    15: "ipt-c2",
    16: "ycgco-re",
    17: "ycgco-ro",
}
"""FFmpeg's names of `AVColorSpace`."""
RANGE_NAMES = {1: "tv", 2: "pc"}
"""FFmpeg's names of `AVColorRange`."""
TRANSFER_NAMES = {
    1: "bt709",
    4: "bt470m",
    5: "bt470bg",
    6: "smpte170m",
    7: "smpte240m",
    8: "linear",
    9: "log100",
    10: "log316",
    11: "iec61966-2-4",
    12: "bt1361e",
    13: "iec61966-2-1",
    14: "bt2020-10",
    15: "bt2020-12",
    16: "smpte2084",
    17: "smpte428",
    18: "arib-std-b67",
}
"""FFmpeg's names of `AVColorTransferCharacteristic`."""
PQ, HLG = 16, 18
"""`AVCOL_TRC_SMPTE2084`, `AVCOL_TRC_ARIB_STD_B67`."""
BT2020_PRIMARIES = 9
FULL_RANGE = 2
"""`AVCOL_RANGE_JPEG`."""

SCALER_DEPTH = 8
"""Bits of RGB that FFmpeg's scaler makes YUV of to two levels; it is three off with more."""
SCALER_MATRICES = frozenset({0, 1, 2, 4, 5, 6, 7, 9})
"""`AVColorSpace` of frames that FFmpeg's scaler makes RGB of."""
YCGCO, BT2020_CL, DERIVED_NCL, DERIVED_CL, ICTCP = 8, 10, 12, 13, 14
DECODED_MATRICES = frozenset({YCGCO, BT2020_CL, DERIVED_NCL, DERIVED_CL, ICTCP})

PRIMARIES_XY = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), (0.3127, 0.3290)),
    4: ((0.670, 0.330), (0.210, 0.710), (0.140, 0.080), (0.310, 0.316)),
    5: ((0.640, 0.330), (0.290, 0.600), (0.150, 0.060), (0.3127, 0.3290)),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), (0.3127, 0.3290)),
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), (0.3127, 0.3290)),
    8: ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), (0.310, 0.316)),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), (0.3127, 0.3290)),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.3127, 0.3290)),
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), (0.3127, 0.3290)),
}
"""CIE x and y of red, green, blue and white per `AVColorPrimaries`: H.273, table 2."""

ICTCP_TO_LMS = {
    PQ: np.linalg.inv(
        np.array([[2048, 2048, 0], [6610, -13613, 7003], [17933, -17390, -543]]) / 4096
    ),
    HLG: np.linalg.inv(
        np.array([[2048, 2048, 0], [3625, -7465, 3840], [9500, -9212, -288]]) / 4096
    ),
}
LMS_TO_RGB = np.linalg.inv(np.array([[1688, 2146, 262], [683, 2951, 462], [99, 309, 3688]]) / 4096)
"""Matrix of ITU-R BT.2100, table 7; the RGB has the primaries of BT.2020."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StatedColor:
    """Color properties that a file states, by FFmpeg's names; None where it states none."""

    matrix: str | None
    range: str | None
    transfer: str | None


def stated_color(frame: VideoFrame) -> StatedColor:
    """Return the color properties of a decoded frame."""
    return StatedColor(
        matrix=MATRIX_NAMES.get(frame.colorspace),
        range=RANGE_NAMES.get(frame.color_range),
        transfer=TRANSFER_NAMES.get(frame.color_trc),
    )


def needs_decoding(frame: VideoFrame) -> bool:
    """Return whether FFmpeg's scaler and filters have no exact conversion to BT.601 of a frame."""
    form = frame.format
    if form.is_rgb:
        return form.components[0].bits > SCALER_DEPTH
    return frame.colorspace in DECODED_MATRICES


def scaler_colorspace(frame: VideoFrame) -> Colorspace | None:
    """Return the color space to name to FFmpeg's scaler; None where it accepts the frame's own."""
    matrix = frame.colorspace
    accepted = matrix in SCALER_MATRICES and (matrix != 0 or frame.format.is_rgb)
    return None if accepted else Colorspace.ITU601


def rgb_pixels(
    frame: VideoFrame, reformatter: VideoReformatter, *, width_px: int, height_px: int
) -> np.ndarray:
    """Return uint8 RGB (height_px, width_px, 3), by the matrix and range that the frame states."""
    if frame.colorspace in DECODED_MATRICES and not frame.format.is_rgb:
        signal = rgb_signal(frame, reformatter, width_px=width_px, height_px=height_px)
        return np.round(255 * signal).astype(np.uint8)
    return reformatter.reformat(
        frame,
        width=width_px,
        height=height_px,
        format="rgb24",
        src_colorspace=scaler_colorspace(frame),
        interpolation="AREA",
        threads=1,
    ).to_ndarray()


def rgb_signal(
    frame: VideoFrame, reformatter: VideoReformatter, *, width_px: int, height_px: int
) -> np.ndarray:
    """Return RGB as coded, not linear: float32 (height_px, width_px, 3) in [0, 1]."""
    if frame.format.is_rgb:
        deep = reformatter.reformat(
            frame,
            width=width_px,
            height=height_px,
            format="gbrp16le",
            src_colorspace=scaler_colorspace(frame),
            dst_colorspace=scaler_colorspace(frame),
            interpolation="AREA",
            threads=1,
        )
        green, blue, red = (_samples(plane) / 65535 for plane in deep.planes)
        return np.stack([red, green, blue], -1)
    full = frame.color_range == FULL_RANGE
    deep = reformatter.reformat(
        frame,
        width=width_px,
        height=height_px,
        format="yuv444p16le",
        src_colorspace=Colorspace.ITU601,  # one and the same: the matrix stays
        dst_colorspace=Colorspace.ITU601,
        interpolation="AREA",
        dst_color_range="JPEG" if full else "MPEG",
        threads=1,
    )
    y, u, v = (_samples(plane) for plane in deep.planes)
    black, luma, chroma = (0, 65535, 65535) if full else (16 * 256, 219 * 256, 224 * 256)
    if frame.colorspace == YCGCO:
        chroma = luma  # of RGB that is already in this range: H.273, section 8.3
    y, u, v = (y - black) / luma, (u - 32768) / chroma, (v - 32768) / chroma
    return np.asarray(np.clip(_decode(y, u, v, frame), 0, 1))


def _samples(plane: VideoPlane) -> np.ndarray:
    """Return the 16-bit samples of a plane: float32 (h, w)."""
    lines = np.frombuffer(memoryview(plane), np.dtype("<u2")).reshape(plane.height, -1)
    return lines[:, : plane.width].astype(np.float32)


def _decode(y: np.ndarray, u: np.ndarray, v: np.ndarray, frame: VideoFrame) -> np.ndarray:
    """Return RGB (h, w, 3) of luma in [0, 1] and chroma in [-0.5, 0.5]."""
    matrix = frame.colorspace
    if matrix == YCGCO:  # H.273, MatrixCoefficients 8
        return np.stack([y - u + v, y + u, y - u - v], -1)
    if matrix == ICTCP:
        return _decode_ictcp(y, u, v, frame.color_trc)
    kr, kb = luma_weights(matrix, frame.color_primaries)
    if matrix in (BT2020_CL, DERIVED_CL):
        return _decode_constant_luminance(y, u, v, kr=kr, kb=kb, transfer=frame.color_trc)
    red, blue = y + 2 * (1 - kr) * v, y + 2 * (1 - kb) * u
    return np.stack([red, (y - kr * red - kb * blue) / (1 - kr - kb), blue], -1)


LUMA_WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    BT2020_CL: (0.2627, 0.0593),
}
"""Coefficients of red and blue: H.273, table 4."""


def luma_weights(matrix: int, primaries: int) -> tuple[float, float]:
    """Return the weights of red and blue in luma; those of BT.601 where there are none."""
    if matrix in (DERIVED_NCL, DERIVED_CL) and primaries in PRIMARIES_XY:
        weights = rgb_to_xyz(primaries)[1]
        return float(weights[0]), float(weights[2])
    return LUMA_WEIGHTS.get(matrix, (0.299, 0.114))


def rgb_to_xyz(primaries: int) -> np.ndarray:
    """Return the 3x3 matrix from linear RGB to CIE XYZ with Y = 1 for white."""
    *colors, white = ((x / y, 1.0, (1 - x - y) / y) for x, y in PRIMARIES_XY[primaries])
    columns = np.array(colors).T
    return np.asarray(columns * np.linalg.solve(columns, np.array(white)))


def _decode_constant_luminance(
    y: np.ndarray, u: np.ndarray, v: np.ndarray, *, kr: float, kb: float, transfer: int
) -> np.ndarray:
    """Return RGB of constant-luminance signals: H.273, MatrixCoefficients 10 and 13."""
    curve = TRANSFERS.get(transfer, BT709_TRANSFER)

    def scale(chroma: np.ndarray, weight: float) -> np.ndarray:
        negative = float(curve.encode(np.array(1 - weight)))
        positive = 1 - float(curve.encode(np.array(weight)))
        return np.asarray(np.where(chroma <= 0, 2 * negative, 2 * positive) * chroma)

    blue, red = y + scale(u, kb), y + scale(v, kr)
    linear = [curve.decode(np.clip(signal, 0, 1)) for signal in (y, red, blue)]
    green = (linear[0] - kr * linear[1] - kb * linear[2]) / (1 - kr - kb)
    rgb = np.stack([red, curve.encode(np.clip(green, 0, 1)), blue], -1)
    return np.asarray(rgb, np.float32)


def _decode_ictcp(y: np.ndarray, u: np.ndarray, v: np.ndarray, transfer: int) -> np.ndarray:
    """Return RGB of the ICtCp of BT.2100: with the HLG curve where that is stated, else PQ."""
    transfer = HLG if transfer == HLG else PQ
    curve = TRANSFERS[transfer]
    lms = np.stack([y, u, v], -1) @ ICTCP_TO_LMS[transfer].T
    rgb = curve.decode(np.clip(lms, 0, 1)) @ LMS_TO_RGB.T
    return np.asarray(curve.encode(np.clip(rgb, 0, 1)), np.float32)


@dataclass(frozen=True, kw_only=True, slots=True)
class Transfer:
    """A transfer characteristic; signal and light are in [0, 1]."""

    encode: Callable[[np.ndarray], np.ndarray]
    """Light to signal."""
    decode: Callable[[np.ndarray], np.ndarray]
    """Signal to light."""


M1, M2 = 2610 / 16384, 2523 / 4096 * 128
C1, C2, C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
"""Constants of PQ: SMPTE ST 2084, BT.2100 table 4."""
HLG_A, HLG_B, HLG_C = 0.17883277, 0.28466892, 0.55991073
"""Constants of HLG: BT.2100, table 5."""
ALPHA, BETA = 1.09929682680944, 0.018053968510807
"""Of BT.709 and BT.2020, at full precision."""


def _encode_pq(light: np.ndarray) -> np.ndarray:
    power = light**M1
    return np.asarray(((C1 + C2 * power) / (1 + C3 * power)) ** M2)


def _decode_pq(signal: np.ndarray) -> np.ndarray:
    power = signal ** (1 / M2)
    return np.asarray((np.maximum(power - C1, 0) / (C2 - C3 * power)) ** (1 / M1))


def _encode_hlg(light: np.ndarray) -> np.ndarray:
    logarithm = HLG_A * np.log(np.maximum(12 * light - HLG_B, 1e-9)) + HLG_C
    return np.where(light <= 1 / 12, np.sqrt(3 * light), logarithm)


def _decode_hlg(signal: np.ndarray) -> np.ndarray:
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - HLG_C) / HLG_A) + HLG_B) / 12)


def _encode_bt709(light: np.ndarray) -> np.ndarray:
    return np.where(light < BETA, 4.5 * light, ALPHA * light**0.45 - (ALPHA - 1))


def _decode_bt709(signal: np.ndarray) -> np.ndarray:
    return np.where(signal < 4.5 * BETA, signal / 4.5, ((signal + ALPHA - 1) / ALPHA) ** (1 / 0.45))


BT709_TRANSFER = Transfer(encode=_encode_bt709, decode=_decode_bt709)
TRANSFERS = {
    PQ: Transfer(encode=_encode_pq, decode=_decode_pq),
    HLG: Transfer(encode=_encode_hlg, decode=_decode_hlg),
}
"""By `AVColorTransferCharacteristic`. PQ: light 1 is 10,000 cd/m2; HLG: light of the scene."""
