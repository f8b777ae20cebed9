#!/usr/bin/env bash
# Generates Python for every proto: proto/flame/v1 -> flame.wire.v1, proto/flame/plane/v1 -> flame.wire.plane.
# The plane has no service, so only flame.v1 gets gRPC stubs. `--check` fails when the committed code differs.
set -euo pipefail
cd "$(dirname "$0")/.."
python=.venv/bin/python
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

generate() { # generate SOURCE_DIR TARGET_DIR [grpc]
    local source=$1 target=$2 grpc=${3:-}
    [ -d "proto/$source" ] || return 0
    local flags=(--python_out="$out" --pyi_out="$out")
    [ -n "$grpc" ] && flags+=(--grpc_python_out="$out")
    "$python" -W ignore -m grpc_tools.protoc -Iproto "${flags[@]}" proto/"$source"/*.proto
    mkdir -p "$target"
    rm -f "$out/$source/types_pb2_grpc.py" # has no service
    for file in "$out/$source"/*_pb2*; do
        # `from flame.v1 import types_pb2` -> `from flame.wire.v1 import types_pb2`
        sed -i -E "s/^from flame\.v1 import/from flame.wire.v1 import/; s/^from flame\.plane\.v1 import/from flame.wire.plane import/" "$file"
        local name; name=$(basename "$file")
        if [ "${check:-}" ]; then
            cmp -s "$file" "$target/$name" || { echo "protoc: $target/$name is out of date; run make proto" >&2; exit 1; }
        else
            cp "$file" "$target/$name"
        fi
    done
    [ -f "$target/__init__.py" ] || echo "\"\"\"Generated from proto/$source by scripts/protoc.sh; do not edit.\"\"\"" > "$target/__init__.py"
}

[ "${1:-}" = --check ] && check=1
generate flame/v1 src/flame/wire/v1 grpc
generate flame/plane/v1 src/flame/wire/plane
