#!/usr/bin/env bash
# A cluster of its own in a temporary folder, a script as ten tasks, a session by hand.
set -euo pipefail
folder=$(mktemp -d)
trap 'flame down --data-dir "$folder" >/dev/null 2>&1 || true; rm -rf "$folder"' EXIT

flame up --detach --data-dir "$folder"
flmexec -t 3 -c 'echo "hello from task on $(uname -s)"'

id=$(flmctl create -a flmping | sed -E 's/^Session <(.*)> was created\.$/\1/')
flmctl list -s
flmctl close -s "$id"
flmctl view -s "$id"
