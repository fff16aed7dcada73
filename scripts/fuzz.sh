#!/usr/bin/env bash
# Fuzzes every target, or the one named, for so many minutes each, and keeps what was found in fuzz/corpus.
#   scripts/fuzz.sh MINUTES [TARGET]      JOBS=n: so many targets at a time; SANITIZER=address: slower, needs nightly
# What makes a target fail becomes an input of fuzz/corpus that `make test` replays, and the exit code is 1.
set -euo pipefail
cd "$(dirname "$0")/.."

minutes="${1:?usage: scripts/fuzz.sh MINUTES [TARGET]}"
only="${2:-}"
sanitizer="${SANITIZER:-none}"
cargo=(cargo)
[ "$sanitizer" = none ] || cargo=(cargo +nightly)
host="$(rustc -vV | sed -n 's/^host: //p')"
programs="$PWD/fuzz/target/$host/release"

# Bounds on what one input may cost; an input that needs more is a finding.
bounds=(-max_len=8192 -rss_limit_mb=1024 -timeout=20)

build() {
  if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "installing cargo-fuzz" >&2
    cargo install --locked --quiet cargo-fuzz
  fi
  if ! command -v c++ >/dev/null; then
    echo "libFuzzer needs a C++ compiler: apt-get install -y g++" >&2
    exit 1
  fi
  if [ "$sanitizer" != none ] && ! cargo +nightly --version >/dev/null 2>&1; then
    echo "SANITIZER=$sanitizer needs a nightly toolchain: rustup toolchain install nightly --profile minimal" >&2
    exit 1
  fi
  (cd fuzz && "${cargo[@]}" fuzz build --sanitizer "$sanitizer" ${only:+"$only"})
}

count() { find "$1" -type f | wc -l; }

# How many inputs of a target are kept: those that reach most. Past findings always stay.
most=40

# Makes the corpus of a target the inputs of the folders given that together reach most, greedily.
minimise() {
  local target="$1" new control; shift
  new="$(mktemp -d "fuzz/found/$target.XXXXXX")"
  control="fuzz/artifacts/$target/merge.control"
  rm -f "$control"
  "$programs/$target" -merge=1 -set_cover_merge=1 -use_counters=0 -merge_control_file="$control" "${bounds[@]}" \
    "$new" "$@" >/dev/null 2>&1
  find "$new" -type f -delete
  # The control file names the inputs and says of each which features it reaches.
  awk -v most="$most" '
    NR == 1 { files = $1; next }
    NR == 2 { next }
    NR <= files + 2 { name[NR - 3] = $0; next }
    $1 == "FT" { reached[$2] = NF - 2; for (i = 3; i <= NF; i++) feature[$2, i - 2] = $i }
    function worth(file,   i, fresh) {
      for (i = 1; i <= reached[file]; i++) if (!(feature[file, i] in seen)) fresh++
      return fresh + 0
    }
    END {
      # What an input is worth never grows, so its last worth is a bound and only the best bound is looked at again.
      for (file in reached) bound[file] = reached[file]
      for (kept = 0; kept < most; ) {
        best = -1; gain = 0
        for (file in bound) if (bound[file] > gain) { gain = bound[file]; best = file }
        if (best == -1) exit
        bound[best] = worth(best)
        if (bound[best] < gain) continue
        for (i = 1; i <= reached[best]; i++) seen[feature[best, i]]
        delete bound[best]
        print name[best]
        kept++
      }
    }' "$control" | xargs -r -d '\n' cp -t "$new"
  rm "$control"
  find "fuzz/corpus/$target" -type f ! -name 'regression-*' -delete
  find "$new" -type f ! -name 'regression-*' -exec mv -t "fuzz/corpus/$target" {} +
  rm -r "$new"
}

fuzz_one() {
  local target="$1" corpus="fuzz/corpus/$1" found="fuzz/found/$1" artifacts="fuzz/artifacts/$1" log failed=0
  mkdir -p "$corpus" "$found" "$artifacts"
  log="$artifacts/run.log"
  local before; before="$(count "$corpus")"
  "$programs/$target" "$found" "$corpus" -max_total_time=$((minutes * 60)) -print_final_stats=1 \
    -artifact_prefix="$artifacts/" "${bounds[@]}" >"$log" 2>&1 || failed=1
  if [ "$failed" = 1 ]; then
    local input; input="$(sed -n 's/.*Test unit written to //p' "$log" | tail -1)"
    echo "$target FAILED: $(grep -m1 -A1 'panicked at' "$log" | tr '\n' ' ')"
    if [ -n "$input" ]; then
      cp "$input" "$corpus/regression-$(basename "$input")"
      echo "  the input is kept as $corpus/regression-$(basename "$input")"
      echo "  reproduce: cargo nextest run -p omadm-fuzz-targets $target    or: $programs/$target $input"
    fi
    echo "  the whole story: $log"
    return 1
  fi
  minimise "$target" "$corpus" "$found"
  rm -r "$found"
  local runs cover_before cover_after
  runs="$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")"
  cover_before="$(sed -n 's/.*INITED cov: \([0-9]*\).*/\1/p' "$log")"
  cover_after="$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)"
  printf '%-20s %12s executions   coverage %s -> %s   corpus %s -> %s inputs\n' \
    "$target" "$runs" "$cover_before" "$cover_after" "$before" "$(count "$corpus")"
}

if [ "$only" = --one ]; then
  mkdir -p fuzz/found
  fuzz_one "$3"
  exit
fi
build
mkdir -p fuzz/found
if [ -n "$only" ]; then
  targets="$only"
else
  targets="$(find fuzz/fuzz_targets -name '*.rs' -exec basename {} .rs \; | sort)"
fi
# xargs says with its exit code whether all went well.
if ! xargs -P "${JOBS:-1}" -I{} bash "$0" "$minutes" --one {} <<<"$targets"; then
  exit 1
fi
