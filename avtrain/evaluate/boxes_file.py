"""Files of boxes for localization, by sample.

::

    CSV      key,time_s,x0,y0,x1,y1[,annotator][,sounds]      one row a box
    JSON     [{"key": "a", "time_s": 1.5, "x0": 0.1, ...}]    the same as a list
    VGG-SS   [{"file": "XYZ_000030", "bbox": [[x0, y0, x1, y1], ...]}]
    scenes   ground_truth.jsonl of `avdata synth`             its strikes and objects

`key` is a sample's key, or its source_id where the source has one sample. `time_s` counts from the
start of the sample; without it the box is of the sample's middle. `sounds` is 0 for what is seen
and silent. Rows of one key and time are one moment.
"""

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avdata import AvdataError, read_ground_truth
from avtrain.errors import DataError
from avtrain.evaluate.boxes import Box, Moment
from avtrain.evaluate.scene_boxes import scene_moments

_NUMBERS = ("x0", "y0", "x1", "y1")
_SLACK = 0.05
"""Boxes may reach so far beyond the picture, and are cut there; VGG-SS has such."""
_FALSE = {"0", "false", "no"}


@dataclass(frozen=True, kw_only=True, slots=True)
class BoxesFile:
    """Moments by what names a sample in the file."""

    moments: dict[str, tuple[Moment, ...]]
    on_media_clock: bool
    """Times count from the start of the sample's medium, not of the sample."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Row:
    key: str
    time_s: float | None
    box: Box
    sounds: bool


def read_boxes_file(path: Path) -> BoxesFile:
    """What a file says, in any of its forms.

    Raises:
        DataError: It cannot be read, or a box is none; the text names the row.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise DataError(f"--boxes {path}: {reason}; give a CSV or JSON file of boxes") from None
    start = text.lstrip()[:1]
    if start == "{":
        try:
            scenes = read_ground_truth(path)
        except AvdataError as error:
            raise DataError(f"--boxes {error}") from None
        return BoxesFile(
            moments={scene.id: scene_moments(scene) for scene in scenes}, on_media_clock=True
        )
    rows = _json_rows(text, path) if start == "[" else _csv_rows(text, path)
    return BoxesFile(moments=_by_key(rows), on_media_clock=False)


def _csv_rows(text: str, path: Path) -> Iterator[_Row]:
    reader = csv.DictReader(io.StringIO(text))
    columns = reader.fieldnames or []
    missing = [name for name in ("key", *_NUMBERS) if name not in columns]
    if missing:
        raise DataError(
            f"--boxes {path} has columns {{{', '.join(columns)}}}; it needs "
            f"{{key, {', '.join(_NUMBERS)}}}, and may have time_s, annotator and sounds"
        )
    for facts in reader:
        yield _row(facts, f"{path} line {reader.line_num}")


def _json_rows(text: str, path: Path) -> Iterator[_Row]:
    try:
        entries = json.loads(text)
    except ValueError as error:
        raise DataError(f"--boxes {path} is no JSON ({error}); give a list of boxes") from None
    for number, entry in enumerate(entries):
        where = f"{path} entry {number}"
        if isinstance(entry, dict) and "bbox" in entry and "file" in entry:
            for corners in entry["bbox"]:
                facts = dict(zip(_NUMBERS, corners, strict=False))
                yield _row({"key": entry["file"], **facts}, where)
        elif isinstance(entry, dict):
            yield _row(entry, where)
        else:
            raise DataError(f"--boxes {where} is {entry!r}; it must be an object with a box")


def _row(facts: dict[str, Any], where: str) -> _Row:
    missing = [name for name in ("key", *_NUMBERS) if facts.get(name) in (None, "")]
    if missing:
        raise DataError(f"--boxes {where} lacks {', '.join(missing)}")
    try:
        x0, y0, x1, y1 = (float(facts[name]) for name in _NUMBERS)
        given = facts.get("time_s")
        time_s = None if given in (None, "") else float(given)
    except (TypeError, ValueError):
        raise DataError(f"--boxes {where} has a value that is no number: {facts}") from None
    seen = f"--boxes {where} has the box {x0:g},{y0:g},{x1:g},{y1:g}"
    inside = all(-_SLACK <= value <= 1 + _SLACK for value in (x0, y0, x1, y1))
    if not inside:
        raise DataError(
            f"{seen}; corners are shares of the picture's width and height, from 0 to 1: divide "
            "pixels by them"
        )
    x0, y0, x1, y1 = (min(max(value, 0.0), 1.0) for value in (x0, y0, x1, y1))
    if not (x0 < x1 and y0 < y1):
        raise DataError(f"{seen}; x0 must be below x1 and y0 below y1")
    if time_s is not None and not (math.isfinite(time_s) and time_s >= 0):
        raise DataError(f"--boxes {where} has time_s {time_s:g}; it counts from the sample's start")
    annotator = facts.get("annotator")
    return _Row(
        key=str(facts["key"]),
        time_s=time_s,
        box=Box(x0=x0, y0=y0, x1=x1, y1=y1, annotator=str(annotator) if annotator else None),
        sounds=str(facts.get("sounds", "1")).lower() not in _FALSE,
    )


def _by_key(rows: Iterable[_Row]) -> dict[str, tuple[Moment, ...]]:
    """Rows of one key and time joined; moments at which nothing sounds are none."""
    grouped: dict[str, dict[float | None, list[_Row]]] = {}
    for row in rows:
        grouped.setdefault(row.key, {}).setdefault(row.time_s, []).append(row)
    moments: dict[str, tuple[Moment, ...]] = {}
    for key, by_time in grouped.items():
        made = (
            Moment(
                time_s=time_s,
                sounding=tuple(row.box for row in of_time if row.sounds),
                silent=tuple(row.box for row in of_time if not row.sounds),
            )
            for time_s, of_time in by_time.items()
        )
        moments[key] = tuple(moment for moment in made if moment.sounding)
    return moments
