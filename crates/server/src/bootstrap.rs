//! `GET /bootstrap` (spec 2.4, Profile P-4) in three steps: facts, decision, rendering.

mod decision;
mod facts;
pub(crate) mod rendering;

use axum::body::Body;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode, request::Parts};
use omadm_core::account::Credential;
use omadm_core::reason::Method;
use omadm_core::secret::Secret;
use omadm_core::web::negotiate;
use std::time::Instant;

use crate::app::App;
use crate::auth::{behind_a_proxy, block, credential_place, hex};
use crate::clock;
use crate::device_port::{Answered, Case};
use crate::problem::Refusal;
use crate::profile::{Profile, Scheme};
use crate::random;
use crate::store::{CredentialScheme, Device, NewCredential};

pub(crate) use decision::{Decision, decide};
pub(crate) use facts::{Facts, Identity};
use rendering::{Filling, Form};

/// When a device may ask again whose profile cannot be read, in seconds: a person has to mend that.
const UNREADABLE_RETRY: u64 = 300;

/// Answers a bootstrap request.
pub(crate) async fn answer(app: &App, case: &mut Case, request: &Parts) -> Result<Answered, Refusal> {
    let accept = crate::body::accept(&request.headers);
    let form = negotiate(accept.as_deref(), &Form::OFFERED).and_then(Form::of_media_type).ok_or_else(|| {
        let detail = format!("Accept allows none of {}", Form::OFFERED.join(", "));
        Refusal::new(StatusCode::NOT_ACCEPTABLE, "not-acceptable", detail)
    })?;
    let facts = Facts::gather(app, case, request).await?;
    let profiles = app.profiles.all(app.store.as_ref()).await?;
    match decide(&facts, &profiles, app.config.bootstrap.anonymous) {
        Decision::Release { profile, why } => {
            let body = release(app, case, &facts, &profile, form)?;
            Ok(Answered { response: message(form, body), code: "message", why })
        }
        Decision::Nothing { why } => Ok(Answered { response: nothing(), code: "nothing", why }),
        Decision::Challenge { code, why } => Err(Refusal::challenge(&app.config.bootstrap.realm, code, why)),
        Decision::Forbidden { why } => {
            Err(Refusal::new(StatusCode::FORBIDDEN, "other-device", "these credentials are another device's")
                .because(why))
        }
        Decision::Unreadable { why } => {
            let detail = "the server cannot serve this device at present; see Retry-After";
            Err(Refusal::not_now(UNREADABLE_RETRY, "profile-unreadable", detail).because(why))
        }
        Decision::Blocked { since } => Err(Refusal::blocked(since)),
    }
}

/// A credential that is made for one device, card or file, and its row for the store; none if the scheme is none.
pub(crate) fn new_credential(
    app: &App,
    profile: &Profile,
    scheme: Scheme,
    device: Option<&Device>,
    source: Method,
    label: String,
) -> Result<(Filling, Option<NewCredential>), Refusal> {
    let Some(made) = Made::new(app, scheme, device)? else { return Ok((filling(app), None)) };
    let row = NewCredential {
        scheme: made.scheme,
        user: made.name,
        secret: made.sealed,
        device: device.map(|device| device.id),
        source,
        label,
        profile: profile.name.clone(),
        srv_id: profile.template.srv_id().to_owned(),
        at: clock::now(),
    };
    Ok((Filling { credential: Some(made.credential), ..filling(app) }, Some(row)))
}

/// A fresh credential: as the device gets it, and as it is kept.
struct Made {
    credential: Credential,
    scheme: CredentialScheme,
    name: String,
    sealed: Vec<u8>,
}

impl Made {
    fn new(app: &App, scheme: Scheme, device: Option<&Device>) -> Result<Option<Self>, Refusal> {
        let name = random::name()?;
        let seal = |secret: &Secret| app.keys.seal(credential_place(&name), secret.expose());
        Ok(match scheme {
            Scheme::None => None,
            Scheme::Basic => {
                let password = Secret::from(&*random::token()?);
                let sealed = seal(&password)?;
                let credential = Credential::Basic { user: name.clone(), password };
                Some(Self { credential, scheme: CredentialScheme::Basic, name, sealed })
            }
            Scheme::Psk => {
                let key = Secret::new(random::bytes::<32>()?.to_vec());
                let sealed = seal(&key)?;
                let credential = Credential::Psk { identity: name.clone(), key };
                Some(Self { credential, scheme: CredentialScheme::Psk, name, sealed })
            }
            Scheme::X509 => {
                // The name is for people; what counts is the key, which is bound to its device in the store.
                let subject = device.map(|device| device.dev_id.as_str()).filter(|dev_id| dev_id.len() <= 64);
                let issued = app
                    .device_ca
                    .issue(subject.unwrap_or(&name), clock::now())
                    .map_err(|error| Refusal::failed("the certificate cannot be made", &error))?;
                let credential = Credential::X509 { chain: issued.chain, key: issued.key };
                let name = hex(&issued.key_digest);
                Some(Self { credential, scheme: CredentialScheme::X509, name, sealed: Vec::new() })
            }
        })
    }
}

/// What every message of this server is filled with.
pub(crate) fn filling(app: &App) -> Filling {
    Filling { server: app.public.clone(), anchors: app.certificates.anchors(), credential: None }
}

fn release(app: &App, case: &mut Case, facts: &Facts, profile: &Profile, form: Form) -> Result<Vec<u8>, Refusal> {
    let device = match &facts.identity {
        Identity::Enrolled(device) => {
            app.messages
                .take(device.id, Instant::now())
                .map_err(|seconds| Refusal::slow_down(seconds, format!("it asks too often; {seconds} s to wait")))?;
            Some(device)
        }
        Identity::Nobody | Identity::Unproven { .. } => {
            if !behind_a_proxy(app, case.remote) {
                app.strangers.take(block(case.remote), Instant::now()).map_err(|seconds| {
                    let why = format!("too many messages for anyone went to this address; {seconds} s to wait");
                    Refusal::slow_down(seconds, why)
                })?;
            }
            None
        }
    };
    let Some(device) = device else { return rendered(profile, form, &filling(app)) };
    let (scheme, source) = (profile.credentials, Method::BootstrapServer);
    let (filling, row) = new_credential(app, profile, scheme, Some(device), source, String::new())?;
    let message = rendered(profile, form, &filling)?;
    // What is not sent takes no place among the credentials that are valid.
    case.gives = row;
    Ok(message)
}

fn rendered(profile: &Profile, form: Form, filling: &Filling) -> Result<Vec<u8>, Refusal> {
    form.render(&profile.template, filling).map_err(|error| {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "server", "the message cannot be made")
            .because(format!("profile {}: {error}", profile.name))
    })
}

fn message(form: Form, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(form.media_type()));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn nothing() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
