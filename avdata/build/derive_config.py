"""Settings of a derived set: what may differ from the set that it is made of."""

import hashlib
import json
from collections.abc import Iterable

from avdata.build.plan import software_versions
from avdata.config import FieldsConfig, build_settings, parse_assignment
from avdata.errors import ConfigError
from avdata.features.logmel import check_mel_bands, empty_bands_note
from avdata.schema import (
    SCHEMA_VERSION,
    AudioSpec,
    DatasetSpec,
    LogMelSpec,
)


class DeriveConfig(FieldsConfig):
    """What a derived set stores; frames are taken over as they are."""

    audio: AudioSpec | None = None
    """Of the stored sound: `sample_rate_hz` can be lowered."""
    logmel: LogMelSpec | None = None
    """`sample_rate_hz` can be lower than that of the stored sound."""


def derive_config(source: DatasetSpec, assignments: Iterable[str]) -> DeriveConfig:
    """Settings of a set derived from `source`: those of `source` with `assignments` over them.

    A setting of the log-mel adds the field where `source` lacks it; `logmel.preset` starts from
    the preset, all else from the log-mel of `source`.

    Raises:
        ConfigError: An unknown name, a value out of range, or what stored sound cannot give.
    """
    assignments = list(assignments)
    named = [parse_assignment(text)[0] for text in assignments]
    fields = list(source.fields)
    if any(path[0] == "logmel" for path in named) and "logmel" not in fields:
        fields.append("logmel")
    table: dict[str, object] = {"fields": fields}
    if source.audio is not None:
        table["audio"] = source.audio.model_dump(mode="json")
    table["logmel"] = {} if ["logmel", "preset"] in named else _logmel_to_start_from(source)
    config = build_settings(DeriveConfig, table, assignments)
    _check_derivable(config, source)
    if "logmel" not in config.fields:
        config = config.model_copy(update={"logmel": None})
    if config == _as_config(source):
        raise ConfigError(
            "nothing would change: the set has these settings already; give others with --set, as "
            "in --set logmel.num_mels=64"
        )
    return config


def _logmel_to_start_from(source: DatasetSpec) -> dict[str, object]:
    if source.logmel is not None:
        return source.logmel.model_dump(mode="json")
    rate_hz = source.audio.sample_rate_hz if source.audio else LogMelSpec().sample_rate_hz
    return {"sample_rate_hz": rate_hz, "fmax_hz": min(LogMelSpec().fmax_hz, rate_hz / 2)}


def _as_config(spec: DatasetSpec) -> DeriveConfig:
    return DeriveConfig.model_validate(
        {"fields": spec.fields, "audio": spec.audio, "logmel": spec.logmel}
    )


def _check_derivable(config: DeriveConfig, source: DatasetSpec) -> None:
    stored = list(source.fields)
    if lacking := [name for name in config.fields if name not in (*stored, "logmel")]:
        raise ConfigError(
            f"fields: {', '.join(lacking)} are not in the set, which has {stored}; only logmel "
            "can be made anew, for others build from the media"
        )
    sound = "audio" in stored and source.audio is not None and config.audio is not None
    if not sound:
        if config.audio != source.audio or computes_logmel(config, source):
            raise ConfigError(
                f"log-mel is made of stored sound, and the set has only {stored}; build from the "
                "media with a field audio"
            )
        return
    assert source.audio is not None and config.audio is not None
    _check_sound(config.audio, source.audio)
    logmel = config.logmel
    if computes_logmel(config, source) and logmel is not None:
        check_mel_bands(logmel)
        highest_hz = config.audio.sample_rate_hz
        if logmel.sample_rate_hz > highest_hz:
            raise ConfigError(
                f"logmel.sample_rate_hz={logmel.sample_rate_hz} is above the rate of the stored "
                f"sound, {highest_hz} Hz; set logmel.sample_rate_hz={highest_hz} or lower, and "
                "logmel.fmax_hz to at most half of it"
            )


def _check_sound(asked: AudioSpec, stored: AudioSpec) -> None:
    rate_hz = asked.sample_rate_hz
    if asked.model_copy(update={"sample_rate_hz": stored.sample_rate_hz}) != stored:
        raise ConfigError(
            "audio: only sample_rate_hz can be derived; for another layout build from the media"
        )
    if rate_hz > stored.sample_rate_hz:
        raise ConfigError(
            f"audio.sample_rate_hz={rate_hz} is above the {stored.sample_rate_hz} Hz that are "
            "stored; give a lower rate, or build from the media"
        )


def derive_note(source: DatasetSpec, assignments: Iterable[str]) -> str | None:
    """Return what is worth knowing of the log-mel that `derive_config` asks for; None for nothing.

    Raises:
        ConfigError: As for `derive_config`.
    """
    config = derive_config(source, assignments)
    if config.logmel is None or not computes_logmel(config, source):
        return None
    return empty_bands_note(config.logmel)


def computes_sound(config: DeriveConfig, source: DatasetSpec) -> bool:
    """Whether stored sound is made again, at another rate."""
    return "audio" in config.fields and config.audio != source.audio


def computes_logmel(config: DeriveConfig, source: DatasetSpec) -> bool:
    """Whether log-mel is made again: of another spec, or of other sound."""
    if "logmel" not in config.fields:
        return False
    known = "logmel" in source.fields and config.logmel == source.logmel
    return not known or computes_sound(config, source)


def derived_build_hash(config: DeriveConfig, source: DatasetSpec) -> str:
    """Hash of the source's content, the settings and the software: equal hashes, equal shards."""
    facts = {
        "schema_version": SCHEMA_VERSION,
        "derived_from": content_facts(source),
        "config": config.model_dump(mode="json"),
        "software": software_versions(),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def content_facts(source: DatasetSpec) -> list[object]:
    """Return what tells two states of a set apart: one build gives another when files came later
    or changed, and its shards were built again."""
    statistics = source.logmel_statistics
    return [
        source.build_hash,
        source.num_clips,
        statistics.model_dump(mode="json") if statistics else None,
    ]
