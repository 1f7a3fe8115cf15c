#!/usr/bin/env bash
# Sets up .venv and runs every check, in this order: format, lint, types, layers, tests.
#   bash tests/run.sh             all of it
#   bash tests/run.sh -k stream   arguments go to pytest, and the other checks are left out
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/pipelines/setup.sh" dev
cd "$root"
if [ $# -gt 0 ]; then
    exec python -m pytest "$@"
fi
ruff format --check .
ruff check .
mypy
lint-imports
python -m pytest
