"""Built sets of every frame codec: a picture and a page show each frame at its time."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from avdata.schema import ManifestRow
from avdata.shards.page_media import read_media
from avdata.shards.reader import ShardSet
from avdata.shards.stored_frames import open_frames
from avdata.shards.stored_sample import open_sample
from avdata.synthetic.movie import write_movie

pytestmark = pytest.mark.slow
FPS, NUM_FRAMES = 10, 20


def shade(k: int) -> int:
    return 20 + 10 * k


@pytest.fixture(scope="module", params=["jpeg", "h264", "copy"])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of one clip, whose frame k is of the gray `shade(k)`."""
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "media").mkdir()
    write_movie(
        folder / "media" / "gray.mp4",
        frames=(np.full((64, 96, 3), shade(k), np.uint8) for k in range(NUM_FRAMES)),
        frame_times_s=None,
        fps=Fraction(FPS),
        sound=np.zeros((32000, 1), np.float32),
        sample_rate_hz=16000,
    )
    settings = [f"video.codec={request.param}", f"video.fps={FPS}", "video.short_side_px=64"]
    command = [sys.executable, "-c", "from avdata.cli import main; main()", "build"]
    command += ["--source", str(folder / "media"), "--out", str(folder / "set"), "--workers", "1"]
    for setting in settings:
        command += ["--set", setting]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    return folder / "set"


def test_frames_by_members_are_those_of_the_reader(built: Path) -> None:
    sample = open_sample(built, None)
    frames = open_frames(sample)
    assert frames is not None
    assert frames.count == NUM_FRAMES
    wanted = [3, 0, 17]
    expected = ShardSet(built).read_frames(0, wanted)
    for seen, same, k in zip(frames.read(wanted), expected, wanted, strict=True):
        np.testing.assert_array_equal(seen, same)
        assert abs(float(seen.mean()) - shade(k)) < 4


def test_a_tar_alone(built: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.tar"
    alone.write_bytes((built / "shard-000000.tar").read_bytes())
    frames = open_frames(open_sample(alone, None))
    video = ShardSet(built).spec.video
    assert video is not None
    if video.codec == "copy":  # its frames are placed by the manifest
        assert frames is None
    else:
        assert frames is not None
        assert abs(float(frames.read([13])[0].mean()) - shade(13)) < 4


def test_sheet_of_a_page(built: Path) -> None:
    shard_set = ShardSet(built)
    row = ManifestRow(**shard_set.manifest.slice(0, 1).to_pylist()[0])
    sheet = read_media(shard_set, 0, row, 10**6).sheet
    assert sheet is not None
    assert len(sheet.times_s) >= 14
    picture = simplejpeg.decode_jpeg(sheet.jpeg)
    for place, time_s in enumerate(sheet.times_s):
        y = place // sheet.tiles_across * sheet.tile_height_px + sheet.tile_height_px // 2
        x = place % sheet.tiles_across * sheet.tile_width_px + sheet.tile_width_px // 2
        assert abs(float(picture[y, x].mean()) - shade(round(time_s * FPS))) < 4
