#!/usr/bin/env bash
# Installs what building and testing omadm needs on a Debian-like machine. As root it does so by itself; otherwise it
# prints the one command. It changes nothing where everything is there.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(build-essential pkg-config libssl-dev libpcsclite-dev pcscd vsmartcard-vpcd opensc iproute2 util-linux strace faketime)
# What `make bench` measures against, and with.
[ "${1:-}" = bench ] && packages+=(nginx-light wrk)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  if [ "$(id -u)" = 0 ]; then
    echo "installing ${missing[*]}" >&2
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >&2
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
  else
    echo "Missing: ${missing[*]}" >&2
    echo "Run:  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
fi

if ! command -v cargo >/dev/null; then
  echo "Rust is missing: install it with rustup; rust-toolchain.toml names the version." >&2
  exit 1
fi

if [ "${1:-}" = test ] && ! cargo nextest --version >/dev/null 2>&1; then
  echo "installing cargo-nextest" >&2
  cargo install --locked --quiet cargo-nextest
fi
