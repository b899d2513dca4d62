#!/usr/bin/env bash
# Sets up the environment of eclip_mm. You can run it repeatedly: it reuses what is installed.
#
#   tools/setup_env.sh [--dev] [--app] [--tests] [--det]
#
#   (no flag)  installs what pretraining needs; compiles nothing
#   --dev      also installs the linter
#   --app      also installs Gradio, for the page in the browser
#   --tests    also installs what the tests import, and as root Debian's chromium, in which they
#              look at the page; without it these tests skip
#   --det      also installs mmdet, with mmcv's compiled ops (about ten minutes on two cores, once
#              on each machine)
#
# Variables, all optional, with their defaults:
#   VENV           environment to use; it is made if there is none        [.venv in the checkout]
#   PYTHON         interpreter that makes it                    [the first python3 that is >= 3.10]
#   TORCH          arguments of pip install if VENV has no torch; an installed torch is kept
#                                                                                 [torch==2.13.0]
#   AUTO_APT       0: never call apt-get, even as root                                          [1]
#   MAX_JOBS       number of parallel compilers       [one per core, at most one per 2 GiB of RAM]
#   ECLIP_MM_CACHE folder for compiled wheels                                  [~/.cache/eclip_mm]
set -euo pipefail

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=${VENV:-$REPO/.venv}
case $VENV in /*) ;; *) VENV=$PWD/$VENV ;; esac
PY=$VENV/bin/python
TORCH=${TORCH:-torch==2.13.0}
CACHE=${ECLIP_MM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/eclip_mm}
STATE=$VENV/.eclip_mm
# These versions are tested together. They are installed without their declared dependencies (the
# extra `det` has those that are needed), because opencv-python is one of them, which needs libGL
# and overwrites the headless build, and because imaug restricts OpenCV and numpy to old releases.
MMCV_VERSION=2.3.6
MMDET_PACKAGES=(onedl-mmdetection==3.5.1 imaug==0.4.3)
# Imports that show that both libraries work, including the compiled ops.
PROOF='import torch, mmcv._ext; from mmcv.ops import nms; from mmdet.models import DETR'

say() { printf '[setup] %s\n' "$*"; }
die() {
    printf '[setup] error: %s\n' "$*" >&2
    exit 1
}
pip() { "$PY" -m pip --disable-pip-version-check "$@"; }

# install_debian WHY PACKAGE...: installs the packages as root; otherwise says how and stops.
install_debian() {
    local why=$1
    shift
    command -v apt-get >/dev/null || die "$why Install your system's equivalent of: $*"
    if [ "$(id -u)" -ne 0 ] || [ "${AUTO_APT:-1}" = 0 ]; then
        die "$why Run the following, then this command again:
    sudo apt-get update && sudo apt-get install -y $*"
    fi
    say "$why Running as root, so it is installed (AUTO_APT=0 disables this): apt-get install $*"
    apt-get update -q
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; }
python_minor() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])'; }

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10}; do
        if command -v "$candidate" >/dev/null && new_enough "$candidate"; then
            BASE=$candidate
            return
        fi
    done
    die "no Python >= 3.10 among: ${PYTHON:-python3 python3.13 ... python3.10} \
($(python3 --version 2>&1 || true)). Install one (that of Debian 12 is new enough: \
apt-get install python3), or name one: make demo PYTHON=/path/to/python3.11"
}

make_venv() {
    if [ -x "$PY" ] && "$PY" -c ''; then
        new_enough "$PY" || die "$PY is Python $(python_minor "$PY"), >= 3.10 is needed"
    else
        if [ -d "$VENV" ] && [ ! -e "$VENV/pyvenv.cfg" ] && [ -n "$(ls -A "$VENV")" ]; then
            die "VENV=$VENV is neither a Python environment nor an empty folder"
        fi
        find_python
        "$BASE" -c 'import ensurepip, venv' 2>/dev/null || install_debian \
            "$BASE has no venv module." "python$(python_minor "$BASE")-venv"
        say "making $VENV with $("$BASE" --version)"
        "$BASE" -m venv --clear "$VENV"
    fi
    # pip is missing if an earlier run was interrupted or another tool made the environment.
    "$PY" -m pip --version >/dev/null 2>&1 || "$PY" -m ensurepip
    mkdir -p "$STATE"
}

# Installs a browser for the tests of the page, where that is possible without asking.
want_browser() {
    local name
    for name in chromium chromium-browser chrome; do
        ! command -v "$name" >/dev/null || return 0
    done
    if [ "$(id -u)" -ne 0 ] || [ "${AUTO_APT:-1}" = 0 ] || ! command -v apt-get >/dev/null; then
        say 'there is no chromium, so the tests of the page will skip'
        return
    fi
    say 'installing chromium for the tests of the page (AUTO_APT=0 disables this)'
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
        --no-install-recommends chromium; } >"$STATE/browser.log" 2>&1 ||
        say "it cannot be installed ($STATE/browser.log), so the tests of the page will skip"
}

# Keeps an installed torch, and pins its version while the rest is installed.
ensure_torch() {
    local version error
    if version=$("$PY" -c 'import torch; print(torch.__version__)' 2>"$STATE/torch_error"); then
        say "keeping torch $version"
    elif "$PY" -c 'from importlib.metadata import version; version("torch")' 2>/dev/null; then
        error=$(tail -n 1 "$STATE/torch_error")
        die "the torch in $VENV cannot be imported ($error). Repair it first, for example:
    $PY -m pip install --force-reinstall $TORCH"
    else
        say "installing $TORCH (set TORCH for another one; docs/install.md has CPU and CUDA builds)"
        # shellcheck disable=SC2086  # TORCH may hold options for pip
        pip install $TORCH
        version=$("$PY" -c 'import torch; print(torch.__version__)')
    fi
    rm -f "$STATE/torch_error"
    echo "torch==$version" >"$STATE/constraints.txt"
}

has_ops() { "$PY" -c 'import torch, mmcv._ext' 2>/dev/null; }

# Prints a folder name made of everything that a wheel with compiled ops depends on.
wheel_key() {
    MMCV_VERSION=$MMCV_VERSION "$PY" - <<'EOF'
import os
import sys
import sysconfig

import torch

ops = 'cpu'
if torch.version.hip:
    ops = f'hip{torch.version.hip}'
elif torch.cuda.is_available() or os.environ.get('FORCE_CUDA') == '1':
    archs = os.environ.get('TORCH_CUDA_ARCH_LIST') or sorted(
        {'%d.%d' % torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())}
    )
    ops = f'cuda{torch.version.cuda}-{archs if isinstance(archs, str) else "_".join(archs)}'
parts = (
    f'{sys.implementation.cache_tag}-{sysconfig.get_platform()}',
    f'torch{torch.__version__}',
    f'{ops}ops',
    f'mmcv{os.environ["MMCV_VERSION"]}',
)
print('-'.join(parts).replace(' ', '_').replace(';', '_').replace('/', '_'))
EOF
}

need_compiler() {
    local missing=() minor
    minor=$(python_minor "$PY")
    command -v "${CXX:-c++}" >/dev/null || missing+=(g++)
    "$PY" -c 'import os, sys, sysconfig
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))' ||
        missing+=("python$minor-dev")
    if [ ${#missing[@]} -gt 0 ]; then
        install_debian "Compiling mmcv's ops needs a C++ compiler and Python's headers." \
            "${missing[@]}"
    fi
    if "$PY" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' &&
        ! "$PY" -c 'import sys; from torch.utils.cpp_extension import CUDA_HOME
sys.exit(CUDA_HOME is None)'; then
        die "torch sees a GPU, but there is no CUDA compiler for mmcv's ops. Install the CUDA \
toolkit $("$PY" -c 'import torch; print(torch.version.cuda)') (and set CUDA_HOME), or compile \
the ops for the CPU only: put CUDA_VISIBLE_DEVICES= before this command"
    fi
}

compiler_jobs() {
    local jobs memory
    jobs=$("$PY" "$REPO/eclip_mm/utils/cpus.py")
    if memory=$(awk '/^MemTotal/ {print int($2 / 2097152)}' /proc/meminfo 2>/dev/null); then
        [ "${memory:-1}" -ge 1 ] || memory=1
        [ "$jobs" -le "$memory" ] || jobs=$memory
    fi
    echo "$jobs"
}

# Prints the progress of ninja while process $1 runs, from the log of the build.
watch_build() {
    local log=$2 started=$SECONDS tick=0 count done_ total elapsed left
    while kill -0 "$1" 2>/dev/null; do
        sleep 5
        tick=$((tick + 1)) elapsed=$((SECONDS - started))
        [ $((tick % 3)) -eq 0 ] || continue
        count=$(grep -oE '^ *\[[0-9]+/[0-9]+\]' "$log" | tail -n 1 | tr -d ' []' || true)
        [ -n "$count" ] || continue
        done_=${count%/*} total=${count#*/}
        left=$((elapsed * (total - done_) / done_))
        printf '[setup] mmcv ops: %d of %d files compiled in %d:%02d, about %d:%02d left\n' \
            "$done_" "$total" $((elapsed / 60)) $((elapsed % 60)) $((left / 60)) $((left % 60))
    done
}

stop_build() {
    [ -z "${BUILD:-}" ] || kill -- "-$BUILD" 2>/dev/null || true
    [ -z "${WORK:-}" ] || rm -rf "$WORK"
}

# build_ops FOLDER: compiles mmcv and puts the wheel there; an interrupted build leaves no wheel.
build_ops() {
    local dir=$1 log=$1/build.log jobs
    need_compiler
    pip install ninja
    jobs=${MAX_JOBS:-$(compiler_jobs)}
    rm -rf "$dir"/building.*
    trap stop_build EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    WORK=$(mktemp -d "$dir/building.XXXXXX")
    say "compiling onedl-mmcv $MMCV_VERSION with MAX_JOBS=$jobs; log: $log"
    # The build is a separate process group, so that stopping this script stops all compilers.
    set -m
    TMPDIR=$WORK MAX_JOBS=$jobs PATH="$VENV/bin:$PATH" "$PY" -m pip wheel -v \
        --no-build-isolation --no-deps --no-cache-dir -w "$WORK" "onedl-mmcv==$MMCV_VERSION" \
        >"$log" 2>&1 </dev/null &
    BUILD=$!
    set +m
    watch_build "$BUILD" "$log"
    if ! wait "$BUILD"; then
        tail -n 40 "$log" >&2
        die "compiling onedl-mmcv failed; the complete log is $log"
    fi
    BUILD=
    mv "$WORK"/*.whl "$dir/"
    rm -rf "$WORK"
    say "compiled; the wheel is kept in $dir"
}

install_ops() {
    local dir
    if has_ops; then
        say 'keeping the installed mmcv with compiled ops'
        return
    fi
    dir=$CACHE/wheels/$(wheel_key)
    mkdir -p "$dir"
    if command -v flock >/dev/null; then
        exec 8>"$dir/lock"
        flock -n 8 || { say "waiting for another set-up that is compiling in $dir" && flock 8; }
    fi
    if compgen -G "$dir/*.whl" >/dev/null; then
        say "using the compiled mmcv in $dir"
        pip install --no-deps --force-reinstall "$dir"/*.whl
        has_ops && return
        say 'it cannot be imported here (was it built on another machine?), so it is compiled again'
        rm -f "$dir"/*.whl
    fi
    build_ops "$dir"
    pip install --no-deps --force-reinstall "$dir"/*.whl
    # Only an import shows whether an mmcv has ops.
    has_ops || die "mmcv was compiled, but its ops cannot be imported: $("$PY" -c \
        'import torch, mmcv._ext' 2>&1 | tail -n 1)"
}

install_mmdet() {
    say "installing ${MMDET_PACKAGES[*]}"
    pip install --no-build-isolation --no-deps "${MMDET_PACKAGES[@]}"
    say 'importing mmdet and the compiled ops'
    "$PY" -c "from eclip_mm.utils.env_check import check_detection; check_detection(); $PROOF"
}

# Prints a hash of what a profile was installed from. If it changes, the profile is installed again.
fingerprint() {
    "$PY" - "$1" "$TORCH" "$REPO" <<'EOF'
import hashlib
import sys
from importlib import metadata

profile, repo = sys.argv[1], sys.argv[3]
digest = hashlib.sha256('\0'.join([sys.version, *sys.argv[1:]]).encode())
for name in ('setup.cfg', 'pyproject.toml', 'tools/setup_env.sh'):
    with open(f'{repo}/{name}', 'rb') as file:
        digest.update(file.read())
# These packages may have been replaced by hand since.
watched = ['torch', 'onedl-mmengine'] + ['onedl-mmcv', 'onedl-mmdetection'] * (profile == 'det')
for name in watched:
    try:
        digest.update(f'{name} {metadata.version(name)}'.encode())
    except metadata.PackageNotFoundError:
        digest.update(f'no {name}'.encode())
print(digest.hexdigest())
EOF
}

is_fresh() { [ -e "$STATE/$1" ] && [ "$(cat "$STATE/$1")" = "$(fingerprint "$1")" ]; }

all_fresh() {
    local profile
    for profile in "${profiles[@]}"; do
        is_fresh "$profile" || return 1
    done
    # If a package was removed by hand, the start-up check finds it.
    (cd "$REPO" && "$PY" -c 'import eclip_mm') 2>/dev/null
}

main() {
    local flag profile extras
    profiles=(core)
    for flag in "$@"; do
        case $flag in
            --dev | --app | --tests | --det) profiles+=("${flag#--}") ;;
            -h | --help)
                sed -n '2,/^set -e/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
                return
                ;;
            *) die "unknown flag $flag (known: --dev --app --tests --det)" ;;
        esac
    done

    make_venv
    ! all_fresh || return 0

    extras=$(IFS=,; echo "${profiles[*]:1}")
    ensure_torch
    say "installing eclip_mm${extras:+[$extras]} and its dependencies"
    pip install 'setuptools>=70.1'
    pip install --no-build-isolation -c "$STATE/constraints.txt" -e "$REPO${extras:+[$extras]}"
    if [[ " ${profiles[*]} " == *" det "* ]]; then
        install_ops
        install_mmdet
    fi
    [[ " ${profiles[*]} " != *" tests "* ]] || want_browser
    "$PY" -c 'import eclip_mm.registry'
    for profile in "${profiles[@]}"; do
        fingerprint "$profile" >"$STATE/$profile"
    done
    say "$VENV is ready (${profiles[*]}), after $((SECONDS / 60)):$(printf '%02d' $((SECONDS % 60)))"
}

# The test sources this file and calls single functions.
if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    main "$@"
fi
