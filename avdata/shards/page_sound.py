"""The sound of a sample in a form that every browser plays, and its waveform."""

import io
from dataclasses import dataclass

import numpy as np
import soundfile

from avdata.shards.codec import encode_audio

FLAC_MAGIC = b"fLaC"
MP3_BITS_PER_S = 64_000
MP3_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
NUM_PEAKS = 600


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Sound:
    """A file that browsers play."""

    mime: str
    data: bytes
    note: str
    """How it differs from the stored sound; empty when it is that."""


def playable_sound(
    stored: bytes, audio: np.ndarray, rate_hz: int, room: int
) -> tuple[Sound, float]:
    """Sound in at most `room` bytes, and how many seconds of the clip it covers."""
    duration_s, notes = audio.shape[1] / rate_hz, []
    if len(audio) > 2:
        audio, notes = audio[:1], [f"channel 0 of {len(audio)}"]
        stored = encode_audio(audio, rate_hz)
    elif not _is_flac_of(stored, audio, rate_hz):
        stored, notes = encode_audio(audio, rate_hz), ["as FLAC"]
    if len(stored) <= room:
        return Sound(mime="audio/flac", data=stored, note=", ".join(notes)), duration_s
    if rate_hz in MP3_RATES_HZ:
        shown_s = min(duration_s, 8 * room / MP3_BITS_PER_S)
        data, mime = _mp3(audio[:, : round(shown_s * rate_hz)], rate_hz), "audio/mpeg"
        notes.append(f"MP3 of {MP3_BITS_PER_S // 1000} kbit/s to keep this page small")
    else:
        shown_s = duration_s * room / len(stored)
        data, mime = encode_audio(audio[:, : round(shown_s * rate_hz)], rate_hz), "audio/flac"
    return Sound(mime=mime, data=data, note=", ".join(notes)), shown_s


def _is_flac_of(stored: bytes, audio: np.ndarray, rate_hz: int) -> bool:
    """Whether a member can be played as it is; those in tars of others may be anything."""
    if not stored.startswith(FLAC_MAGIC):
        return False
    info = soundfile.info(io.BytesIO(stored))
    return (info.channels, info.frames, info.samplerate) == (*audio.shape, rate_hz)


def _mp3(audio: np.ndarray, rate_hz: int) -> bytes:
    """MP3 of int16 (c, n) at MP3_BITS_PER_S."""
    # libsndfile counts its level from the highest to the lowest rate of the MPEG version
    lowest, highest = (32, 320) if rate_hz >= 32000 else (8, 160) if rate_hz >= 16000 else (8, 64)
    level = (highest - MP3_BITS_PER_S / 1000) / (highest - lowest)
    out = io.BytesIO()
    soundfile.write(
        out,
        audio.T,
        rate_hz,
        format="MP3",
        subtype="MPEG_LAYER_III",
        compression_level=level,
        bitrate_mode="CONSTANT",
    )
    return out.getvalue()


def peaks(channel: np.ndarray, peak: int) -> bytes:
    """Least and greatest of int16 (n,) in NUM_PEAKS equal parts, as int8 relative to `peak`."""
    borders = np.linspace(0, len(channel), NUM_PEAKS + 1).astype(np.int64)[:-1]
    if not len(channel) or not peak:
        return bytes(2 * NUM_PEAKS)
    # of parts without a sample of their own, reduceat takes the sample at their border
    least = np.minimum.reduceat(channel, np.minimum(borders, len(channel) - 1))
    greatest = np.maximum.reduceat(channel, np.minimum(borders, len(channel) - 1))
    pairs = np.stack([least, greatest], -1).astype(np.float64) / peak * 127
    return np.round(pairs).astype(np.int8).tobytes()
