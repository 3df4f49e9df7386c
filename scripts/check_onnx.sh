#!/usr/bin/env bash
# Checks that ONNX Runtime computes from exported networks what ladarts computes, and that the shipped runner
# measures. Makes a Python environment of pinned packages in the build folder; ends with 77 (skipped) where they
# cannot be had.
# Usage: scripts/check_onnx.sh      ONNX_PYTHON=PYTHON names one that has onnxruntime, onnx and numpy instead
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6)
skip() {
  echo "check_onnx: SKIPPED: $*"
  exit 77
}

[[ -x build/ladarts ]] || { echo "check_onnx: build/ladarts is missing: run scripts/build.sh" >&2; exit 1; }
python=${ONNX_PYTHON:-}
if [[ -z $python ]]; then
  environment=$PWD/build/onnx-environment
  python=$environment/bin/python
  stamp=$environment/installed
  if [[ "$(cat "$stamp" 2>/dev/null)" != "${packages[*]}" ]]; then
    command -v python3 >/dev/null || skip "there is no python3"
    rm -rf "$environment"
    python3 -m venv "$environment" >/dev/null 2>&1 ||
      skip "python3 cannot make an environment; on Debian: apt-get install python3-venv"
    if ! log=$("$python" -m pip install --quiet --disable-pip-version-check --only-binary :all: --retries 1 \
      "${packages[@]}" 2>&1); then
      skip "pip could not install ${packages[*]}: ${log##*$'\n'}"
    fi
    echo "${packages[*]}" >"$stamp"
  fi
fi
"$python" scripts/check_onnx.py build/ladarts
