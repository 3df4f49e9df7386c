#!/usr/bin/env bash
# Checks (default) or mends the formatting of all C++ and CUDA files by .clang-format.
# Usage: scripts/format.sh [--check|--fix]
set -euo pipefail
cd "$(dirname "$0")/.."

mode=${1:---check}
command -v clang-format >/dev/null || { echo "format: needs clang-format (scripts/install_deps.sh --dev)" >&2; exit 1; }
mapfile -d '' files < <(find core ops cuda predictor nas apps tests benchmarks -type f \
  \( -name '*.h' -o -name '*.cpp' -o -name '*.cuh' -o -name '*.cu' \) -print0 2>/dev/null | sort -z)
((${#files[@]})) || { echo "format: no source files found" >&2; exit 1; }

case "$mode" in
  --check) clang-format --dry-run --Werror "${files[@]}" && echo "format: ${#files[@]} files are clean" ;;
  --fix) clang-format -i "${files[@]}" ;;
  *)
    sed -n '2,3s/^# //p' "$0" >&2
    exit 2
    ;;
esac
