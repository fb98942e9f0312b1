#!/usr/bin/env bash
# Both stages of SIDA's training, merge, check and evaluate in a row; called again it goes on where it stopped.
#   recipes/sida/chain.sh MANIFEST.csv OUT [KEY=VALUE...]
# RECIPE names another recipe than recipes/tiny.yaml; KEY=VALUE are put into both stages. The manifest's rows of the split
# `train` are trained on, those of `eval` judged; pictures without a description are described by what can be measured.
set -euo pipefail
manifest=$1 out=$2
shift 2
root=$(cd "$(dirname "$0")/../.." && pwd)
recipe=${RECIPE:-$root/recipes/tiny.yaml}
data="{path: \"$manifest\", split: train}"
run() { "${PYTHON:-python}" -m pixelsleuth "$@"; }

run train "$recipe" data="$data" out="$out/stage1" --resume "$@"
run train "$recipe" data="$data" out="$out/stage2" --resume "$@" \
    stage=2 start="$out/stage1/model" descriptions=measured 'full=[lm_head, mask_decoder, detection]' \
    weights.detection=0.5 weights.mask=0.5
run merge "$out/stage2" --out "$out/merged" --precision fp32
first=$("${PYTHON:-python}" -c 'import sys; from pixelsleuth.data.readers import open_data
print(next(iter(open_data(sys.argv[1], split="eval"))).path)' "$manifest")
run check "$first" --model "$out/merged"
run evaluate --model "$out/merged" --data "$manifest" --split eval --out "$out/evaluation"
