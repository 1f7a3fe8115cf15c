"""The spec of several shard sets taken as one, and whether they go together."""

import hashlib
from collections.abc import Sequence

import numpy as np

from avdata import DatasetSpec, LogMelStatistics, ShardSet, VideoSpec
from avtrain.errors import DataError

_NUM_SHOWN = 5


def mixed_spec(sets: Sequence[ShardSet], weights: Sequence[float]) -> DatasetSpec:
    """Spec of the mix: what all sets have in common, their counts added up.

    Raises:
        DataError: The stored forms differ in what a trainer relies on.
    """
    specs = [shard_set.spec for shard_set in sets]
    fields = tuple(f for f in specs[0].fields if all(f in spec.fields for spec in specs))
    _check_forms(sets, fields)
    first = specs[0]
    labels = tuple(sorted({label for spec in specs for label in spec.labels}))
    build = "\0".join(
        f"{spec.build_hash} {weight!r}" for spec, weight in zip(specs, weights, strict=True)
    )
    return first.model_copy(
        update={
            "fields": fields,
            "video": _mixed_video(specs) if "frames" in fields else None,
            "audio": first.audio if "audio" in fields else None,
            "logmel": first.logmel if "logmel" in fields else None,
            "logmel_statistics": _pooled(specs, weights) if "logmel" in fields else None,
            **{
                name: sum(getattr(spec, name) for spec in specs)
                for name in ("num_shards", "num_listed", "num_clips", "num_rejected", "num_sources")
            },
            "labels": labels,
            "labels_hash": hashlib.sha256("\0".join(labels).encode()).hexdigest(),
            "build_hash": hashlib.sha256(build.encode()).hexdigest(),
            "listing_name": " + ".join(spec.listing_name for spec in specs),
        }
    )


def _check_forms(sets: Sequence[ShardSet], fields: tuple[str, ...]) -> None:
    """Refuse sets whose common fields are stored in forms that do not go into one batch."""
    if not fields:
        each = "; ".join(f"{s.location} has {{{', '.join(s.spec.fields)}}}" for s in sets)
        raise DataError(f"the shard sets have no field in common: {each}")
    first = _form(sets[0].spec, fields)
    for other in sets[1:]:
        form = _form(other.spec, fields)
        differ = [
            f"{name} is {first[name]} in {sets[0].location} and {form[name]} in {other.location}"
            for name in first
            if form[name] != first[name]
        ]
        if differ:
            more = f" and {len(differ) - _NUM_SHOWN} more" if len(differ) > _NUM_SHOWN else ""
            raise DataError(
                f"these shard sets cannot be mixed: {'; '.join(differ[:_NUM_SHOWN])}{more}. Build "
                "one again with the other's settings (`avdata derive` makes log-mel anew), or "
                "train on one of them"
            )


def _form(spec: DatasetSpec, fields: tuple[str, ...]) -> dict[str, object]:
    form: dict[str, object] = {}
    if "frames" in fields and spec.video is not None:
        form |= {f"video.{name}": getattr(spec.video, name) for name in ("codec", "projection")}
    if "audio" in fields and spec.audio is not None:
        form |= {
            f"audio.{name}": getattr(spec.audio, name) for name in ("sample_rate_hz", "layout")
        }
    if "logmel" in fields and spec.logmel is not None:
        form |= {f"logmel.{name}": value for name, value in spec.logmel.model_dump().items()}
    return form


def _mixed_video(specs: Sequence[DatasetSpec]) -> VideoSpec:
    videos = [spec.video for spec in specs if spec.video is not None]
    rates = {video.fps for video in videos}
    return videos[0].model_copy(
        update={
            "fps": videos[0].fps if len(rates) == 1 else "native",  # the rows have their own
            "short_side_px": min(video.short_side_px for video in videos),
        }
    )


def _pooled(specs: Sequence[DatasetSpec], weights: Sequence[float]) -> LogMelStatistics | None:
    """Moments of what training hears: those of the sets, by weight."""
    all_statistics = [spec.logmel_statistics for spec in specs]
    known = [statistics for statistics in all_statistics if statistics is not None]
    if len(known) < len(specs):
        return None
    share = np.asarray(weights)[:, None] / sum(weights)
    means = np.array([statistics.mean for statistics in known])
    squares = np.array([statistics.std for statistics in known]) ** 2 + means**2
    mean = (share * means).sum(axis=0)
    variance = (share * squares).sum(axis=0) - mean**2
    return LogMelStatistics(
        num_columns=sum(statistics.num_columns for statistics in known),
        mean=tuple(mean.tolist()),
        std=tuple(np.sqrt(variance.clip(min=0)).tolist()),
    )
