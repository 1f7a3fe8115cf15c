"""Interlaced media are told from others in the manifest, for every codec."""

import subprocess
from pathlib import Path

import imageio_ffmpeg
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from avdata.cli import main

ENCODERS = {
    "h264": ["-c:v", "libx264", "-x264-params", "tff=1", "-flags", "+ilme+ildct"],
    "mpeg2": ["-c:v", "mpeg2video", "-flags", "+ilme+ildct"],
    "plain": ["-c:v", "libx264"],
}


@pytest.mark.parametrize("codec", ["jpeg", "h264", "copy"])
def test_interlaced_media(codec: str, tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()
    for name, encoder in ENCODERS.items():
        field_order = [] if name == "plain" else ["-vf", "interlace"]
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi"]
        command += ["-i", "testsrc2=s=96x64:r=50:d=1", *field_order, "-pix_fmt", "yuv420p"]
        subprocess.run([*command, *encoder, str(media / f"{name}.mkv")], check=True)
    settings = [f"video.codec={codec}", "video.short_side_px=64", 'fields=["frames"]']
    options = [part for setting in settings for part in ("--set", setting)]
    out = tmp_path / "set"
    run = CliRunner()
    done = run.invoke(
        main, ["build", "--source", str(media), "--out", str(out), "--workers", "0", *options]
    )
    assert done.exit_code == 0, done.output
    rows = pq.read_table(out / "manifest.parquet").to_pylist()
    seen = {Path(row["media"]).stem: row["interlaced"] for row in rows}
    assert seen == {"h264": True, "mpeg2": True, "plain": False}
    for row in rows:
        shown = run.invoke(main, ["inspect", str(out), row["key"]]).stdout
        assert (", interlaced" in shown) == row["interlaced"]
