#!/usr/bin/env bash
# Sight and sound in sync, from nothing to maps, offsets and a gallery, on synthesized scenes.
#
#   bash pipelines/multisensory.sh
#
# OUT (default out/multisensory) names the folder of the results, EPOCHS (default as in
# sync_tiny.toml) how long is trained. The same command resumes where it was stopped.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [ $# -ne 0 ]; then
    echo "usage: multisensory.sh   (seen: $# arguments)" >&2
    exit 2
fi
started=$SECONDS
source "$root/pipelines/setup.sh" ""

out=${OUT:-$root/out/multisensory} recipe="$root/pipelines/sync_tiny.toml"
media="$out/media" shards="$out/shards" run="$out/run"
mkdir -p "$out"
step() { printf '\n== %s  (%d s)\n' "$*" "$((SECONDS - started))"; }

step "synthesize scenes: one object strikes and sounds, half have a silent one beside it -> $media"
avdata synth "$media" --clips 1400 --duration 6 --set fps=30 --set size_px=80 \
    --set max_objects=1 --set off_screen_probability=0 --set silent_probability=0.5 \
    --set min_radius=0.12 --set max_radius=0.25

step "build shards -> $shards"
avdata build --source "$media/listing.csv" --media "$media" --out "$shards" --recipe "$recipe"

step "learn whether picture and sound are in sync -> $run"
if [ -e "$run/trained" ]; then
    echo "done before"
else
    avtrain fit "$shards" --recipe "$recipe" --out "$run" \
        ${EPOCHS:+--set schedule.epochs=$EPOCHS}
    touch "$run/trained"
fi

step "is it told of clips that were not trained on, and where does their sound come from?"
avtrain eval "$run" "$shards" --recipe "$recipe" --task sync --task localization \
    --boxes "$media/ground_truth.jsonl"

clip=$(python - "$media/ground_truth.jsonl" <<'PYTHON'
import json, sys

# of the held-out clips the first whose sounding object has a silent one beside it
for line in reversed(open(sys.argv[1]).readlines()):
    scene = json.loads(line)
    if {one["silent"] for one in scene["objects"]} == {True, False}:
        print(scene["path"])
        break
PYTHON
)
step "where the sound of $clip comes from"
avtrain localize "$run" "$media/$clip" -o "$out/map.mp4" --png "$out/map.png"

step "how late its sound is"
avtrain sync "$run" "$media/$clip"

step "the strongest responses of each class, on one page"
avtrain gallery "$run" "$shards" --out "$out/gallery.html" --per-class 6

step "done"
cat <<EOF
moments with their maps   $out/map.png
the clip with its map     $out/map.mp4
gallery                   $out/gallery.html
EOF
