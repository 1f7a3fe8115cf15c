#!/usr/bin/env bash
# Pretrain on spoken sentences and probe for the words, against a random network of the same shape.
#
#   bash pipelines/grid.sh TRAIN_DIR TEST_DIR
#
# Each folder holds sentences of the GRID corpus: video files, and labels.csv with the columns
# file, command, colour, preposition, letter, digit, adverb. OUT (default out/grid) names the folder
# of the results, MINUTES (default 7) how long is trained. The same command resumes.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [ $# -ne 2 ]; then
    echo "usage: grid.sh TRAIN_DIR TEST_DIR   (seen: $# arguments)" >&2
    exit 2
fi
train=$(realpath "$1") test=$(realpath "$2")
source "$root/pipelines/setup.sh" ""

out=${OUT:-$root/out/grid} minutes=${MINUTES:-7} recipe="$root/pipelines/grid.toml"
mkdir -p "$out"
step() { printf '\n== %s  (%d s)\n' "$*" "$SECONDS"; }

step "mouths of the speaker, and their listing -> $out/media"
python "$root/pipelines/grid_words.py" prepare "$train" "$test" --out "$out/media"

step "build shards -> $out/shards"
avdata build --source "$out/media/listing.csv" --out "$out/shards" --recipe "$recipe"

step "pretrain for $minutes minutes -> $out/run"
if [ -e "$out/run/trained" ]; then
    echo "done before"
else
    avtrain fit "$out/shards" --out "$out/run" --recipe "$recipe" \
        --set schedule.max_minutes="$minutes"
    touch "$out/run/trained"
fi

step "a random network: its weights stay, the statistics of its normalization settle"
[ -e "$out/random/run.json" ] ||
    avtrain fit "$out/shards" --out "$out/random" --recipe "$recipe" \
        --set optim.lr=1e-12 --set optim.weight_decay=0 --set schedule.max_steps=50

step "does the face of a sentence that was not trained on find its sound?"
for run in run random; do
    avtrain eval "$out/$run" "$out/shards" --task retrieval
done

step "which word is said?"
python "$root/pipelines/grid_words.py" probe "$out/shards" "$out/run" "$out/random" \
    --out "$out/words.json"
