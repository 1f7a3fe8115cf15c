"""Roles of the members of a sample in a third-party tar.

::

    frames   KEY.mp4 (.mkv .webm .mov .m4v .avi .ogv), or KEY.jpg (.jpeg .png), or in a row
             KEY.0001.jpg KEY.0002.jpg ...
    sound    KEY.flac (.wav .ogg .oga .opus .mp3 .m4a .aac .npy), else the sound in the video
    facts    KEY.json, KEY.txt, KEY.cls

The last ending decides, in any case: `info.json` is JSON. Of several members for one role, the one
without further words wins, as `json` over `info.json`.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from avdata.errors import FailureReason, MediaError
from avdata.shards.index_names import (
    IMAGE_SUFFIXES,
    SOUND_SUFFIXES,
    VIDEO_SUFFIXES,
    last_ending,
)
from avdata.shards.tar_contents import TarSample
from avdata.shards.writer import ByteRange

_PICTURE_NUMBER = re.compile(r"(?:.*?(\d+)\.)?.*")
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
    """Find the members of `sample` that hold frames and audio.

    Raises:
        MediaError: There are several that could, or pictures do not lie in order.
    """
    pictures: dict[int, Member] = {}
    for suffix, where in sample.members.items():
        if last_ending(suffix) not in IMAGE_SUFFIXES:
            continue
        member = Member(suffix=suffix, where=where)
        match = _PICTURE_NUMBER.fullmatch(suffix.lower())
        number = int((match and match.group(1)) or 0)
        if number in pictures:
            raise MediaError(
                FailureReason.DUPLICATE,
                f"members {pictures[number].suffix} and {suffix} are picture {number}; number "
                "the pictures of a sample each by one number, as in 0001.jpg",
            )
        pictures[number] = member
    return Roles(
        video=_only(sample, VIDEO_SUFFIXES, "the video"),
        pictures=_in_order(pictures),
        sound=_only(sample, SOUND_SUFFIXES, "the sound"),
    )


def _only(sample: TarSample, endings: tuple[str, ...], role: str) -> Member | None:
    """The member for a role.

    Raises:
        MediaError: Several have an equal right to it.
    """
    found = _candidates(sample, endings)
    if len(found) > 1:
        raise MediaError(
            FailureReason.DUPLICATE,
            f"members {', '.join(found)} could all be {role}; keep one",
        )
    return Member(suffix=found[0], where=sample.members[found[0]]) if found else None


def _in_order(pictures: Mapping[int, Member]) -> tuple[Member, ...]:
    members = tuple(pictures[number] for number in sorted(pictures))
    offsets = [member.where.offset for member in members]
    if offsets != sorted(set(offsets)):  # links may lead anywhere
        raise MediaError(
            FailureReason.FORMAT_NOT_ALLOWED,
            "its pictures do not lie in the tar in the order of their numbers; write the tar anew "
            "with sorted names",
        )
    return members


def _candidates(sample: TarSample, endings: tuple[str, ...]) -> list[str]:
    """Suffixes of the members for a role; where some are an ending alone, just those."""
    found = [suffix for suffix in sample.members if last_ending(suffix) in endings]
    found.sort(key=lambda suffix: endings.index(last_ending(suffix)))
    return [suffix for suffix in found if suffix.lower() in endings] or found


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleTexts:
    """Labels and source of a sample."""

    labels: tuple[str, ...]
    source_id: str | None
    json: ByteRange | None
    """The JSON member, if it is an object."""
    read: tuple[str, ...]
    """Suffixes of the members that were read for it."""


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
    texts = _Texts(sample, read)
    facts = texts.facts()
    if label == "none":
        labels: tuple[str, ...] = ()
    elif label in ("cls", "txt"):
        labels = texts.labels(label)
    elif label != "auto":
        labels = _json_labels(facts or {}, (label,))
    else:
        labels = texts.labels("cls") or _json_labels(facts or {}, LABEL_FIELDS)
        if not labels and facts is None:
            labels = texts.labels("txt")
    source_id = None
    if source is not None:
        value = (facts or {}).get(source)
        if not isinstance(value, str | int) or value == "":
            raise MediaError(
                FailureReason.MALFORMED_LINE,
                f"its JSON names no source as {source!r}; it has {sorted(facts or {})[:20]}",
            )
        source_id = _encodable(str(value), "source")
    where = texts.json.where if texts.json and facts is not None else None
    return SampleTexts(labels=labels, source_id=source_id, json=where, read=tuple(texts.read))


class _Texts:
    """The text members of a sample, and those of them that were read."""

    def __init__(self, sample: TarSample, read: Callable[[ByteRange], bytes]) -> None:
        self._sample, self._read_range = sample, read
        self.read: list[str] = []
        self.json: Member | None = None

    def facts(self) -> dict[str, object] | None:
        """The JSON member; None where there is none or it holds no object."""
        self.json = self._member("json")
        if self.json is None:
            return None
        try:
            facts = json.loads(self._read_range(self.json.where))
        except (ValueError, RecursionError) as error:
            raise MediaError(
                FailureReason.MALFORMED_LINE, f"its json member is no JSON: {error}"
            ) from None
        return facts if isinstance(facts, dict) else None

    def labels(self, ending: str) -> tuple[str, ...]:
        """The text of a member as the one label; none where it is missing or blank."""
        member = self._member(ending)
        if member is None:
            return ()
        try:
            text = self._read_range(member.where).decode().strip()
        except UnicodeDecodeError as error:
            raise MediaError(
                FailureReason.MALFORMED_LINE, f"its {ending} member is no text: {error}"
            ) from None
        return _checked((text,)) if text else ()

    def _member(self, ending: str) -> Member | None:
        """The text member of an ending; None as well where several have an equal right to it."""
        found = _candidates(self._sample, (ending,))
        if len(found) != 1:
            return None
        self.read.append(found[0])
        return Member(suffix=found[0], where=self._sample.members[found[0]])


def _json_labels(facts: Mapping[str, object], names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        value = facts.get(name)
        values = value if isinstance(value, list) else [value]
        if labels := tuple(text for v in values if (text := _label_text(v))):
            return _checked(labels)
    return ()


def _label_text(value: object) -> str:
    """A label of JSON as text; empty for what is neither text nor a finite number."""
    if isinstance(value, float):
        if not math.isfinite(value):
            return ""
        return str(int(value)) if value.is_integer() else str(value)
    return str(value) if isinstance(value, str | int) else ""


def _checked(labels: tuple[str, ...]) -> tuple[str, ...]:
    long = next((label for label in labels if len(label) > MAX_LABEL_CHARS), None)
    if long is not None:
        raise MediaError(
            FailureReason.MALFORMED_LINE,
            f"its label has {len(long)} characters ({long[:40]!r}...), at most {MAX_LABEL_CHARS} "
            "are allowed; is it a caption? Leave labels out with --label none",
        )
    return tuple(dict.fromkeys(_encodable(label, "label") for label in labels))


def _encodable(text: str, what: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise MediaError(
            FailureReason.MALFORMED_LINE, f"its {what} {text[:40]!r} holds half of a character"
        ) from None
    return text
