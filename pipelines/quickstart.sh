#!/usr/bin/env bash
# From nothing to a pretrained model in 10 to 15 minutes on 2 cores, by their speed.
#
#   bash pipelines/quickstart.sh                  on synthesized clips with known answers
#   bash pipelines/quickstart.sh LIST MEDIA_DIR   on your own: any listing that avdata build reads
#
# OUT (default out/quickstart, or out/own) names the folder of the results. The same command
# resumes where it was stopped.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [ $# -ne 0 ] && [ $# -ne 2 ]; then
    echo "usage: quickstart.sh [LIST MEDIA_DIR]   (seen: $# arguments)" >&2
    exit 2
fi
started=$SECONDS
source "$root/pipelines/setup.sh" ""

recipe="$root/pipelines/quickstart.toml"
step() { printf '\n== %s  (%d s)\n' "$*" "$((SECONDS - started))"; }
fact() { python -c 'import json, sys; print(json.loads(sys.argv[1].splitlines()[-1])[sys.argv[2]])' "$@"; }

if [ $# -eq 0 ]; then
    out=${OUT:-$root/out/quickstart}
    mkdir -p "$out"
    step "synthesize clips: objects that strike, flash and sound -> $out/media"
    avdata synth "$out/media" --clips 1000 --seed 0 --duration 4 \
        --set max_objects=1 --set off_screen_probability=0 --set silent_probability=0.2 \
        --set min_radius=0.12 --set max_radius=0.25
    list="$out/media/listing.csv" media="$out/media" split=train minutes=5.5
else
    out=${OUT:-$root/out/own}
    mkdir -p "$out"
    list=$1 media=$2 split= minutes=2
fi

step "build shards with Ray -> $out/shards"
built=$(avdata build --source "$list" --media "$media" --out "$out/shards" --recipe "$recipe" --json)
echo "listed $(fact "$built" listed), ok $(fact "$built" ok), rejected $(fact "$built" rejected) $(fact "$built" reasons)"

step "verify every sample"
avdata verify "$out/shards"

step "look into the set"
avdata inspect "$out/shards" --png "$out/sample.png"

step "pretrain AVID for $minutes minutes -> $out/run"
batch=$(python -c "print(max(2, min(32, $(fact "$built" ok))))")
if [ -e "$out/run/trained" ]; then
    echo "done before"
elif [ -e "$out/run/run.json" ]; then
    avtrain fit "$out/shards" --out "$out/run" --resume
else
    avtrain fit "$out/shards" --out "$out/run" --recipe "$recipe" \
        --set data.batch_size="$batch" --set schedule.max_minutes="$minutes" \
        ${split:+--set data.split=$split}
fi
touch "$out/run/trained"

step "evaluate"
[ -n "$split" ] || echo "on the clips of the training: a listing without splits has no others"
avtrain eval "$out/run" "$out/shards" --task retrieval
if [ -n "$split" ]; then
    avtrain eval "$out/run" "$out/shards" --task knn --encoder video
    avtrain eval "$out/run" "$out/shards" --task probe --encoder audio
fi

step "done"
cat <<EOF
picture of a sample   $out/sample.png
shards and manifest   $out/shards
run and checkpoints   $out/run    (tensorboard --logdir $out/run/tensorboard)
EOF
