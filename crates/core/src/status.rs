//! The status codes of commands (spec 5).

use serde::{Deserialize, Serialize};
use std::fmt;

/// The status of a command, in Package#3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StatusCode(pub u16);

impl StatusCode {
    /// Done.
    pub const OK: Self = Self(200);
    /// Accepted; the result follows as an alert (EXEC).
    pub const ACCEPTED: Self = Self(202);
    /// The node has no value now (GET).
    pub const NO_VALUE: Self = Self(204);
    /// The cache validator is still good.
    pub const NOT_MODIFIED: Self = Self(304);
    /// Malformed command, ClientURI or content.
    pub const BAD_REQUEST: Self = Self(400);
    /// No right, or the origin is refused.
    pub const FORBIDDEN: Self = Self(403);
    /// No such node, instance, MO or subscription.
    pub const NOT_FOUND: Self = Self(404);
    /// The node does not allow this: permanent, or its access types.
    pub const NOT_ALLOWED: Self = Self(405);
    /// No common media type.
    pub const NOT_ACCEPTABLE: Self = Self(406);
    /// The ClientURI is ambiguous, or the node is busy.
    pub const CONFLICT: Self = Self(409);
    /// Too large.
    pub const TOO_LARGE: Self = Self(413);
    /// The repository refused the media type.
    pub const UNSUPPORTED_TYPE: Self = Self(415);
    /// The client or a plug-in failed.
    pub const CLIENT_FAILURE: Self = Self(500);
    /// The command is not supported.
    pub const NOT_SUPPORTED: Self = Self(501);
    /// The data repository failed.
    pub const REPOSITORY_FAILED: Self = Self(502);
    /// The data repository did not answer in time.
    pub const REPOSITORY_TIMEOUT: Self = Self(504);
    /// No room in the device.
    pub const NO_ROOM: Self = Self(507);

    /// Whether the command was carried out.
    pub fn is_success(self) -> bool {
        (200..300).contains(&self.0) || self == Self::NOT_MODIFIED
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
