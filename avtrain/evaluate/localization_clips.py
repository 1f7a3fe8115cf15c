"""Which clips are looked at for the moments of samples, and what is heard with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from avtrain.data.sample_generator import sample_generator
from avtrain.data.samples import SampleTable
from avtrain.errors import DataError
from avtrain.evaluate.boxes import Moment
from avtrain.evaluate.boxes_file import BoxesFile
from avtrain.maps import ClipRequest, HeardSound, SetMaps

SPAN_SHARE = 0.8
"""Moments of one clip lie within this share of its length: at its ends a network sees little."""

OWN, SILENT, OTHER, SHIFTED = range(4)
"""Order of the sounds of a request."""
CONTROLS = {"silent": SILENT, "other": OTHER, "shifted": SHIFTED}


@dataclass(frozen=True, kw_only=True, slots=True)
class MomentClip:
    """A clip with the moments that it is looked at for."""

    request: ClipRequest
    """Its own sound, silence, sound of another sample, its sample's sound of another time."""
    moments: tuple[Moment, ...]
    """With times."""
    absent: frozenset[str]
    """Controls that there is no sound for; silence stands in their place."""


def sample_moments(
    file: BoxesFile,
    table: SampleTable,
    samples: Sequence[int],
    *,
    source_ids: Sequence[str],
    starts_s: Sequence[float],
    durations_s: Sequence[float],
    where: str,
) -> dict[int, tuple[Moment, ...]]:
    """Moments with times for those of `samples` that the file knows, each within its sample.

    Args:
        file: What was read.
        table: Facts of all samples.
        samples: Rows of the table.
        source_ids: Of all samples; what the file may name in place of a key.
        starts_s: Where each sample begins on its medium's clock.
        durations_s: Of each sample.
        where: Name of the set, for messages.

    Raises:
        DataError: It knows none of them, or names a source of several samples.
    """
    by_source: dict[str, list[int]] = {}
    for sample in samples:
        by_source.setdefault(source_ids[sample], []).append(sample)
    found: dict[int, tuple[Moment, ...]] = {}
    for sample in samples:
        name = table.keys[sample]
        if name not in file.moments and source_ids[sample] in file.moments:
            name = source_ids[sample]
            if len(by_source[name]) > 1 and not file.on_media_clock:
                raise DataError(
                    f"the boxes name source {name}, of which {where} has several samples; name "
                    f"their keys, as {table.keys[sample]}"
                )
        shift_s = starts_s[sample] if file.on_media_clock else 0.0
        timed = (
            Moment(
                time_s=(durations_s[sample] / 2 if m.time_s is None else m.time_s - shift_s),
                sounding=m.sounding,
                silent=m.silent,
            )
            for m in file.moments.get(name, ())
        )
        inside = tuple(m for m in timed if 0 <= _time_s(m) <= durations_s[sample])
        if inside:
            found[sample] = inside
    if not found:
        known = next(iter(file.moments), None)
        raise DataError(
            f"no moment of the boxes lies in one of {len(samples)} samples of {where}: its keys "
            f"are as {table.keys[samples[0]]!r}, the boxes name "
            + (f"{known!r}" if known is not None else "none")
        )
    return found


def moment_clips(
    source: SetMaps, moments: Mapping[int, tuple[Moment, ...]], *, seed: int
) -> list[MomentClip]:
    """As few clips as show all moments of samples that are long enough for a clip.

    The partner that a sample is heard with is the next one of another source, at its first clip;
    the time that it is shifted to follows from the seed and its key.
    """
    starts: dict[int, list[tuple[float, tuple[Moment, ...]]]] = {}
    for sample, of_sample in moments.items():
        last_s = source.last_start_s(sample)
        if last_s is not None:
            starts[sample] = _clip_starts(of_sample, source.clip_s, last_s)
    partners = _partners(list(starts), source.table)
    clips = []
    for sample, of_sample_clips in starts.items():
        last_s = source.last_start_s(sample)
        assert last_s is not None
        partner = partners[sample]
        for number, (start_s, of_clip) in enumerate(of_sample_clips):
            shifted_s = _shifted_start_s(
                source, sample, start_s, last_s=last_s, seed=seed, number=number
            )
            sounds = {
                OWN: HeardSound(sample=sample, start_s=start_s),
                SILENT: None,
                OTHER: None
                if partner is None
                else HeardSound(sample=partner, start_s=starts[partner][0][0]),
                SHIFTED: None
                if shifted_s is None
                else HeardSound(sample=sample, start_s=shifted_s),
            }
            absent = {
                name
                for name, place in CONTROLS.items()
                if place != SILENT and sounds[place] is None
            }
            clips.append(
                MomentClip(
                    request=ClipRequest(
                        sample=sample,
                        start_s=start_s,
                        sounds=tuple(sounds[place] for place in sorted(sounds)),
                    ),
                    moments=of_clip,
                    absent=frozenset(absent),
                )
            )
    return clips


def _clip_starts(
    moments: Sequence[Moment], clip_s: float, last_s: float
) -> list[tuple[float, tuple[Moment, ...]]]:
    """Starts of clips with moments around their middle."""
    ordered = sorted(moments, key=_time_s)
    clips = []
    at = 0
    while at < len(ordered):
        first_s = _time_s(ordered[at])
        group = [m for m in ordered[at:] if _time_s(m) <= first_s + SPAN_SHARE * clip_s]
        at += len(group)
        middle_s = (first_s + _time_s(group[-1])) / 2
        clips.append((min(max(middle_s - clip_s / 2, 0.0), last_s), tuple(group)))
    return clips


def _partners(samples: list[int], table: SampleTable) -> dict[int, int | None]:
    """For each sample the next one of another source."""
    partners: dict[int, int | None] = {}
    for place, sample in enumerate(samples):
        following = (samples[(place + step) % len(samples)] for step in range(1, len(samples)))
        of_others = (
            other for other in following if table.source_index[other] != table.source_index[sample]
        )
        partners[sample] = next(of_others, None)
    return partners


def _shifted_start_s(
    source: SetMaps, sample: int, start_s: float, *, last_s: float, seed: int, number: int
) -> float | None:
    """A start that is far enough away, all of them equally likely; None where there is none."""
    before_s = start_s - source.min_shift_s  # latest start before it
    after_s = start_s + source.min_shift_s
    lengths_s = max(before_s, 0.0), max(last_s - after_s, 0.0)
    if before_s < 0 and after_s > last_s:
        return None
    rng = sample_generator(seed=seed, epoch=-1, occurrence=number, key=source.table.keys[sample])
    place_s = float(rng.random()) * sum(lengths_s)
    if before_s >= 0 and (place_s < lengths_s[0] or after_s > last_s):
        return place_s
    return after_s + place_s - lengths_s[0]


def _time_s(moment: Moment) -> float:
    assert moment.time_s is not None
    return moment.time_s
