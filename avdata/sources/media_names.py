"""File-name extensions of media: what is looked for, and what a folder listing takes in."""

VIDEO_EXTENSIONS = (
    "mp4", "mkv", "webm", "mov", "avi", "m4v", "flv", "ts", "mpg", "mpeg", "wmv", "3gp", "ogv",
)  # fmt: skip
"""In the order in which files of one name are preferred."""

AUDIO_EXTENSIONS = ("m4a", "wav", "flac", "ogg", "opus", "mp3")

RARE_EXTENSIONS = (
    "3g2", "asf", "divx", "dv", "f4v", "m1v", "m2ts", "m2v", "mjpeg", "mp4v", "mpe", "mpv", "mts",
    "mxf", "nut", "ogm", "qt", "rm", "rmvb", "vob", "y4m",
    "aac", "ac3", "aif", "aiff", "amr", "au", "caf", "mka", "mp2", "oga", "spx", "w64", "wma", "wv",
)  # fmt: skip
"""Taken in from folders, and not looked for by id."""

SOUGHT_EXTENSIONS = VIDEO_EXTENSIONS + AUDIO_EXTENSIONS
FOLDER_EXTENSIONS = frozenset(VIDEO_EXTENSIONS + AUDIO_EXTENSIONS + RARE_EXTENSIONS)

SPLIT_NAMES = frozenset({"train", "val", "valid", "validation", "test"})
"""Names, in lower case, that mean a split and not a class."""
