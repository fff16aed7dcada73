//! `GET /bootstrap` (spec 2.4, Profile P-4) in three steps: facts, decision, rendering.

mod decision;
mod facts;
pub(crate) mod rendering;

use axum::body::Body;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode, request::Parts};
use omadm_core::reason::Method;
use omadm_core::secret::Secret;
use omadm_core::web::negotiate;
use std::time::Instant;

use crate::app::App;
use crate::auth::credential_place;
use crate::clock;
use crate::device_port::{Answered, Case};
use crate::problem::Refusal;
use crate::profile::{Profile, Scheme};
use crate::random;
use crate::store::NewCredential;

pub(crate) use decision::{Decision, Grant, decide};
pub(crate) use facts::{Facts, Identity};
use rendering::{Filling, Form};

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
        Decision::Release { profile, grant, why } => {
            let body = release(app, case, &facts, &profile, &grant, form)?;
            Ok(Answered { response: message(form, body), code: "message", why })
        }
        Decision::Nothing { why } => Ok(Answered { response: nothing(), code: "nothing", why }),
        Decision::Challenge { code, why } => Err(Refusal::challenge(&app.config.bootstrap.realm, code, why)),
        Decision::Forbidden { why } => {
            Err(Refusal::new(StatusCode::FORBIDDEN, "other-device", "these credentials are another device's")
                .because(why))
        }
    }
}

/// A credential that is made for one device, card or file, and its row for the store.
pub(crate) fn new_credential(
    app: &App,
    profile: &Profile,
    device: Option<i64>,
    source: Method,
    label: String,
) -> Result<(Filling, NewCredential), Refusal> {
    let (user, password) = (random::name()?, random::token()?);
    let row = NewCredential {
        secret: app.keys.seal(credential_place(&user), password.as_bytes())?,
        user: user.clone(),
        device,
        source,
        label,
        profile: profile.name.clone(),
        srv_id: profile.template.srv_id().to_owned(),
        at: clock::now(),
    };
    Ok((Filling { basic: Some((user, Secret::from(&*password))), ..filling(app) }, row))
}

/// What every message of this server is filled with.
pub(crate) fn filling(app: &App) -> Filling {
    Filling { server: app.public.clone(), anchors: app.anchors.clone(), basic: None }
}

fn release(
    app: &App,
    case: &mut Case,
    facts: &Facts,
    profile: &Profile,
    grant: &Grant,
    form: Form,
) -> Result<Vec<u8>, Refusal> {
    let device = match &facts.identity {
        Identity::Enrolled(device) => {
            app.messages
                .take(device.id, Instant::now())
                .map_err(|seconds| Refusal::slow_down(seconds, format!("it asks too often; {seconds} s to wait")))?;
            Some(device)
        }
        Identity::Nobody | Identity::Unproven { .. } => None,
    };
    match (grant, device) {
        (Grant::Basic, Some(device)) => {
            let (filling, row) = new_credential(app, profile, Some(device.id), Method::BootstrapServer, String::new())?;
            let body = rendered(profile, form, &filling)?;
            case.gives = Some(row);
            Ok(body)
        }
        (Grant::Basic | Grant::Nothing, _) => rendered(profile, form, &filling(app)),
    }
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

/// Which credentials a profile's message takes.
pub(crate) fn grant_of(profile: &Profile) -> Grant {
    match profile.credentials {
        Scheme::Basic => Grant::Basic,
        Scheme::None => Grant::Nothing,
    }
}
