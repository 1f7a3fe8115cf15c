"""Every matrix and range that a file may state becomes the RGB that ffmpeg makes of it."""

import subprocess
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
import pyarrow.parquet as pq
import pytest
from av.video.reformatter import VideoReformatter
from click.testing import CliRunner

from avdata import ShardSet
from avdata.cli import main
from avdata.config import LimitsConfig
from avdata.decode.picture import PictureScaler
from avdata.decode.picture_stream import stream_pictures
from avdata.picture_color import rgb_pixels
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
        shown = CliRunner().invoke(main, ["inspect", str(tmp_path / "set"), row["key"]]).stdout
        assert f"matrix {stated[0]}, range {stated[1]}" in shown
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


# stated by the container alone; RGB


COLR = ["-movflags", "+write_colr", "-color_primaries", "bt709", "-color_trc", "bt709"]
"""The box of mp4 that states colors: MPEG-4 pictures themselves state none."""


OTHERS: dict[str, tuple[list[object], str | None]] = {
    "colr.mp4": (["-c:v", "mpeg4", "-q:v", 1, "-pix_fmt", "yuv420p", *COLR], "smpte240m"),
    "mpeg4.mkv": (["-c:v", "mpeg4", "-q:v", 1, "-pix_fmt", "yuv420p"], "smpte240m"),
    "mjpeg.mkv": (["-c:v", "mjpeg", "-q:v", 1, "-pix_fmt", "yuvj420p"], "bt470bg"),
    "mpeg2.ts": (["-c:v", "mpeg2video", "-q:v", 1, "-pix_fmt", "yuv420p"], "fcc"),
    "prores.mov": (["-c:v", "prores_ks", "-pix_fmt", "yuv444p10le"], "bt2020nc"),
    "vp9.webm": (["-c:v", "libvpx-vp9", "-lossless", 1, "-pix_fmt", "yuv420p"], "smpte240m"),
    "rgb.mkv": (["-c:v", "ffv1", "-pix_fmt", "gbrp"], "gbr"),
    "deep.mkv": (["-c:v", "ffv1", "-pix_fmt", "gbrp10le"], "gbr"),
    "x264.mp4": (["-c:v", "libx264rgb", "-qp", 0], "gbr"),
    "png.mkv": (["-c:v", "png", "-pix_fmt", "rgb24"], "gbr"),
    "gray.mkv": (["-c:v", "ffv1", "-pix_fmt", "gray"], None),
}
"""How to encode, and the matrix to state."""
BUILDS = [("jpeg", name) for name in OTHERS]
BUILDS += [("copy", name) for name in OTHERS if name != "png.mkv"]  # which cannot be copied


@pytest.mark.parametrize(("codec", "name"), BUILDS)
def test_colors_of_other_codecs(codec: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    path = tmp_path / "media" / name
    encode, stated = OTHERS[name]
    convert: list[object] = []
    if stated not in (None, "gbr"):
        limits = "pc" if name == "mjpeg.mkv" else "tv"
        convert += ["-vf", f"scale=out_color_matrix={stated}:out_range={limits}:{ACCURATE}"]
        convert += ["-colorspace", stated, "-color_range", limits]
    picture = np.kron(patches().astype(np.uint8), np.ones((PATCH_PX, PATCH_PX, 1), np.uint8))
    ffmpeg(
        *("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{WIDTH_PX}x{HEIGHT_PX}", "-r", 25),
        *("-i", "-", *convert, *encode, path),
        data=picture.tobytes() * 25,
    )
    (row,) = build(tmp_path / "media", tmp_path / "set", codec)
    assert row["color_matrix"] == stated
    seen = middles(ShardSet(tmp_path / "set").read_frames(0, [0])[0])
    shown = ffmpeg("-i", path, "-vf", f"scale={ACCURATE},format=gbrp", "-f", "rawvideo", "-")
    green, blue, red = np.frombuffer(shown, np.uint8).reshape(-1, 3, HEIGHT_PX, WIDTH_PX)[0]
    # the codecs lose something, and the copy's reader rounds less well than this conversion; to
    # ignore the matrix would be 20 levels off
    assert np.abs(seen - middles(np.stack([red, green, blue], -1))).max() <= 4


def test_bt2020_of_a_phone_is_stored_as_ffmpeg_shows_it(shared_data: Path, tmp_path: Path) -> None:
    case = shared_data / "cases" / "other_matrices"
    rows = build(case, tmp_path / "set", "jpeg")
    assert [Path(row["media"]).name for row in rows] == ["bt2020.mp4", "pq.mp4"]
    stated = [[row[f"color_{name}"] for name in ("matrix", "range", "transfer")] for row in rows]
    assert stated == [["bt2020nc", "tv", None], ["bt2020nc", "tv", "smpte2084"]]
    seen = ShardSet(tmp_path / "set").read_frames(0, [0])[0].reshape(-1, 3).mean(0)
    path = case / "bt2020.mp4"
    # ffmpeg's quick conversion is itself 3 levels off the equations
    for chain, off in ((f"scale={ACCURATE},format=gbrp", 1), ("format=rgb24", 4)):
        wanted = ffmpeg("-i", path, "-vf", chain, "-pix_fmt", "rgb24", "-f", "rawvideo", "-")
        np.testing.assert_allclose(seen, list(wanted[:3]), atol=off)


# matrices that ffmpeg's scaler refuses, by their equations


def bt709_signal(light: np.ndarray) -> np.ndarray:
    return np.where(light < 0.018054, 4.5 * light, 1.0993 * light**0.45 - 0.0993)


def pq_signal(light: np.ndarray) -> np.ndarray:
    power = light**0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def pq_light(signal: np.ndarray) -> np.ndarray:
    power = signal ** (1 / 78.84375)
    return (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** 6.277394636


def constant_luminance(rgb: np.ndarray) -> np.ndarray:
    """ITU-R BT.2020, table 4."""
    light = np.where(rgb < 0.081242, rgb / 4.5, ((rgb + 0.0993) / 1.0993) ** (1 / 0.45))
    luma = bt709_signal(light @ [0.2627, 0.6780, 0.0593])
    blue, red = rgb[..., 2] - luma, rgb[..., 0] - luma
    blue = np.where(blue <= 0, blue / 1.9404, blue / 1.5816)
    red = np.where(red <= 0, red / 1.7184, red / 0.9936)
    return np.stack([luma, blue, red])


def chroma_derived(rgb: np.ndarray) -> np.ndarray:
    """By the luma of Display P3: SMPTE EG 432-1."""
    luma = rgb @ [0.2289746, 0.6917385, 0.0792869]
    return np.stack(
        [luma, (rgb[..., 2] - luma) / 2 / 0.9207131, (rgb[..., 0] - luma) / 2 / 0.7710254]
    )


def ictcp(rgb: np.ndarray) -> np.ndarray:
    """ITU-R BT.2100, table 7."""
    lms = (
        pq_light(rgb) @ (np.array([[1688, 2146, 262], [683, 2951, 462], [99, 309, 3688]]) / 4096).T
    )
    forward = np.array([[2048, 2048, 0], [6610, -13613, 7003], [17933, -17390, -543]]) / 4096
    return np.moveaxis(pq_signal(lms) @ forward.T, -1, 0)


EQUATIONS = {
    10: (constant_luminance, 14, 9),
    12: (chroma_derived, 1, 12),
    14: (ictcp, 16, 9),
}
"""By `AVColorSpace`: the equations, `AVColorTransferCharacteristic` and `AVColorPrimaries`."""


def deep_frame(planes: np.ndarray, matrix: int) -> av.VideoFrame:
    """A frame of limited range and 16 bits, from luma and chroma (3, h, w)."""
    y, u, v = planes
    levels = np.stack([16 + 219 * y, 128 + 224 * u, 128 + 224 * v]) * 256
    frame = av.VideoFrame(WIDTH_PX, HEIGHT_PX, "yuv444p16le")
    for plane, level in zip(frame.planes, levels, strict=True):
        plane.update(np.ascontiguousarray(np.round(level).astype("<u2")))
    frame.colorspace, frame.color_range = matrix, 1
    return frame


@pytest.mark.parametrize("matrix", EQUATIONS)
def test_matrices_that_the_scaler_refuses(matrix: int) -> None:
    equations, transfer, primaries = EQUATIONS[matrix]
    colors = 0.15 + 0.6 * patches() / 255
    picture = np.kron(colors, np.ones((PATCH_PX, PATCH_PX, 1)))
    frame = deep_frame(equations(picture), matrix)
    frame.color_trc, frame.color_primaries = transfer, primaries
    seen = rgb_pixels(frame, VideoReformatter(), width_px=WIDTH_PX, height_px=HEIGHT_PX)
    assert np.abs(middles(seen) - 255 * colors).max() <= 2
    scaler = PictureScaler(
        short_side_px=HEIGHT_PX,
        pixel_aspect=Fraction(1),
        color_range="full",
        limits=LimitsConfig(),
    )
    y, u, v = scaler.planes(frame)
    y, u, v = middles(y), u[4::8, 4::8].astype(int) - 128, v[4::8, 4::8].astype(int) - 128
    stored = np.stack([y + 1.402 * v, y - 0.344136 * u - 0.714136 * v, y + 1.772 * u], -1)
    assert np.abs(stored - 255 * colors).max() <= 2


@pytest.mark.parametrize("form", ["yuv420p", "yuvj420p", "yuv422p10le", "gbrp", "gray", "rgba"])
def test_no_stated_color_fails(form: str) -> None:
    """All numbers of `AVColorSpace`, two that do not exist, and all of the other properties."""
    for matrix in range(20):
        for transfer in (0, 2, 3, 8, 16, 18, 19, 250):
            frame = av.VideoFrame(64, 48, form)
            for plane in frame.planes:
                plane.update(bytes([100]) * plane.buffer_size)
            frame.colorspace, frame.color_trc, frame.color_primaries = matrix, transfer, transfer
            frame.color_range = transfer % 3
            assert rgb_pixels(frame, VideoReformatter(), width_px=32, height_px=24).shape == (
                24, 32, 3,
            )  # fmt: skip
            for tone_map in ("none", "hable"):
                scaler = PictureScaler(
                    short_side_px=24,
                    pixel_aspect=Fraction(1),
                    color_range="limited",
                    limits=LimitsConfig(),
                    tone_map=tone_map,
                )
                assert [p.shape for p in scaler.planes(frame)] == [(24, 32), (12, 16), (12, 16)]
