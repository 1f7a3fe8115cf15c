"""What happens in a clip: objects, their strikes, the camera, the noise.

Positions are in pixels of the frame, the camera's shift included. Pixel column j spans
``[j, j + 1)``, so that the center of the top left pixel is at (0.5, 0.5) and positions scale with
the picture.
"""

from dataclasses import dataclass

import numpy as np

from avdata.synthetic.config import SceneConfig
from avdata.synthetic.motion import (
    MOTION_KINDS,
    Box,
    Floats,
    Path,
    sample_contact_times,
    sample_path,
)
from avdata.synthetic.object_class import OBJECT_CLASSES, ObjectClass

HUE_RANGE = 0.75
"""Hues run from 0 (red) to this (violet), so that dull to bright has two distinct ends."""
FLASH_WIDTH_S = 0.1
"""A flash falls as a Gaussian of the time since the strike: half after 83 ms."""
FLASH_END_S = 0.24
"""After this a flash is below 1/256."""
SQUASH_S = 0.07
MAIN_FORCE = (0.75, 1.0)
OTHER_FORCE = (0.3, 0.6)
EDGE_S = 0.05
"""No strikes this close to the ends of the clip."""
NUM_CANDIDATES = 10
"""Paths tried for each object; the one that hides others least is taken."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Strike:
    """One instant at which an object sounds and flashes."""

    time_s: float
    """A multiple of the sample period: the sound's first sample is ``time_s * sample_rate_hz``."""
    x_px: float
    y_px: float
    force: float
    """In (0, 1]: loudness of the sound, strength of the flash."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SceneObject:
    """One object, seen or not, heard or not."""

    class_index: int
    size: float
    """0 smallest to 1 largest; gives the pitch."""
    radius_px: float
    """Of the circle around the shape at rest."""
    hue: float
    """0 red to `HUE_RANGE` violet; gives the brightness of the timbre."""
    hardness: float
    """0 to 1: light rim, little squash, sharp attack and long ring."""
    silent: bool
    off_screen: bool
    is_main: bool
    """The loudest object that is both seen and heard: the label of the clip."""
    path: Path
    strikes: tuple[Strike, ...]

    @property
    def object_class(self) -> ObjectClass:
        return OBJECT_CLASSES[self.class_index]

    @property
    def brightness(self) -> float:
        return self.hue / HUE_RANGE


@dataclass(frozen=True, kw_only=True, slots=True)
class Camera:
    """A smooth shift of the whole picture."""

    amplitude_px: float
    hz: tuple[float, float]
    phase_rad: tuple[float, float]

    def shift_px(self, times_s: Floats) -> Floats:
        """Added to positions at `times_s`, shape (t, 2)."""
        turns = 2 * np.pi * np.outer(times_s, self.hz) + np.asarray(self.phase_rad)
        return np.asarray(self.amplitude_px * np.sin(turns))


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """One clip before it is drawn and sounded."""

    config: SceneConfig
    objects: tuple[SceneObject, ...]
    """Later objects are drawn over earlier ones."""
    camera: Camera
    noise_rms: float
    background_seed: int
    noise_seed: int

    @property
    def main(self) -> SceneObject:
        return next(o for o in self.objects if o.is_main)

    @property
    def frame_times_s(self) -> Floats:
        return np.arange(self.config.num_frames) / self.config.fps


@dataclass(frozen=True, kw_only=True, slots=True, eq=False, repr=False)
class Pose:
    """An object at some times; arrays of length t."""

    center_px: Floats
    """Shape (t, 2), in pixels of the frame."""
    flash: Floats
    """0 to 1."""
    squash: Floats
    """Scale along the contact's normal, at most 1; across it the scale is the inverse."""
    normal: Floats
    """Shape (t, 2)."""
    tilt_rad: Floats

    def __repr__(self) -> str:
        return f"Pose({len(self.flash)} times)"

    def radius_px(self, at_rest_px: float) -> Floats:
        """Radius of the circle around the squashed shape."""
        return np.asarray(at_rest_px / self.squash)


def pose_of(scene: Scene, thing: SceneObject, times_s: Floats) -> Pose:
    """Where `thing` is at `times_s` and how it looks: the one truth for picture and track."""
    path = thing.path
    strikes_s = np.array([-np.inf, *(s.time_s for s in thing.strikes)])
    forces = np.array([0.0, *(s.force for s in thing.strikes)])
    last = np.searchsorted(strikes_s, times_s + 1e-9, side="right") - 1
    since_s = times_s - strikes_s[last]
    contact = np.searchsorted(path.contact_times_s, strikes_s[last] + 1e-9, side="right") - 1
    give = (0.2 + 0.3 * (1.0 - thing.hardness)) * np.exp(-since_s / SQUASH_S)
    return Pose(
        center_px=path.position_px(times_s) + scene.camera.shift_px(times_s),
        flash=np.where(
            since_s < FLASH_END_S, forces[last] * np.exp(-((since_s / FLASH_WIDTH_S) ** 2)), 0.0
        ),
        squash=1.0 - give * np.sqrt(forces[last]),
        normal=path.normals[np.maximum(contact, 0)],
        tilt_rad=path.tilt_rad * np.sin(2 * np.pi * path.tilt_hz * times_s),
    )


def sample_scene(config: SceneConfig, *, seed: int, index: int) -> Scene:
    """Clip `index` of the set with `seed`; it depends on nothing else.

    The main object's class is ``index % num_classes``, so that classes are equally frequent.
    """
    rng = np.random.default_rng([seed, index])
    camera = Camera(
        amplitude_px=float(rng.uniform(0.0, 1.0) * config.camera_motion * config.short_side_px),
        hz=(float(rng.uniform(0.1, 0.4)), float(rng.uniform(0.1, 0.4))),
        phase_rad=(float(rng.uniform(0, 6.28)), float(rng.uniform(0, 6.28))),
    )
    main_class = index % config.num_classes
    others = rng.permutation([c for c in range(config.num_classes) if c != main_class])
    # up to six objects may be more than there are classes: then classes repeat
    classes = [main_class, *(int(c) for c in np.resize(others, 8))] if len(others) else [0] * 9
    num_sounding = int(rng.integers(1, config.max_objects + 1))
    with_silent = rng.random() < config.silent_probability
    with_off_screen = rng.random() < config.off_screen_probability
    roles = ["main"] + ["other"] * (num_sounding - 1)
    roles += ["silent"] * with_silent + ["off_screen"] * with_off_screen
    objects: list[SceneObject] = []
    for role, class_index in zip(roles, classes, strict=False):
        objects.append(_sample_object(rng, config, camera, role, class_index, objects))
    order = rng.permutation(len(objects))
    return Scene(
        config=config,
        objects=tuple(objects[i] for i in order),
        camera=camera,
        noise_rms=float(config.noise_level * rng.uniform(0.0, 1.0)),
        background_seed=int(rng.integers(2**62)),
        noise_seed=int(rng.integers(2**62)),
    )


def _sample_object(
    rng: np.random.Generator,
    config: SceneConfig,
    camera: Camera,
    role: str,
    class_index: int,
    placed: list[SceneObject],
) -> SceneObject:
    size = float(rng.uniform())
    radius = float(
        config.short_side_px * config.min_radius * (config.max_radius / config.min_radius) ** size
    )
    contacts_s = sample_contact_times(
        rng,
        duration_s=config.duration_s,
        strikes_hz=float(rng.uniform(config.min_strikes_hz, config.max_strikes_hz)),
    )
    contacts_s = np.round(contacts_s * config.sample_rate_hz) / config.sample_rate_hz
    path = _place(rng, config, camera, contacts_s, radius, placed, role == "off_screen")
    return SceneObject(
        class_index=class_index,
        size=size,
        radius_px=radius,
        hue=float(rng.uniform(0.0, HUE_RANGE)),
        hardness=float(rng.uniform()),
        silent=role == "silent",
        off_screen=role == "off_screen",
        is_main=role == "main",
        path=path,
        strikes=() if role == "silent" else _strikes(rng, config, camera, path, role == "main"),
    )


def _strikes(
    rng: np.random.Generator, config: SceneConfig, camera: Camera, path: Path, is_main: bool
) -> tuple[Strike, ...]:
    times_s = path.contact_times_s
    times_s = times_s[(times_s >= EDGE_S) & (times_s < config.duration_s - EDGE_S)]
    where = path.position_px(times_s) + camera.shift_px(times_s)
    low, high = MAIN_FORCE if is_main else OTHER_FORCE
    accents = rng.uniform(low, high, int(rng.integers(2, 5)))  # repeats, as the rhythm does
    forces = np.resize(accents, len(times_s))
    return tuple(
        Strike(time_s=float(t), x_px=float(x), y_px=float(y), force=float(f))
        for t, (x, y), f in zip(times_s, where, forces, strict=True)
    )


def _place(
    rng: np.random.Generator,
    config: SceneConfig,
    camera: Camera,
    contacts_s: Floats,
    radius: float,
    placed: list[SceneObject],
    off_screen: bool,
) -> Path:
    """The least hiding of some sampled paths."""
    margin = camera.amplitude_px + 1.25 * radius
    width = config.frame_width_px
    box = Box(left=margin, top=margin, right=width - margin, bottom=config.height_px - margin)
    if off_screen:  # an invisible room to the left or right of the picture
        side = (-1 if rng.random() < 0.5 else 1) * (width + 2.0 * radius)
        box = Box(left=box.left + side, top=box.top, right=box.right + side, bottom=box.bottom)
    times_s = np.arange(0.0, config.duration_s, 0.1)
    rivals = [o for o in placed if not o.off_screen]
    best: tuple[float, Path] | None = None
    for _ in range(NUM_CANDIDATES):
        kind = MOTION_KINDS[rng.integers(len(MOTION_KINDS))]
        path = sample_path(rng, contacts_s, kind=kind, box=box, radius_px=radius)
        at = path.position_px(times_s)
        hidden = 0.0
        for rival in rivals:
            distance = np.linalg.norm(at - rival.path.position_px(times_s), axis=1)
            hidden += float(np.mean(distance < radius + rival.radius_px))
        if best is None or hidden < best[0]:
            best = (hidden, path)
        if hidden == 0.0:
            break
    assert best is not None
    return best[1]
