//! `omadm-sim`: lives and benchmarks, for `make lives` and `make bench`.

fn main() {}
