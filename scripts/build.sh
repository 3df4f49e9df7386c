#!/usr/bin/env bash
# Builds the release program, build/ladarts.
# Usage: scripts/build.sh [--tests]      --tests builds the tests too; JOBS=N limits the parallel compilers
set -euo pipefail
cd "$(dirname "$0")/.."

targets=(ladarts)
case "${1:-}" in
  "") ;;
  --tests) targets=(all) ;;
  *)
    sed -n '2,3s/^# //p' "$0" >&2
    exit 2
    ;;
esac

# A build folder moved or configured by hand with another generator is configured afresh.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! cmake --preset release >"$log" 2>&1 && ! cmake --preset release --fresh >"$log" 2>&1; then
  cat "$log" >&2
  echo "build: configuring failed; scripts/install_deps.sh installs what is needed" >&2
  exit 1
fi
cmake --build --preset release --parallel "${JOBS:-$(nproc)}" --target "${targets[@]}"
