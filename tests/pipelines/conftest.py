"""The scripts under pipelines/ as modules."""

import sys
from pathlib import Path

PIPELINES = Path(__file__).resolve().parents[2] / "pipelines"

sys.path[:0] = [str(PIPELINES), str(PIPELINES / "study")]
