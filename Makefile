# Every command of this project. Each does its own set-up.
.PHONY: demo test lint build audit record fuzz lives bench
MINUTES ?= 1
COUNT ?= 1000000

demo: build
	target/debug/omadm demo $(DEMO)

build: setup
	cargo build --quiet --bin omadm --bin omadm-client

test: setup-test lint
	cargo test --workspace --doc --quiet
	cargo nextest run --workspace

lint: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --quiet -- -D warnings
	cargo check --quiet -p omadm-client --no-default-features

# Client and server beside their references, in one table; writes docs/benchmarks.md.
bench: setup-bench
	cargo build --quiet --release --bin omadm --bin omadm-sim
	cargo build --quiet -p omadm-client --profile client
	target/release/omadm-sim bench --write docs/benchmarks.md

# A million device lives on a virtual clock, or COUNT of them beginning with the seed SEED.
lives: setup
	cargo run --release --quiet -p omadm-sim -- lives --count $(COUNT) $(if $(SEED),--from $(SEED))

# The recording and the figures of the README, from a run of the demo.
record: build
	bash scripts/record.sh

# Looks for inputs that break something, MINUTES for each target, or for TARGET alone.
fuzz: setup
	bash scripts/fuzz.sh $(MINUTES) $(TARGET)

# Licences, bans and sources of every dependency; advisories where their database can be had.
audit: setup
	command -v cargo-deny >/dev/null || cargo install --locked --quiet cargo-deny
	cargo deny --all-features check licenses bans sources
	cargo deny --all-features check advisories || echo "advisories: not checked, the database cannot be had here"

.PHONY: setup setup-test setup-bench
setup:
	bash scripts/setup.sh
setup-test:
	bash scripts/setup.sh test
setup-bench:
	bash scripts/setup.sh bench
