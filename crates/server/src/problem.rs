//! Refusals: the one place that turns an error into status, public text and record.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use omadm_core::time::Timestamp;
use omadm_core::web::media;
use serde_json::json;

use crate::keys::KeyError;
use crate::random::NoRandomness;
use crate::store::StoreError;

/// A request that is refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    /// Why, for programs; kept in the record.
    pub(crate) code: &'static str,
    /// Why, for the sender: the detail of a problem document (RFC 9457).
    pub(crate) detail: String,
    /// Why, for the operator, where the sender is not to know.
    pub(crate) why: Option<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    /// A refusal with this public reason.
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), why: None, headers: Vec::new() }
    }

    /// 400.
    pub(crate) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }

    /// 404.
    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    /// 401: the same for everybody, whatever the reason (spec 2.4).
    pub(crate) fn challenge(realm: &str, code: &'static str, why: impl Into<String>) -> Self {
        let mut refusal = Self::new(StatusCode::UNAUTHORIZED, code, "valid credentials are needed").because(why);
        if let Ok(value) = HeaderValue::from_str(&format!("Basic realm=\"{realm}\", charset=\"UTF-8\"")) {
            refusal.headers.push((WWW_AUTHENTICATE, value));
        }
        refusal
    }

    /// 403, for a device that proved who it is, and that an operator blocked.
    pub(crate) fn blocked(since: Timestamp) -> Self {
        Self::new(StatusCode::FORBIDDEN, "blocked", "this device is blocked")
            .because(format!("an operator blocked this device at {since}; `omadm device unblock` ends that"))
    }

    /// 429.
    pub(crate) fn slow_down(seconds: u64, why: impl Into<String>) -> Self {
        let mut refusal = Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many", "too many attempts; see Retry-After");
        refusal.headers.push((RETRY_AFTER, HeaderValue::from(seconds)));
        refusal.because(why)
    }

    /// 503, with `Retry-After` in seconds.
    pub(crate) fn not_now(seconds: u64, code: &'static str, detail: &str) -> Self {
        let mut refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail);
        refusal.headers.push((RETRY_AFTER, HeaderValue::from(seconds)));
        refusal
    }

    /// Adds what only the operator is to know.
    pub(crate) fn because(mut self, why: impl Into<String>) -> Self {
        self.why = Some(why.into());
        self
    }

    /// Adds a header.
    pub(crate) fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    /// The sentence for the record.
    pub(crate) fn sentence(&self) -> &str {
        self.why.as_deref().unwrap_or(&self.detail)
    }

    /// 500, for a step that failed in the server itself.
    pub(crate) fn failed(detail: &'static str, error: &dyn std::error::Error) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server", detail).because(error.to_string())
    }

    fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(%error, "a request failed in the server itself");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server", "the server failed; its log says why")
            .because(error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or("Error");
        let document = json!({ "title": title, "status": self.status.as_u16(), "detail": self.detail });
        let mut response = Response::new(Body::from(document.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media::PROBLEM));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.extend(self.headers);
        response
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict(detail) => Self::new(StatusCode::CONFLICT, "conflict", detail),
            StoreError::Corrupt(_)
            | StoreError::Database(_)
            | StoreError::Batch(_)
            | StoreError::Locked
            | StoreError::Broken
            | StoreError::Migration(_) => Self::internal(&error),
        }
    }
}

impl From<KeyError> for Refusal {
    fn from(error: KeyError) -> Self {
        Self::internal(&error)
    }
}

impl From<NoRandomness> for Refusal {
    fn from(error: NoRandomness) -> Self {
        Self::internal(&error)
    }
}
