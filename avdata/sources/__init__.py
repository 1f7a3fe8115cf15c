"""Listings of clips to rows: no decoding, no network. A new format is one file and one row here."""

from avdata.sources import audioset, folder, kinetics, table, vggsound
from avdata.sources.listing import detect, read_listing
from avdata.sources.resolve import MediaResolver, ResolvedMedia
from avdata.sources.source import ListedRow, Source

SOURCES: dict[str, Source] = {
    "audioset": Source(
        looks_like='YTID, start_seconds, end_seconds, "/m/09x0r,/t/dd00088"',
        matches=audioset.matches,
        read=audioset.read,
    ),
    "kinetics": Source(
        looks_like="header label,youtube_id,time_start,time_end,split",
        matches=kinetics.matches,
        read=kinetics.read,
    ),
    "vggsound": Source(
        looks_like="ID_000030.mp4,label or ID,30,label,split",
        matches=vggsound.matches,
        read=vggsound.read,
    ),
    "table": Source(
        looks_like="CSV, TSV or parquet with a column path (id, start_s, end_s, label, split)",
        matches=table.matches,
        read=table.read,
    ),
    "folder": Source(
        looks_like="a folder of CLASS/clip.mp4 or SPLIT/CLASS/clip.mp4",
        matches=folder.matches,
        read=folder.read,
    ),
}
"""Formats by the name that `--format` takes."""

__all__ = [
    "SOURCES",
    "ListedRow",
    "MediaResolver",
    "ResolvedMedia",
    "Source",
    "detect",
    "read_listing",
]
