"""Galleries by methods with known maps, and the filter of faces on real ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from avdata import ShardSet
from avdata.cli import main as build
from avtrain.apps.faces import Face, FaceFinder
from avtrain.apps.gallery import Gallery, GalleryOptions, make_gallery
from avtrain.data.samples import read_sample_table
from avtrain.data.stream import StreamItem
from avtrain.maps import ClipMaps, ClipRequest

CPU = torch.device("cpu")


class Planned:
    """Clips of 1 s with 4 steps of 2 x 3 cells; each sample has one strong cell at one time.

    `peaks` are (time_s, row, column, value) by sample; all other cells are 0.1.
    """

    clip_s, min_shift_s = 1.0, 0.5

    def __init__(
        self,
        shards: ShardSet,
        peaks: dict[int, tuple[float, int, int, float]],
        *,
        has_magnitude: bool = True,
        silent: Sequence[int] = (),
    ) -> None:
        self.table = read_sample_table(shards)
        self.peaks, self.has_magnitude, self.silent = peaks, has_magnitude, silent

    def last_start_s(self, sample: int) -> float | None:
        return float(self.table.num_frames[sample] / self.table.frame_fps[sample]) - 1.0

    def view(self, requests: Sequence[ClipRequest], *, pin_memory: bool) -> "Planned":
        return self

    def allocate(self, num_items: int) -> list[int]:
        return [0] * num_items

    def fill(self, batch: list[int], slot: int, item: StreamItem) -> None:
        batch[slot] = item.occurrence

    def select(self, batch: list[int], slots: list[int]) -> list[int]:
        return [batch[slot] for slot in slots]

    def maps(self, batch: Any, requests: Sequence[ClipRequest]) -> list[ClipMaps]:
        made = []
        for request in requests:
            values = np.full((1, 4, 2, 3), 0.1, np.float32)
            times_s = request.start_s + np.arange(4) / 4 + 0.125
            time_s, row, column, value = self.peaks.get(request.sample, (0.0, 0, 0, 0.1))
            values[0, np.abs(times_s - time_s) < 0.125, row, column] = value
            quiet = np.array([request.sample in self.silent])
            made.append(ClipMaps(request=request, values=values, times_s=times_s, silent=quiet))
        return made


def gallery_of(shard_set: Path, source: Planned, samples: Sequence[int], **more: Any) -> Gallery:
    def progress(items: Any, *, total: int, description: str) -> Any:
        yield from items

    options = GalleryOptions(batch_size=3, loader_threads=1, progress=progress, **more)
    return make_gallery(source, ShardSet(shard_set), samples, CPU, options)


def test_the_strongest_cells_are_shown_by_class(shard_set: Path) -> None:
    peaks = {0: (2.2, 1, 2, 5.0), 1: (0.6, 0, 0, 7.0), 2: (1.4, 1, 0, -9.0), 12: (1.1, 0, 1, 3.0)}
    source = Planned(ShardSet(shard_set), peaks)
    found = gallery_of(shard_set, source, [0, 1, 2, 12], per_class=2)
    assert (found.num_videos, found.num_without) == (4, 0)
    first, second = found.classes
    assert (first.name, first.num_videos, second.name) == ("label0", 3, "label2")
    assert [moment.key for moment in first.moments] == ["clip-002", "clip-001"]  # by magnitude
    strongest, next_one = first.moments
    assert strongest.strength == 9
    assert strongest.time_s == pytest.approx(1.4, abs=0.13)
    assert (strongest.x, strongest.y) == (pytest.approx(1 / 6), pytest.approx(0.75))
    assert (next_one.x, next_one.y) == (pytest.approx(1 / 6), pytest.approx(0.25))
    # 2 s of 12 pictures, of which the peak's own is the one that is nearest
    assert len(strongest.pictures) == 12
    assert strongest.pictures_s == pytest.approx(2.0)
    assert next_one.peak_picture < 6 <= strongest.peak_picture
    # the map is drawn where it is strong: the lower left of the peak's picture, and nowhere else
    shards = ShardSet(shard_set)
    frame = int(strongest.time_s * 16 + 1e-6)
    plain = shards.read_frames(2, [frame])[0].astype(int)
    drawn = strongest.pictures[strongest.peak_picture].astype(int)
    changed = np.abs(drawn - plain).max(axis=2) > 20
    assert changed[48:60, 2:20].mean() > 0.9
    assert changed[:16, 44:].mean() < 0.02


def test_what_is_no_evidence_is_not_shown(shard_set: Path) -> None:
    shards = ShardSet(shard_set)
    peaks = {0: (2.2, 1, 2, 5.0), 1: (0.6, 0, 0, 7.0), 2: (1.4, 1, 0, -9.0)}
    found = gallery_of(shard_set, Planned(shards, peaks, silent=[1]), [0, 1, 2], per_class=3)
    assert found.num_without == 1
    assert [moment.key for moment in found.classes[0].moments] == ["clip-002", "clip-000"]
    # cosines: what speaks against the sound is no response
    found = gallery_of(
        shard_set, Planned(shards, peaks, has_magnitude=False), [0, 1, 2], per_class=3
    )
    assert [moment.key for moment in found.classes[0].moments] == [
        "clip-001", "clip-000", "clip-002",
    ]  # fmt: skip
    assert found.classes[0].moments[2].strength == pytest.approx(0.1)


def test_cells_are_on_faces_where_they_share_half_of_the_smaller() -> None:
    face = Face(x0=0.2, y0=0.2, x1=0.6, y1=0.8)
    assert face.covers(Face(x0=0.3, y0=0.3, x1=0.4, y1=0.4))
    assert face.covers(Face(x0=0.16, y0=0.3, x1=0.26, y1=0.4))
    assert not face.covers(Face(x0=0.1, y0=0.3, x1=0.24, y1=0.4))
    assert not face.covers(Face(x0=0.7, y0=0.3, x1=0.8, y1=0.4))
    assert face.covers(Face(x0=0, y0=0, x1=1, y1=1))


def test_moments_on_a_face_are_left_out(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    listing = tmp_path / "listing.csv"
    listing.write_text("path,id,label\nvideo/bgan6p.mpg,a,talk\nvideo/bgan7a.mpg,b,talk\n")
    done = CliRunner().invoke(
        build,
        [
            "build", "--source", str(listing), "--media", str(shared_data / "sets" / "grid_s1"),
            "--out", str(tmp_path / "set"), "--workers", "0", "--set", 'fields=["frames", "audio"]',
            "--set", "video.fps=8", "--set", "video.short_side_px=120",
        ],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    # cells of 60 x 50 px: the face is around the middle, the wall at the top left
    peaks = {0: (1.1, 1, 1, 9.0), 1: (1.1, 0, 0, 5.0)}
    source = Planned(ShardSet(tmp_path / "set"), peaks)
    [talk] = gallery_of(tmp_path / "set", source, [0, 1], leave_out_faces=True).classes
    assert [moment.key for moment in talk.moments] == ["b"]
    assert (talk.num_videos, talk.num_faces) == (2, 1)
    [talk] = gallery_of(tmp_path / "set", source, [0, 1]).classes
    assert [moment.key for moment in talk.moments] == ["a", "b"]


def test_faces_are_found_in_real_pictures_and_not_in_noise(shared_data: Path) -> None:
    pytest.importorskip("cv2")
    finder = FaceFinder()
    videos = sorted((shared_data / "sets" / "grid_s1" / "video").glob("*.mpg"))[:3]
    assert len(videos) == 3
    for video in videos:
        with av.open(video) as container:
            pixels = next(container.decode(video=0)).to_ndarray(format="rgb24")
        for looked in (pixels, pixels[::3, ::3]):  # small pictures are enlarged
            faces = finder.faces(np.ascontiguousarray(looked))
            middle = Face(x0=0.4, y0=0.55, x1=0.5, y1=0.65)
            assert any(face.covers(middle) for face in faces)
            corner = Face(x0=0.0, y0=0.0, x1=0.1, y1=0.1)
            assert not any(face.covers(corner) for face in faces)
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    assert finder.faces(noise) == []
