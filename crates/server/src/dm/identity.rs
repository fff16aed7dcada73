//! Who sends a package or a data request: a device, by what it was given.

use http::{HeaderMap, StatusCode};
use omadm_core::ids::DevId;
use omadm_core::reason::Method;
use omadm_core::web::{DEV_ID_HEADER, default_user};
use std::sync::Arc;

use crate::app::App;
use crate::auth::{self, Proven, Shown};
use crate::body::header;
use crate::clock;
use crate::device_port::Case;
use crate::problem::Refusal;
use crate::store::{Binding, Credential, Device, NewDevice};

/// A device that proved who it is.
pub(crate) struct Sender {
    pub(crate) device: Device,
    /// What it proved, as sessions are bound to it.
    pub(crate) identity: String,
    /// The credential given out; absent for what the device enrols by.
    pub(crate) credential: Option<i64>,
    /// The SrvID of the account; empty for what the device enrols by.
    pub(crate) account: String,
}

/// Proves who sends this request. The first device that uses the credential of a card or factory file is the one that
/// it is bound to, unless a factory run made it for another one or the device is blocked.
pub(crate) async fn prove(app: &App, case: &mut Case, headers: &HeaderMap) -> Result<Sender, Refusal> {
    let dev_id: DevId = header(headers, DEV_ID_HEADER)?
        .ok_or_else(|| Refusal::bad(format!("the header {DEV_ID_HEADER} is missing")))?
        .parse()
        .map_err(|error| Refusal::bad(format!("the header {DEV_ID_HEADER} is {error}")))?;
    case.dev_id = Some(dev_id.to_string());
    let challenge = |code, why: &str| Refusal::challenge(&app.config.bootstrap.realm, code, why);
    let peer = Arc::clone(&case.peer);
    let shown = auth::shown(headers, &peer);
    let Some(Proven { device, credential, identity }) = auth::proven(app, case.remote, &shown).await? else {
        return Err(match shown {
            Shown::Nothing => challenge("no-credentials", "it shows no credentials"),
            Shown::Unusable(why) => challenge("wrong-credentials", why),
            Shown::Basic(_) => {
                let why = "the user was not given out or is no longer valid, or the password is wrong";
                challenge("wrong-credentials", why)
            }
            Shown::Psk(..) => {
                challenge("wrong-credentials", "the pre-shared key was not given out or is no longer valid")
            }
            Shown::Certificate(_) => {
                challenge("wrong-credentials", "the certificate was not given out or is no longer valid")
            }
        });
    };
    let device = match (device, &credential) {
        (Some(device), _) => device,
        (None, Some(credential)) => bind(app, case, credential, &dev_id).await?,
        (None, None) => return Err(challenge("wrong-credentials", "the device of this user is gone")),
    };
    case.belongs_to(app, device.id)?;
    if device.dev_id != dev_id {
        let what = told(credential.as_ref());
        return Err(another_devices(format!("{what} belongs to {}, but {dev_id} used it", device.dev_id)));
    }
    if let Some(since) = device.blocked_at {
        return Err(Refusal::blocked(since));
    }
    let (credential, account) = match credential {
        Some(credential) => (Some(credential.id), credential.srv_id),
        None => (None, String::new()),
    };
    Ok(Sender { device, identity, credential, account })
}

async fn bind(app: &App, case: &mut Case, credential: &Credential, dev_id: &DevId) -> Result<Device, Refusal> {
    let new = NewDevice {
        dev_id: dev_id.clone(),
        user: default_user(dev_id),
        enrolment: None,
        psk: None,
        key_digest: None,
        at: clock::now(),
    };
    match app.store.bind(credential.id, new).await? {
        Binding::To(device) => {
            tracing::info!(
                source = credential.source.as_str(),
                "a credential is bound to the first device that uses it"
            );
            Ok(device)
        }
        Binding::MadeFor(other) => {
            // Whoever asks why about that device is told.
            if let Some(device) = app.store.device(&other).await? {
                case.belongs_to(app, device.id)?;
            }
            let what = told(Some(credential));
            Err(another_devices(format!("{what} was made for {other}, but {dev_id} used it")))
        }
        Binding::Blocked(since) => Err(Refusal::blocked(since)),
    }
}

fn another_devices(why: String) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, "other-device", "these credentials are another device's").because(why)
}

/// A credential as people know it.
fn told(credential: Option<&Credential>) -> String {
    match credential.map(|credential| (credential.source, credential.label.as_str())) {
        Some((Method::Smartcard, label)) => format!("the credential of card {label}"),
        Some((Method::Factory, label)) => format!("the credential of factory file {label}"),
        Some((Method::BootstrapServer, _)) => "the credential from the bootstrap server".to_owned(),
        None => "what it enrols by".to_owned(),
    }
}
