"""Scenes with known answers: moving, sounding objects; time, place and sources are exact."""

from avdata.synthetic.config import SceneConfig
from avdata.synthetic.ground_truth import ClipTruth, ObjectTruth, Track, read_ground_truth
from avdata.synthetic.movie import write_movie
from avdata.synthetic.picture import render_frames
from avdata.synthetic.scene import Scene, SceneObject, Strike, sample_scene
from avdata.synthetic.sound import render_sound
from avdata.synthetic.write_set import SetRecord, SetReport, read_set_record, write_set

__all__ = [
    "ClipTruth",
    "ObjectTruth",
    "Scene",
    "SceneConfig",
    "SceneObject",
    "SetRecord",
    "SetReport",
    "Strike",
    "Track",
    "read_ground_truth",
    "read_set_record",
    "render_frames",
    "render_sound",
    "sample_scene",
    "write_movie",
    "write_set",
]
