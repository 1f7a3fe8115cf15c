"""`build.json`: what a build was asked for."""

from pathlib import Path

from pydantic import ValidationError

from avdata.schema import BuildRecord
from avdata.storage import Location, open_location

BUILD_NAME = "build.json"

DERIVED = "derived_from"
"""Part of `BuildRecord.config` that says which set a derived one was made of, and how."""

NOISY = "noise"
"""Part of `BuildRecord.config` that says which set a noisy one was made of, and how."""


def read_build_record(where: Path | str | Location) -> BuildRecord | None:
    """Record of the build in a folder or at a URL; None when there is none, or it is damaged."""
    try:
        return BuildRecord.model_validate_json(open_location(where).read(BUILD_NAME))
    except (OSError, ValidationError, ValueError):
        return None


def settings_of_files(record: BuildRecord) -> dict[str, object]:
    """Return the settings by which files became samples, whatever was made of these since."""
    return {k: v for k, v in record.config.items() if k not in (DERIVED, NOISY)}


def set_made_of(record: BuildRecord) -> tuple[str, dict[str, object]] | None:
    """Return how a set was made of another one: `DERIVED` or `NOISY`, and what that part says.

    None for a set that was built from files. Earlier versions kept the parts of the sets before,
    the last one at the end.
    """
    for name in reversed(record.config):
        part = record.config[name]
        if name in (DERIVED, NOISY) and isinstance(part, dict):
            return name, part
    return None
