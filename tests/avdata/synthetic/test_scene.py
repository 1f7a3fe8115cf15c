"""What happens in a scene follows its settings and its seed."""

import numpy as np
import pytest

from avdata.config import build_settings
from avdata.errors import ConfigError
from avdata.synthetic import SceneConfig, render_frames, render_sound, sample_scene
from avdata.synthetic.motion import SHORTEST_INTERVAL_S
from avdata.synthetic.scene import pose_of

SMALL = SceneConfig(duration_s=2.0, size_px=64, sample_rate_hz=16000)


def test_the_same_seed_and_index_give_the_same_arrays() -> None:
    one, two = (sample_scene(SMALL, seed=3, index=5) for _ in range(2))
    np.testing.assert_array_equal(render_frames(one), render_frames(two))
    np.testing.assert_array_equal(render_sound(one), render_sound(two))


def test_another_seed_or_index_gives_another_scene() -> None:
    sounds = [
        render_sound(sample_scene(SMALL, seed=s, index=i)) for s, i in [(0, 0), (0, 8), (1, 0)]
    ]
    assert not np.array_equal(sounds[0], sounds[1])
    assert not np.array_equal(sounds[0], sounds[2])


def test_shapes_and_ranges() -> None:
    config = SMALL.model_copy(update={"width_px": 96})
    scene = sample_scene(config, seed=0, index=0)
    frames, sound = render_frames(scene), render_sound(scene)
    assert frames.shape == (50, 64, 96, 3)
    assert frames.dtype == np.uint8
    assert sound.shape == (32000, 2)
    assert sound.dtype == np.float32
    assert 0.05 < np.abs(sound).max() <= 0.951


def test_main_is_the_loudest_seen_and_heard_and_classes_are_balanced() -> None:
    labels = []
    for index in range(24):
        scene = sample_scene(SMALL, seed=1, index=index)
        main = scene.main
        assert not main.silent
        assert not main.off_screen
        weakest = min(s.force for s in main.strikes)
        for thing in scene.objects:
            if thing is not main:
                assert all(s.force < weakest for s in thing.strikes)
        labels.append(main.class_index)
    assert np.bincount(labels).tolist() == [3] * 8


def test_every_kind_of_object_appears() -> None:
    objects = [o for i in range(60) for o in sample_scene(SMALL, seed=0, index=i).objects]
    assert 5 < sum(o.silent for o in objects) < 35
    assert 3 < sum(o.off_screen for o in objects) < 30
    assert {o.class_index for o in objects} == set(range(8))


def test_strikes_are_frequent_apart_and_on_samples() -> None:
    config = SMALL.model_copy(update={"duration_s": 10.0})
    for index in range(20):
        for thing in sample_scene(config, seed=0, index=index).objects:
            times_s = np.array([s.time_s for s in thing.strikes])
            if thing.silent:
                assert len(times_s) == 0
                continue
            assert 10 <= len(times_s) <= 45
            assert np.diff(times_s).min() > SHORTEST_INTERVAL_S - 1e-3
            samples = times_s * config.sample_rate_hz
            np.testing.assert_allclose(samples, np.round(samples), atol=1e-6)


def test_an_object_is_at_its_strike_when_it_strikes() -> None:
    for index in range(10):
        scene = sample_scene(SMALL, seed=2, index=index)
        for thing in scene.objects:
            if thing.strikes:
                pose = pose_of(scene, thing, np.array([s.time_s for s in thing.strikes]))
                where = np.array([[s.x_px, s.y_px] for s in thing.strikes])
                np.testing.assert_allclose(pose.center_px, where, atol=1e-6)
                np.testing.assert_allclose(pose.flash, [s.force for s in thing.strikes], atol=1e-6)


def test_objects_stay_inside_and_off_screen_ones_outside() -> None:
    seen = {True: 0, False: 0}
    for index in range(40):
        scene = sample_scene(SMALL, seed=4, index=index)
        for thing in scene.objects:
            center = pose_of(scene, thing, scene.frame_times_s).center_px
            inside = ((center > thing.radius_px) & (center < 64 - thing.radius_px)).all()
            outside = (center[:, 0] < -thing.radius_px) | (center[:, 0] > 64 + thing.radius_px)
            assert outside.all() if thing.off_screen else inside
            seen[thing.off_screen] += 1
    assert min(seen.values()) > 3


def test_one_class_and_many_objects() -> None:
    config = build_settings(SceneConfig, {}, ["num_classes=1", "max_objects=6", "duration_s=1"])
    assert all(
        thing.class_index == 0
        for i in range(10)
        for thing in sample_scene(config, seed=0, index=i).objects
    )


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("colour=3", "colour: unknown setting; allowed here: duration_s"),
        ("size_px=33", "size_px: .*multiple of 2"),
        ("num_classes=40", "num_classes: .*less than or equal to 12"),
        ("sample_rate_hz=23999", "must be one of"),
        ("min_radius=0.19", "must be below"),
        ("camera_motion=0.2", "leave objects no room"),
        ("min_strikes_hz=3.9", "must not exceed"),
    ],
)
def test_bad_settings_say_what_is_allowed(assignment: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_settings(SceneConfig, {}, [assignment])
