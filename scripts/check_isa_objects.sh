#!/usr/bin/env bash
# Checks that the kernel archives built for AVX2 and AVX-512 define no weak function. The linker keeps one copy of
# a weak function (an inline function or template that was not inlined) for the whole program; were it the AVX
# copy, a machine without AVX would die of an illegal instruction in code that has nothing to do with kernels.
# Usage: scripts/check_isa_objects.sh [BUILD_DIR]      (a release build; default: build)
set -euo pipefail
cd "$(dirname "$0")/.."

build=${1:-build}
failures=0
checked=0
for archive in "$build"/libladarts_cpu_*.a; do
  [[ -e $archive && $archive != *_baseline.a ]] || continue
  checked=$((checked + 1))
  # "W" is a weak defined symbol; data such as vtables and type names ("V") holds no instructions.
  if weak=$(nm --defined-only --demangle --print-file-name "$archive" 2>/dev/null | grep -E ' W ' | grep -v ' DW\.ref\.'); then
    printf '%s\n' "$weak" >&2
    failures=$((failures + $(wc -l <<<"$weak")))
  fi
done
if ((failures)); then
  echo "check_isa_objects: $failures weak functions: keep standard containers and functions out of ops/cpu/, or move" >&2
  echo "  the code that needs them to ops/" >&2
  exit 1
fi
if ((checked == 0)); then
  [[ $(uname -m) != x86_64 ]] || { echo "check_isa_objects: no AVX archives in $build; build there first" >&2; exit 1; }
fi
echo "check_isa_objects: $checked archives are clean"
