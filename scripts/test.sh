#!/usr/bin/env bash
# Installs what is missing, builds everything in release mode and runs the tests.
# Usage: scripts/test.sh [ctest options], for instance: scripts/test.sh -R nas
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install_deps.sh
scripts/build.sh --tests
# LADARTS_CTEST_DIR names a folder of tests to run instead: .ci/run adds its checks to these.
ctest --test-dir "${LADARTS_CTEST_DIR:-build}" --output-on-failure --parallel "${JOBS:-$(nproc)}" "$@"
