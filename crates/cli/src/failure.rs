//! How a command ends when it does not end well: an exit code, a sentence, and what to do about it.

use std::path::Path;

/// The exit codes of both programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// It failed.
    Failed = 1,
    /// It was called or configured wrongly.
    Usage = 2,
    /// There was nothing to do, or nothing to be found.
    Nothing = 3,
    /// The caller has no right, or could not prove who they are.
    Denied = 4,
}

/// Why a command did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    /// The code that the program exits with.
    pub(crate) exit: Exit,
    /// One sentence: what went wrong, and where.
    pub(crate) message: String,
    /// What to do about it, if that is known.
    pub(crate) advice: Option<String>,
}

impl Failure {
    /// With exit code 1.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// With exit code 2.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// With any of the codes.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), advice: None }
    }

    /// The same, and what to do about it.
    #[must_use]
    pub(crate) fn advise(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }

    /// A file that cannot be read.
    pub(crate) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        Self::usage(format!("cannot read {}: {error}", path.display()))
    }

    /// A file that cannot be written.
    pub(crate) fn unwritable(path: &Path, error: &std::io::Error) -> Self {
        Self::failed(format!("cannot write {}: {error}", path.display()))
    }
}
