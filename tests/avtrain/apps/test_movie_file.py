"""Movies that are written: times, colors, sound in sync, another sound under the same pictures."""

from pathlib import Path

import av
import numpy as np
import pytest

from avdata import LimitsConfig, stream_pictures, stream_sound
from avtrain.apps.movie_file import MovieSound, ShownPicture, with_other_sound, write_movie_file

LIMITS = LimitsConfig()
COLORS = ((230, 30, 30), (20, 200, 40), (40, 60, 220), (128, 128, 128), (250, 240, 20))


def _click(rate_hz: int, at_s: float, length_s: float) -> np.ndarray:
    sound = np.zeros((2, round(length_s * rate_hz)), np.float32)
    first = round(at_s * rate_hz)
    sound[0, first : first + rate_hz // 100] = 0.5
    return sound


def _written(path: Path, rate_hz: int = 16000) -> list[float]:
    """Five colors at uneven times, and a click at 1 s on the left."""
    times = [0.0, 0.1, 0.15, 0.9, 1.6, 2.0]
    pictures = (
        ShownPicture(pixels=np.full((48, 64, 3), color, np.uint8), start_s=start, end_s=end)
        for color, start, end in zip(COLORS, times, times[1:], strict=False)
    )
    sound = MovieSound(
        blocks=np.array_split(_click(rate_hz, 1.0, 2.0), 7, axis=1), sample_rate_hz=rate_hz
    )
    write_movie_file(path, pictures=pictures, width_px=64, height_px=48, fps=25, sound=sound)
    return times


def test_times_and_colors_are_kept(tmp_path: Path) -> None:
    times = _written(tmp_path / "movie.mp4")
    shown = list(stream_pictures(tmp_path / "movie.mp4", LIMITS, width_px=64, height_px=48))
    starts = [picture.start_s for picture, _ in shown]
    assert [*starts, shown[-1][0].end_s] == pytest.approx(times, abs=1e-4)
    for (_, pixels), color in zip(shown, COLORS, strict=True):
        np.testing.assert_allclose(pixels.mean((0, 1)), color, atol=4)
    assert sorted(tmp_path.iterdir()) == [tmp_path / "movie.mp4"]


@pytest.mark.parametrize("rate_hz", [8000, 21000, 22050, 44100, 48000])
def test_sound_of_any_rate_is_heard_in_time(rate_hz: int, tmp_path: Path) -> None:
    _written(tmp_path / "movie.mp4", rate_hz)
    sound = np.concatenate(
        list(stream_sound(tmp_path / "movie.mp4", LIMITS, sample_rate_hz=48000)), axis=1
    )
    assert np.flatnonzero(np.abs(sound[0]) > 0.2)[0] / 48000 == pytest.approx(1.0, abs=2e-3)
    assert np.abs(sound[1]).max() < 0.05  # the right channel stays silent
    assert sound.shape[1] / 48000 == pytest.approx(2.0, abs=0.024)


def test_another_sound_under_the_same_pictures(tmp_path: Path) -> None:
    source, other = tmp_path / "movie.mp4", tmp_path / "other.mp4"
    _written(source)
    with_other_sound(
        source, other, sound=MovieSound(blocks=[_click(8000, 0.5, 2.0)], sample_rate_hz=8000)
    )
    packets = []
    for path in (source, other):
        with av.open(str(path)) as container:
            packets.append([(p.pts, p.dts, bytes(p)) for p in container.demux(video=0) if p.size])
    assert packets[0] == packets[1] and len(packets[0]) == len(COLORS)
    sound = np.concatenate(list(stream_sound(other, LIMITS, sample_rate_hz=48000)), axis=1)
    assert np.flatnonzero(np.abs(sound[0]) > 0.2)[0] / 48000 == pytest.approx(0.5, abs=2e-3)


def test_a_movie_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> object:
        yield ShownPicture(pixels=np.zeros((48, 64, 3), np.uint8), start_s=0.0, end_s=0.1)
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        write_movie_file(
            tmp_path / "movie.mp4",
            pictures=broken(),
            width_px=64,
            height_px=48,
            fps=25,
            sound=None,
        )
    assert list(tmp_path.iterdir()) == []
