//! What the device remembers: one file, replaced atomically, written sparingly.

mod file;
mod lock;
mod memory;
mod record;
mod storage;

pub use file::{Damage, Loaded, StateError, StateFile, VERSION};
pub use lock::{Lock, LockError, beside};
pub use memory::Memory;
pub use record::{Busy, LastRun, MAX_ATTEMPTS, Notes, SessionNote, State};
pub use storage::{Disk, Storage};
