"""Third-party tars of mixed habits and faults out of a seed, and an independent count of them."""

import io
import random
import tarfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simplejpeg
import soundfile

STEMS = (
    "{i:05d}",
    "id_{i}_40.000",
    "Track {i}.0 (Clean)",
    "dir.v1/{i}",
    "./k{i}",
    "caf\xe9-{i}",
    "not-utf8-\udce9{i}",
    "..{i}",
    ".hidden{i}",
    "noending{i}.",
    "a.b.c.{i}.5",
)
TEXTS = {
    "json": (b'{"label": "dog"}', b"{", b"[1]", b'{"label": "\\ud800"}', b""),
    "info.json": (b'{"labels": ["x", 2, 1.5]}', b"\xff"),
    "cls": (b"3", b"\xff", b""),
    "txt": (b"a caption", b"w " * 300),
    "srt": (b"1\n",),
    "en.vtt": (b"WEBVTT",),
    "xmp": (b"<x/>",),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Media:
    """Bytes that members are made of."""

    movie: bytes
    sound: bytes
    picture: bytes

    @classmethod
    def of(cls, movie: Path) -> "Media":
        out = io.BytesIO()
        soundfile.write(out, np.zeros(8000), 8000, format="WAV")
        picture = simplejpeg.encode_jpeg(np.zeros((16, 16, 3), np.uint8))
        return cls(movie=movie.read_bytes(), sound=out.getvalue(), picture=picture)


def write_seeded_tar(path: Path, seed: int, media: Media) -> None:
    """Write a tar of up to ten samples."""
    rng = random.Random(seed)
    entries = [entry for i in range(rng.randint(0, 10)) for entry in _sample(rng, i, media)]
    for spoil in rng.sample(SPOILERS, rng.randint(0, 2)):
        spoil(rng, entries)
    form = rng.choice((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    with tarfile.open(path, "w", format=form, errors="surrogateescape") as tar:
        for entry, data in entries:
            tar.addfile(entry, io.BytesIO(data))
    if rng.random() < 0.4:
        rng.choice(DAMAGES)(rng, path)


Entry = tuple[tarfile.TarInfo, bytes]


def _sample(rng: random.Random, i: int, media: Media) -> list[Entry]:
    stem = rng.choice(STEMS).format(i=i)
    names: list[tuple[str, bytes]] = []
    forms = {
        "video": [("mp4", media.movie)],
        "movie and sound": [("mp4", media.movie), ("wav", media.sound)],
        "stills": [("jpg", media.picture), ("wav", media.sound)],
        "pictures": [(f"{k:03d}.jpg", media.picture) for k in range(3)] + [("wav", media.sound)],
        "junk": [("mp4", b"junk")],
        "cut": [("mp4", media.movie[: rng.randrange(len(media.movie))])],
        "two": [("mp4", media.movie), ("mkv", media.movie)],
        "compound": [("frames.mp4", media.movie), ("audio.wav", media.sound)],
        "nothing": [],
    }
    names += forms[rng.choice(["video"] * 6 + sorted(forms))]
    for ending in rng.sample(sorted(TEXTS), rng.randint(0, 3)):
        names.append((ending, rng.choice(TEXTS[ending])))
    if rng.random() < 0.2:
        names = [(ending.upper(), data) for ending, data in names]
    return [_file(f"{stem}.{ending}", data) for ending, data in names]


def _file(name: str, data: bytes) -> Entry:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    return entry, data


def _special(name: str, kind: bytes, target: str = "") -> Entry:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry, b""


def _shuffle(rng: random.Random, entries: list[Entry]) -> None:
    rng.shuffle(entries)


def _repeat(rng: random.Random, entries: list[Entry]) -> None:
    for entry in rng.sample(entries, min(3, len(entries))):
        entries.insert(rng.randint(0, len(entries)), entry)


def _link(rng: random.Random, entries: list[Entry]) -> None:
    for i, (entry, _) in enumerate(rng.sample(entries, min(4, len(entries)))):
        base = entry.name.rsplit("/", 1)[-1]
        kind = rng.choice((tarfile.LNKTYPE, tarfile.SYMTYPE))
        targets = (entry.name, base, "/etc/passwd", "../../out.mp4", f"ln{i}.mp4", "")
        ending = base.rsplit(".", 1)[-1]
        entries.append(_special(f"ln{i}.{ending}", kind, rng.choice(targets)))


def _specials(rng: random.Random, entries: list[Entry]) -> None:
    for name, kind in (
        ("fifo.mp4", tarfile.FIFOTYPE),
        ("dev.json", tarfile.CHRTYPE),
        ("folder", tarfile.DIRTYPE),
        ("what.mp4", b"Z"),
    ):
        entries.insert(rng.randint(0, len(entries)), _special(name, kind))
    entries += [_file("README", b"x"), _file("._k1.mp4", b"x"), _file("labels.json", b"{}")]


SPOILERS: Sequence[Callable[[random.Random, list[Entry]], None]] = (
    _shuffle,
    _repeat,
    _link,
    _specials,
)


def _cut(rng: random.Random, path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: rng.randrange(len(data))])


def _flip(rng: random.Random, path: Path) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(rng.randint(1, 20)):
        data[rng.randrange(len(data))] = rng.randrange(256)
    path.write_bytes(data)


def _hit_a_header(rng: random.Random, path: Path) -> None:
    data = bytearray(path.read_bytes())
    heads = [at for at in range(0, len(data), 512) if data[at + 257 : at + 262] == b"ustar"]
    if heads:
        at = rng.choice(heads) + rng.randrange(512)
        data[at : at + 8] = rng.randbytes(8)
    path.write_bytes(data)


def _join(rng: random.Random, path: Path) -> None:
    path.write_bytes(path.read_bytes() * 2)


DAMAGES: Sequence[Callable[[random.Random, Path], None]] = (_cut, _flip, _hit_a_header, _join)


def members_of(path: Path) -> Counter[str]:
    """Names of the entries that Python's tarfile finds, directories aside."""
    found: Counter[str] = Counter()
    try:
        with tarfile.open(path, "r:", encoding="utf-8", errors="surrogateescape") as tar:
            for entry in tar:
                if not entry.isdir():
                    raw = entry.name.encode("utf-8", "surrogateescape")
                    found[raw.decode("utf-8", "backslashreplace")] += 1
    except (tarfile.TarError, ValueError, OverflowError, LookupError):
        return found
    return found
