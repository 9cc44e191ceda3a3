#!/usr/bin/env bash
# docs/measured/report.*: what flash, standard and eager cost. Run by `make bench-report`.
#
# Stopped at any time it goes on where it was: finished cells are in the record. For a rehearsal:
# ROUNDS=1 SECONDS_A_CELL=1 OUTPUT=/tmp/report RECORD=/tmp/report.sqlite benchmarks/report.sh .venv/bin
set -euo pipefail
bin=${1:-.venv/bin}
record=${RECORD:-build/report.sqlite}
output=${OUTPUT:-docs/measured}
label=report
mkdir -p "$(dirname "$record")" "$output"

bench() {
    "$bin/attnswitch" bench --record "$record" --label "$label" --resume --dtype float32 \
        --seconds "${SECONDS_A_CELL:-10}" "$@" >/dev/null
}

few=${ROUNDS:-3}
many=${ROUNDS:-12}
# The built-in model, whole.
bench --rounds "$many" --phase vision prefill decode training_step --tokens 128,256,600,1024,1984
# LLaVA-OneVision-0.5B's geometry, whole; the tower over a picture of two tiles.
whole=(--rounds "$few" --resident none --geometry llava-onevision-0.5b)
bench "${whole[@]}" --phase prefill decode --tokens "${ONEVISION:-256,1024,2980}"
bench "${whole[@]}" --phase vision --tiles 2
bench "${whole[@]}" --phase training_step --tokens "${ONEVISION_TRAINING:-256}"
# Attention alone of 7B, 13B and 34B.
large=(--geometry llava-1.5-7b llava-1.5-13b llava-v1.6-34b --attention-only)
bench --rounds "$many" "${large[@]}" --phase vision prefill decode \
    --tokens "${LARGE:-512,1024,2048,4096}"
bench --rounds "$few" "${large[@]}" --resident none --phase training_step \
    --tokens "${TRAINING:-512,1024}"

"$bin/attnswitch" history --record "$record" --label "$label" \
    --note "Made by: make bench-report. flash, standard (blockwise) and eager in float32: the built-in model and the \
LLaVA-OneVision-0.5B geometry whole, attention alone of the 7B, 13B and 34B geometries." \
    --report "$output/report.html" --report "$output/report.md" --plots "$output/plots" >/dev/null
"$bin/attnswitch" history --record "$record" --label "$label" --export "$output/report.jsonl"
