#!/usr/bin/env bash
# Installs what building ladarts needs and this machine lacks: Debian 12 or newer, Ubuntu 24.04 or newer.
# Usage: scripts/install_deps.sh [--dev]      --dev adds what the checks and the profiling script use
set -euo pipefail

packages=(cmake ninja-build g++ libfmt-dev libcli11-dev nlohmann-json3-dev libsqlite3-dev catch2)
case "${1:-}" in
  "") ;;
  --dev) packages+=(ccache clang-format binutils python3-venv) ;;
  *)
    sed -n '2,3s/^# //p' "$0" >&2
    exit 2
    ;;
esac

say() { printf 'install_deps: %s\n' "$*" >&2; }

if ! command -v dpkg-query >/dev/null; then
  say "this is not Debian or Ubuntu. Install these, or their equivalents, and build with scripts/build.sh:"
  say "${packages[*]}"
  # The build itself says what is missing, so a machine that has all of it goes on.
  exit 0
fi

# A tool may have come from elsewhere than its package; a library counts by its package alone.
present() {
  case "$1" in
    cmake | g++ | ccache | clang-format) command -v "$1" >/dev/null ;;
    ninja-build) command -v ninja >/dev/null ;;
    binutils) command -v nm >/dev/null ;;
    *) [[ "$(dpkg-query -W -f='${Status}' "$1" 2>/dev/null)" == *"ok installed" ]] ;;
  esac
}

missing=()
for package in "${packages[@]}"; do
  present "$package" || missing+=("$package")
done

if ((${#missing[@]})); then
  if [[ $(id -u) -eq 0 ]]; then
    as_root=()
  elif command -v sudo >/dev/null; then
    as_root=(sudo)
    [[ -t 0 ]] || as_root+=(-n) # without a terminal nobody can type a password
  else
    say "missing: ${missing[*]}"
    say "needs root or sudo; ask an administrator to run: apt-get install ${missing[*]}"
    exit 1
  fi
  say "installing ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  if ! "${as_root[@]}" apt-get update -qq ||
    ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; then
    say "apt-get failed; install by hand: ${missing[*]}"
    exit 1
  fi
fi

version=$(cmake --version | sed -n '1s/[^0-9]*\([0-9.]*\).*/\1/p')
if [[ $(printf '3.24\n%s\n' "$version" | sort -V | head -1) != 3.24 ]]; then
  say "CMake $version is too old, 3.24 is needed: use Debian 12, Ubuntu 24.04 or a release from cmake.org"
  exit 1
fi
