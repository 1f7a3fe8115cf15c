"""The local folder in which shards for a far set are made."""

import hashlib
import tempfile
from pathlib import Path

from avdata.storage import Location


def staging_folder(parent: Path | None, location: Location, build_hash: str) -> Path:
    """Folder of one build of one far set, so that a resumed build finds nothing of another.

    Args:
        parent: None is the system's folder for temporary files.
        location: The far set.
        build_hash: Of the build.
    """
    place = hashlib.sha256(location.url.encode()).hexdigest()[:8]
    folder = Path(tempfile.gettempdir()) if parent is None else parent.absolute()
    return folder / f"avdata-{build_hash[:16]}-{place}"
