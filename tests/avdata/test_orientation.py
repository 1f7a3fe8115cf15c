"""All eight display matrices come out as the bundled ffmpeg shows them, wherever they are read."""

import struct
import subprocess
from functools import cache
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pyarrow.parquet as pq
import pytest
import webdataset
from click.testing import CliRunner
from PIL import Image, ImageOps

from avdata import ShardSet
from avdata.cli import main
from avdata.config import LimitsConfig
from avdata.decode.picture_stream import stream_pictures
from avdata.picture_geometry import Orientation, frame_orientation, matrix_orientation
from avdata.shards.stored_frames import open_frames
from avdata.shards.stored_sample import open_sample

WIDTH_PX, HEIGHT_PX = 96, 64
ORIENTATION_TAG = 0x0112
"""Of EXIF: 1 to 8."""
COLORS = ((220, 40, 40), (40, 200, 40), (40, 60, 230), (230, 220, 210))
"""Of the quadrants: top left, top right, bottom left, bottom right."""
MATRICES = {
    f"turn{turn}{'_flip' if flip else ''}": ["-display_rotation", str(turn), *flip]
    for turn in (0, 90, 180, 270)
    for flip in ([], ["-display_hflip"])
}


def ffmpeg(*arguments: object, data: bytes | None = None) -> bytes:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, input=data, check=True, capture_output=True).stdout


def quadrants() -> np.ndarray:
    colors = np.array(COLORS, np.uint8).reshape(2, 2, 3)
    return np.kron(colors, np.ones((HEIGHT_PX // 2, WIDTH_PX // 2, 1), np.uint8))


@pytest.fixture(scope="module")
def movies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One second of a quadrant picture per display matrix, and one per odd angle."""
    folder = tmp_path_factory.mktemp("orientation")
    plain = folder / "plain.mp4"
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH_PX}x{HEIGHT_PX}", "-r", 10]
    sound = ["-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac"]
    encode = ["-c:v", "libx264", "-qp", 4, "-pix_fmt", "yuv420p"]
    ffmpeg(*raw, "-i", "-", *sound, *encode, plain, data=quadrants().tobytes() * 10)
    (folder / "media").mkdir()
    for name, options in MATRICES.items():
        ffmpeg(*options, "-i", plain, "-c", "copy", folder / "media" / f"{name}.mp4")
    return folder / "media"


@cache
def shown(path: Path) -> tuple[tuple[int, ...], ...]:
    """Colors of the quadrants as the bundled ffmpeg shows them, by its own autorotation."""
    bmp = ffmpeg("-i", path, "-frames:v", 1, "-c:v", "ppm", "-f", "image2pipe", "-")
    _, size, _, pixels = bmp.split(b"\n", 3)
    width, height = map(int, size.split())
    return corners(np.frombuffer(pixels, np.uint8).reshape(height, width, 3))


def corners(pixels: np.ndarray) -> tuple[tuple[int, ...], ...]:
    """Size, and mean color in the middle of each quadrant."""
    height, width, _ = pixels.shape
    found: list[tuple[int, ...]] = [(width, height, 0)]
    for row in (height // 4, 3 * height // 4):
        for column in (width // 4, 3 * width // 4):
            patch = pixels[row - 4 : row + 4, column - 4 : column + 4].reshape(-1, 3)
            found.append(tuple(round(float(v)) for v in patch.mean(0)))
    return tuple(found)


def assert_alike(seen: np.ndarray, path: Path) -> None:
    np.testing.assert_allclose(corners(seen), shown(path), atol=6, err_msg=path.stem)


def build(media: Path, out: Path, codec: str) -> ShardSet:
    settings = {
        "video.short_side_px": HEIGHT_PX,
        "video.codec": codec,
        "fields": '["frames"]',
    }
    options = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    arguments = ["build", "--source", media, "--out", out, "--workers", 0, *options]
    done = CliRunner().invoke(main, [*map(str, arguments)], prog_name="avdata")
    assert done.exit_code == 0, done.output
    return ShardSet(out)


@pytest.mark.parametrize("codec", ["jpeg", "h264", "copy"])
def test_stored_frames_are_as_ffmpeg_shows_them(codec: str, movies: Path, tmp_path: Path) -> None:
    shards = build(movies, tmp_path / "set", codec)
    rows = pq.read_table(tmp_path / "set" / "manifest.parquet").to_pylist()
    assert len(rows) == len(MATRICES) == 8
    for sample, row in enumerate(rows):
        path = movies / row["media"]
        stored = shards.read_frames(sample, [0, 5])
        assert_alike(stored[0], path)
        assert_alike(stored[1], path)
        alone = open_frames(open_sample(tmp_path / "set", row["key"]))
        assert alone is not None
        np.testing.assert_array_equal(alone.read([0])[0], stored[0])
        assert row["mirrored"] == path.stem.endswith("_flip")
        shown_text = CliRunner().invoke(main, ["inspect", str(tmp_path / "set"), row["key"]]).stdout
        assert (", mirrored" in shown_text) == row["mirrored"]
        assert (row["frame_width_px"], row["frame_height_px"]) == stored.shape[2:0:-1]
    assert len({shown(movies / row["media"]) for row in rows}) == 8  # no two alike


def test_tars_of_others_are_read_as_ffmpeg_shows_them(movies: Path, tmp_path: Path) -> None:
    names = sorted(MATRICES)
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as writer:
        for name in names:
            writer.write({"__key__": name, "mp4": (movies / f"{name}.mp4").read_bytes()})
    done = CliRunner().invoke(main, ["index", str(tmp_path), "--short-side", str(HEIGHT_PX)])
    assert done.exit_code == 0, done.output
    shards = ShardSet(tmp_path)
    assert len(shards.keys) == 8
    for sample, name in enumerate(names):
        assert_alike(shards.read_frames(sample, [0])[0], movies / f"{name}.mp4")


@pytest.mark.parametrize("name", MATRICES)
def test_applications_see_what_ffmpeg_shows(name: str, movies: Path) -> None:
    path = movies / f"{name}.mp4"
    (width, height, _), *_ = shown(path)
    pictures = stream_pictures(path, LimitsConfig(), width_px=width, height_px=height)
    assert_alike(next(iter(pictures))[1], path)


def matrix(a: float, b: float, c: float, d: float) -> bytes:
    values = [a * 65536, b * 65536, 0, c * 65536, d * 65536, 0, 7, -7, 1 << 30]
    return struct.pack("=9i", *map(round, values))


@pytest.mark.parametrize(
    ("display_matrix", "rotation_deg", "mirrored"),
    [
        (matrix(1, 0, 0, 1), 0, False),
        (matrix(0, -1, 1, 0), 90, False),
        (matrix(-1, 0, 0, -1), -180, False),
        (matrix(0, 1, -1, 0), -90, False),
        (matrix(-1, 0, 0, 1), 0, True),
        (matrix(0, 1, 1, 0), -90, True),
        (matrix(1, 0, 0, -1), -180, True),
        (matrix(0, -1, -1, 0), 90, True),
        (matrix(0, -2, 0.5, 0), 90, False),  # scaled as well
        (matrix(0.0087, -0.99996, 0.99996, 0.0087), 90, False),  # 89.5 degrees
        (matrix(0.87, -0.5, 0.5, 0.87), 0, False),
        (matrix(-0.87, -0.5, -0.5, 0.87), 0, False),
        (matrix(1, 0, 1, 1), 0, False),  # sheared
        (matrix(0, 0, 0, 0), 0, False),
        (b"\0" * 7, 0, False),
        (struct.pack("=9i", *[-(2**31)] * 9), 0, False),
    ],
)
def test_display_matrices(display_matrix: bytes, rotation_deg: int, mirrored: bool) -> None:
    seen = matrix_orientation(display_matrix)
    assert seen == Orientation(rotation_deg=rotation_deg, mirrored=mirrored)


@pytest.mark.parametrize(("angle", "turned"), [("30", False), ("89.5", True), ("268", False)])
def test_odd_angles_count_as_none(angle: str, turned: bool, movies: Path, tmp_path: Path) -> None:
    ffmpeg(
        "-display_rotation", angle, "-i", movies / "turn0.mp4", "-c", "copy", tmp_path / "o.mp4"
    )  # fmt: skip
    with av.open(str(tmp_path / "o.mp4")) as container:
        frame = next(container.decode(video=0))
    assert (frame_orientation(frame) != Orientation()) == turned


@pytest.mark.parametrize("exif_orientation", range(1, 9))
def test_orientation_next_to_side_data_without_a_name(
    exif_orientation: int, tmp_path: Path
) -> None:
    """PyAV cannot list the side data of such frames: cameras write EXIF into each MJPEG frame."""
    picture = Image.fromarray(quadrants())
    exif = picture.getexif()
    exif[ORIENTATION_TAG] = exif_orientation
    picture.save(tmp_path / "one.jpg", exif=exif, quality=95)
    path = tmp_path / "movie.avi"
    ffmpeg("-framerate", 10, "-i", tmp_path / "one.jpg", "-c", "copy", path)
    wanted = np.asarray(ImageOps.exif_transpose(picture))
    height, width, _ = wanted.shape
    pictures = stream_pictures(path, LimitsConfig(), width_px=width, height_px=height)
    np.testing.assert_allclose(corners(next(iter(pictures))[1]), corners(wanted), atol=6)


@pytest.mark.parametrize(
    ("rotation_deg", "turns"),
    [(0, 0), (90, 1), (-90, 3), (180, 2), (270, 3), (45, 0), (-360, 0), (2**31 - 1, 0)],
)
def test_rotations_of_older_sets(rotation_deg: int, turns: int) -> None:
    pixels = np.arange(6).reshape(2, 3)
    orientation = Orientation(rotation_deg=rotation_deg)
    np.testing.assert_array_equal(orientation.upright(pixels), np.rot90(pixels, turns))
    assert orientation.size((3, 2)) == ((2, 3) if turns % 2 else (3, 2))
