#!/usr/bin/env bash
# Finds a Chromium without a screen for the tests of the dashboard, and prints its path; installs Debian's when this is root.
set -euo pipefail
find_one() {
  for name in chromium-headless-shell chromium chromium-browser google-chrome; do
    if command -v "$name" 2>/dev/null; then return 0; fi
  done
  return 1
}
if find_one; then exit 0; fi
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  export DEBIAN_FRONTEND=noninteractive
  { apt-get install -y --no-install-recommends chromium-headless-shell ||
    { apt-get update && apt-get install -y --no-install-recommends chromium-headless-shell; } ||
    apt-get install -y --no-install-recommends chromium; } >&2
  if find_one; then exit 0; fi
fi
echo "no Chromium here: as root 'apt-get install chromium-headless-shell', or set one into PATH" >&2
exit 1
