#!/usr/bin/env bash
# Compiles every kernel for compute capability 8.0 and 9.0 with nvcc and prints registers, shared memory and spills of
# each. Fails where one does not compile or spills registers. Ends with 77 (skipped) where there is no nvcc.
# Usage: scripts/check_cuda_static.sh
set -euo pipefail
cd "$(dirname "$0")/.."

nvcc=$(command -v nvcc || true)
[[ -n $nvcc || ! -x /usr/local/cuda/bin/nvcc ]] || nvcc=/usr/local/cuda/bin/nvcc
if [[ -z $nvcc ]]; then
  echo "check_cuda_static: SKIPPED: no nvcc in PATH or /usr/local/cuda/bin"
  exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

failures=0
printf '%-6s %9s %7s %7s  %s\n' arch registers shared spills kernel
for file in cuda/*.cu; do
  for arch in sm_80 sm_90; do
    # fmt 9 takes nvcc for a compiler without constexpr.
    if ! "$nvcc" -std=c++20 -O3 -I. -DFMT_USE_CONSTEXPR=1 --expt-relaxed-constexpr -arch="$arch" -Xptxas -v,--warn-on-spills,-Werror \
      -c "$file" -o "$work/kernel.o" >"$work/log" 2>&1; then
      echo "check_cuda_static: $file does not pass for $arch:" >&2
      cat "$work/log" >&2
      failures=$((failures + 1))
      continue
    fi
    c++filt <"$work/log" | awk -v arch="$arch" '
      /Compiling entry function/ { sub(/.*entry function ./, ""); sub(/. for .sm_.*/, ""); kernel = $0 }
      /bytes spill stores/ { spills = $0; sub(/.*frame, /, "", spills); sub(/ .*/, "", spills) }
      /Used [0-9]+ registers/ {
        registers = $0; sub(/.*Used /, "", registers); sub(/ .*/, "", registers)
        shared = 0
        if (match($0, /[0-9]+ bytes smem/)) shared = substr($0, RSTART, RLENGTH - 11)
        gsub(/ladarts::cuda::|\(anonymous namespace\)::|_NV_ANON_NAMESPACE::/, "", kernel)
        printf "%-6s %9s %7s %7s  %s\n", arch, registers, shared, spills, kernel
      }'
  done
done
((failures == 0)) || { echo "check_cuda_static: $failures failed" >&2; exit 1; }
echo "check_cuda_static: every kernel compiles for sm_80 and sm_90 without spills"
