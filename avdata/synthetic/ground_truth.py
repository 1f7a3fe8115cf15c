"""The answers of a set of scenes, one JSON line a clip.

Positions are in pixels of the stored frames (pixel column j spans ``[j, j + 1)``), times in
seconds from the start of the file. Frame i is the picture at ``i / fps``.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from avdata.errors import AvdataError
from avdata.synthetic.scene import Scene, SceneObject, Strike, pose_of
from avdata.synthetic.timbre import pitch_of_size

DECIMALS = 3
"""Track positions are stored to a thousandth of a pixel."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Track:
    """Where an object is in every frame; the box around it is center +- radius."""

    x_px: tuple[float, ...]
    y_px: tuple[float, ...]
    radius_px: tuple[float, ...]

    def __repr__(self) -> str:
        return f"Track({len(self.x_px)} frames)"


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectTruth:
    """One object of a clip."""

    class_name: str
    class_index: int
    is_main: bool
    """The loudest that is both seen and heard; its class is the label of the clip."""
    silent: bool
    """Seen, never heard; it has no strikes."""
    off_screen: bool
    """Heard, never seen; its track is empty, its strikes lie beyond the frame."""
    size_px: float
    """Radius of the circle around the shape at rest."""
    pitch_hz: float
    """Pitch that the size gives, before the class transposes it."""
    hue: float
    hardness: float
    strikes: tuple[Strike, ...]
    track: Track


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipTruth:
    """All answers of one clip."""

    id: str
    path: str
    """Relative to the folder of the set."""
    label: str
    split: str
    duration_s: float
    fps: int
    width_px: int
    height_px: int
    sample_rate_hz: int
    noise_rms: float
    objects: tuple[ObjectTruth, ...]
    """In the order of drawing: later ones hide earlier ones."""


def truth_of(scene: Scene, *, clip_id: str, path: str, split: str) -> ClipTruth:
    """The answers of `scene` as it is stored at `path`."""
    config = scene.config
    return ClipTruth(
        id=clip_id,
        path=path,
        label=scene.main.object_class.name,
        split=split,
        duration_s=config.num_frames / config.fps,
        fps=config.fps,
        width_px=config.frame_width_px,
        height_px=config.height_px,
        sample_rate_hz=config.sample_rate_hz,
        noise_rms=scene.noise_rms,
        objects=tuple(_object_truth(scene, thing) for thing in scene.objects),
    )


def track_of(scene: Scene, thing: SceneObject) -> Track:
    """Where `thing` is in every frame; empty when it is off-screen."""
    if thing.off_screen:
        return Track(x_px=(), y_px=(), radius_px=())
    pose = pose_of(scene, thing, scene.frame_times_s)
    x, y = np.round(pose.center_px, DECIMALS).T.tolist()
    radius = np.round(pose.radius_px(thing.radius_px), DECIMALS).tolist()
    return Track(x_px=tuple(x), y_px=tuple(y), radius_px=tuple(radius))


def _object_truth(scene: Scene, thing: SceneObject) -> ObjectTruth:
    return ObjectTruth(
        class_name=thing.object_class.name,
        class_index=thing.class_index,
        is_main=thing.is_main,
        silent=thing.silent,
        off_screen=thing.off_screen,
        size_px=thing.radius_px,
        pitch_hz=pitch_of_size(thing.size),
        hue=thing.hue,
        hardness=thing.hardness,
        strikes=thing.strikes,
        track=track_of(scene, thing),
    )


def truth_to_line(truth: ClipTruth) -> str:
    """One line of JSON, without its end of line."""
    return json.dumps(asdict(truth), separators=(",", ":"))


def read_ground_truth(path: Path) -> tuple[ClipTruth, ...]:
    """All clips of a `ground_truth.jsonl`, in order of the listing.

    Raises:
        AvdataError: The file is missing, or a line is not a clip's ground truth.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise AvdataError(
            f"ground truth {path}: {error.strerror}; `avdata synth` writes it when it finishes"
        ) from None
    clips = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            clips.append(_truth_from_line(line))
        except (ValueError, KeyError, TypeError) as error:
            raise AvdataError(
                f"{path} line {number} is not a clip's ground truth ({error!r}); "
                "delete the file and run the same `avdata synth` again"
            ) from None
    return tuple(clips)


def _truth_from_line(line: str) -> ClipTruth:
    clip = json.loads(line)
    objects = []
    for thing in clip.pop("objects"):
        strikes = tuple(Strike(**strike) for strike in thing.pop("strikes"))
        track = Track(**{name: tuple(values) for name, values in thing.pop("track").items()})
        objects.append(ObjectTruth(**thing, strikes=strikes, track=track))
    return ClipTruth(**clip, objects=tuple(objects))
