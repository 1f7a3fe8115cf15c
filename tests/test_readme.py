"""README.md keeps up with the files."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from readme_file_map import ROOT, readme_with_map


def test_the_file_map_is_that_of_the_files() -> None:
    readme = (ROOT / "README.md").read_text()
    assert readme == readme_with_map(readme), "run: python tests/readme_file_map.py --write"
