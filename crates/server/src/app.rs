//! What all requests share.

use omadm_core::ids::DevId;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::net::IpAddr;
use std::sync::Arc;

use crate::auth::Attempt;
use crate::config::Config;
use crate::keys::Keys;
use crate::limiter::Limiter;
use crate::load::Load;
use crate::profile::Profiles;
use crate::recorder::Recorder;
use crate::store::Store;

/// What all requests share.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) keys: Keys,
    pub(crate) profiles: Profiles,
    pub(crate) recorder: Recorder,
    /// How devices reach the device port: scheme, host and port, no slash at the end.
    pub(crate) public: String,
    /// Anchors in PEM that Bootstrap Messages carry.
    pub(crate) anchors: Option<String>,
    /// A sealed secret that nobody knows, compared where there is no user.
    pub(crate) decoy: Vec<u8>,
    /// Failed attempts by address and user.
    pub(crate) failures: Limiter<Attempt>,
    /// Failed attempts by address.
    pub(crate) failures_of_address: Limiter<IpAddr>,
    /// Bootstrap Messages by device.
    pub(crate) messages: Limiter<i64>,
    /// What is under way.
    pub(crate) load: Load,
}

/// What stays as it is in a user: RFC 3986 unreserved.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The user of Basic where none is configured: the DevID percent-encoded, since a user holds no colon (Profile P-20).
pub(crate) fn user_of(dev_id: &DevId) -> String {
    utf8_percent_encode(dev_id.as_str(), UNRESERVED).to_string()
}
