//! What the device remembers: one file, replaced atomically.

mod file;
mod lock;
mod storage;

pub use file::{Damage, Loaded, StateError, StateFile, VERSION};
pub use lock::{Lock, LockError, beside};
pub use storage::{Disk, Storage};
