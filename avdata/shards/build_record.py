"""`build.json`: what a build was asked for."""

from pathlib import Path

from pydantic import ValidationError

from avdata.schema import BuildRecord
from avdata.storage import Location, open_location

BUILD_NAME = "build.json"

DERIVED = "derived_from"
"""Part of `BuildRecord.config` that says which set a derived one was made of, and how."""


def read_build_record(where: Path | str | Location) -> BuildRecord | None:
    """Record of the build in a folder or at a URL; None when there is none, or it is damaged."""
    try:
        return BuildRecord.model_validate_json(open_location(where).read(BUILD_NAME))
    except (OSError, ValidationError, ValueError):
        return None
