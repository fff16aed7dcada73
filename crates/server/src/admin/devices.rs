//! Devices: add, list, show, and why they got what they got.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::LINK;
use http::{HeaderValue, StatusCode};
use omadm_core::ids::DevId;
use omadm_core::secret::Secret;
use omadm_core::time::Timestamp;
use omadm_core::web::default_user;
use omadm_tls::ca::key_digest;
use omadm_tls::psk::check;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::Admin;
use super::input::{DevicePath, Json as Input, Page};
use super::views::{CredentialView, DeviceView, JobView, SessionView};
use crate::auth::{enrolment_place, psk_place};
use crate::clock;
use crate::problem::Refusal;
use crate::random;
use crate::store::{Device, NewDevice, StoreError};

/// How many requests, sessions and jobs are shown with a device.
const SHOWN: (u32, u32, u32) = (100, 20, 20);
/// How many credentials are shown with a device.
const CREDENTIALS: u32 = 20;
/// The least and the greatest length of an enrolment secret, in bytes.
const SECRET: std::ops::RangeInclusive<usize> = 8..=1024;

/// A device to be known.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewDeviceBody {
    dev_id: DevId,
    /// The user of Basic; the DevID percent-encoded if absent.
    user: Option<String>,
    /// The enrolment secret; made up if the device has no other way in.
    secret: Option<String>,
    /// A pre-shared key.
    psk: Option<PskBody>,
    /// A certificate in PEM: its public key is what counts.
    cert: Option<String>,
    /// A certificate of a configured device CA that names this DevID is all that it needs.
    #[serde(default)]
    device_ca: bool,
}

/// A pre-shared key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PskBody {
    /// Its name; the DevID percent-encoded if absent.
    identity: Option<String>,
    /// The key in hexadecimal digits.
    key: String,
}

/// A device that was added; a secret that was made up is shown this once.
#[derive(Serialize)]
pub(super) struct Added {
    #[serde(flatten)]
    device: DeviceView,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

/// `POST /api/v1/devices`.
pub(super) async fn add(
    State(admin): State<Admin>,
    Input(body): Input<NewDeviceBody>,
) -> Result<(StatusCode, Json<Added>), Refusal> {
    let user = body.user.unwrap_or_else(|| default_user(&body.dev_id));
    if !(1..=255).contains(&user.len()) || user.contains(':') || user.chars().any(char::is_control) {
        return Err(Refusal::bad("user: 1 to 255 bytes without colon and control characters are expected"));
    }
    if body.device_ca && admin.app.config.device_ca.is_none() {
        return Err(Refusal::bad("device_ca: the server's configuration names no device CA"));
    }
    let other_way = body.psk.is_some() || body.cert.is_some() || body.device_ca;
    let made_up = if body.secret.is_none() && !other_way { Some(random::token()?) } else { None };
    let secret = body.secret.or(made_up.clone()).map(|secret| Secret::from(&*secret));
    if secret.as_ref().is_some_and(|secret| !SECRET.contains(&secret.expose().len())) {
        return Err(Refusal::bad(format!("secret: {} to {} bytes are expected", SECRET.start(), SECRET.end())));
    }
    let keys = &admin.app.keys;
    let place = enrolment_place(body.dev_id.as_str());
    let enrolment = secret.map(|secret| keys.seal(place, secret.expose())).transpose()?;
    let psk = match body.psk {
        None => None,
        Some(psk) => {
            let identity = psk.identity.unwrap_or_else(|| default_user(&body.dev_id));
            let key = of_hex(&Zeroizing::new(psk.key))
                .ok_or_else(|| Refusal::bad("psk.key: hexadecimal digits are expected"))?;
            check(&identity, &key).map_err(|error| Refusal::bad(format!("psk: {error}")))?;
            Some((identity, keys.seal(psk_place(body.dev_id.as_str()), &key)?))
        }
    };
    let key_digest = body.cert.map(|pem| key_digest(&pem)).transpose();
    let key_digest = key_digest.map_err(|error| Refusal::bad(format!("cert: {error}")))?;
    let known = admin.app.store.device(&body.dev_id).await?.is_some();
    let new = NewDevice { dev_id: body.dev_id, user, enrolment, psk, key_digest, at: clock::now() };
    let device = with_last_session(&admin, admin.app.store.add_device(new).await?).await?;
    let status = if known { StatusCode::OK } else { StatusCode::CREATED };
    Ok((status, Json(Added { device, secret: made_up })))
}

/// `GET /api/v1/devices?after=DEVID&limit=N`, by DevID; a header Link names the next page.
pub(super) async fn list(State(admin): State<Admin>, page: Page) -> Result<Response, Refusal> {
    let devices = page_of(&admin, page.after.as_deref(), page.limit).await?;
    let next = devices.last().filter(|_| devices.len() == page.limit as usize).and_then(|last| {
        let link = format!("</api/v1/devices?after={}&limit={}>; rel=\"next\"", encoded(&last.dev_id), page.limit);
        HeaderValue::from_str(&link).ok()
    });
    let mut response = Json(devices).into_response();
    if let Some(next) = next {
        response.headers_mut().insert(LINK, next);
    }
    Ok(response)
}

/// `GET /api/v1/devices/{dev_id}`.
pub(super) async fn show(
    State(admin): State<Admin>,
    DevicePath(dev_id): DevicePath,
) -> Result<Json<DeviceView>, Refusal> {
    detail(&admin, &dev_id).await?.map(Json).ok_or_else(none)
}

/// `GET /api/v1/devices/{dev_id}/why`: the decisions about a DevID, known or not, refused requests included.
pub(super) async fn why(State(admin): State<Admin>, DevicePath(dev_id): DevicePath) -> Result<Json<Value>, Refusal> {
    let device = admin.app.store.device(&dev_id).await?;
    let id = device.as_ref().map(|device| device.id);
    let requests = admin.app.store.requests_of(id, dev_id.as_str(), SHOWN.0).await?;
    let credentials = match id {
        Some(id) => credentials_of(&admin, id).await?,
        None => Vec::new(),
    };
    let state = device.as_ref().map(|device| device.state);
    let mut answer = json!({ "dev_id": dev_id, "state": state, "credentials": credentials, "requests": requests });
    if let Some(blocked_at) = device.and_then(|device| device.blocked_at) {
        answer["blocked_at"] = json!(blocked_at);
    }
    if let Some(removed_at) = admin.app.store.removed_at(&dev_id).await? {
        answer["removed_at"] = json!(removed_at);
    }
    Ok(Json(answer))
}

/// `DELETE /api/v1/devices/{dev_id}`: what it was given is worth nothing from now on; that it was removed is remembered.
pub(super) async fn remove(State(admin): State<Admin>, DevicePath(dev_id): DevicePath) -> Result<StatusCode, Refusal> {
    if admin.app.store.remove_device(&dev_id, clock::now()).await? { Ok(StatusCode::NO_CONTENT) } else { Err(none()) }
}

/// `POST /api/v1/devices/{dev_id}/block`: refused from now on, whatever it proves itself by.
pub(super) async fn block(admin: State<Admin>, path: DevicePath) -> Result<Json<DeviceView>, Refusal> {
    set_blocked(admin, path, Some(clock::now())).await
}

/// `DELETE /api/v1/devices/{dev_id}/block`.
pub(super) async fn unblock(admin: State<Admin>, path: DevicePath) -> Result<Json<DeviceView>, Refusal> {
    set_blocked(admin, path, None).await
}

async fn set_blocked(
    State(admin): State<Admin>,
    DevicePath(dev_id): DevicePath,
    since: Option<Timestamp>,
) -> Result<Json<DeviceView>, Refusal> {
    let device = admin.app.store.block_device(&dev_id, since).await?.ok_or_else(none)?;
    Ok(Json(with_last_session(&admin, device).await?))
}

fn none() -> Refusal {
    Refusal::not_found("this DevID is not known")
}

/// `GET /api/v1/requests?limit=N`: the last requests of all.
pub(super) async fn requests(State(admin): State<Admin>, page: Page) -> Result<Json<Value>, Refusal> {
    Ok(Json(json!({ "requests": admin.app.store.requests(page.limit).await? })))
}

/// A device with all that is shown of it.
pub(super) async fn detail(admin: &Admin, dev_id: &DevId) -> Result<Option<DeviceView>, StoreError> {
    let store = &admin.app.store;
    let Some(device) = store.device(dev_id).await? else { return Ok(None) };
    let id = device.id;
    let requests = store.requests_of(Some(id), dev_id.as_str(), SHOWN.0).await?;
    let jobs = store.jobs(id, SHOWN.2).await?;
    let sessions: Vec<SessionView> = store.sessions(id, SHOWN.1).await?.into_iter().map(SessionView::from).collect();
    let mut view = DeviceView::new(device, None);
    view.last_session = sessions.first().cloned();
    view.sessions = Some(sessions);
    view.credentials = Some(credentials_of(admin, id).await?);
    view.requests = Some(requests);
    view.jobs = Some(jobs.into_iter().map(JobView::from).collect());
    Ok(Some(view))
}

/// What a device was given, or will come with.
async fn credentials_of(admin: &Admin, device: i64) -> Result<Vec<CredentialView>, StoreError> {
    let credentials = admin.app.store.credentials_of(device, CREDENTIALS).await?;
    Ok(credentials.into_iter().map(CredentialView::from).collect())
}

/// Devices with their last sessions.
pub(super) async fn page_of(admin: &Admin, after: Option<&str>, limit: u32) -> Result<Vec<DeviceView>, StoreError> {
    let mut views = Vec::new();
    for device in admin.app.store.devices(after, limit).await? {
        views.push(with_last_session(admin, device).await?);
    }
    Ok(views)
}

/// A DevID as it stands in a link.
pub(super) fn encoded(dev_id: &str) -> String {
    utf8_percent_encode(dev_id, NON_ALPHANUMERIC).to_string()
}

fn of_hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, rest) = text.trim().as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect::<Option<Vec<u8>>>()?;
    rest.is_empty().then(|| Zeroizing::new(bytes))
}

async fn with_last_session(admin: &Admin, device: Device) -> Result<DeviceView, StoreError> {
    let last = admin.app.store.sessions(device.id, 1).await?.into_iter().next();
    Ok(DeviceView::new(device, last))
}
