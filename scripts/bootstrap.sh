#!/usr/bin/env bash
# Makes .venv and installs what `base` (run Flame) or `dev` (test it) needs, from the hashed lock.
# Needs python3 >= 3.11. A stamp file in .venv says what is there, so make skips this the next time.
set -euo pipefail
cd "$(dirname "$0")/.."
kind=${1:-base}
python=${PYTHON:-python3}
lock=requirements.lock
[ "$kind" = dev ] && lock=requirements-dev.lock

fail() { echo "flame: $1" >&2; exit 1; }

command -v "$python" >/dev/null || fail "python3 is missing; install it (Debian: apt-get install python3 python3-venv)"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
    || fail "Python 3.11 or newer is needed, found $("$python" -V); set PYTHON to one"

if [ ! -x .venv/bin/python ] || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    echo "flame: making .venv" >&2
    if ! "$python" -m venv --clear .venv >/dev/null 2>&1; then
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
            echo "flame: python3-venv is missing, installing it" >&2
            { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y python3-venv; } >/dev/null 2>&1 \
                || fail "could not install python3-venv; run: apt-get install python3-venv"
            "$python" -m venv --clear .venv >/dev/null || fail "python3 -m venv .venv does not work here"
        else
            fail "python3 has no venv module; run: sudo apt-get install python3-venv"
        fi
    fi
fi

echo "flame: installing $lock" >&2
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --require-hashes -r "$lock" \
    || fail "pip could not install $lock (see above)"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --no-deps --no-build-isolation -e . \
    || fail "pip could not install this checkout (see above)"
touch .venv/.base
if [ "$kind" = dev ]; then
    scripts/stdlib-tests.sh
    touch .venv/.dev
fi
exit 0
