#!/usr/bin/env bash
# One search step of PC-DARTS (CIFAR shapes, C=16, 8 cells) here and in PyTorch, one after the other on this machine.
# Usage: scripts/bench_supernet.sh [--batch 64] [--threads 2] [--repeats 5] [--partial-k 4] [--channels 16] [--layers 8]
# PEER_PYTHON names a Python that has PyTorch 2 (default python3). BUILD names the build folder (default build).
set -euo pipefail
cd "$(dirname "$0")/.."
bench="${BUILD:-build}/benchmarks/supernet_step_bench"
python="${PEER_PYTHON:-python3}"
[ -x "$bench" ] || { echo "$bench is missing: build it first (scripts/build.sh)" >&2; exit 1; }
"$python" -c 'import torch' 2>/dev/null ||
  { echo "$python has no PyTorch; set PEER_PYTHON to one that has" >&2; exit 1; }
ours=$("$bench" --json "$@")
theirs=$("$python" benchmarks/peers/pytorch_supernet.py "$@")
"$python" - "$ours" "$theirs" <<'PY'
import json, sys
ours, theirs = map(json.loads, sys.argv[1:])
assert ours["parameters"] == theirs["parameters"], "the two networks differ"
print(f"batch {ours['batch']}, C={ours['channels']}, {ours['layers']} cells, K={ours['partial_k']}, "
      f"{ours['threads']} threads, {ours['isa']}; PyTorch {theirs['version']}; best of {ours['repeats']}")
row = "{:<28}{:>12}{:>12}{:>9}".format
print(row("", "PyTorch", "ladarts", "ratio"))
total = [0, 0]
for step in ("weight_step", "architecture_step"):
    pair = theirs[step]["min_ms"], ours[step]["min_ms"]
    total = [a + b for a, b in zip(total, pair)]
    print(row(step.replace("_", " ") + " [ms]", *(f"{v:.0f}" for v in pair), f"{pair[0] / pair[1]:.1f}x"))
print(row("search step [ms]", *(f"{v:.0f}" for v in total), f"{total[0] / total[1]:.1f}x"))
peaks = theirs["peak_rss_mib"], ours["peak_rss_mib"]
print(row("peak memory [MiB]", *(f"{v:.0f}" for v in peaks), f"{peaks[0] / peaks[1]:.1f}x"))
net = peaks[0] - theirs["imported_rss_mib"]
print(row("  without import torch", f"{net:.0f}", f"{peaks[1]:.0f}", f"{net / peaks[1]:.1f}x"))
PY
