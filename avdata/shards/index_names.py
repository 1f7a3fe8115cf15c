"""Names of members in third-party tars -> the sample and the role that they stand for.

::

    ID_40.000.mp4  ID_40.000.json    sample ID_40.000: known endings are taken from the right
    ID.mp4  ID.info.json  ID.en.vtt  sample ID: what is not media goes to the longest such name
    k.frames.mkv  k.audio.flac       sample k: these words belong to the ending
    v.0001.jpg  v.0002.jpg  v.flac   sample v: a number before the ending of an image is its number
    s.000.jpg  s.000.wav             sample s.000: unless other members have that very name
    k.pyd  k.seg.pth                 sample k: of other endings, WebDataset's own rule (first dot)

Endings count in any case, for media and labels alike. A name without an ending, or that begins with
a dot, belongs to no sample.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

VIDEO_SUFFIXES = ("mp4", "mkv", "webm", "mov", "m4v", "avi", "ogv")
IMAGE_SUFFIXES = ("jpg", "jpeg", "png")
SOUND_SUFFIXES = ("flac", "wav", "ogg", "oga", "opus", "mp3", "m4a", "aac", "npy")
TEXT_SUFFIXES = ("json", "cls", "txt")
ENDING_WORDS = frozenset({"info", "meta", "metadata", "frames", "video", "audio", "logmel"})
"""Words that belong to a known ending behind them, as in `info.json` and `frames.mkv`."""

Kind = Literal["video", "image", "sound", "text"]
KIND_OF_ENDING: dict[str, Kind] = {
    **dict.fromkeys(VIDEO_SUFFIXES, "video"),
    **dict.fromkeys(IMAGE_SUFFIXES, "image"),
    **dict.fromkeys(SOUND_SUFFIXES, "sound"),
    **dict.fromkeys(TEXT_SUFFIXES, "text"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class MemberName:
    """A member's name, ``{key}.{suffix}``."""

    key: str
    suffix: str

    @property
    def kind(self) -> Kind | None:
        """Kind of data that the ending stands for; None for an ending that is not read."""
        return KIND_OF_ENDING.get(last_ending(self.suffix))


def last_ending(suffix: str) -> str:
    """Lower-case ending of a suffix: `json` of `info.JSON`."""
    return suffix.rsplit(".", 1)[-1].lower()


def ending_of(name: str) -> str:
    """Ending for messages and counts: `info.json`, `vtt`; empty where there is none."""
    words = name.rsplit("/", 1)[-1].lower().split(".")
    if len(words) < 2:
        return ""
    return ".".join(words[-2:]) if len(words) > 2 and words[-2] in ENDING_WORDS else words[-1]


class TarNaming:
    """The rule of this module for the names of one tar, which are looked at together."""

    def __init__(self, names: Iterable[str]) -> None:
        parsed = [words for name in names if (words := _Words.of(name)) is not None]
        self._stems = {w.prefix(len(w.words) - 1) for w in parsed if w.kind not in (None, "image")}
        self._frame_keys: set[str] = set()
        self._sound_keys: set[str] = set()
        for words in parsed:
            if words.kind in ("video", "image"):
                self._frame_keys.add(words.prefix(self._own_cut(words)))
            elif words.kind == "sound":
                self._sound_keys.add(words.prefix(self._own_cut(words)))

    def split(self, name: str) -> MemberName | None:
        """Key and suffix of a name of the tar; None where it belongs to no sample."""
        words = _Words.of(name)
        if words is None:
            return None
        cut = self._own_cut(words)
        if words.kind not in ("video", "image"):
            cut = self._partner_cut(words) or cut
        return MemberName(key=words.prefix(cut), suffix=".".join(words.words[cut:]))

    def _own_cut(self, words: "_Words") -> int:
        """Number of words in the key, as far as the name alone tells."""
        if words.kind is None:
            return 1
        cut = len(words.words) - 1
        if words.kind == "image" and words.prefix(cut) in self._stems:
            return cut
        if cut > 1 and words.words[cut - 1].lower() in ENDING_WORDS:
            cut -= 1
        if words.kind == "image" and cut > 1 and words.words[cut - 1][-1:].isdecimal():
            cut -= 1
        return cut

    def _partner_cut(self, words: "_Words") -> int | None:
        """Number of words in the longest key of media that the name begins with."""
        for keys in (self._frame_keys, self._sound_keys if words.kind != "sound" else ()):
            for cut in range(len(words.words) - 1, 0, -1):
                if words.prefix(cut) in keys:
                    return cut
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Words:
    """A name cut at the dots of its last part."""

    folder: str
    words: list[str]

    @classmethod
    def of(cls, name: str) -> "_Words | None":
        folder, slash, base = name.rpartition("/")
        words = base.split(".")
        return (
            None
            if len(words) < 2 or not words[0] or not words[-1]
            else cls(folder=folder + slash, words=words)
        )

    @property
    def kind(self) -> Kind | None:
        return KIND_OF_ENDING.get(self.words[-1].lower())

    def prefix(self, num_words: int) -> str:
        return self.folder + ".".join(self.words[:num_words])
