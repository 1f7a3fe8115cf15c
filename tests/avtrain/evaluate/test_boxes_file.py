"""Files of boxes in all their forms, and what is said of wrong ones."""

import json
from pathlib import Path

import pytest

from avdata.synthetic.config import SceneConfig
from avdata.synthetic.ground_truth import truth_to_line
from avdata.synthetic.write_set import SetRecord, clip_truth
from avtrain.errors import DataError
from avtrain.evaluate.boxes import Box
from avtrain.evaluate.boxes_file import read_boxes_file
from avtrain.evaluate.scene_boxes import box_at


def test_csv_rows_of_one_time_are_one_moment(tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text(
        "key,time_s,x0,y0,x1,y1,annotator,sounds\n"
        "a,1.5,0.1,0.2,0.3,0.4,p,1\na,1.5,0.1,0.2,0.5,0.4,q,1\na,1.5,0.6,0,1.02,1,,0\n"
        "b,,0,0,1,1,,\nc,2,0,0,1,1,,no\n"
    )
    file = read_boxes_file(path)
    assert not file.on_media_clock
    [moment] = file.moments["a"]
    assert moment.time_s == 1.5
    assert moment.sounding == (
        Box(x0=0.1, y0=0.2, x1=0.3, y1=0.4, annotator="p"),
        Box(x0=0.1, y0=0.2, x1=0.5, y1=0.4, annotator="q"),
    )
    assert moment.silent == (Box(x0=0.6, y0=0, x1=1, y1=1),)  # cut at the picture
    assert file.moments["b"][0].time_s is None
    assert file.moments["c"] == ()  # nothing sounds


def test_json_and_the_form_of_vgg_ss(tmp_path: Path) -> None:
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps([{"key": "a", "time_s": 2, "x0": 0, "y0": 0, "x1": 1, "y1": 0.5}]))
    assert read_boxes_file(path).moments["a"][0].sounding[0].y1 == 0.5
    entries = [
        {"file": "XYZ_000030", "class": "dog", "bbox": [[-0.01, 0.2, 0.5, 0.9], [0, 0, 1, 1]]}
    ]
    path.write_text(json.dumps(entries))
    [moment] = read_boxes_file(path).moments["XYZ_000030"]
    assert moment.time_s is None
    assert len(moment.sounding) == 2
    assert moment.sounding[0].x0 == 0


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "key,left\na,1\n", "it needs {key, x0, y0, x1, y1}"),
        ("a.csv", "key,x0,y0,x1,y1\na,10,20,30,40\n", "divide pixels by them"),
        ("a.csv", "key,x0,y0,x1,y1\na,0.5,0,0.5,1\n", "line 2 has the box .* x0 must be below x1"),
        ("a.csv", "key,x0,y0,x1,y1\na,0,0,1,one\n", "line 2 has a value that is no number"),
        ("a.csv", "key,x0,y0,x1,y1\na,0,0,1,\n", "line 2 lacks y1"),
        ("a.csv", "key,x0,y0,x1,y1,time_s\na,0,0,1,1,-2\n", "time_s -2; it counts from"),
        ("a.json", "[{]", "is no JSON"),
        ("a.json", "[3]", "entry 0 is 3; it must be an object"),
        ("a.jsonl", '{"id": 1}\n', "line 1 is not a clip's ground truth"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read_boxes_file(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"No such file or directory; give a CSV or JSON file"):
        read_boxes_file(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(DataError, match="it is no text"):
        read_boxes_file(tmp_path / "b.csv")


def test_scenes_have_a_moment_for_each_strike_that_is_seen(tmp_path: Path) -> None:
    config = SceneConfig(
        duration_s=6, size_px=64, max_objects=2, silent_probability=1, off_screen_probability=1
    )
    record = SetRecord(num_clips=4, seed=5, scene=config)
    scenes = [clip_truth(record, index) for index in range(4)]
    path = tmp_path / "ground_truth.jsonl"
    path.write_text("".join(truth_to_line(scene) + "\n" for scene in scenes))
    file = read_boxes_file(path)
    assert file.on_media_clock
    assert list(file.moments) == [scene.id for scene in scenes]
    checked = 0
    for scene in scenes:
        moments = file.moments[scene.id]
        seen = [thing for thing in scene.objects if not thing.off_screen]
        times = sorted(strike.time_s for thing in seen for strike in thing.strikes)
        assert len(moments) <= len(times)
        for time_s in times:
            assert min(abs(moment.time_s - time_s) for moment in moments) <= 0.1
        for moment in moments:
            [silent] = [thing for thing in seen if thing.silent]
            assert len(moment.silent) == 1
            frame = int(moment.time_s * scene.fps + 1e-6)
            middle = (moment.silent[0].x0 + moment.silent[0].x1) / 2
            if moment.silent[0].x0 > 0 and moment.silent[0].x1 < 1:
                assert middle * 64 == pytest.approx(silent.track.x_px[frame], abs=0.01)
                checked += 1
        thing = next(thing for thing in seen if thing.strikes)
        strike = thing.strikes[0]
        box = box_at(scene, thing, strike.time_s)
        assert box.x0 * 64 <= strike.x_px <= box.x1 * 64
        assert box.y0 * 64 <= strike.y_px <= box.y1 * 64
    assert checked > 10
    hidden = next(thing for thing in scenes[0].objects if thing.off_screen)
    assert box_at(scenes[0], hidden, 1.0) is None
