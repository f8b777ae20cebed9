#!/usr/bin/env bash
# Resolves the two hashed locks. Needs uv (pip install uv). The files name no index: any mirror serves them.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=$(command -v uv || echo .venv/bin/uv)
common=(--quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url)
build=$(mktemp --suffix=.in)
trap 'rm -f "$build"' EXIT
echo "setuptools>=77" > "$build"
"$uv" pip compile "${common[@]}" pyproject.toml "$build" -o requirements.lock "$@"
"$uv" pip compile "${common[@]}" --extra dev -c requirements.lock pyproject.toml "$build" -o requirements-dev.lock "$@"
