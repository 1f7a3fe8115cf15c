"""Still and black pictures are told from others."""

import numpy as np
import pytest

from avdata.decode.picture_watch import PictureWatch


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(40, 220, (144, 256)).astype(np.uint8)


def watch(*pictures: np.ndarray | None, limited_range: bool = False) -> PictureWatch:
    """None repeats the picture before."""
    seen = PictureWatch(limited_range=limited_range)
    for picture in pictures:
        if picture is None:
            seen.repeat()
        else:
            seen.add(picture)
    return seen


def test_pictures_that_change_are_not_still() -> None:
    verdicts = watch(*(noise(i) for i in range(5))).verdicts(5)
    assert verdicts.still_fraction == 0
    assert not verdicts.black_frames.any()


def test_the_same_picture_again_and_again_is_still() -> None:
    assert watch(noise(0), noise(0), noise(0), noise(1)).verdicts(4).still_fraction == 2 / 3


def test_a_picture_that_is_stored_twice_is_no_sign_of_standing_still() -> None:
    verdicts = watch(noise(0), None, noise(1), None).verdicts(4)
    assert verdicts.still_fraction == 0
    assert verdicts.black_frames.shape == (4,)


def test_little_noise_is_still_and_a_small_pan_is_not() -> None:
    picture = noise(0)
    grain = np.random.default_rng(1).random(picture.shape) < 0.2
    assert watch(picture, picture + grain.astype(np.uint8)).verdicts(2).still_fraction == 1
    assert watch(picture, np.roll(picture, 2, 1)).verdicts(2).still_fraction == 0


@pytest.mark.parametrize("shape", [(256, 456), (144, 256), (64, 64), (360, 240)])
@pytest.mark.parametrize("limited_range", [False, True])
def test_a_small_part_that_moves_is_not_still(shape: tuple[int, int], limited_range: bool) -> None:
    """A speaker in the corner of a slide: 1 % of the frame, which is nothing in its mean."""
    slide = np.random.default_rng(0).integers(40, 220, shape).astype(np.uint8)
    height, width = shape[0] // 10, shape[1] // 10
    corner = slice(3, 3 + height), slice(5, 5 + width)
    speaking = [slide.copy() for _ in range(9)]
    for k, frame in enumerate(speaking):
        frame[corner] += np.uint8(12 * (k % 2))
    assert np.abs(speaking[1].astype(int) - speaking[0]).mean() < 0.2
    seen = watch(*speaking, limited_range=limited_range).verdicts(9)
    assert seen.still_fraction == 0


def test_grain_and_key_frames_of_a_slide_are_still() -> None:
    """Changes of one level all over, as where a coded slide has a key frame."""
    slide, rng = noise(0), np.random.default_rng(1)
    frames = [slide + (rng.random(slide.shape) < 0.2) for _ in range(9)]
    assert watch(*(frame.astype(np.uint8) for frame in frames)).verdicts(9).still_fraction == 1


@pytest.mark.parametrize("shape", [(2, 2), (3, 700), (16, 16)])
def test_tiny_frames(shape: tuple[int, int]) -> None:
    dark, bright = np.zeros(shape, np.uint8), np.full(shape, 200, np.uint8)
    assert watch(dark, dark, bright).verdicts(3).still_fraction == 0.5


@pytest.mark.parametrize(("limited_range", "black"), [(False, 0), (True, 16)])
def test_black_frames(limited_range: bool, black: int) -> None:
    dark = np.full((144, 256), black, np.uint8)
    subtitled = dark.copy()
    subtitled[120:140, 60:200] = 200
    verdicts = watch(dark, None, subtitled, noise(3), limited_range=limited_range).verdicts(4)
    assert verdicts.black_frames.tolist() == [True, True, False, False]


def test_frames_behind_the_end_do_not_count() -> None:
    dark = np.zeros((144, 256), np.uint8)
    verdicts = watch(noise(0), noise(1), dark, dark).verdicts(2)
    assert verdicts.still_fraction == 0
    assert verdicts.black_frames.tolist() == [False, False]


def test_nothing_stored() -> None:
    verdicts = PictureWatch(limited_range=False).verdicts(0)
    assert verdicts.still_fraction is None
    assert verdicts.black_frames.shape == (0,)
