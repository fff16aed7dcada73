#!/usr/bin/env bash
# Records a run of the demo: its text goes into README.md, and the figures of the standard's chapter into docs/figures.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=$(mktemp -d /tmp/omadm-XXXXXX)
trap 'rm -rf "$folder"' EXIT
target/debug/omadm demo --once --keep "$folder/demo" | sed "s#$folder/demo/##g" > "$folder/recording"

target/debug/omadm figure "$folder/demo/sim/trace.jsonl" --title 'Bootstrap from the smartcard' \
  -o docs/figures/smartcard-bootstrap.svg
target/debug/omadm figure "$folder/demo/network/trace.jsonl" --title 'Client-initiated bootstrap' \
  -o docs/figures/client-initiated-bootstrap.svg

awk -v recording="$folder/recording" '
  /^<!-- end of recording -->/ { skip = 0 }
  !skip { print }
  /^<!-- recording -->/ {
    print "```"
    while ((getline line < recording) > 0) print line
    print "```"
    skip = 1
  }' README.md > "$folder/README.md"
cp "$folder/README.md" README.md
