#!/usr/bin/env bash
# The standard library's own tests of executors, unpacked into .venv: Debian ships them apart from Python. Without apt they are skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
home=$PWD/.venv/stdlib-tests
[ -e "$home/.tried" ] && exit 0
mkdir -p "$home"
touch "$home/.tried"
.venv/bin/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || exit 0
.venv/bin/python -c 'import test.test_concurrent_futures' 2>/dev/null && exit 0
command -v apt-get >/dev/null && command -v dpkg >/dev/null || exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
apt-get download -q libpython3.11-testsuite >/dev/null 2>&1 \
    || { apt-get update -q >/dev/null 2>&1 && apt-get download -q libpython3.11-testsuite >/dev/null 2>&1; } || exit 0
dpkg -x ./*.deb unpacked
cp -r unpacked/usr/lib/python3.11/test "$home/"
