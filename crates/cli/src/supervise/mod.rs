//! Processes that never outlive us, and a folder that does not either.
//!
//! Every child becomes its program through `omadm guarded`, which asks the kernel to kill it when its parent dies. That
//! follows the *thread* that started it, so a [`Nursery`] stays in the thread that made it, and that thread has to live
//! as long as the children. A last process, the janitor, is out of reach of Ctrl-C; when the pipe to it ends, for
//! whatever reason, it waits until the children are gone and removes the folder.

mod guarded;
mod janitor;
mod nursery;

pub(crate) use guarded::become_program;
pub(crate) use janitor::clean_up;
pub(crate) use nursery::{Nursery, Started};
