"""How a movie differs in time from the one that it was made of: pictures, length, sound.

Both are as `plain_decode` has them: nothing of ours decodes them.
"""

import numpy as np
from plain_decode import Played

TICK_S = 2e-3
"""Times are kept to this: Matroska counts milliseconds."""
_RATE_HZ = 4000


def differences(given: Played, made: Played, *, earlier_s: float) -> list[str]:
    """How a movie differs in time from the one that it was made of; nothing where it does not.

    Args:
        given: The input.
        made: The output.
        earlier_s: The sound was to be moved by this.
    """
    faults = []
    if made.num_faults:
        faults.append(f"{made.num_faults} packets do not decode")
    if len(made.times_s) != len(given.times_s):
        faults.append(f"{len(made.times_s)} pictures of {len(given.times_s)}")
    elif (worst := float(np.abs(made.times_s - given.times_s).max())) > TICK_S:
        faults.append(f"pictures lie up to {worst:.3f} s off")
    frame_s = given.frame_s + TICK_S
    if abs(made.end_s - given.end_s) > frame_s:
        faults.append(f"pictures end at {made.end_s:.3f}, not {given.end_s:.3f} s")
    heard = given.sound_end_s - earlier_s
    length = given.length_s if not earlier_s else max(given.end_s, min(heard, given.length_s))
    if abs(made.length_s - length) > frame_s:
        faults.append(f"lasts {made.length_s:.3f}, not {length:.3f} s")
    return faults


def lag_s(given: Played, made: Played, *, earlier_s: float) -> float | None:
    """How much later than it should the sound lies, up to a second; None where all is silent."""
    one, other = (_slower(played) for played in (given, made))
    moved = round(earlier_s * _RATE_HZ)
    one = one[moved:] if moved > 0 else np.pad(one, (-moved, 0))[: len(other)]
    if min(np.abs(one).max(initial=0), np.abs(other).max(initial=0)) < 1e-3:
        return None
    size = 1 << (len(one) + len(other) + 2 * _RATE_HZ).bit_length()
    spectrum = np.fft.rfft(other, size) * np.conj(np.fft.rfft(one, size))
    agreement = np.fft.irfft(spectrum, size)
    near = np.concatenate([agreement[-_RATE_HZ:], agreement[: _RATE_HZ + 1]])
    return (int(np.argmax(near)) - _RATE_HZ) / _RATE_HZ


def _slower(played: Played) -> np.ndarray:
    """At a low rate, by the mean of what falls into each sample."""
    steps = np.arange(0, len(played.sound), played.rate_hz / _RATE_HZ).astype(int)
    if len(steps) < 2:
        return np.zeros(0)
    sums: np.ndarray = np.add.reduceat(played.sound.astype(np.float64), steps)
    return sums / np.diff(steps, append=len(played.sound))


def added(parts: list[Played]) -> Played:
    """Movies with the same pictures as one, with the sum of their sounds."""
    count = min(len(part.sound) for part in parts)
    total = np.sum([part.sound[:count] for part in parts], axis=0)
    first = parts[0]
    return Played(
        times_s=first.times_s,
        end_s=first.end_s,
        brightness=first.brightness,
        sound=total,
        rate_hz=first.rate_hz,
        num_faults=0,
    )
