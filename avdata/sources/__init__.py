"""Listings of clips to rows: no decoding, no network. A new format is one file and one row here."""

from functools import partial

from avdata.sources import (
    audiocaps,
    audioset,
    audioset_strong,
    ave,
    esc50,
    folder,
    hmdb51,
    hosted,
    kinetics,
    music,
    path_label,
    table,
    ucf101,
    vggsound,
    yt360,
)
from avdata.sources.columns import ListingColumns
from avdata.sources.listing import detect, listing_columns, read_listing
from avdata.sources.resolve import MediaResolver, ResolvedMedia
from avdata.sources.select import LabelChoice, read_label_choice, select_rows
from avdata.sources.source import ListedRow, Source, never

SOURCES: dict[str, Source] = {
    "audioset": Source(
        looks_like='YTID, start_seconds, end_seconds, "/m/09x0r,/t/dd00088"',
        matches=audioset.matches,
        read=audioset.read,
    ),
    "audioset-strong": Source(
        looks_like="TSV with header segment_id, start_time_seconds, end_time_seconds, label",
        matches=audioset_strong.matches,
        read=audioset_strong.read,
    ),
    "kinetics": Source(
        looks_like="header label,youtube_id,time_start,time_end,split",
        matches=kinetics.matches,
        read=kinetics.read,
        columns=hosted.listing_columns,
        read_keeping=kinetics.read,
    ),
    "vggsound": Source(
        looks_like="ID_000030.mp4,label or ID,30,label,split",
        matches=vggsound.matches,
        read=vggsound.read,
        columns=hosted.listing_columns,
        read_keeping=vggsound.read,
    ),
    "ucf101": Source(
        looks_like="trainlist01.txt with Class/v_Class_g01_c01.avi 1, or a folder of such lists",
        matches=ucf101.matches,
        read=ucf101.read,
        instead_of=("folder", "path-label"),
    ),
    "ucf101-2": Source(
        looks_like="the same folder, split 2",
        matches=never,
        read=partial(ucf101.read, split_number=2),
    ),
    "ucf101-3": Source(
        looks_like="the same folder, split 3",
        matches=never,
        read=partial(ucf101.read, split_number=3),
    ),
    "hmdb51": Source(
        looks_like="dive_test_split1.txt with video.avi 1, or a folder of such lists",
        matches=hmdb51.matches,
        read=hmdb51.read,
        instead_of=("folder", "path-label"),
    ),
    "hmdb51-2": Source(
        looks_like="the same folder, split 2",
        matches=never,
        read=partial(hmdb51.read, split_number=2),
    ),
    "hmdb51-3": Source(
        looks_like="the same folder, split 3",
        matches=never,
        read=partial(hmdb51.read, split_number=3),
    ),
    "esc50": Source(
        looks_like="header filename,fold,target,category",
        matches=esc50.matches,
        read=esc50.read,
        columns=esc50.columns,
        read_keeping=esc50.read,
        instead_of=("table",),
    ),
    "ave": Source(
        looks_like="Church bell&ID&good&0&10",
        matches=ave.matches,
        read=ave.read,
    ),
    "audiocaps": Source(
        looks_like="header audiocap_id,youtube_id,start_time,caption",
        matches=audiocaps.matches,
        read=audiocaps.read,
        columns=hosted.listing_columns,
        read_keeping=audiocaps.read,
    ),
    "music": Source(
        looks_like='JSON {"videos": {"flute": ["ID"]}}',
        matches=music.matches,
        read=music.read,
    ),
    "yt360": Source(
        looks_like="segments.txt with ID 10,29,41, or a folder of it and train.txt, test.txt",
        matches=yt360.matches,
        read=yt360.read,
        instead_of=("folder",),
    ),
    "path-label": Source(
        looks_like="Class/clip.mp4 3, separated by blanks",
        matches=path_label.matches,
        read=path_label.read,
    ),
    "table": Source(
        looks_like="CSV, TSV or parquet with a column path (id, start_s, end_s, label, split)",
        matches=table.matches,
        read=table.read,
        columns=table.columns,
        read_keeping=table.read,
        # a start beside a file is its place in the upload; a header settles what a line means
        instead_of=("vggsound", "path-label"),
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
    "LabelChoice",
    "ListedRow",
    "ListingColumns",
    "MediaResolver",
    "ResolvedMedia",
    "Source",
    "detect",
    "listing_columns",
    "read_label_choice",
    "read_listing",
    "select_rows",
]
