"""Where the milliseconds of a clip go: the parts of `build_sample`, timed in this process."""

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

from avdata.build import sample
from avdata.build.plan import make_plan
from avdata.config import BuildConfig
from avdata.decode import frame_stores, picture, picture_run, picture_watch, with_av
from avdata.schema import ListedClip
from avdata.shards import writer
from avdata.sources import MediaResolver

PARTS: tuple[tuple[object, str, str], ...] = (
    (with_av, "open_media", "open"),
    (with_av, "read_packets", "demux"),
    (with_av._Decoding, "_decode_audio", "decode sound"),
    (with_av._Decoding, "_picture_run", "decode pictures"),
    (with_av._Decoding, "_key_picture", "key picture"),
    (with_av, "copied_frames", "mux"),
    (picture_run, "_skippable", "choose pictures"),
    (picture.PictureScaler, "planes", "scale"),
    (frame_stores.simplejpeg, "encode_jpeg_yuv_planes", "jpeg"),
    (picture_watch.PictureWatch, "add", "verdicts"),
    (picture_watch.PictureWatch, "verdicts", "verdicts"),
    (with_av, "sound_verdicts", "verdicts"),
    (sample, "clip_verdicts", "verdicts"),
    (with_av, "to_stored", "resample"),
    (sample, "encode_audio", "flac"),
    (sample, "_log_mel", "log-mel"),
    (sample.LogMelSums, "of", "statistics"),
    (writer.ShardWriter, "add", "tar and sha256"),
)


class Clock:
    """Seconds a part, without those of the parts inside it."""

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()
        self._inside: list[float] = []

    def timed(self, function: Callable, part: str) -> Callable:
        """`function`, which counts the time that it takes."""

        def run(*args: object, **kwargs: object) -> object:
            started = time.perf_counter()
            self._inside.append(0.0)
            try:
                return function(*args, **kwargs)
            finally:
                seconds = time.perf_counter() - started
                self.spent[part] += seconds - self._inside.pop()
                if self._inside:
                    self._inside[-1] += seconds

        return run


def stage_milliseconds(files: Sequence[Path], config: BuildConfig) -> dict[str, float]:
    """Milliseconds a clip of every part of a build, largest first; `rest` is all else."""
    rows = [ListedClip(line_number=i, source_id=str(p), path=str(p)) for i, p in enumerate(files)]
    refs = [ref for shard in make_plan(rows, config).shards for ref in shard.clips]
    resolver = MediaResolver(None, Path.cwd())
    clock = Clock()
    with (
        tempfile.TemporaryDirectory() as folder,
        contexts(clock),
        writer.ShardWriter(Path(folder) / "shard.tar") as tar,
    ):
        for ref in refs:  # the first turn warms up
            sample.build_sample(ref, config=config, resolver=resolver)
        clock.spent.clear()
        started = time.perf_counter()
        for ref in refs:
            made = sample.build_sample(ref, config=config, resolver=resolver)
            tar.add(ref.key, made.members)
        seconds = time.perf_counter() - started
    clock.spent["rest"] = seconds - clock.spent.total()
    per_clip = {part: round(1e3 * s / len(refs), 2) for part, s in clock.spent.most_common()}
    return {**per_clip, "sum": round(1e3 * seconds / len(refs), 1)}


def contexts(clock: Clock) -> ExitStack:
    """All parts replaced by timed ones, as one context."""
    stack = ExitStack()
    for owner, name, part in PARTS:
        stack.enter_context(mock.patch.object(owner, name, clock.timed(getattr(owner, name), part)))
    return stack
