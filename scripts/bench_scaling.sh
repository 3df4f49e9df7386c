#!/usr/bin/env bash
# Time per image of a PC-DARTS search step against batch, channels, cells and threads, one varied at a time.
# Usage: scripts/bench_scaling.sh [--rounds 2] [--out FILE]     (about 3 minutes)
# The fastest of all rounds counts. Writes JSON, by default to benchmarks/results/cpu-scaling-DATE.json. BUILD names the
# build folder.
set -euo pipefail
cd "$(dirname "$0")/.."
export BUILD=${BUILD:-build}
[ -x "$BUILD/ladarts" ] || { echo "bench_scaling: $BUILD holds no program: build it first (scripts/build.sh)" >&2; exit 1; }
exec python3 benchmarks/scaling.py --out "benchmarks/results/cpu-scaling-$(date +%F).json" "$@"
