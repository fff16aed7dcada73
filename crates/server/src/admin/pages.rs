//! The overview page and its login: plain HTML that works without JavaScript.

use askama::Template;
use axum::extract::{Request, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ORIGIN, SET_COOKIE};
use http::{HeaderMap, StatusCode, header};
use percent_encoding::percent_decode_str;

use super::Admin;
use super::devices::{detail, encoded, page_of};
use super::input::{DevicePath, Page};
use super::views::{CredentialView, DeviceView};
use crate::body;
use crate::problem::Refusal;
use crate::profile::readable;
use crate::store::{DeviceState, Recorded};

/// How many requests and credentials the overview shows.
const SHOWN: u32 = 50;

/// The largest form, in bytes.
const FORM: usize = 4096;

/// How many devices the overview shows on one page.
const DEVICES: u32 = 100;

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    wrong: bool,
}

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    public: String,
    /// What an operator has to see to.
    notices: Vec<String>,
    counts: Vec<(&'static str, u64)>,
    devices: Vec<DeviceView>,
    next: Option<String>,
    profiles: Vec<ProfileLine>,
    credentials: Vec<CredentialView>,
    requests: Vec<Recorded>,
}

#[derive(Template)]
#[template(path = "device.html")]
struct DevicePage {
    device: DeviceView,
}

struct ProfileLine {
    name: String,
    matches: String,
    release: &'static str,
    srv_id: String,
}

/// `GET /`.
pub(super) async fn overview(State(admin): State<Admin>, page: Page) -> Result<Response, Refusal> {
    let app = &admin.app;
    let stored = app.store.counts().await?;
    let count = |state: DeviceState| stored.iter().find(|(other, _)| *other == state).map_or(0, |(_, count)| *count);
    let counts = [DeviceState::Known, DeviceState::Bootstrapped, DeviceState::Managed]
        .map(|state| (state.as_str(), count(state)))
        .to_vec();
    let limit = page.limit.min(DEVICES);
    let devices = page_of(&admin, page.after.as_deref(), limit).await?;
    let full = devices.len() == limit as usize;
    let next = devices.last().filter(|_| full).map(|device| encoded(&device.dev_id));
    let profiles = app.profiles.all(app.store.as_ref()).await?;
    let profiles = readable(&profiles)
        .map(|profile| ProfileLine {
            name: profile.name.clone(),
            matches: matches(&profile.matches),
            release: match profile.release {
                crate::profile::Release::Known => "known devices",
                crate::profile::Release::Anyone => "anyone",
            },
            srv_id: profile.template.srv_id().to_owned(),
        })
        .collect();
    let credentials = app.store.loose_credentials(SHOWN).await?.into_iter().map(CredentialView::from).collect();
    let requests = app.store.requests(SHOWN).await?;
    let (public, notices) = (app.public.clone(), app.certificates.notices());
    render(&OverviewPage { public, notices, counts, devices, next, profiles, credentials, requests })
}

/// `GET /devices/{dev_id}`.
pub(super) async fn device(State(admin): State<Admin>, DevicePath(dev_id): DevicePath) -> Result<Response, Refusal> {
    let device = detail(&admin, &dev_id).await?;
    render(&DevicePage { device: device.ok_or_else(|| Refusal::not_found("this DevID is not known"))? })
}

/// `GET /login`.
pub(super) async fn login_form() -> Result<Response, Refusal> {
    render(&LoginPage { wrong: false })
}

/// `POST /login`: the token in, a cookie out.
pub(super) async fn login(State(admin): State<Admin>, request: Request) -> Result<Response, Refusal> {
    let (head, body) = request.into_parts();
    same_site(&head.headers)?;
    // Whoever sends this is not known yet.
    let body = body::read(body, FORM, admin.app.config.limits.body).await?;
    let token = field(&body, "token").unwrap_or_default();
    match admin.access.log_in(token.trim())? {
        Some(cookie) => Ok(([(SET_COOKIE, cookie)], Redirect::to("/")).into_response()),
        None => {
            let mut response = render(&LoginPage { wrong: true })?;
            *response.status_mut() = StatusCode::UNAUTHORIZED;
            Ok(response)
        }
    }
}

/// `POST /logout`.
pub(super) async fn logout(State(admin): State<Admin>, headers: HeaderMap) -> Result<Response, Refusal> {
    same_site(&headers)?;
    Ok(([(SET_COOKIE, admin.access.log_out(&headers))], Redirect::to("/login")).into_response())
}

/// `GET /style.css`.
pub(super) async fn style() -> Response {
    let headers = [(CONTENT_TYPE, "text/css; charset=utf-8"), (CACHE_CONTROL, "max-age=3600")];
    (headers, include_str!("../../templates/style.css")).into_response()
}

/// A form of another site is refused, beside what the cookie's SameSite does.
fn same_site(headers: &HeaderMap) -> Result<(), Refusal> {
    let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let Some(origin) = text(ORIGIN) else { return Ok(()) };
    let host = origin.split_once("://").map(|(_, host)| host);
    if host.is_some() && host == text(header::HOST) {
        Ok(())
    } else {
        Err(Refusal::new(StatusCode::FORBIDDEN, "other-site", "this form was sent by another site"))
    }
}

/// A field of a submitted form.
fn field(body: &[u8], name: &str) -> Option<String> {
    let text = std::str::from_utf8(body).ok()?;
    let value = text.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    let value = value.replace('+', " ");
    Some(percent_decode_str(&value).decode_utf8().ok()?.into_owned())
}

fn matches(matches: &crate::profile::Match) -> String {
    let mut parts = Vec::new();
    if !matches.dev_id.is_empty() {
        parts.push(format!("{} DevIDs", matches.dev_id.len()));
    }
    parts.extend(matches.dev_id_prefix.iter().take(8).map(|prefix| format!("{prefix}*")));
    parts.extend(matches.network.iter().take(8).map(|network| format!("{}/{}", network.mcc, network.mnc)));
    if matches.default {
        parts.push("every other device".to_owned());
    }
    parts.join(", ")
}

fn render(page: &impl Template) -> Result<Response, Refusal> {
    let html = page.render().map_err(|error| {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "server", "the page cannot be made").because(error.to_string())
    })?;
    Ok(Html(html).into_response())
}
