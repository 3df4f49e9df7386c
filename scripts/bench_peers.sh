#!/usr/bin/env bash
# This program beside its peers on this machine's CPU, in turn: search steps, derived networks, predictor.
# Usage: scripts/bench_peers.sh [--threads 2] [--rounds 2] [--compiled] [--out FILE] [ROW...]
#   --compiled: the peer's searches, training and predictor with torch.compile too, which takes minutes for each
#   rows: pc-darts darts infer-1 infer-32 train predictor-64 predictor-1024   (default: all, about a quarter of an hour)
# Each round runs a row's peer and then this program; the fastest of all rounds counts, for both. The peer gets a heap
# that keeps its pages (glibc's malloc otherwise gives every large tensor back). Writes JSON with machine, date and
# commit, by default to benchmarks/results/cpu-DATE.json.
# PEER_PYTHON names a Python that has PyTorch 2, onnx and onnxruntime (default python3). BUILD names the build folder.
set -euo pipefail
cd "$(dirname "$0")/.."
export BUILD=${BUILD:-build} PEER_PYTHON=${PEER_PYTHON:-python3}
[ -x "$BUILD/ladarts" ] && [ -x "$BUILD/benchmarks/mlp_fit_bench" ] ||
  { echo "bench_peers: $BUILD holds no program: build it first (scripts/build.sh --tests)" >&2; exit 1; }
"$PEER_PYTHON" -c 'import torch' 2>/dev/null ||
  { echo "bench_peers: $PEER_PYTHON has no PyTorch; set PEER_PYTHON to one that has" >&2; exit 1; }
exec "$PEER_PYTHON" benchmarks/peers/compare.py "$@"
