//! What all requests share.

use std::net::IpAddr;
use std::sync::Arc;

use crate::auth::Attempt;
use crate::certificates::Certificates;
use crate::config::Config;
use crate::keys::Keys;
use crate::limiter::Limiter;
use crate::load::Load;
use crate::pki::DeviceCa;
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
    /// The device port's certificates as they are now.
    pub(crate) certificates: Certificates,
    /// Signs the certificates that are given out.
    pub(crate) device_ca: DeviceCa,
    /// A sealed secret that nobody knows, compared where there is no user.
    pub(crate) decoy: Vec<u8>,
    /// Failed attempts by address and user.
    pub(crate) failures: Limiter<Attempt>,
    /// Failed attempts by address.
    pub(crate) failures_of_address: Limiter<IpAddr>,
    /// Bootstrap Messages by device.
    pub(crate) messages: Limiter<i64>,
    /// Bootstrap Messages for anyone, by address.
    pub(crate) strangers: Limiter<IpAddr>,
    /// What is under way.
    pub(crate) load: Load,
}
