"""Sounds start at their strikes, come from their places, and tell what made them."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from avdata.synthetic import Scene, SceneConfig, render_sound, sample_scene
from avdata.synthetic.object_class import OBJECT_CLASSES
from avdata.synthetic.timbre import pitch_of_size, strike_sound

CONFIG = SceneConfig(
    duration_s=2.0,
    sample_rate_hz=24000,
    noise_level=0,
    silent_probability=1.0,
    off_screen_probability=1.0,
)


def first_sample(scene: Scene) -> int:
    return int(np.flatnonzero(np.abs(render_sound(scene)).max(axis=1))[0])


def test_sound_starts_at_the_very_sample_of_the_strike() -> None:
    for index in range(8):
        scene = sample_scene(CONFIG, seed=0, index=index)
        alone = replace(scene, objects=(scene.main,))
        assert first_sample(alone) == round(scene.main.strikes[0].time_s * 24000)


def test_a_silent_mover_never_sounds() -> None:
    scene = sample_scene(CONFIG, seed=0, index=0)
    mover = next(o for o in scene.objects if o.silent)
    assert not render_sound(replace(scene, objects=(mover,))).any()


def test_an_off_screen_source_sounds_from_one_side() -> None:
    scene = sample_scene(CONFIG, seed=0, index=0)
    hidden = next(o for o in scene.objects if o.off_screen)
    levels = np.square(render_sound(replace(scene, objects=(hidden,)))).sum(axis=0)
    left_is_louder = hidden.strikes[0].x_px < 0
    assert levels[int(left_is_louder)] < 1e-6 * levels.max()


def test_place_is_panned_with_equal_power() -> None:
    scene = sample_scene(CONFIG, seed=0, index=1)
    strike = scene.main.strikes[0]
    powers = []
    for place in (0.0, 0.25, 0.5, 1.0):
        at = replace(strike, x_px=place * 128)
        alone = replace(scene, objects=(replace(scene.main, strikes=(at,)),))
        left, right = np.sqrt(np.square(render_sound(alone)).sum(axis=0))
        assert np.arctan2(right, left) / (np.pi / 2) == pytest.approx(place, abs=1e-3)
        powers.append(left**2 + right**2)
    np.testing.assert_allclose(powers, powers[0], rtol=1e-4)


def test_force_is_loudness() -> None:
    scene = sample_scene(CONFIG, seed=0, index=1)
    levels = []
    for force in (0.3, 0.6, 1.0):
        strikes = (replace(scene.main.strikes[0], force=force),)
        alone = replace(scene, objects=(replace(scene.main, strikes=strikes),))
        levels.append(np.abs(render_sound(alone)).max())
    assert levels[0] < 0.6 * levels[1] < 0.6 * levels[2]


def test_noise_has_its_level() -> None:
    scene = replace(sample_scene(CONFIG, seed=0, index=0), objects=(), noise_rms=0.05)
    assert np.sqrt(np.square(render_sound(scene)).mean()) == pytest.approx(0.05, rel=0.1)


RATE_HZ = 24000


def band_levels(sound: np.ndarray) -> np.ndarray:
    """Log power in 32 bands over 0.3 s: mean and spread over time, then the first window."""
    padded = np.zeros(int(0.3 * RATE_HZ))
    padded[: len(sound)] = sound[: len(padded)]
    windows = np.lib.stride_tricks.sliding_window_view(padded, 1024)[::480] * np.hanning(1024)
    power = np.abs(np.fft.rfft(windows)) ** 2
    edges = np.geomspace(4, 512, 33).astype(int)
    bands = np.log(1e-3 + np.add.reduceat(power, edges[:-1], axis=1))
    return np.concatenate([bands.mean(axis=0), bands.std(axis=0), bands[0], bands.mean(axis=1)])


def test_class_size_and_hue_can_be_heard_in_one_strike() -> None:
    rng = np.random.default_rng(0)
    rows, classes, sizes, hues = [], [], [], []
    for class_index in list(range(8)) * 100:
        size, brightness, hardness = rng.random(3)
        sound = strike_sound(
            OBJECT_CLASSES[class_index].timbre,
            pitch_hz=pitch_of_size(size),
            brightness=brightness,
            hardness=hardness,
            sample_rate_hz=RATE_HZ,
        )
        rows.append(band_levels(sound * rng.uniform(0.3, 1.0)))
        classes.append(class_index)
        sizes.append(size)
        hues.append(brightness)
    x, y = np.array(rows), np.array(classes)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    accuracy = model.fit(x[:600], y[:600]).score(x[600:], y[600:])
    assert accuracy > 0.95
    for heard in (np.array(sizes), np.array(hues)):
        correlations = []
        for class_index in range(8):
            mine = y == class_index
            train, test = mine & (np.arange(800) < 600), mine & (np.arange(800) >= 600)
            fit = make_pipeline(StandardScaler(), Ridge(10.0)).fit(x[train], heard[train])
            correlations.append(np.corrcoef(fit.predict(x[test]), heard[test])[0, 1])
        assert np.mean(correlations) > 0.9
        assert min(correlations) > 0.7


def test_bigger_is_lower_over_two_octaves() -> None:
    assert pitch_of_size(0.0) == pytest.approx(4 * pitch_of_size(1.0))
