"""PQ and HLG are tone-mapped as ffmpeg does it, on request and only then."""

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from avdata import ShardSet
from avdata.cli import main
from avdata.decode.tone_map import hable

HEIGHT_PX, WIDTH_PX, PATCH_PX = 96, 160, 16
CHAIN = (
    "zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,tonemap=hable:desat=0:peak=10,"
    "zscale=t=bt709:m=gbr:r=full:dither=none,format=gbrp"
)
"""The chain of ffmpeg's documentation, for a peak of 1000 cd/m2."""
PQ, HLG, BT2020 = 16, 18, 9


def ffmpeg(*arguments: object, data: bytes | None = None) -> bytes:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *map(str, arguments)]
    return subprocess.run(command, input=data, check=True, capture_output=True).stdout


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)], prog_name="avdata")


def build(media: Path, out: Path, *settings: str) -> Result:
    fixed = (f"video.short_side_px={HEIGHT_PX}", 'fields=["frames"]', "video.quality=100")
    options = [part for setting in (*fixed, *settings) for part in ("--set", setting)]
    return run("build", "--source", media, "--out", out, "--workers", 0, *options)


def first_frames(out: Path) -> dict[str, np.ndarray]:
    rows = pq.read_table(out / "manifest.parquet").to_pylist()
    shards = ShardSet(out)
    return {Path(row["media"]).name: shards.read_frames(i, [0])[0] for i, row in enumerate(rows)}


def make(path: Path, transfer: str, *, colored: bool) -> None:
    """Half a second of patches in BT.2020, 10 bits."""
    rng = np.random.default_rng(0)
    size = (HEIGHT_PX // PATCH_PX, WIDTH_PX // PATCH_PX)
    colors = rng.uniform(0.1, 0.75, (*size, 1)) + colored * rng.uniform(-0.15, 0.15, (*size, 3))
    colors = np.round(1023 * np.broadcast_to(np.clip(colors, 0, 1), (*size, 3))).astype("<u2")
    picture = np.kron(colors, np.ones((PATCH_PX, PATCH_PX, 1), np.uint16))
    planes = np.moveaxis(picture, -1, 0)[[1, 2, 0]]  # green, blue, red
    state = f"setparams=color_trc={transfer}:color_primaries=bt2020"
    ffmpeg(
        *("-f", "rawvideo", "-pix_fmt", "gbrp10le", "-s", f"{WIDTH_PX}x{HEIGHT_PX}", "-r", 10),
        *(
            "-i",
            "-",
            "-vf",
            f"{state}:colorspace=gbr:range=pc,zscale=matrix=2020_ncl:range=limited",
        ),
        *("-pix_fmt", "yuv444p10le", "-c:v", "libx264", "-qp", 0, path),
        data=planes.tobytes() * 5,
    )


def mapped_by_ffmpeg(path: Path, *, width: int, height: int) -> np.ndarray:
    data = ffmpeg("-i", path, "-frames:v", 1, "-vf", CHAIN, "-f", "rawvideo", "-")
    green, blue, red = np.frombuffer(data, np.uint8).reshape(3, height, width)
    return np.stack([red, green, blue], -1).astype(int)


@pytest.mark.parametrize("codec", ["jpeg", "h264"])
def test_patches_are_mapped_as_ffmpeg_maps_them(codec: str, tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    make(media / "pq.mp4", "smpte2084", colored=True)
    make(media / "hlg.mp4", "arib-std-b67", colored=False)  # see below
    done = build(
        media, tmp_path / "set", "video.tone_map=hable", f"video.codec={codec}", "video.crf=0"
    )
    assert done.exit_code == 0, done.output
    seen = first_frames(tmp_path / "set")
    assert sorted(seen) == ["hlg.mp4", "pq.mp4"]
    middle = slice(PATCH_PX // 2, None, PATCH_PX)
    for name, frame in seen.items():
        wanted = mapped_by_ffmpeg(media / name, width=WIDTH_PX, height=HEIGHT_PX)
        off = np.abs(frame.astype(int) - wanted)[middle, middle]
        assert off.max() <= (2 if codec == "jpeg" else 3), (name, off.max())


def test_colors_of_hlg_as_bt2100_says() -> None:
    """FFmpeg applies the system gamma of HLG to R, G and B apart; BT.2100 to the luminance."""
    signal = np.random.default_rng(1).uniform(0, 1, (5, 7, 3))
    seen = hable(signal.astype(np.float32), transfer=HLG, primaries=BT2020)
    to_bt709 = np.array([
        [1.660491, -0.587641, -0.072850],
        [-0.124550, 1.132900, -0.008349],
        [-0.018151, -0.100579, 1.118730],
    ])  # fmt: skip  # ITU-R BT.2087, annex

    def curve(x: float) -> float:
        return ((x * (0.15 * x + 0.05) + 0.004) / (x * (0.15 * x + 0.5) + 0.06)) - 0.02 / 0.3

    for place in np.ndindex(5, 7):
        scene = [
            s * s / 3 if s <= 0.5 else (np.exp((s - 0.55991073) / 0.17883277) + 0.28466892) / 12
            for s in signal[place]
        ]
        luminance = 0.2627 * scene[0] + 0.6780 * scene[1] + 0.0593 * scene[2]
        light = [1000 * luminance**0.2 * s for s in scene]
        linear = np.maximum(to_bt709 @ light, 0) / 100
        linear *= curve(linear.max()) / curve(10.0) / linear.max()
        wanted = np.clip(linear, 0, 1) ** (1 / 2.4)
        np.testing.assert_allclose(seen[place], wanted, atol=2e-3)


def test_pq_of_a_phone(shared_data: Path, tmp_path: Path) -> None:
    """Gray as it is coded, and mapped to a known answer; what is not PQ or HLG stays as it was."""
    case = shared_data / "cases" / "other_matrices"
    for name, settings in {"coded": (), "mapped": ("video.tone_map=hable",)}.items():
        done = build(case / "listing.csv", tmp_path / name, *settings)
        assert done.exit_code == 0, done.output
    coded, mapped = first_frames(tmp_path / "coded"), first_frames(tmp_path / "mapped")
    wanted = mapped_by_ffmpeg(case / "pq.mp4", width=96, height=72)
    np.testing.assert_allclose(mapped["pq.mp4"].mean((0, 1)), wanted.reshape(-1, 3).mean(0), atol=1)
    assert np.abs(coded["pq.mp4"].mean() - wanted.mean()) > 20
    np.testing.assert_array_equal(coded["bt2020.mp4"], mapped["bt2020.mp4"])
    assert "jpeg quality 100, tone-mapped (hable)" in run("inspect", tmp_path / "mapped").stdout
    advice = run("stats", tmp_path / "coded").stdout
    assert "1 of 2 clips are coded for HDR displays (PQ or HLG)" in advice
    assert "video.tone_map=hable" in advice
    assert "PQ or HLG" not in run("stats", tmp_path / "mapped").stdout


def test_copies_cannot_be_tone_mapped(tmp_path: Path) -> None:
    make(tmp_path / "pq.mp4", "smpte2084", colored=False)
    done = build(tmp_path, tmp_path / "set", "video.tone_map=hable", "video.codec=copy")
    assert done.exit_code == 2
    assert (
        "tone_map='hable' needs frames that are decoded: set codec to jpeg or h264" in done.output
    )
