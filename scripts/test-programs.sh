#!/usr/bin/env bash
# Run by nextest before the tests that start real programs: builds both and says where they are.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --quiet --bin omadm --bin omadm-client
folder="${CARGO_TARGET_DIR:-$PWD/target}/debug"
{
  echo "OMADM=$folder/omadm"
  echo "OMADM_CLIENT=$folder/omadm-client"
} >> "$NEXTEST_ENV"
