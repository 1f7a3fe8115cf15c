"""Lists with one line an event, as rows with one clip each."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from avdata.schema import ListedClip, MalformedLine
from avdata.sources.source import ListedRow


def merge_events(rows: Iterable[ListedRow]) -> Iterator[ListedRow]:
    """One row a clip, where it is first listed, with the labels of all its lines; and every
    malformed line.

    Clips agree when source, path, times and split agree. All rows are held until the last line
    is read: 0.1 GB for the 120,000 clips of the largest list of this kind.
    """
    clips: dict[tuple[str, str | None, float | None, float | None, str | None], int] = {}
    labels: dict[int, dict[str, None]] = {}
    kept: list[ListedRow] = []
    for row in rows:
        if isinstance(row, MalformedLine):
            kept.append(row)
            continue
        clip = (row.source_id, row.path, row.listed_start_s, row.listed_end_s, row.split)
        at = clips.setdefault(clip, len(kept))
        if at == len(kept):
            kept.append(row)
            labels[at] = {}
        labels[at].update(dict.fromkeys(row.labels))
    for at, row in enumerate(kept):
        yield replace(row, labels=tuple(labels[at])) if isinstance(row, ListedClip) else row
