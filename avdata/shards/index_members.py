"""Which member of a sample in somebody else's WebDataset tar holds what.

::

    frames   KEY.mp4 (.mkv .webm .mov .m4v .avi .ogv), or KEY.jpg (.jpeg .png), or in a row
             KEY.0001.jpg KEY.0002.jpg ...
    sound    KEY.flac (.wav .ogg .oga .opus .mp3 .m4a .aac .npy), else the sound in the video
    facts    KEY.json, KEY.txt, KEY.cls
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from avdata.errors import FailureReason, MediaError
from avdata.shards.tar_contents import TarSample
from avdata.shards.writer import ByteRange

VIDEO_SUFFIXES = ("mp4", "mkv", "webm", "mov", "m4v", "avi", "ogv")
SOUND_SUFFIXES = ("flac", "wav", "ogg", "oga", "opus", "mp3", "m4a", "aac", "npy")
_PICTURE = re.compile(r"(?:.*?(\d+)\.)?(?:.*\.)?(?:jpg|jpeg|png)")
"""The number of a picture stands right before a dot."""
LABEL_FIELDS = ("label", "labels", "class")
"""Where JSON members have labels."""
MAX_LABEL_CHARS = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One member of a tar."""

    suffix: str
    where: ByteRange


@dataclass(frozen=True, kw_only=True, slots=True)
class Roles:
    """The members of a sample that count."""

    video: Member | None
    pictures: tuple[Member, ...]
    """In order of their numbers."""
    sound: Member | None
    """None when there is no member of sound alone."""


def find_roles(sample: TarSample) -> Roles:
    """Which members of `sample` hold frames and sound.

    Raises:
        MediaError: There are several that could, or pictures do not lie in order.
    """
    by_ending: dict[str, Member] = {}
    pictures: dict[int, Member] = {}
    for suffix, where in sample.members.items():
        member = Member(suffix=suffix, where=where)
        lower = suffix.lower()
        if match := _PICTURE.fullmatch(lower):
            number = int(match.group(1) or 0)
            if number in pictures:
                raise MediaError(
                    FailureReason.DUPLICATE,
                    f"members {pictures[number].suffix} and {suffix} are picture {number}; number "
                    "the pictures of a sample each by one number, as in 0001.jpg",
                )
            pictures[number] = member
        else:
            by_ending.setdefault(lower.rsplit(".", 1)[-1], member)
    return Roles(
        video=_only(by_ending, VIDEO_SUFFIXES),
        pictures=_in_order(pictures),
        sound=_only(by_ending, SOUND_SUFFIXES),
    )


def _only(by_ending: Mapping[str, Member], endings: tuple[str, ...]) -> Member | None:
    found = [by_ending[ending] for ending in endings if ending in by_ending]
    if len(found) > 1:
        names = ", ".join(member.suffix for member in found)
        raise MediaError(FailureReason.DUPLICATE, f"members {names} could all be it; keep one")
    return found[0] if found else None


def _in_order(pictures: Mapping[int, Member]) -> tuple[Member, ...]:
    members = tuple(pictures[number] for number in sorted(pictures))
    offsets = [member.where.offset for member in members]
    if offsets != sorted(offsets):
        raise MediaError(
            FailureReason.FORMAT_NOT_ALLOWED,
            "its pictures do not lie in the tar in the order of their numbers; write the tar anew "
            "with sorted names",
        )
    return members


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleTexts:
    """What a sample says of itself."""

    labels: tuple[str, ...]
    source_id: str | None
    json: ByteRange | None
    """The JSON member, if it is an object."""


def read_texts(
    sample: TarSample,
    read: Callable[[ByteRange], bytes],
    *,
    label: str,
    source: str | None,
) -> SampleTexts:
    """Labels and source out of the members json, cls and txt.

    Args:
        sample: The sample.
        read: Bytes of a member.
        label: `auto`, `none`, `cls`, `txt`, or the name of a value in the JSON. `auto` is the cls
            member, else label, labels or class of the JSON, else the txt member where there is no
            JSON: beside JSON it is a caption.
        source: Name of the value in the JSON that names the medium, if any.

    Raises:
        MediaError: A member does not hold what it should.
    """
    facts = _facts(sample, read)
    if label == "none":
        labels: tuple[str, ...] = ()
    elif label in ("cls", "txt"):
        labels = _text_labels(sample, read, label)
    elif label != "auto":
        labels = _json_labels(facts or {}, (label,))
    else:
        labels = _text_labels(sample, read, "cls") or _json_labels(facts or {}, LABEL_FIELDS)
        if not labels and facts is None:
            labels = _text_labels(sample, read, "txt")
    source_id = None
    if source is not None:
        value = (facts or {}).get(source)
        if not isinstance(value, str | int) or value == "":
            raise MediaError(
                FailureReason.MALFORMED_LINE,
                f"its JSON names no source as {source!r}; it has {sorted(facts or {})[:20]}",
            )
        source_id = str(value)
    where = sample.members.get("json") if facts is not None else None
    return SampleTexts(labels=labels, source_id=source_id, json=where)


def _facts(sample: TarSample, read: Callable[[ByteRange], bytes]) -> dict[str, object] | None:
    if "json" not in sample.members:
        return None
    try:
        facts = json.loads(read(sample.members["json"]))
    except ValueError as error:
        raise MediaError(
            FailureReason.MALFORMED_LINE, f"its json member is no JSON: {error}"
        ) from None
    return facts if isinstance(facts, dict) else None


def _json_labels(facts: Mapping[str, object], names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        value = facts.get(name)
        values = value if isinstance(value, list) else [value]
        if labels := tuple(str(v) for v in values if isinstance(v, str | int) and str(v)):
            return _checked(labels)
    return ()


def _text_labels(
    sample: TarSample, read: Callable[[ByteRange], bytes], suffix: str
) -> tuple[str, ...]:
    if suffix not in sample.members:
        return ()
    try:
        text = read(sample.members[suffix]).decode().strip()
    except UnicodeDecodeError as error:
        raise MediaError(
            FailureReason.MALFORMED_LINE, f"its {suffix} member is no text: {error}"
        ) from None
    return _checked((text,)) if text else ()


def _checked(labels: tuple[str, ...]) -> tuple[str, ...]:
    long = next((label for label in labels if len(label) > MAX_LABEL_CHARS), None)
    if long is not None:
        raise MediaError(
            FailureReason.MALFORMED_LINE,
            f"its label has {len(long)} characters ({long[:40]!r}...), at most {MAX_LABEL_CHARS} "
            "are allowed; is it a caption? Leave labels out with --label none",
        )
    return tuple(dict.fromkeys(labels))
