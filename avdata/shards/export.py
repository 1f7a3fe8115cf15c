"""A stored sample back to files that anybody opens: a movie, sound, or pictures."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from avdata.atomic_writing import write_atomically
from avdata.errors import ConfigError, ShardSetError
from avdata.shards.codec import encode_audio
from avdata.shards.export_movie import MOVIE_FORMS, MovieContent, encode_movie
from avdata.shards.foreign_set import is_foreign
from avdata.shards.reader import ShardSet

SOUND_SUFFIXES = (".wav", ".flac")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")

FRAMES_AT_A_TIME = 32

_NUMBER = re.compile(r"%0?\d*d")
"""Where a name of pictures has the number of the frame, as in x_%04d.jpg."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """What was written of one sample."""

    key: str
    files: tuple[Path, ...]
    num_frames: int
    """0 for sound alone."""
    num_audio_samples: int
    """0 for pictures, and for a movie without sound."""


def check_target(path: Path) -> None:
    """Refuse a file name whose suffix cannot be written.

    Raises:
        ConfigError: Another suffix than those that are allowed.
    """
    allowed = (*MOVIE_FORMS, *SOUND_SUFFIXES, *PICTURE_SUFFIXES)
    if path.suffix.lower() not in allowed:
        raise ConfigError(
            f"-o {path}: suffix {path.suffix!r} must be one of {', '.join(allowed)}: a movie, "
            "sound, or pictures (x_%04d.jpg for all frames)"
        )


def export_sample(shards: ShardSet, sample: int, path: Path, *, frame: int = 0) -> Exported:
    """Write one sample to `path`; sound and pictures both start at clip clock 0.

    Args:
        shards: The set.
        sample: Row of its manifest.
        path: The suffix says what is written, see `check_target`. Pictures whose name has a
            number, as in x_%04d.jpg, are all frames from 0 on.
        frame: The one frame that a picture without a number in its name shows.

    Raises:
        ConfigError: The suffix is not known, or there is no such frame.
        ShardSetError: The set lacks the field that is asked for, or a shard is damaged.
    """
    check_target(path)
    suffix = path.suffix.lower()
    path.parent.mkdir(parents=True, exist_ok=True)
    if suffix in SOUND_SUFFIXES:
        return _export_sound(shards, sample, path)
    if not _value(shards, sample, "num_frames"):
        raise ShardSetError(
            f"{shards.location} has no frames of {shards.keys[sample]}; its fields are "
            f"{list(shards.spec.fields)}: export its sound with -o x.wav"
        )
    if suffix in PICTURE_SUFFIXES:
        return _export_pictures(shards, sample, path, frame)
    return _export_movie(shards, sample, path)


def _export_movie(shards: ShardSet, sample: int, path: Path) -> Exported:
    has_sound = "audio" in shards.spec.fields
    num_frames = int(_value(shards, sample, "num_frames"))
    encode_movie(
        path,
        MovieContent(
            pictures=_pictures(shards, sample, num_frames),
            width_px=int(_value(shards, sample, "frame_width_px")),
            height_px=int(_value(shards, sample, "frame_height_px")),
            fps=_value(shards, sample, "frame_fps"),
            flac=_flac(shards, sample) if has_sound else None,
            num_channels=shards.spec.audio.num_channels if shards.spec.audio else 0,
        ),
    )
    return Exported(
        key=shards.keys[sample],
        files=(path,),
        num_frames=num_frames,
        num_audio_samples=int(_value(shards, sample, "num_audio_samples")) if has_sound else 0,
    )


def _export_sound(shards: ShardSet, sample: int, path: Path) -> Exported:
    data = _flac(shards, sample)
    if path.suffix.lower() == ".wav":
        samples, rate_hz = soundfile.read(BytesIO(data), dtype="int16", always_2d=True)
        wav = BytesIO()
        soundfile.write(wav, samples, rate_hz, format="WAV", subtype="PCM_16")
        data = wav.getvalue()
    write_atomically(path, data)
    return Exported(
        key=shards.keys[sample],
        files=(path,),
        num_frames=0,
        num_audio_samples=int(_value(shards, sample, "num_audio_samples")),
    )


def _export_pictures(shards: ShardSet, sample: int, path: Path, frame: int) -> Exported:
    num_frames = int(_value(shards, sample, "num_frames"))
    numbers = _NUMBER.findall(path.name)
    if len(numbers) > 1:
        raise ConfigError(f"-o {path}: {len(numbers)} numbers in the name; one is allowed")
    if not numbers and not 0 <= frame < num_frames:
        raise ConfigError(
            f"--frame {frame}: {shards.keys[sample]} has frames 0 to {num_frames - 1}"
        )
    files = []
    for k in range(num_frames) if numbers else [frame]:
        name = _NUMBER.sub(lambda number, k=k: number.group() % k, path.name)  # type: ignore[misc]
        write_atomically(path.with_name(name), _picture_file(shards, sample, k, path.suffix))
        files.append(path.with_name(name))
    return Exported(
        key=shards.keys[sample], files=tuple(files), num_frames=len(files), num_audio_samples=0
    )


def _picture_file(shards: ShardSet, sample: int, k: int, suffix: str) -> bytes:
    """Bytes of a JPEG or PNG of frame k; a stored JPEG as it is."""
    as_jpeg, spec = suffix.lower() != ".png", shards.spec
    is_stored = spec.video is not None and spec.video.codec == "jpeg" and not is_foreign(spec)
    if as_jpeg and is_stored:
        return bytes(shards.read_jpegs(sample, k, k + 1)[0])
    out = BytesIO()
    picture = Image.fromarray(shards.read_frames(sample, [k])[0])
    picture.save(out, format="JPEG" if as_jpeg else "PNG", **({"quality": 95} if as_jpeg else {}))
    return out.getvalue()


def _pictures(shards: ShardSet, sample: int, num_frames: int) -> Iterator[np.ndarray]:
    """All frames of a sample, holding few of them at a time."""
    for first in range(0, num_frames, FRAMES_AT_A_TIME):
        indices = range(first, min(first + FRAMES_AT_A_TIME, num_frames))
        yield from shards.read_frames(sample, indices)


def _flac(shards: ShardSet, sample: int) -> bytes:
    """The sound as it is stored; what others stored in any form, as the set gives it."""
    spec = shards.spec
    if is_foreign(spec) and spec.audio is not None:
        return encode_audio(shards.read_audio(sample), spec.audio.sample_rate_hz)
    return shards.read_bytes(sample, "audio")


def _value(shards: ShardSet, sample: int, column: str) -> float:
    return float(shards.manifest[column][sample].as_py() or 0)
