#!/usr/bin/env bash
# Sets up .venv and runs every check, in this order: format, lint, types, layers, tests.
#   bash tests/run.sh             all of it
#   bash tests/run.sh -k stream   arguments go to pytest, and the other checks are left out
#   bash tests/run.sh -m trains --disturbances 20
#                                 tests that train, with other seeds and disturbed weights
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
# One process leaves a core idle: tests that need no ports, clocks or programs run beside the others.
beside=(tests/avtrain/data tests/avtrain/models tests/avtrain/objectives)
beside+=(tests/avdata/decode tests/avdata/features tests/avdata/shards tests/avdata/sources)
log=$(mktemp)
python -m pytest -p no:cacheprovider "${beside[@]}" > "$log" 2>&1 &
pid=$!
trap 'kill "$pid" 2> /dev/null || true; rm -f "$log"' EXIT
code=0
python -m pytest "${beside[@]/#/--ignore=}" || code=$?
wait "$pid" || code=$?
cat "$log"
exit "$code"
