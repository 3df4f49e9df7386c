#!/usr/bin/env bash
# Latency of the published cells at full size (20 cells, C=36) here and in PyTorch, in turn on this machine.
# Usage: scripts/bench_network.sh [BATCH] [THREADS]     (default 1 and 2)
# PEER_PYTHON names a Python that has PyTorch 2 (default python3). BUILD names the build folder (default build).
set -euo pipefail
cd "$(dirname "$0")/.."
program="${BUILD:-build}/ladarts"
python="${PEER_PYTHON:-python3}"
batch=${1:-1}
threads=${2:-2}
[ -x "$program" ] || { echo "$program is missing: build it first (scripts/build.sh)" >&2; exit 1; }
"$python" -c 'import torch' 2>/dev/null ||
  { echo "$python has no PyTorch; set PEER_PYTHON to one that has" >&2; exit 1; }
store=$(mktemp -d)
trap 'rm -rf "$store"' EXIT
ours=$("$program" measure --db "$store/measurements.db" --genotype DARTS_V2 PC_DARTS_cifar --batch "$batch" \
  --threads "$threads" --seconds-each 4 --max-repeats 1001 --json --quiet)
theirs=$("$python" benchmarks/peers/pytorch_network.py --batch "$batch" --threads "$threads")
"$python" - "$ours" "$theirs" <<'PY'
import json, sys
ours, theirs = map(json.loads, sys.argv[1:])
print(f"batch {theirs['batch']}, {theirs['threads']} threads; PyTorch {theirs['version']}; medians of single runs")
row = "{:<16}{:>14}{:>14}{:>14}{:>10}".format
print(row("", "eager ms", "frozen ms", "ladarts ms", "ratio"))
for a in ours["networks"]:
    peer = theirs["networks"][a["name"]]
    eager, frozen = (peer[form]["median_ms"] for form in ("eager", "frozen"))
    print(row(a["name"], f"{eager:.2f}", f"{frozen:.2f}", f"{a['latency_ms']:.2f}", f"{min(eager, frozen) / a['latency_ms']:.2f}x"))
PY
