//! What comes in at the device port: which door a request goes to, and the record of what became of it.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::ALLOW;
use http::{HeaderMap, Method, Request, StatusCode};
use omadm_core::ids::DevId;
use omadm_core::web::DEV_ID_HEADER;
use omadm_tls::Peer;
use std::net::IpAddr;
use std::sync::Arc;

use crate::app::App;
use crate::body::header;
use crate::clock;
use crate::problem::Refusal;
use crate::seats::Seat;
use crate::store::{Endpoint, Entry, NewCredential, Record};
use crate::{bootstrap, data, dm};

/// What turns out about a request while it is answered.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) remote: IpAddr,
    /// What the connection proves.
    pub(crate) peer: Arc<Peer>,
    /// The device that proved to be the sender.
    pub(crate) device: Option<i64>,
    /// The DevID that it names, proven or not.
    pub(crate) dev_id: Option<String>,
    /// The credential that the answer gives out: stored before it is sent, together with the record.
    pub(crate) gives: Option<NewCredential>,
    seat: Option<Seat<i64>>,
}

impl Case {
    /// Takes note of who the sender proved to be; refused with 429 if too many requests of this device are under way.
    pub(crate) fn belongs_to(&mut self, app: &App, device: i64) -> Result<(), Refusal> {
        self.device = Some(device);
        self.seat = app.load.seat(device);
        if self.seat.is_some() { Ok(()) } else { Err(Refusal::slow_down(1, "too many of its requests are under way")) }
    }
}

/// An answer that is no refusal, and why it was given.
pub(crate) struct Answered {
    pub(crate) response: Response,
    pub(crate) code: &'static str,
    pub(crate) why: String,
}

/// Answers a request and records it.
pub(crate) async fn answer(app: Arc<App>, remote: IpAddr, peer: Arc<Peer>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let mut case = Case { remote, peer, device: None, dev_id: claimed(&parts.headers), gives: None, seat: None };
    let path = parts.uri.path();
    let (endpoint, result) = match path {
        "/bootstrap" if parts.method == Method::GET => {
            (Endpoint::Bootstrap, bootstrap::answer(&app, &mut case, &parts).await)
        }
        "/bootstrap" => (Endpoint::Bootstrap, Err(not_allowed("GET"))),
        "/dm" if parts.method == Method::POST => (Endpoint::Session, dm::answer(&app, &mut case, &parts, body).await),
        "/dm" => (Endpoint::Session, Err(not_allowed("POST"))),
        _ if path.starts_with("/data/") => (Endpoint::Data, data::answer(&app, &mut case, &parts, body).await),
        _ => (Endpoint::Other, Err(Refusal::not_found("nothing is served at this path"))),
    };
    let (response, code, why) = match result {
        Ok(answered) => (answered.response, answered.code, answered.why),
        Err(refusal) => {
            let (code, why) = (refusal.code, refusal.sentence().to_owned());
            (refusal.into_response(), code, why)
        }
    };
    // Neither path nor query: they may hold a token or an identity. Anybody can send junk, and a log is not bounded.
    let status = response.status().as_u16();
    // The record tells people; a line for each request would cost more than the request.
    let known = case.device.is_some();
    tracing::debug!(endpoint = endpoint.as_str(), status, code, %remote, known, "answered");
    let record = Record {
        at: clock::now(),
        endpoint,
        device: case.device,
        dev_id: case.dev_id,
        remote: remote.to_string(),
        status: Some(status),
        code: code.to_owned(),
        detail: why,
    };
    let gives = case.gives.take();
    let has_to_be_kept = gives.is_some();
    if !app.recorder.keep(Entry { record, gives }).await && has_to_be_kept {
        // What the device holds is always valid: a credential that is not stored is not sent.
        return Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "server", "the server failed; its log says why")
            .into_response();
    }
    response
}

/// Records what never became a request: no TLS, no HTTP, too slow.
pub(crate) async fn broken(app: &App, remote: IpAddr, code: &str, why: String) {
    tracing::debug!(code, %remote, "a connection broke");
    let record = Record {
        at: clock::now(),
        endpoint: Endpoint::Other,
        device: None,
        dev_id: None,
        remote: remote.to_string(),
        status: None,
        code: code.to_owned(),
        detail: why,
    };
    app.recorder.keep(record.into()).await;
}

/// The DevID in the header, so that a request that is refused before anything else is shown with it too.
fn claimed(headers: &HeaderMap) -> Option<String> {
    let dev_id: DevId = header(headers, DEV_ID_HEADER).ok()??.parse().ok()?;
    Some(dev_id.to_string())
}

fn not_allowed(allowed: &'static str) -> Refusal {
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method", format!("only {allowed} is allowed here"))
        .with(ALLOW, allowed)
}
