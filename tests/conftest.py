"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest

pytest_plugins = ["disturbances"]

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real media and listings; AV_SHARED_DATA names another copy."""
    path = Path(os.environ.get("AV_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"shared data: no folder {path}; set AV_SHARED_DATA")
    return path
