//! Carrying exchanges over real sockets, by agents of the HTTP library.

use super::failure::HttpError;
use super::http::{Answer, Carrier, HttpSetup, Outgoing};
use super::resolve::Names;
use super::wire::Dialer;
use crate::wait::Stop;
use omadm_tls::{Anchors, ClientContext, ClientIdentity};
use std::sync::OnceLock;
use std::time::Duration;
use ureq::Agent;
use ureq::http;
use ureq::http::header::CONTENT_LENGTH;

/// The largest header of an answer, in bytes.
const MAX_HEADER: usize = 16 * 1024;

/// How long a connection is kept for the next request.
const IDLE: Duration = Duration::from_secs(60);

/// What carries exchanges from this machine.
///
/// # Errors
/// If the anchors cannot be used.
pub fn carrier(setup: &HttpSetup, stop: &Stop) -> Result<Box<dyn Carrier>, HttpError> {
    let trusted = agent(setup, &setup.anchors, false, stop)?;
    Ok(Box::new(Agents { setup: setup.clone(), stop: stop.clone(), trusted, outside: OnceLock::new() }))
}

struct Agents {
    setup: HttpSetup,
    stop: Stop,
    trusted: Agent,
    outside: OnceLock<Agent>,
}

impl Carrier for Agents {
    fn carry(&self, request: Outgoing) -> Result<Answer, HttpError> {
        let host = request.url.host().to_owned();
        let agent = if request.trusted { &self.trusted } else { self.outside()? };
        let mut builder = http::Request::builder().method(request.method).uri(request.url.as_str());
        for (name, value) in request.headers.iter().chain(&request.private.0) {
            builder = builder.header(*name, value);
        }
        let answer = match request.body {
            Some(body) => builder.body(body).map_err(ureq::Error::from).and_then(|request| agent.run(request)),
            None => builder.body(()).map_err(ureq::Error::from).and_then(|request| agent.run(request)),
        };
        let (head, mut body) = answer.map_err(|error| HttpError::from_ureq(error, &host))?.into_parts();
        let limit = self.setup.limits.body;
        let told = head.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        if told.is_some_and(|told| told > limit as u64) {
            return Err(HttpError::TooLarge(format!("the answer of {host} has more than {limit} bytes")));
        }
        // One more, since ureq refuses a body that reaches its limit exactly.
        let body = body.with_config().limit(limit as u64 + 1).read_to_vec();
        let body = body.map_err(|error| match HttpError::from_ureq(error, &host) {
            HttpError::TooLarge(_) => HttpError::TooLarge(format!("the answer of {host} has more than {limit} bytes")),
            error => error,
        })?;
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }
}

impl Agents {
    fn outside(&self) -> Result<&Agent, HttpError> {
        if let Some(agent) = self.outside.get() {
            return Ok(agent);
        }
        let agent = agent(&self.setup, &Anchors::System, true, &self.stop)?;
        Ok(self.outside.get_or_init(|| agent))
    }
}

fn agent(setup: &HttpSetup, anchors: &Anchors, public_only: bool, stop: &Stop) -> Result<Agent, HttpError> {
    let tls =
        ClientContext::new(anchors, &ClientIdentity::nobody()).map_err(|error| HttpError::Tls(error.to_string()))?;
    let dialer =
        Dialer { tls: tls.not_before(setup.floor.0), public_only, stop: stop.clone(), meter: setup.meter.clone() };
    let config = Agent::config_builder()
        // A proxy from the environment would hide from us where the connection goes.
        .proxy(None)
        .max_redirects(0)
        .http_status_as_error(false)
        .user_agent(concat!("omadm-client/", env!("CARGO_PKG_VERSION")))
        .accept("")
        .accept_encoding("")
        .max_response_header_size(MAX_HEADER)
        .input_buffer_size(2 * MAX_HEADER)
        .output_buffer_size(MAX_HEADER)
        .max_idle_age(IDLE)
        .timeout_resolve(Some(setup.limits.connect))
        .timeout_connect(Some(setup.limits.connect))
        .timeout_global(Some(setup.limits.total))
        .build();
    Ok(Agent::with_parts(config, dialer, Names::new(stop.clone())))
}
