"""Pictures and sound to a movie that plays everywhere, by FFmpeg; the one file that runs it."""

import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import ffmpeg
import imageio_ffmpeg
import numpy as np

from avdata.atomic_writing import partial_path
from avdata.errors import ShardSetError

STEREO_OF_AMBISONICS = "pan=stereo|c0=0.5*c0+0.5*c1|c1=0.5*c0-0.5*c1"
"""W + Y and W - Y (channels are W Y Z X): cardioids to the left and to the right."""

BT709 = {
    "colorspace": "bt709",
    "color_primaries": "bt709",
    "color_trc": "bt709",
    "color_range": "tv",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class MovieForm:
    """How a file suffix is written."""

    format: str
    """FFmpeg's name of the container."""
    video: Mapping[str, object]
    audio: Mapping[str, object]
    keeps_ambisonics: bool = False
    """Four channels stay four; else they become two that any player plays."""


_H264 = {"vcodec": "libx264", "crf": 18, "preset": "veryfast", "pix_fmt": "yuv420p"}
_AAC = {"acodec": "aac", "audio_bitrate": "192k"}
_VP9 = {"vcodec": "libvpx-vp9", "crf": 24, "video_bitrate": 0, "deadline": "realtime"}

MOVIE_FORMS: dict[str, MovieForm] = {
    ".mp4": MovieForm(format="mp4", video={**_H264, "movflags": "+faststart"}, audio=_AAC),
    ".mov": MovieForm(format="mov", video=_H264, audio=_AAC),
    ".mkv": MovieForm(
        format="matroska", video=_H264, audio={"acodec": "copy"}, keeps_ambisonics=True
    ),
    ".webm": MovieForm(
        format="webm",
        video={**_VP9, "cpu-used": 8, "pix_fmt": "yuv420p"},
        audio={"acodec": "libopus", "audio_bitrate": "128k"},
    ),
}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class MovieContent:
    """What a movie shows and plays; both start at time 0."""

    pictures: Iterable[np.ndarray]
    """uint8 RGB (h, w, 3), all of one size."""
    width_px: int
    height_px: int
    fps: float
    flac: bytes | None
    """The sound; None for a silent movie."""
    num_channels: int


def encode_movie(path: Path, content: MovieContent) -> None:
    """Write a movie, which appears when it is complete.

    Args:
        path: Its suffix is one of `MOVIE_FORMS`.
        content: The pictures are taken one at a time.

    Raises:
        ShardSetError: FFmpeg refuses; its own words are in the text.
    """
    form = MOVIE_FORMS[path.suffix.lower()]
    partial = partial_path(path.absolute())
    with tempfile.TemporaryDirectory() as folder:
        sound = None
        if content.flac is not None:
            sound = Path(folder) / "sound.flac"
            sound.write_bytes(content.flac)
        try:
            _run(_command(form, content, sound, partial), content.pictures, path)
            partial.rename(path)
        finally:
            partial.unlink(missing_ok=True)


def _command(form: MovieForm, content: MovieContent, sound: Path | None, out: Path) -> list[str]:
    pictures = ffmpeg.input(
        "pipe:",
        format="rawvideo",
        pix_fmt="rgb24",
        s=f"{content.width_px}x{content.height_px}",
        framerate=str(Fraction(content.fps).limit_denominator(1_000_000)),
    )
    # even sizes, as 4:2:0 needs them
    video = pictures.filter("scale", out_color_matrix="bt709", out_range="limited").filter(
        "pad", "ceil(iw/2)*2", "ceil(ih/2)*2"
    )
    streams, settings = [video], {**form.video, **BT709, "format": form.format}
    if sound is not None:
        audio = ffmpeg.input(str(sound)).audio
        settings |= form.audio
        if content.num_channels == 4 and not form.keeps_ambisonics:
            settings["af"] = STEREO_OF_AMBISONICS
        streams.append(audio)
    node = ffmpeg.output(*streams, str(out), **settings)
    node = node.global_args("-loglevel", "error", "-nostdin")
    command: list[str] = node.compile(cmd=imageio_ffmpeg.get_ffmpeg_exe(), overwrite_output=True)
    return command


def _run(command: list[str], pictures: Iterable[np.ndarray], path: Path) -> None:
    """Feed FFmpeg with pictures; what it says goes to a file, so that no pipe fills up."""
    with tempfile.TemporaryFile() as says:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=says
        )
        assert process.stdin is not None
        try:
            with process.stdin as pipe:
                for picture in pictures:
                    pipe.write(np.ascontiguousarray(picture).data)
        except BrokenPipeError:
            pass  # FFmpeg ended before the last picture: it says why
        except BaseException:
            process.kill()
            raise
        finally:
            status = process.wait()
        if status:
            says.seek(0)
            text = says.read().decode(errors="replace").strip()
            raise ShardSetError(f"{path} cannot be written, FFmpeg says: {text[-500:]}")
