"""MUSIC: JSON of whole videos by instrument, `{"videos": {"flute": ["ID", ...]}}`.

The label is the instrument; the key of a duet names two, separated by a space. Rows are numbered
in the order of the file.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from avdata.errors import ListingError
from avdata.schema import ListedClip
from avdata.sources.head import ListingHead, require_file
from avdata.sources.rows import malformed, parse_video_id
from avdata.sources.source import ListedRow

MAX_BYTES = 50_000_000


def matches(head: ListingHead) -> bool:
    """True for a JSON object that names videos."""
    return head.data.lstrip().startswith(b"{") and b'"videos"' in head.data


def read(path: Path) -> Iterator[ListedRow]:
    """One row a video.

    Raises:
        ListingError: The file is not the JSON of MUSIC, or cannot be opened.
    """
    require_file(path, "music")
    if path.stat().st_size > MAX_BYTES:
        raise ListingError(
            f"listing {path} has more than {MAX_BYTES} bytes, too many for a list of MUSIC; "
            "choose another --format"
        )
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ListingError(f"listing {path} is not JSON: {error}; take it anew") from error
    videos = content.get("videos") if isinstance(content, dict) else None
    if not isinstance(videos, dict) or not all(isinstance(ids, list) for ids in videos.values()):
        raise ListingError(
            f'listing {path} is JSON without {{"videos": {{"instrument": [ids]}}}}; choose '
            "another --format"
        )
    return _rows(videos)


def _rows(videos: dict[str, list[object]]) -> Iterator[ListedRow]:
    row_number = 0
    for instruments, ids in videos.items():
        for video_id in ids:
            row_number += 1
            try:
                if not isinstance(video_id, str):
                    raise ValueError("an id must be a text")
                instruments.encode("utf-8")  # JSON can hold halves of characters
                yield ListedClip(
                    line_number=row_number,
                    source_id=parse_video_id(video_id),
                    labels=tuple(dict.fromkeys(instruments.split())),
                )
            except ValueError as error:
                shown = json.dumps({instruments: video_id}, ensure_ascii=True)
                yield malformed(row_number, shown, str(error))
