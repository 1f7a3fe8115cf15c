"""The command that resumes a build, as far as `build.json` knows it, and whether it can."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from avdata.build.derive_config import derive_config, derived_build_hash
from avdata.build.noise import noisy_build_hash
from avdata.build.noise_plan import NoiseConfig
from avdata.build.plan import make_build_hash
from avdata.config import BuildConfig
from avdata.errors import ConfigError, ShardSetError
from avdata.schema import BuildRecord
from avdata.shards.build_record import DERIVED, set_made_of
from avdata.shards.reader import read_dataset_spec


def resume_command(record: BuildRecord, directory: Path) -> str:
    """`avdata build`, `derive` or `noise` with all settings that are not the default.

    The paths of listing and media are not recorded: their names stand for them.
    """
    made_of = set_made_of(record)
    if made_of is None:
        words = ["avdata", "build", "--source", record.listing_name, "--media", "MEDIA"]
        words += ["--out", str(directory)]
        for name in record.kept_columns:
            words += ["--keep-column", name]
        for assignment in _assignments(record.config, BuildConfig().model_dump(mode="json")):
            words += ["--set", assignment]
        return shlex.join(words)
    kind, part = made_of
    words = ["avdata", "derive" if kind == DERIVED else "noise", str(part["path"])]
    words += ["--out", str(directory)]
    if kind == DERIVED:
        for assignment in _texts(part["set"]):
            words += ["--set", assignment]
    else:
        words += _noise_words(_noise_config(part))
    return shlex.join(words)


def resume_obstacle(record: BuildRecord) -> str | None:
    """Return why the command that `record` asks for cannot resume; None where it can.

    A build goes on only where settings, source and software give the same hash as before.
    """
    made_of = set_made_of(record)
    if made_of is None:
        return _obstacle_of_build(record)
    kind, part = made_of
    path = Path(str(part["path"]))
    try:
        source = read_dataset_spec(path)
        if kind == DERIVED:
            config = derive_config(source, _texts(part["set"]))
            build_hash = derived_build_hash(config, source)
        else:
            build_hash = noisy_build_hash(_noise_config(part), source)
    except (ShardSetError, ConfigError, ValidationError) as error:
        return f"it was made of the set {path}, which must be there again first ({error})"
    if build_hash == record.build_hash:
        return None
    return (
        f"it was made of the set {path}, which has changed since, or by other versions of avdata "
        "or its packages"
    )


def _obstacle_of_build(record: BuildRecord) -> str | None:
    try:
        config = BuildConfig.model_validate(record.config)
    except ValidationError:
        return "its settings are those of another version of avdata"
    if make_build_hash(record.listing_sha256, config, record.kept_columns) == record.build_hash:
        return None
    return "it was built by other versions of avdata or its packages"


def _texts(values: object) -> list[str]:
    return [str(value) for value in values] if isinstance(values, list) else []


def _noise_config(part: dict[str, object]) -> NoiseConfig:
    return NoiseConfig.model_validate({k: v for k, v in part.items() if k != "path"})


def _noise_words(config: NoiseConfig) -> Iterator[str]:
    for name, value in config.model_dump(exclude_defaults=True, exclude={"split"}).items():
        yield from (f"--{name.replace('_', '-')}", str(value))
    if config.split is None:
        yield "--all-splits"
    elif config.split != NoiseConfig().split:
        yield from ("--split", config.split)


def _assignments(
    settings: dict[str, object], defaults: dict[str, object], path: str = ""
) -> Iterator[str]:
    for name, value in settings.items():
        default = defaults.get(name)
        if isinstance(value, dict):
            inner = default if isinstance(default, dict) else {}
            yield from _assignments(value, inner, f"{path}{name}.")
        elif value != default and value is not None:
            yield f"{path}{name}={json.dumps(value)}"
