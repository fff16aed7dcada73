//! The signals by which a person ends a program that runs on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::failure::Failure;

/// Whether the end was asked for: by Ctrl-C, a closed terminal or SIGTERM.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ending(Arc<AtomicBool>);

impl Ending {
    /// Listens from now on. Asking twice is no shortcut: everything is ended in order.
    ///
    /// # Errors
    /// If the system refuses.
    pub(crate) fn on_signals() -> Result<Self, Failure> {
        let ending = Self::default();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&ending.0))
                .map_err(|error| Failure::failed(format!("cannot listen to signals: {error}")))?;
        }
        Ok(ending)
    }

    /// Whether it was asked for.
    pub(crate) fn is_due(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
