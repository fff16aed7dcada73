//! How far a long run has come, on a terminal.

use indicatif::{ProgressBar, ProgressStyle};

/// A line at the bottom of the terminal; nothing where standard error is none.
pub(super) struct Progress(ProgressBar);

impl Progress {
    /// A file of so many bytes is being worked through.
    pub(super) fn of(bytes: u64) -> Self {
        let bar = ProgressBar::new(bytes);
        // A style that cannot be read is no reason to make no bundles.
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3}% {msg} ({elapsed}, {eta} to go)") {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// So many bytes are done; `what` came of them.
    pub(super) fn is_at(&self, bytes: u64, what: String) {
        self.0.set_position(bytes);
        self.0.set_message(what);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
