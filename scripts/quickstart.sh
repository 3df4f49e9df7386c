#!/usr/bin/env bash
# From a fresh clone on a bare Debian 12 to two searched networks: installs what is missing, builds, then generates or
# reads images, measures architectures on this machine, fits the latency predictor, searches without and with the
# latency term, trains both networks and measures them again. Ends with a table of the two.
#
# Usage: scripts/quickstart.sh [--cifar FOLDER] [--out FOLDER] [--experiment FILE]
#   --cifar FOLDER      CIFAR-10 in its binary format instead of generated images
#   --out FOLDER        where results go (default: runs/quickstart); a run that was stopped goes on there
#   --experiment FILE   other sizes (default: experiments/quickstart.json)
set -euo pipefail

usage() {
  sed -n '6,9s/^# //p' "$0" >&2
  exit 2
}

here=$PWD
cd "$(dirname "$0")/.."
from_here() { [[ $1 == /* ]] && echo "$1" || echo "$here/$1"; }

out=runs/quickstart
experiment=experiments/quickstart.json
options=()
while (($#)); do
  (($# >= 2)) || usage
  case "$1" in
    --cifar)
      options+=(--cifar "$(from_here "$2")")
      [[ $out != runs/quickstart ]] || out=runs/quickstart-cifar
      ;;
    --out) out=$(from_here "$2") ;;
    --experiment) experiment=$(from_here "$2") ;;
    *) usage ;;
  esac
  shift 2
done

scripts/install_deps.sh
scripts/build.sh
exec build/ladarts run "$experiment" --out "$out" "${options[@]}"
