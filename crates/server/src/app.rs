//! What all requests share.

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
