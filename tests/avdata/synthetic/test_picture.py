"""Objects are drawn where the track says, flash when they strike, and only if they are seen."""

from dataclasses import replace

import numpy as np
import pytest

from avdata.synthetic import Scene, SceneConfig, SceneObject, render_frames, sample_scene
from avdata.synthetic.background import background_frames
from avdata.synthetic.ground_truth import track_of
from avdata.synthetic.object_class import OBJECT_CLASSES
from avdata.synthetic.sprite import CELLS, EXTENT, sprite_of

CONFIG = SceneConfig(
    duration_s=2.0,
    max_objects=1,
    silent_probability=0,
    off_screen_probability=0,
    num_classes=len(OBJECT_CLASSES),
)


def changed_pixels(scene: Scene) -> np.ndarray:
    """How much drawing the objects changed each pixel, shape (t, h, w)."""
    empty = background_frames(scene, scene.frame_times_s).astype(float)
    return np.abs(render_frames(scene).astype(float) - empty).max(axis=3)


def with_only(scene: Scene, thing: SceneObject) -> Scene:
    return replace(scene, objects=(thing,))


@pytest.mark.parametrize("camera_motion", [0.0, 0.1])
def test_the_sprite_is_centered_on_the_track(camera_motion: float) -> None:
    config = CONFIG.model_copy(update={"camera_motion": camera_motion})
    for index in range(len(OBJECT_CLASSES)):
        scene = sample_scene(config, seed=0, index=index)
        thing = replace(scene.main, hardness=1.0, hue=0.15, strikes=())  # bright all over
        track = track_of(scene, thing)
        mask = changed_pixels(with_only(scene, thing)) > 20
        y, x = np.mgrid[0.5:128, 0.5:128]
        for i in range(0, config.num_frames, 5):
            seen = (x[mask[i]].mean(), y[mask[i]].mean())
            assert seen == pytest.approx((track.x_px[i], track.y_px[i]), abs=1.0), index


def test_the_box_of_the_track_holds_what_is_drawn_between_flashes() -> None:
    scene = sample_scene(CONFIG, seed=1, index=3)
    track = track_of(scene, scene.main)
    still = replace(scene.main, strikes=())
    y, x = np.nonzero(changed_pixels(with_only(scene, still))[10] > 3)
    radius = scene.main.radius_px
    assert np.abs(x + 0.5 - track.x_px[10]).max() <= radius + 1
    assert np.abs(y + 0.5 - track.y_px[10]).max() <= radius + 1
    assert max(np.ptp(x), np.ptp(y)) > 1.5 * radius


def test_the_flash_starts_in_the_first_frame_at_or_after_the_strike() -> None:
    checked = 0
    for index in range(6):
        scene = sample_scene(CONFIG, seed=2, index=index)
        dull = replace(scene, objects=(replace(scene.main, strikes=()),))
        lit = render_frames(scene).astype(int).sum(axis=3) - render_frames(dull).astype(int).sum(3)
        first = scene.main.strikes[0].time_s
        lit_frames = np.flatnonzero((lit > 120).any(axis=(1, 2)))
        assert lit_frames[0] == int(np.ceil(first * CONFIG.fps - 1e-9))
        checked += 1
    assert checked == 6


def test_a_picture_depends_on_its_time_alone() -> None:
    scene = sample_scene(SceneConfig(duration_s=2.0), seed=3, index=2)
    some = render_frames(scene, scene.frame_times_s[13:29])
    np.testing.assert_array_equal(some, render_frames(scene)[13:29])


def test_an_off_screen_object_is_never_drawn() -> None:
    config = CONFIG.model_copy(update={"off_screen_probability": 1.0})
    scene = sample_scene(config, seed=0, index=0)
    hidden = next(o for o in scene.objects if o.off_screen)
    alone = with_only(scene, hidden)
    assert changed_pixels(alone).max() == 0
    assert track_of(scene, hidden).x_px == ()
    still = replace(hidden, off_screen=False)  # nor would it be, if drawing did not know
    without_ledge = replace(still, path=replace(still.path, surface=None))
    assert changed_pixels(with_only(scene, without_ledge)).max() == 0


def test_the_camera_moves_the_background() -> None:
    moving = CONFIG.model_copy(update={"camera_motion": 0.1})
    frames = background_frames(sample_scene(moving, seed=0, index=0), np.array([0.0, 1.0])).astype(
        int
    )
    assert np.abs(frames[0] - frames[1]).max() > 20
    still = CONFIG.model_copy(update={"camera_motion": 0.0})
    frames = background_frames(sample_scene(still, seed=0, index=0), np.array([0.0, 1.0]))
    np.testing.assert_array_equal(frames[0], frames[1])


def test_backgrounds_differ_as_much_as_they_are_asked_to() -> None:
    def spread(variety: float) -> float:
        config = CONFIG.model_copy(update={"background_variety": variety, "camera_motion": 0.0})
        pictures = [
            background_frames(sample_scene(config, seed=0, index=i), np.zeros(1)) for i in range(6)
        ]
        inside = np.concatenate(pictures)[:, 3:-3, 3:-3].astype(float)
        return float(np.median(inside.std(axis=0)))

    assert spread(0.0) == 0
    assert 0 < spread(0.5) < 0.7 * spread(1.0)


def test_every_sprite_is_centered_and_fills_its_circle() -> None:
    axis = ((np.arange(CELLS) + 0.5) / CELLS * 2 - 1) * EXTENT
    x, y = np.meshgrid(axis, axis)
    names = set()
    for object_class in OBJECT_CLASSES:
        inside = sprite_of(object_class).distance.reshape(CELLS, CELLS) < 0
        assert np.abs([x[inside].mean(), y[inside].mean()]).max() < 0.01, object_class.name
        assert np.hypot(x, y)[inside].max() == pytest.approx(1.0, abs=0.02), object_class.name
        names.add(object_class.name)
    assert len(names) == len(OBJECT_CLASSES)
