//! What shows how omadm fares where a test of one behaviour is too small: whole device lives on a virtual clock, power
//! cuts at every operation of storage, and benchmarks of the real programs. Nothing here ships.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`bench`] | the real programs measured beside their references |
//! | [`cuts`] | a program cut before, in and after each of its storage operations |
//! | [`disk`] | a disk with a page cache, whose power can be cut |
//! | [`lives`] | whole device lives on a virtual clock |
//! | [`random`] | random numbers that a seed repeats |
//! | [`relay`] | a TCP relay that adds delay and counts |

pub mod bench;
pub mod cuts;
pub mod disk;
pub mod lives;
pub mod random;
pub mod relay;
