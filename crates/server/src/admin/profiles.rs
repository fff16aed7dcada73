//! Profiles: list, show, add, delete, and what given facts lead to.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use omadm_core::ids::{DevId, Mcc, Mnc};
use omadm_core::web::media;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Admin;
use super::input::{Bytes, Json as Input};
use crate::bootstrap::filling;
use crate::bootstrap::rendering::{Form, sample_credential};
use crate::clock;
use crate::problem::Refusal;
use crate::profile::{Listed, Matched, Profile, overlap, readable, select};
use crate::store::{ProfileRow, StoreError};

/// Facts to try out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Facts {
    dev_id: Option<DevId>,
    mcc: Option<Mcc>,
    mnc: Option<Mnc>,
}

/// `GET /api/v1/profiles`: one that cannot be read, and so goes to no device, with its problem.
pub(super) async fn list(State(admin): State<Admin>) -> Result<Json<Value>, Refusal> {
    Ok(Json(admin.app.store.profiles().await?.iter().map(content).collect()))
}

/// `GET /api/v1/profiles/{name}`: as it was written.
pub(super) async fn show(State(admin): State<Admin>, Path(name): Path<String>) -> Result<Response, Refusal> {
    let rows = admin.app.store.profiles().await?;
    let row = rows.into_iter().find(|row| row.name == name).ok_or_else(none)?;
    Ok(([(CONTENT_TYPE, media::JSON)], row.content).into_response())
}

/// `POST /api/v1/profiles`: checked before it is stored; one of the same name is replaced.
pub(super) async fn add(State(admin): State<Admin>, Bytes(bytes): Bytes) -> Result<(StatusCode, Json<Value>), Refusal> {
    let profile = Profile::parse(&bytes).map_err(|error| Refusal::bad(error.to_string()))?;
    let name = profile.name.clone();
    let others = admin.app.profiles.all(admin.app.store.as_ref()).await?;
    for other in others.iter().filter(|other| other.name() != name) {
        if let Some(shared) = overlap(&profile.matches, other.matches()) {
            let detail = format!("match: profile {} is for {shared} already", other.name());
            return Err(Refusal::new(StatusCode::CONFLICT, "conflict", detail));
        }
    }
    let known = admin.app.store.profiles().await?.iter().any(|row| row.name == name);
    let written = String::from_utf8(bytes).map_err(|_| Refusal::bad("not UTF-8"))?;
    let row = ProfileRow { name, content: written, changed_at: clock::now() };
    let shown = content(&row);
    admin.app.store.put_profile(row).await?;
    Ok((if known { StatusCode::OK } else { StatusCode::CREATED }, Json(shown)))
}

/// `DELETE /api/v1/profiles/{name}`.
pub(super) async fn remove(State(admin): State<Admin>, Path(name): Path<String>) -> Result<StatusCode, Refusal> {
    if admin.app.store.remove_profile(&name).await? { Ok(StatusCode::NO_CONTENT) } else { Err(none()) }
}

/// `POST /api/v1/preview`: which profile a device with these facts gets once it proves who it is, why, and the message.
pub(super) async fn choose(State(admin): State<Admin>, Input(facts): Input<Facts>) -> Result<Json<Value>, Refusal> {
    let profiles = admin.app.profiles.all(admin.app.store.as_ref()).await?;
    match facts.chosen(&profiles) {
        Some((Listed::Readable(profile), matched)) => {
            let why = format!("a device with these facts gets it, since {matched}");
            shown(&admin, profile, &why)
        }
        Some((Listed::Unreadable { name, .. }, matched)) => {
            let why = format!("profile {name} is for this device, since {matched}, and cannot be read");
            Ok(Json(json!({ "profile": name, "why": why, "message": null })))
        }
        None => Ok(Json(json!({ "profile": null, "why": "no profile is for this device", "message": null }))),
    }
}

/// `POST /api/v1/profiles/{name}/preview`: the message of this profile, and whether a device with these facts gets it.
pub(super) async fn preview(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    Input(facts): Input<Facts>,
) -> Result<Json<Value>, Refusal> {
    let profiles = admin.app.profiles.all(admin.app.store.as_ref()).await?;
    let profile = readable(&profiles).find(|profile| profile.name == name).ok_or_else(none)?;
    let why = match facts.chosen(&profiles) {
        Some((chosen, matched)) if chosen.name() == name => {
            format!("a device with these facts gets it, since {matched}")
        }
        Some((Listed::Readable(chosen), matched)) => {
            format!("a device with these facts gets profile {} instead, since there {matched}", chosen.name)
        }
        Some((Listed::Unreadable { name, .. }, matched)) => {
            format!(
                "a device with these facts gets 503: profile {name} is for it, since there {matched}, and cannot be read"
            )
        }
        None => "a device with these facts gets nothing: no profile matches".to_owned(),
    };
    shown(&admin, profile, &why)
}

impl Facts {
    fn chosen<'a>(&self, profiles: &'a [Listed]) -> Option<(&'a Listed, Matched)> {
        select(profiles, self.dev_id.as_ref(), self.mcc.as_ref(), self.mnc.as_ref())
    }
}

/// A profile's message, with sample credentials.
fn shown(admin: &Admin, profile: &Profile, why: &str) -> Result<Json<Value>, Refusal> {
    let mut values = filling(&admin.app);
    values.credential = sample_credential(profile.credentials);
    let bytes = Form::BootstrapMessage
        .render(&profile.template, &values)
        .map_err(|error| Refusal::new(StatusCode::CONFLICT, "conflict", error.to_string()))?;
    let message: Value = serde_json::from_slice(&bytes).map_err(|error| StoreError::Corrupt(error.to_string()))?;
    Ok(Json(json!({ "profile": profile.name, "why": why, "release": profile.release, "message": message })))
}

/// A profile as it was written, as far as it can be read, and what is wrong with it.
fn content(row: &ProfileRow) -> Value {
    let mut members: Map<String, Value> = serde_json::from_str(&row.content).unwrap_or_default();
    if let Err(error) = Profile::parse(row.content.as_bytes()) {
        members.insert("name".to_owned(), json!(row.name));
        members.insert("problem".to_owned(), json!(error.to_string()));
    }
    members.insert("changed_at".to_owned(), json!(row.changed_at));
    Value::Object(members)
}

fn none() -> Refusal {
    Refusal::not_found("there is no profile of this name")
}
