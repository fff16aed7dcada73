//! Messages for cards and factory files: each with a credential of its own, bound to the first device that uses it.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_LOCATION, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use omadm_core::ids::Iccid;
use omadm_core::reason::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Admin;
use super::input::{Json as Input, Page};
use super::views::CredentialView;
use crate::bootstrap::new_credential;
use crate::bootstrap::rendering::{Form, card_limit};
use crate::problem::Refusal;
use crate::profile::{Scheme, readable};

/// The longest label, in bytes.
const LABEL: usize = 128;

/// Which message, and for what.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MessageBody {
    profile: String,
    #[serde(rename = "for")]
    carrier: Carrier,
    /// The card or file, for people; the ICCID if absent.
    label: Option<String>,
    /// The card's ICCID.
    iccid: Option<Iccid>,
    /// Takes the place of the profile's: `none` makes a message without a secret.
    credentials: Option<Scheme>,
}

/// What carries the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Carrier {
    Card,
    Factory,
}

/// `POST /api/v1/messages`: the message itself. The header `Content-Location` names its credential, if it has one that was
/// made for it.
pub(super) async fn issue(State(admin): State<Admin>, Input(body): Input<MessageBody>) -> Result<Response, Refusal> {
    let app = &admin.app;
    let profiles = app.profiles.all(app.store.as_ref()).await?;
    let profile = readable(&profiles)
        .find(|profile| profile.name == body.profile)
        .ok_or_else(|| Refusal::not_found("there is no profile of this name"))?;
    let label = body.label.or(body.iccid.map(|iccid| iccid.to_string())).unwrap_or_default();
    if label.len() > LABEL || label.chars().any(char::is_control) {
        return Err(Refusal::bad(format!("label: at most {LABEL} bytes without control characters are expected")));
    }
    let (source, limit) = match body.carrier {
        Carrier::Card => (Method::Smartcard, Some(card_limit())),
        Carrier::Factory => (Method::Factory, None),
    };
    let scheme = body.credentials.unwrap_or(profile.credentials);
    match scheme {
        Scheme::Basic | Scheme::Psk | Scheme::X509 => {
            profile.template.check_room_for_credentials().map_err(|error| Refusal::bad(error.to_string()))?;
        }
        Scheme::None => {}
    }
    let (values, row) = new_credential(app, profile, scheme, None, source, label)?;
    let form = Form::BootstrapMessage;
    let bytes = form
        .render(&profile.template, &values)
        .map_err(|error| Refusal::new(StatusCode::CONFLICT, "conflict", error.to_string()))?;
    if let Some(limit) = limit.filter(|limit| bytes.len() > *limit) {
        let detail = format!("the message has {} bytes; at most {limit} fit on a card", bytes.len());
        return Err(Refusal::new(StatusCode::CONFLICT, "conflict", detail));
    }
    // Users that are made up consist of letters, digits, `-` and `_`.
    let place = row.as_ref().and_then(|row| HeaderValue::try_from(format!("/api/v1/messages/{}", row.user)).ok());
    if let Some(row) = row {
        app.store.give_out(row).await?;
    }
    let mut response = Response::new(Body::from(bytes));
    if let Some(place) = place {
        response.headers_mut().insert(CONTENT_LOCATION, place);
    }
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(form.media_type()));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// `DELETE /api/v1/messages/{user}`: a credential of a card or factory file is worth nothing from now on.
pub(super) async fn withdraw(State(admin): State<Admin>, Path(user): Path<String>) -> Result<StatusCode, Refusal> {
    if admin.app.store.withdraw(&user).await? {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Refusal::not_found("no card or factory file has a credential of this user"))
}

/// `GET /api/v1/messages`: the credentials of cards and factory files, and whom they are bound to.
pub(super) async fn list(State(admin): State<Admin>, page: Page) -> Result<Json<Value>, Refusal> {
    let rows = admin.app.store.loose_credentials(page.limit).await?;
    let views: Vec<CredentialView> = rows.into_iter().map(CredentialView::from).collect();
    Ok(Json(json!({ "messages": views })))
}
