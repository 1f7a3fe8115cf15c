"""A video's sound split into what its picture shows and what it does not: movies, sounds, facts."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from avdata import atomic_file, stream_pictures
from avtrain.apps.movie_file import MovieSound, ShownPicture, with_other_sound, write_movie_file
from avtrain.apps.regions import Region
from avtrain.apps.separation_stream import (
    RegionSeparator,
    SeparatedBlock,
    separation_hop,
    stream_separated,
)
from avtrain.apps.spectrogram_picture import draw_spectrograms
from avtrain.apps.video_file import VideoFile, media_faults
from avtrain.apps.windows import ClipForm, Window, expected_windows, read_windows
from avtrain.progress import Progress, silent

METRICS_NAME = "metrics.json"
PICTURE_NAME = "spectrograms.png"
MIXTURE_NAME = "mixture"

_LOWEST_DB = -120.0
_READ_SAMPLES = 16384
_FULL_SCALE = 32767 / 32768


@dataclass(frozen=True, kw_only=True, slots=True)
class Track:
    """One of the sounds that are written."""

    name: str
    """Of its files, without suffix."""
    level_db: float
    """Root mean square, of full scale."""
    share: float
    """Its energy over that of the mixture."""
    clipped_samples: int
    """Samples beyond full scale, which a WAV of 16 bits cannot hold."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SeparationFacts:
    """What was written, and how well it adds up."""

    tracks: tuple[Track, ...]
    """Mixture, regions, and the rest."""
    sample_rate_hz: int
    """Of the WAV files: the rate at which the network hears."""
    num_channels: int
    num_samples: int
    num_windows: int
    mixture_error_db: float
    """Energy of the mixture less all parts, over that of the mixture: 0 dB is all of it, -120 dB
    is nothing."""
    has_order: bool
    """Which of the parts is which means something; it does not without a network that sees."""

    @property
    def duration_s(self) -> float:
        """Length of the sounds."""
        return self.num_samples / self.sample_rate_hz


def rest_name(regions: tuple[Region, ...]) -> str:
    """Name of what belongs to no region."""
    return "off-screen" if len(regions) == 1 else "rest"


def write_sounds(
    video: VideoFile,
    form: ClipForm,
    separator: RegionSeparator,
    folder: Path,
    *,
    progress: Progress = silent,
) -> SeparationFacts:
    """Write mixture, regions and rest as WAV files of 16 bits at the network's rate.

    Raises:
        VideoError: The medium cannot be decoded.
    """
    regions = separator.regions
    hop = separation_hop(form)
    counter = _Counter()
    windows = progress(
        counter.count(read_windows(video, form, hop_frames=hop)),
        total=expected_windows(video, form, hop),
        description="separating",
    )
    names = [MIXTURE_NAME, *(region.name for region in regions), rest_name(regions)]
    channels = 1 if video.num_channels == 1 else 2
    tallies = [_Tally() for _ in names]
    error = _Tally()
    with ExitStack() as stack:
        files = [
            stack.enter_context(
                soundfile.SoundFile(
                    stack.enter_context(atomic_file(folder / f"{name}.wav")),
                    "w",
                    samplerate=form.sound_rate_hz,
                    channels=channels,
                    format="WAV",
                    subtype="PCM_16",
                )
            )
            for name in names
        ]
        for block in stream_separated(video, form, separator, windows):
            parts = [block.mixture, *block.on, block.off]
            for file, tally, part in zip(files, tallies, parts, strict=True):
                tally.add(part)
                file.write(np.clip(part[:channels].T, -1, _FULL_SCALE))
            error.add(_left_over(block))
    mixture = max(tallies[0].energy, 1e-30)
    return SeparationFacts(
        tracks=tuple(
            Track(
                name=name,
                level_db=tally.level_db,
                share=tally.energy / mixture,
                clipped_samples=tally.clipped,
            )
            for name, tally in zip(names, tallies, strict=True)
        ),
        sample_rate_hz=form.sound_rate_hz,
        num_channels=channels,
        num_samples=tallies[0].num_samples,
        num_windows=counter.num_items,
        mixture_error_db=_decibels(error.energy / mixture),
        has_order=separator.sees,
    )


def _left_over(block: SeparatedBlock) -> np.ndarray:
    left: np.ndarray = block.mixture - block.on.sum(axis=0) - block.off
    return left


def write_movies(
    video: VideoFile,
    regions: tuple[Region, ...],
    folder: Path,
    *,
    progress: Progress = silent,
) -> list[Path]:
    """A movie for each sound but the mixture, with the WAV files that are in the folder.

    Raises:
        VideoError: The medium cannot be decoded.
    """
    written = []
    for region in regions:
        out = folder / f"{region.name}.mp4"
        with media_faults(video.path):
            write_movie_file(
                out,
                pictures=_pictures(video, region, progress),
                width_px=video.width_px,
                height_px=video.height_px,
                fps=video.fps,
                sound=_wav_sound(folder / f"{region.name}.wav"),
            )
        written.append(out)
    rest = folder / f"{rest_name(regions)}.mp4"
    sound = _wav_sound(folder / f"{rest_name(regions)}.wav")
    if len(regions) == 1:
        with_other_sound(written[0], rest, sound=sound)
    else:
        everything = Region(name="rest")
        with media_faults(video.path):
            write_movie_file(
                rest,
                pictures=_pictures(video, everything, progress),
                width_px=video.width_px,
                height_px=video.height_px,
                fps=video.fps,
                sound=sound,
            )
    return [*written, rest]


def write_report(facts: SeparationFacts, folder: Path, record: dict[str, object]) -> list[Path]:
    """The picture of the spectrograms, and `record` as JSON."""
    names = [track.name for track in facts.tracks]
    page = draw_spectrograms([folder / f"{name}.wav" for name in names], names)
    picture, metrics = folder / PICTURE_NAME, folder / METRICS_NAME
    with atomic_file(picture) as file:
        page.save(file, format="png")
    with atomic_file(metrics) as file:
        file.write(json.dumps(record, indent=2).encode())
    return [picture, metrics]


def _pictures(video: VideoFile, region: Region, progress: Progress) -> Iterator[ShownPicture]:
    pictures = stream_pictures(
        video.path, video.limits, width_px=video.width_px, height_px=video.height_px
    )
    total = round((video.duration_s or 0.0) * (video.fps or 25))
    for picture, pixels in progress(pictures, total=total, description=f"writing {region.name}"):
        yield ShownPicture(
            pixels=region.drawn(pixels), start_s=max(picture.start_s, 0.0), end_s=picture.end_s
        )


def _wav_sound(path: Path) -> MovieSound:
    return MovieSound(blocks=_wav_blocks(path), sample_rate_hz=soundfile.info(path).samplerate)


def _wav_blocks(path: Path) -> Iterator[np.ndarray]:
    with soundfile.SoundFile(path) as sound:
        for block in sound.blocks(_READ_SAMPLES, dtype="float32", always_2d=True):
            yield np.broadcast_to(block.T, (2, len(block)))


class _Counter:
    def __init__(self) -> None:
        self.num_items = 0

    def count(self, items: Iterator[Window]) -> Iterator[Window]:
        for item in items:
            self.num_items += 1
            yield item


class _Tally:
    """Energy and overflow of a sound that passes by."""

    def __init__(self) -> None:
        self.energy, self.num_samples, self.clipped = 0.0, 0, 0

    def add(self, part: np.ndarray) -> None:
        self.energy += float(np.square(part, dtype=np.float64).sum())
        self.num_samples += part.shape[1]
        self.clipped += int((np.abs(part) > 1).any(axis=0).sum())

    @property
    def level_db(self) -> float:
        return _decibels(self.energy / max(2 * self.num_samples, 1))


def _decibels(ratio: float) -> float:
    return max(10 * float(np.log10(max(ratio, 1e-30))), _LOWEST_DB)
