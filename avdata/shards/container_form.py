"""Which media container bytes are, told from their first ones.

A demuxer that is named opens nothing but these bytes: no playlist can pose as a movie.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerForm:
    """A form that is read."""

    demuxer: str
    """FFmpeg's name."""
    video: bool
    """It may hold pictures."""
    seekable: bool
    """It has an index that a seek may trust."""


_MOVIE = ContainerForm(demuxer="mov", video=True, seekable=True)
_MATROSKA = ContainerForm(demuxer="matroska", video=True, seekable=True)
_OGG = ContainerForm(demuxer="ogg", video=True, seekable=False)
_AVI = ContainerForm(demuxer="avi", video=True, seekable=False)
_WAV = ContainerForm(demuxer="wav", video=False, seekable=True)
_FLAC = ContainerForm(demuxer="flac", video=False, seekable=True)
_MP3 = ContainerForm(demuxer="mp3", video=False, seekable=False)
_ADTS = ContainerForm(demuxer="aac", video=False, seekable=False)

_MOVIE_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"styp"}


def container_form(data: bytes | memoryview) -> ContainerForm | None:
    """The container that begins with `data` (16 bytes are enough); None for any other form."""
    head = bytes(data[:16])
    if head[4:8] in _MOVIE_BOXES:
        return _MOVIE
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return _MATROSKA
    if head[:4] == b"OggS":
        return _OGG
    if head[:4] in (b"RIFF", b"RF64"):
        return {b"AVI ": _AVI, b"WAVE": _WAV}.get(head[8:12])
    if head[:4] == b"fLaC":
        return _FLAC
    if head[:3] == b"ID3":
        return _MP3
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        # layer 0 is AAC's mark, 1 to 3 are MPEG audio's
        return _ADTS if head[1] & 0x06 == 0 else _MP3
    return None
