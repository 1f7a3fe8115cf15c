"""First-order ambisonics in the forms found in files -> ACN order (W Y Z X), SN3D.

Axes: X front, Y left, Z up. Where each form has what, as FFmpeg numbers the channels::

    acn_sn3d   0 W   1 Y   2 Z   3 X            AmbiX; Opus mapping family 2; 4-channel AAC
    fuma       0 W   1 X   2 Y   3 Z            B-format; its W is 3 dB low
    xyz0w0     0 X   1 Y   2 W   3 -   4 Z   5 -    hosted 360-degree video: AAC labeled 5.1

The last is named after the order of its loudspeaker labels in the list that describes it, X Y Z 0
W 0; FFmpeg's own order of 5.1 (FL FR FC LFE BL BR) holds W in FC and Z in BL. The sounds of a test
video that shows their directions agree, and so do two public readers of such files.
"""

import logging
from typing import Literal

import av
import numpy as np

from avdata.errors import FailureReason, MediaError

logger = logging.getLogger(__name__)

AmbisonicOrder = Literal["auto", "acn_sn3d", "fuma", "xyz0w0"]

WYZX: dict[str, tuple[int, int, int, int]] = {
    "acn_sn3d": (0, 1, 2, 3),
    "fuma": (0, 2, 3, 1),
    "xyz0w0": (2, 1, 4, 0),
}
"""Indices of W, Y, Z and X in each form."""

NUM_CHANNELS: dict[str, tuple[int, ...]] = {
    "acn_sn3d": (4, 9, 16),
    "fuma": (4, 9, 16),
    "xyz0w0": (6,),
}
"""Channels of orders 1, 2 and 3: the first four of a higher order are the first order."""

FUMA_W_GAIN = 2**0.5
"""SN3D by FuMa, of W; X, Y and Z are the same in both."""

SILENT_PEAK = 1e-3
"""-60 dB of full scale."""

MAX_DIRECTIONAL_ENERGY = 4.0
"""Energy of X, Y and Z together by that of W: 1 for any sum of distant sources."""

_SILENT_OF_XYZ0W0 = (3, 5)

LOUDSPEAKER_CODECS = ("ac3", "eac3", "dts", "truehd", "mlp")
"""Codecs whose streams name the loudspeaker of each channel."""

_OPUS_HEAD, _OPUS_FAMILY_AT, _OPUS_LOUDSPEAKERS = b"OpusHead", 18, 1
"""Start of an Opus header, place of the channel mapping family in it, and the family of surround
sound in Vorbis order; 2 and 3 are ambisonics, 255 says nothing.

Reference: RFC 7845, section 5.1.1; RFC 8486.
"""


def states_loudspeakers(stream: av.AudioStream) -> bool:
    """Whether a stream says that its channels are loudspeakers, and so no ambisonics.

    The name of a layout does not: it is the default one where four channels hold AmbiX as AAC.
    """
    codec = stream.codec_context.codec.canonical_name
    if codec == "opus":
        head = bytes(stream.codec_context.extradata or b"")
        has_family = head.startswith(_OPUS_HEAD) and len(head) > _OPUS_FAMILY_AT
        return has_family and head[_OPUS_FAMILY_AT] == _OPUS_LOUDSPEAKERS
    return codec in LOUDSPEAKER_CODECS


def stated_form(
    channel_names: tuple[str, ...], order: AmbisonicOrder
) -> Literal["acn_sn3d", "fuma", "xyz0w0"] | None:
    """The form that the settings or the stream itself name; None where neither does.

    Settings count where the number of channels fits, and before the stream's word.
    """
    if order != "auto" and len(channel_names) in NUM_CHANNELS[order]:
        return order
    return "acn_sn3d" if channel_names[0].startswith("AMBI") else None


def foa_form(
    samples: np.ndarray,
    channel_names: tuple[str, ...],
    order: AmbisonicOrder,
    *,
    loudspeakers: bool = False,
) -> Literal["acn_sn3d", "fuma", "xyz0w0"]:
    """The form of first-order ambisonics that sound (n, c) has.

    `loudspeakers` says that the stream names them (`states_loudspeakers`): then only settings that
    name a form make ambisonics of it.

    Raises:
        MediaError: It is none that is known, or not the one that `order` names.
    """
    form = stated_form(channel_names, order)
    if form is None and order == "auto":
        if loudspeakers:
            raise _unsupported(channel_names, "the stream states that they are loudspeakers")
        if len(channel_names) == 4:
            return "acn_sn3d"
        if len(channel_names) == 6:
            return _hosted_form(samples, channel_names)
    if form is None or (channel_names[0].startswith("AMBI") and len(channel_names) < 4):
        raise _unsupported(channel_names, f"audio.ambisonic_order={order!r}")
    return form


def to_acn_sn3d(samples: np.ndarray, form: str) -> np.ndarray:
    """float32 (n, 4), W Y Z X, of sound (n, c) in one of the forms of `WYZX`.

    FuMa's W grows by 3 dB: what of it lies above 0.707 of full scale saturates when it is stored.
    """
    out = samples[:, WYZX[form]].astype(np.float32, copy=False)
    if form == "fuma":
        out[:, 0] *= np.float32(FUMA_W_GAIN)
        peak = float(np.abs(out[:, 0]).max(initial=0.0))
        if peak > 1:
            share = np.count_nonzero(np.abs(out[:, 0]) > 1) / len(out)
            logger.warning(
                "W of FuMa ambisonics passes full scale by up to %.1f dB in SN3D: %.3g of its "
                "samples saturate",
                20 * np.log10(peak),
                share,
            )
    return out


def _hosted_form(samples: np.ndarray, channel_names: tuple[str, ...]) -> Literal["xyz0w0"]:
    """`xyz0w0` where six channels can be that."""
    peaks = np.abs(samples).max(axis=0, initial=0.0)
    loud = [channel_names[i] for i in _SILENT_OF_XYZ0W0 if peaks[i] > SILENT_PEAK]
    if loud:
        raise _unsupported(channel_names, f"{' and '.join(loud)} not silent: loudspeakers")
    w, y, z, x = (float(np.square(samples[:, i]).sum()) for i in WYZX["xyz0w0"])
    if x + y + z > MAX_DIRECTIONAL_ENERGY * w and peaks.max() > SILENT_PEAK:
        raise _unsupported(
            channel_names,
            f"{channel_names[2]} too quiet for the W of the others: loudspeakers",
        )
    return "xyz0w0"


def _unsupported(channel_names: tuple[str, ...], seen: str) -> MediaError:
    return MediaError(
        FailureReason.UNSUPPORTED_AUDIO_LAYOUT,
        f"{len(channel_names)} channels ({' '.join(channel_names)}; {seen}) are no first-order "
        "ambisonics; audio.layout='foa' takes streams that say they are ambisonic, 4 channels "
        "(acn_sn3d, or fuma if audio.ambisonic_order says so) and 6 with two silent (xyz0w0); "
        "use audio.layout='mono' or 'stereo' for others, or name the form by audio.ambisonic_order "
        "if the stream states it wrongly",
    )
