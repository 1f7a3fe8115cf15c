"""The command that goes on with a build, as far as `build.json` knows it."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

from avdata.config import BuildConfig
from avdata.schema import BuildRecord
from avdata.shards.build_record import DERIVED


def resume_command(record: BuildRecord, directory: Path) -> str:
    """`avdata build ...` with all settings that are not the default, or `avdata derive ...`.

    Where listing and media lie is not recorded: their names stand for them.
    """
    source = record.config.get(DERIVED)
    if isinstance(source, dict):
        words = ["avdata", "derive", str(source["path"]), "--out", str(directory)]
        changed = [str(assignment) for assignment in source["set"]]
    else:
        words = ["avdata", "build", "--source", record.listing_name, "--media", "MEDIA"]
        words += ["--out", str(directory)]
        for name in record.kept_columns:
            words += ["--keep-column", name]
        changed = list(_assignments(record.config, BuildConfig().model_dump(mode="json")))
    for assignment in changed:
        words += ["--set", assignment]
    return shlex.join(words)


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
