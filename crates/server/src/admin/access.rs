//! Who may use the admin port: programs by the token, people by a cookie that they get for the token.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, COOKIE, REFERRER_POLICY, WWW_AUTHENTICATE,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use sha2::{Digest, Sha256};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;

use super::Admin;
use crate::problem::Refusal;
use crate::random::{self, NoRandomness};

/// The name of the cookie.
const COOKIE_NAME: &str = "omadm_admin";
/// How long a login lasts.
const LOGIN: Duration = Duration::from_secs(12 * 3600);
/// How many logins there are at most; the oldest gives way.
const LOGINS: usize = 64;
/// Nothing from elsewhere, no scripts, in nobody's frame.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

type Hash = [u8; 32];

/// The token, and who is logged in by it.
pub(super) struct Access {
    token: Hash,
    secure: bool,
    logins: Mutex<Vec<(Hash, Instant)>>,
}

impl Access {
    pub(super) fn new(token: &str, secure: bool) -> Self {
        Self { token: hash(token), secure, logins: Mutex::new(Vec::new()) }
    }

    /// The Set-Cookie value of a login, if the token is right.
    pub(super) fn log_in(&self, token: &str) -> Result<Option<String>, NoRandomness> {
        if !same(&hash(token), &self.token) {
            return Ok(None);
        }
        let ticket = random::token()?;
        let mut logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        logins.retain(|(_, at)| at.elapsed() < LOGIN);
        if logins.len() >= LOGINS {
            logins.remove(0);
        }
        logins.push((hash(&ticket), Instant::now()));
        Ok(Some(self.set_cookie(&ticket, LOGIN.as_secs())))
    }

    /// Ends the login of this request; the Set-Cookie value that forgets it.
    pub(super) fn log_out(&self, headers: &HeaderMap) -> String {
        if let Some(ticket) = ticket(headers).map(hash) {
            self.logins.lock().unwrap_or_else(PoisonError::into_inner).retain(|(known, _)| !same(known, &ticket));
        }
        self.set_cookie("", 0)
    }

    fn is_logged_in(&self, headers: &HeaderMap) -> bool {
        let Some(ticket) = ticket(headers).map(hash) else { return false };
        let logins = self.logins.lock().unwrap_or_else(PoisonError::into_inner);
        logins.iter().any(|(known, at)| same(known, &ticket) && at.elapsed() < LOGIN)
    }

    fn has_token(&self, headers: &HeaderMap) -> bool {
        let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        value.and_then(|text| text.strip_prefix("Bearer ")).is_some_and(|token| same(&hash(token.trim()), &self.token))
    }

    fn set_cookie(&self, ticket: &str, seconds: u64) -> String {
        let secure = if self.secure { "; Secure" } else { "" };
        format!("{COOKIE_NAME}={ticket}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
    }
}

/// Lets the API be used by the token only: a cookie is never enough, so no other site can use it.
pub(super) async fn bearer(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    if admin.access.has_token(request.headers()) {
        return next.run(request).await;
    }
    Refusal::new(StatusCode::UNAUTHORIZED, "no-token", "the admin token is needed, as Authorization: Bearer TOKEN")
        .with(WWW_AUTHENTICATE, "Bearer realm=\"omadm\"")
        .into_response()
}

/// Lets pages be seen after a login only.
pub(super) async fn cookie(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    if admin.access.is_logged_in(request.headers()) {
        return next.run(request).await;
    }
    Redirect::to("/login").into_response()
}

/// What every answer of this port says.
pub(super) async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

fn ticket(headers: &HeaderMap) -> Option<&str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(COOKIE_NAME)?.strip_prefix('='))
}

fn hash(text: &str) -> Hash {
    Sha256::digest(text.as_bytes()).into()
}

fn same(one: &Hash, other: &Hash) -> bool {
    one.ct_eq(other).into()
}
