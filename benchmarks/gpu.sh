#!/usr/bin/env bash
# All that a machine with a GPU can say of the speed, in at most 9 minutes: one JSON, one table.
#
#   bash benchmarks/gpu.sh --wheels .whl              # where there is a package index: 3 MB
#   WHEELS=.whl bash benchmarks/gpu.sh OUT            # on the bare machine, which has torch
#   bash benchmarks/gpu.sh OUT --device cpu           # a rehearsal on tiny sizes
#
# Weights and inputs are random, so nothing else is needed. OUT receives gpu.json and gpu.txt.
set -euo pipefail
python=${PYTHON:-python3}
# what the machine's own image does not have: mmengine with what it imports, and open_clip
packages=(onedl-mmengine addict termcolor yapf platformdirs open_clip_torch ftfy wcwidth)

if [ "${1:-}" = --wheels ]; then
    mkdir -p "$2"
    exec "$python" -m pip download -q --no-deps --only-binary=:all: --implementation cp \
        --python-version "${PYTHON_VERSION:-3.12}" --platform manylinux_2_28_x86_64 \
        --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 -d "$2" "${packages[@]}"
fi
out=${1:?folder for gpu.json and gpu.txt}
shift
mkdir -p "$out"
cd "$(dirname "$0")/.."
if [ -n "${WHEELS:-}" ]; then
    site=$(mktemp -d)
    "$python" -m pip install -q --no-index --no-deps --target "$site" "$WHEELS"/*.whl
    export PYTHONPATH="$site:${PYTHONPATH:-}"
fi
export PYTHONPATH="$PWD:${PYTHONPATH:-}" HF_HUB_OFFLINE=1 PYTHONUNBUFFERED=1
exec "$python" benchmarks/gpu_report.py "$out" "$@"
