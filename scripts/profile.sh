#!/usr/bin/env bash
# Profiles one ladarts command with perf where the kernel allows it, else with valgrind's callgrind.
# Usage: scripts/profile.sh [--callgrind] COMMAND..., for instance:
#   scripts/profile.sh measure --space darts --count 2 --db profile.db
# The report goes to the terminal; the raw data stays in the folder that the last line names.
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
tool=perf
if [[ ${1:-} == --callgrind ]]; then
  tool=callgrind
  shift
fi
(($#)) || { sed -n '2,5s/^# //p' "$0" >&2; exit 2; }
[[ -x $root/build/ladarts ]] || { echo "profile: no $root/build/ladarts; run scripts/build.sh" >&2; exit 1; }

out=$(mktemp -d "${TMPDIR:-/tmp}/ladarts-profile.XXXXXX")
if [[ $tool == perf ]] && ! perf record -o "$out/probe" -- true >/dev/null 2>&1; then
  echo "profile: perf is missing or not permitted here (kernel.perf_event_paranoid); using callgrind, about 50 times slower" >&2
  tool=callgrind
fi
rm -f "$out/probe"

if [[ $tool == perf ]]; then
  perf record --call-graph fp -o "$out/perf.data" -- "$root/build/ladarts" "$@"
  perf report -i "$out/perf.data" --no-children --percent-limit 0.5 --stdio -g none
else
  command -v valgrind >/dev/null || { echo "profile: needs perf or valgrind" >&2; exit 1; }
  # Valgrind does not know AVX-512.
  LADARTS_ISA=avx2 valgrind --tool=callgrind --callgrind-out-file="$out/callgrind.out" "$root/build/ladarts" "$@"
  callgrind_annotate "$out/callgrind.out" | head -60
fi
echo "raw data: $out"
