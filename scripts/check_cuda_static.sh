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

# One file, its device code alone: lines of the table on standard output; the compiler's words on standard error where it fails.
check() {
  local file=$1 log=$2/$(basename "$1").log
  # fmt 9 takes nvcc for a compiler without constexpr.
  if ! "$nvcc" -std=c++20 -O3 -I. -DFMT_USE_CONSTEXPR=1 --expt-relaxed-constexpr \
    -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=sm_90 \
    -Xptxas -v,--warn-on-spills,-Werror -fatbin "$file" -o "$log.o" >"$log" 2>&1; then
    { echo "check_cuda_static: $file does not pass:"; cat "$log"; } >&2
    return 1
  fi
  c++filt <"$log" | awk '
    /Compiling entry function/ {
      kernel = $0; sub(/.*entry function ./, "", kernel); sub(/. for .sm_.*/, "", kernel)
      arch = $0; sub(/.* for ./, "", arch); sub(/[^a-z0-9_].*/, "", arch)
    }
    /bytes spill stores/ { spills = $0; sub(/.*frame, /, "", spills); sub(/ .*/, "", spills) }
    /Used [0-9]+ registers/ {
      registers = $0; sub(/.*Used /, "", registers); sub(/ .*/, "", registers)
      shared = 0
      if (match($0, /[0-9]+ bytes smem/)) shared = substr($0, RSTART, RLENGTH - 11)
      gsub(/ladarts::cuda::|\(anonymous namespace\)::|_NV_ANON_NAMESPACE::/, "", kernel)
      printf "%-6s %9s %7s %7s  %s\n", arch, registers, shared, spills, kernel
    }'
}
export -f check
export nvcc

printf '%-6s %9s %7s %7s  %s\n' arch registers shared spills kernel
if ! printf '%s\n' cuda/*.cu | xargs -P "$(nproc)" -I{} bash -c 'check {} "$0"' "$work" | sort -k5 -k1,1; then
  echo "check_cuda_static: failed" >&2
  exit 1
fi
echo "check_cuda_static: every kernel compiles for sm_80 and sm_90 without spills"
