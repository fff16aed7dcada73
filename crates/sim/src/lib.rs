//! What shows how omadm fares where a test of one behaviour is too small: whole device lives on a virtual clock, power
//! cuts at every operation of storage, and benchmarks of the real programs. Nothing here ships.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`bench`] | the real programs measured beside their references |
//! | [`cuts`] | a disk with a page cache, and a program cut before, in and after each of its storage operations |
//! | [`lives`] | whole device lives on a virtual clock |
//! | [`previous`] | the state file as the previous version of the client reads and writes it |
//! | [`random`] | random numbers that a seed repeats |
//! | [`relay`] | a TCP relay that adds delay and counts |

pub mod bench;
pub mod cuts;
pub mod lives;
pub mod previous;
pub mod random;
pub mod relay;
