//! What shows how omadm fares where a test of one behaviour is too small: whole device lives on a virtual clock, and
//! benchmarks of the real programs. Nothing here ships.

pub mod bench;
pub mod relay;
