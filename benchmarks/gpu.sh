#!/usr/bin/env bash
# Everything that only a GPU can show, in one go: the tests marked gpu, the steps, mining, the applications.
#
#   bash benchmarks/gpu.sh OUT              about 12 minutes; OUT/NAME.txt and OUT/NAME.json of each part
#   bash benchmarks/gpu.sh OUT SHARDS       also a real run on a shard set: does its step wait for data?
#   bash benchmarks/gpu.sh --list OUT       only the commands
#
# A part that fails or takes longer than its limit is said so, and the others go on; the exit code is how
# many. PYTHON names an interpreter that has everything already, in place of .venv.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
list=
if [ "${1:-}" = --list ]; then
    list=yes
    shift
fi
if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    echo "usage: gpu.sh [--list] OUT [SHARDS]   (seen: $# arguments)" >&2
    exit 2
fi
out=$1 shards=${2:-}
python=${PYTHON:-}
if [ -z "$list" ]; then
    if [ -z "$python" ]; then
        source "$root/pipelines/setup.sh" dev
        python=python
    fi
    if ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
        echo "torch of $python sees no CUDA device: nothing of this can run here" >&2
        exit 2
    fi
    mkdir -p "$out"
    out=$(cd "$out" && pwd)
    "$python" -c 'import torch; print(torch.cuda.get_device_name(), torch.__version__)' | tee "$out/device.txt"
fi
cd "$root"
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
failed=0

# part NAME SECONDS COMMAND...   its standard output is NAME.json, the rest NAME.txt
part() {
    local name=$1 limit_s=$2 started=$SECONDS code=0
    shift 2
    if [ -n "$list" ]; then
        echo "$name ($limit_s s): ${python:-python} $*"
        return
    fi
    timeout "$limit_s" "$python" "$@" > "$out/$name.json" 2> "$out/$name.txt" || code=$?
    [ "$code" -eq 0 ] || failed=$((failed + 1))
    echo "$name: exit code $code, $((SECONDS - started)) s"
}

part tests 240 -m pytest -q -m gpu -p no:cacheprovider
part train_step 150 benchmarks/train_step.py --json ${shards:+--shards "$shards"}
part train_step_compiled 200 benchmarks/train_step.py --json --set compute.compile=true
part multisensory_step 120 benchmarks/multisensory_step.py --json
part multisensory_step_checkpoint 120 benchmarks/multisensory_step.py --json --checkpoint
part mining 200 benchmarks/mining.py --device cuda --rows 232067 1784108 --rounds 1
part apps 120 benchmarks/apps.py --device cuda --json
part apps_published 150 benchmarks/apps.py --device cuda --network published --rounds 1 --json
exit "$failed"
