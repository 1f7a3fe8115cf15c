"""Every matrix and range that a file may state becomes the RGB that ffmpeg makes of it."""

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from avdata import ShardSet
from avdata.cli import main
from avdata.config import LimitsConfig
from avdata.decode.picture_stream import stream_pictures
from avdata.schema import H264_SUFFIX
from avdata.shards.stored_sample import open_sample

PATCH_PX, ROWS, COLUMNS = 16, 6, 8
HEIGHT_PX, WIDTH_PX = ROWS * PATCH_PX, COLUMNS * PATCH_PX
ACCURATE = "flags=accurate_rnd+full_chroma_int+full_chroma_inp"
SCALED = {name: f"scale=in_color_matrix={name}:in_range={{range}}:{ACCURATE}" for name in (
    "bt709", "fcc", "bt470bg", "smpte170m", "smpte240m", "bt2020nc",
)}  # fmt: skip
ORACLES = SCALED | {"ycgco": "zscale=matrix=gbr:range=full:dither=none"}
"""FFmpeg's conversion to RGB; its scaler refuses YCgCo."""
WEIGHTS = {
    "bt709": (0.2126, 0.0722),
    "fcc": (0.30, 0.11),
    "bt470bg": (0.299, 0.114),
    "smpte170m": (0.299, 0.114),
    "smpte240m": (0.212, 0.087),
    "bt2020nc": (0.2627, 0.0593),
}


def ffmpeg(*arguments: object, data: bytes | None = None) -> bytes:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, input=data, check=True, capture_output=True).stdout


def patches() -> np.ndarray:
    """Colors (ROWS, COLUMNS, 3): the corners of the RGB cube, grays, and any others."""
    corners = [[255 * (k >> i & 1) for i in range(3)] for k in range(8)]
    grays = [[20 * k] * 3 for k in range(4)]
    others = np.random.default_rng(0).integers(0, 256, (ROWS * COLUMNS - 13, 3)).tolist()
    return np.array([*corners, *grays, [200, 40, 40], *others]).reshape(ROWS, COLUMNS, 3)


def coded(rgb: np.ndarray, matrix: str, color_range: str) -> np.ndarray:
    """Y, Cb and Cr of colors by the equations of ITU-T H.273: uint8 (3, ROWS, COLUMNS)."""
    red, green, blue = np.moveaxis(rgb / 255, -1, 0)
    spread = 224
    if matrix == "ycgco":
        luma = (red + 2 * green + blue) / 4
        parts, spread = [(2 * green - red - blue) / 4, (red - blue) / 2], 219
    else:
        kr, kb = WEIGHTS[matrix]
        luma = kr * red + (1 - kr - kb) * green + kb * blue
        parts = [(blue - luma) / 2 / (1 - kb), (red - luma) / 2 / (1 - kr)]
    if color_range == "pc":
        planes = [255 * luma, *(128 + 255 * part for part in parts)]
    else:
        planes = [16 + 219 * luma, *(128 + spread * part for part in parts)]
    return np.clip(np.round(planes), 0, 255).astype(np.uint8)


def make(path: Path, matrix: str, color_range: str) -> None:
    """One second of patches, lossless, with a tone."""
    y, u, v = (np.kron(plane, np.ones((PATCH_PX,) * 2, np.uint8)) for plane in coded(
        patches(), matrix, color_range
    ))  # fmt: skip
    picture = y.tobytes() + u[::2, ::2].tobytes() + v[::2, ::2].tobytes()
    ffmpeg(
        *("-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{WIDTH_PX}x{HEIGHT_PX}", "-r", 10),
        *("-i", "-", "-f", "lavfi", "-i", "sine=duration=1", "-c:a", "aac"),
        *("-vf", f"setparams=colorspace={matrix}:range={color_range}"),
        *("-c:v", "libx264", "-qp", 0, "-pix_fmt", "yuv420p", path),
        data=picture * 10,
    )


def middles(picture: np.ndarray) -> np.ndarray:
    return picture[PATCH_PX // 2 :: PATCH_PX, PATCH_PX // 2 :: PATCH_PX].astype(int)


def as_ffmpeg_shows(path: Path, matrix: str, color_range: str) -> np.ndarray:
    chain = ORACLES[matrix].format(range=color_range) + ",format=gbrp"
    data = ffmpeg("-i", path, "-vf", chain, "-frames:v", 1, "-f", "rawvideo", "-")
    green, blue, red = np.frombuffer(data, np.uint8).reshape(3, HEIGHT_PX, WIDTH_PX)
    return middles(np.stack([red, green, blue], -1))


@pytest.fixture(scope="module")
def movies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("colors")
    for matrix in ORACLES:
        for color_range in ("tv", "pc"):
            make(folder / f"{matrix}_{color_range}.mp4", matrix, color_range)
    return folder


def build(media: Path, out: Path, codec: str, **settings: object) -> list[dict]:
    """The rows of the manifest."""
    settings |= {
        "video.short_side_px": HEIGHT_PX,
        "video.codec": codec,
        "video.quality": 100,
        "video.crf": 0,
        "fields": '["frames"]',
    }
    options = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
    arguments = ["build", "--source", media, "--out", out, "--workers", 0, *options]
    done = CliRunner().invoke(main, [*map(str, arguments)], prog_name="avdata")
    assert done.exit_code == 0, done.output
    rows: list[dict] = pq.read_table(out / "manifest.parquet").to_pylist()
    return rows


@pytest.mark.parametrize("codec", ["jpeg", "h264", "copy"])
def test_stored_colors_are_those_of_ffmpeg(codec: str, movies: Path, tmp_path: Path) -> None:
    rows = build(movies, tmp_path / "set", codec)
    shards = ShardSet(tmp_path / "set")
    off = {}
    for sample, row in enumerate(rows):
        path = movies / row["media"]
        stated = path.stem.split("_")
        assert [row["color_matrix"], row["color_range"]] == stated
        wanted = as_ffmpeg_shows(path, *stated)
        if codec == "h264":  # both by the same accurate conversion, which the reader's is not
            (tmp_path / "a.mp4").write_bytes(
                open_sample(tmp_path / "set", row["key"]).read(H264_SUFFIX)
            )
            seen = as_ffmpeg_shows(tmp_path / "a.mp4", "smpte170m", "tv")
        else:
            seen = middles(shards.read_frames(sample, [0])[0])
        off[path.stem] = int(np.abs(seen - wanted).max())
    assert len(off) == 2 * len(ORACLES) == 14
    assert max(off.values()) <= 2, off


@pytest.mark.parametrize("matrix", ORACLES)
def test_applications_see_the_colors_of_ffmpeg(matrix: str, movies: Path) -> None:
    for color_range in ("tv", "pc"):
        path = movies / f"{matrix}_{color_range}.mp4"
        pictures = stream_pictures(path, LimitsConfig(), width_px=WIDTH_PX, height_px=HEIGHT_PX)
        seen = middles(next(iter(pictures))[1])
        assert np.abs(seen - as_ffmpeg_shows(path, matrix, color_range)).max() <= 2
