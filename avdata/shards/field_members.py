"""Which member of a sample holds the data of each field."""

from avdata.schema import AUDIO_SUFFIX, FRAME_CODECS, LOGMEL_SUFFIX, META_SUFFIX


def data_suffixes(codec: str) -> dict[str, str]:
    """Field -> suffix of the member whose byte range the manifest holds, for frames of `codec`."""
    return {
        "frames": FRAME_CODECS[codec].suffixes[0],
        "audio": AUDIO_SUFFIX,
        "logmel": LOGMEL_SUFFIX,
        "meta": META_SUFFIX,
    }
