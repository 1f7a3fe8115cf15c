"""Spectrogram pictures: tones at their place, levels as stated, long sounds in constant time."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from avtrain.apps.spectrogram_picture import draw_spectrograms, spectrogram_db

RATE_HZ = 8000


def _write(path: Path, seconds: float, level: float) -> Path:
    """A tone of 1 kHz, then one of 3 kHz."""
    times = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    frequency = np.where(times < seconds / 2, 1000, 3000)
    soundfile.write(path, level * np.sin(2 * np.pi * frequency * times), RATE_HZ)
    return path


@pytest.mark.parametrize("seconds", [0.3, 5.0, 90.0])
def test_tones_are_where_and_as_loud_as_they_are(seconds: float, tmp_path: Path) -> None:
    decibels = spectrogram_db(_write(tmp_path / "tone.wav", seconds, 0.5), 40)
    bins, columns = decibels.shape
    assert columns == 40
    for column, frequency in ((8, 1000), (32, 3000)):
        peak = int(decibels[:, column].argmax())
        assert peak / (bins - 1) * RATE_HZ / 2 == pytest.approx(frequency, abs=20)
        assert decibels[peak, column] == pytest.approx(20 * np.log10(0.5), abs=0.5)


def test_the_picture_shows_the_loud_one_brighter(tmp_path: Path) -> None:
    paths = [_write(tmp_path / f"{i}.wav", 2.0, level) for i, level in enumerate((0.5, 0.001))]
    page = np.asarray(draw_spectrograms(paths, ["loud", "quiet"], num_columns=300))
    half = page.shape[0] // 2
    loud, quiet = page[:half, 60:350], page[half:-40, 60:350]

    def brightest(part: np.ndarray) -> int:
        hot = (part[..., 0] > 0) & (part[..., 2] < part[..., 0])
        return int(part[hot].sum(axis=1).max())

    assert brightest(loud) > brightest(quiet) > 0
