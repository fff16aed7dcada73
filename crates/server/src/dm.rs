//! `POST /dm` (spec 3): Package#1 and #3 in, Package#2 out.

mod cookie;
pub(crate) mod devinfo;
mod identity;
pub(crate) mod queue;
mod turn;

pub(crate) use identity::{Sender, prove};
pub(crate) use turn::IDLE;

use axum::body::Body;
use http::header::CONTENT_TYPE;
use http::{HeaderName, StatusCode, request::Parts};
use omadm_core::web::{media, media_type, negotiate};

use crate::app::App;
use crate::body;
use crate::device_port::{Answered, Case};
use crate::problem::Refusal;

/// Says which types a 415 would have liked (spec 3).
pub(crate) const ACCEPT_HEADER: HeaderName = HeaderName::from_static("omadm-accept");

enum Package {
    First,
    Further,
}

/// By what a Package#3 says which session it belongs to (Profile P-5).
struct Continuity<'a> {
    cookie: Option<&'a str>,
    /// The token of the CONT that led here.
    token: Option<&'a str>,
}

fn cont_token(query: Option<&str>) -> Option<&str> {
    query?.split('&').find_map(|pair| pair.strip_prefix(queue::CONT_TOKEN)?.strip_prefix('='))
}

/// Answers a package.
pub(crate) async fn answer(app: &App, case: &mut Case, request: &Parts, content: Body) -> Result<Answered, Refusal> {
    let package = match media_type(body::header(&request.headers, CONTENT_TYPE.as_str())?.unwrap_or_default()).as_str()
    {
        media::INITIATION => Package::First,
        media::RESPONSE => Package::Further,
        _ => {
            let detail = format!("Content-Type has to be {} or {}", media::INITIATION, media::RESPONSE);
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", detail)
                .with(ACCEPT_HEADER, "application/vnd.oma.dm.initiation+json, application/vnd.oma.dm.response+json"));
        }
    };
    if negotiate(body::accept(&request.headers).as_deref(), &[media::REQUEST]).is_none() {
        let detail = format!("Accept does not allow {}", media::REQUEST);
        return Err(Refusal::new(StatusCode::NOT_ACCEPTABLE, "not-acceptable", detail));
    }
    let identity = identity::prove(app, case, &request.headers).await?;
    let limits = &app.config.limits;
    let bytes = body::read(content, limits.max_body as usize, limits.body).await?;
    let _work = app.load.work(bytes.len()).await;
    match package {
        Package::First => turn::first(app, &identity, &bytes).await,
        Package::Further => {
            let shown = Continuity { cookie: cookie::of(&request.headers), token: cont_token(request.uri.query()) };
            turn::further(app, &identity, &shown, &bytes).await
        }
    }
}
