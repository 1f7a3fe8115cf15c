"""A shard set as one HTML page that needs no network: summary, histograms, rejects, samples.

Texts of listings and media stand on the page, so nothing of them is trusted: what Python writes is
escaped, what the script writes is text and never markup, and the page's policy lets no script run
but its own.
"""

import base64
import hashlib
import html
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import files
from string import Template
from typing import Any

import pyarrow as pa

from avdata.cores import available_cores
from avdata.errors import ShardSetError
from avdata.manifest import manifest_row
from avdata.schema import ManifestRow
from avdata.shards.histograms import VERDICT_COLUMNS, histogram
from avdata.shards.manifest_rows import ManifestRows
from avdata.shards.page_media import SampleMedia, data_uri, read_media
from avdata.shards.page_picks import Pick, pick_samples
from avdata.shards.page_sections import (
    Card,
    cards_html,
    histograms_html,
    rejects_html,
    summary_html,
)
from avdata.shards.reader import ShardSet
from avdata.shards.row_facts import row_facts
from avdata.shards.set_statistics import chosen_rows
from avdata.shards.summary import summarize
from avdata.shards.training_advice import advise, advised_columns
from avdata.storage import StorageError

PAGE_CHARS = 27_000_000
"""Room for pictures and sound of all samples; samples share it evenly."""
MAX_SAMPLE_CHARS = 4_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class PageOptions:
    """What is shown."""

    num_samples: int = 60
    seed: int = 0
    """Of the even pick of samples."""
    where: str | None = None
    """Only of the clips that meet it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """A page and what stands on it."""

    html: str
    num_clips: int
    num_chosen: int
    """Clips that meet the condition; all of them without one."""
    num_samples: int
    damaged: tuple[str, ...]
    """Keys of those that do not decode: a tile says why."""


def make_page(
    shard_set: ShardSet,
    options: PageOptions,
    *,
    on_sample: Callable[[], object] = lambda: None,
) -> Page:
    """The page of a set; `on_sample` is called for each sample that is ready.

    Raises:
        ShardSetError: No clip meets the condition, or a table is damaged.
        ConfigError: The condition is none.
    """
    spec = shard_set.spec
    needed = [*VERDICT_COLUMNS, *advised_columns(spec)]
    num_clips, table = chosen_rows(shard_set, options.where, needed)
    picks = pick_samples(table, VERDICT_COLUMNS, num_samples=options.num_samples, seed=options.seed)
    positions = table["position"].take(pa.array([pick.position for pick in picks], pa.int64()))
    samples = positions.to_pylist()
    stored = ManifestRows(shard_set.location, shard_set.manifest["shard"])
    rows = [manifest_row(row) for row in stored.take(samples)]
    room = min(PAGE_CHARS // max(len(samples), 1), MAX_SAMPLE_CHARS)
    media = _read_all(shard_set, samples, rows, room, on_sample)
    summary = summarize(shard_set)
    shown = [histogram(name, table[name]) for name in VERDICT_COLUMNS]
    cards = [_card(*card) for card in zip(picks, rows, media, strict=True)]
    style, script = _asset("page.css"), _asset("page_grid.js") + _asset("page_view.js")
    text = Template(_asset("page.html")).substitute(
        title=html.escape(spec.listing_name),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        style=style,
        summary=summary_html(summary, str(shard_set.location)),
        histograms=histograms_html(shown, advise(table, spec), num_chosen=table.num_rows),
        where=html.escape(f" where {options.where}") if options.where else "",
        num_chosen=table.num_rows,
        rejects=rejects_html(summary),
        cards=cards_html(cards),
        num_samples=len(cards),
        facts=_script_json(_page_facts(shard_set, options, shown, rows)),
        media="\n".join(
            f'<script type="application/json" id="media-{i}">'
            f"{_script_json(_media_facts(row, of_sample))}</script>"
            for i, (row, of_sample) in enumerate(zip(rows, media, strict=True))
        ),
        script=script,
    )
    return Page(
        html=text,
        num_clips=num_clips,
        num_chosen=table.num_rows,
        num_samples=len(samples),
        damaged=tuple(row.key for row, one in zip(rows, media, strict=True) if one.fault),
    )


def _read_all(
    shard_set: ShardSet,
    samples: Sequence[int],
    rows: Sequence[ManifestRow],
    room_chars: int,
    on_sample: Callable[[], object],
) -> list[SampleMedia]:
    media = []
    with ThreadPoolExecutor(available_cores()) as pool:
        jobs = [
            pool.submit(read_media, shard_set, sample, row, room_chars)
            for sample, row in zip(samples, rows, strict=True)
        ]
        try:
            for job, row in zip(jobs, rows, strict=True):
                try:
                    media.append(job.result())
                except StorageError:  # the set cannot be reached: no fault of the sample
                    raise
                except ShardSetError as error:
                    media.append(SampleMedia.damaged(row, str(error)))
                on_sample()
        finally:
            pool.shutdown(cancel_futures=True)
    return media


def _card(pick: Pick, row: ManifestRow, media: SampleMedia) -> Card:
    picture = media.thumb or (media.spectrograms[0] if media.spectrograms else None)
    width, height = media.thumb_size_px or (1, 1)
    fills = 1.2 <= width / height <= 2.0
    return Card(
        key=row.key,
        labels=tuple(row.labels),
        split=row.split,
        source_id=row.source_id,
        duration_s=row.duration_s,
        reasons=pick.reasons,
        fault=media.fault,
        picture=data_uri("image/jpeg", picture) if picture else None,
        picture_is="spectrogram"
        if media.thumb is None
        else "frame"
        if fills
        else "tall or wide frame",
    )


def _page_facts(
    shard_set: ShardSet, options: PageOptions, shown: Sequence[Any], rows: Sequence[ManifestRow]
) -> dict[str, object]:
    """What the page's script needs to filter and sort."""
    return {
        "directory": str(shard_set.location),
        "where": options.where,
        "columns": [
            {
                "name": one.column,
                "unit": one.unit,
                "is_bool": one.is_bool,
                "edges": one.edges,
            }
            for one in shown
        ],
        "samples": [
            {
                "key": row.key,
                "text": " ".join([row.key, *row.labels, row.split or "", row.source_id]).lower(),
                "label": row.labels[0] if row.labels else None,
                "split": row.split,
                "values": {one.column: getattr(row, one.column) for one in shown},
            }
            for row in rows
        ],
    }


def _media_facts(row: ManifestRow, media: SampleMedia) -> dict[str, object]:
    """What the large view of a sample needs."""
    sheet, sound = media.sheet, media.sound
    return {
        "key": row.key,
        "labels": row.labels,
        "duration_s": row.duration_s,
        "shown_s": media.shown_s,
        "fault": media.fault,
        "facts": row_facts(row),
        "sheet": {
            "uri": data_uri("image/jpeg", sheet.jpeg),
            "width": sheet.tile_width_px,
            "height": sheet.tile_height_px,
            "across": sheet.tiles_across,
            "times_s": [round(time_s, 4) for time_s in sheet.times_s],
        }
        if sheet
        else None,
        "spectrograms": [data_uri("image/jpeg", jpeg) for jpeg in media.spectrograms],
        "frequency_ticks": media.frequency_ticks,
        "peaks": [base64.b64encode(channel).decode() for channel in media.peaks],
        "peak_dbfs": media.peak_dbfs,
        "sound": {
            "mime": sound.mime,
            "data": base64.b64encode(sound.data).decode(),
            "note": sound.note,
        }
        if sound
        else None,
    }


def _script_json(facts: object) -> str:
    """JSON that cannot end the script element it stands in."""
    text = json.dumps(facts, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _asset(name: str) -> str:
    return files("avdata.shards").joinpath(name).read_text(encoding="utf-8")
