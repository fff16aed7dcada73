//! What the server says about itself.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};

use super::Admin;
use crate::problem::Refusal;

/// `GET /health`: it runs, and its store answers.
pub(super) async fn health(State(admin): State<Admin>) -> Result<Json<Value>, Refusal> {
    admin.app.store.profiles_version().await?;
    let notices = admin.app.certificates.notices();
    Ok(Json(json!({ "status": if notices.is_empty() { "ok" } else { "attention" } })))
}

/// `GET /api/v1/server`.
pub(super) async fn show(State(admin): State<Admin>) -> Result<Json<Value>, Refusal> {
    let app = &admin.app;
    let counts = app.store.counts().await?;
    let devices: Map<_, _> =
        counts.into_iter().map(|(state, count)| (state.as_str().to_owned(), count.into())).collect();
    Ok(Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "profile": omadm_core::PROFILE,
        "public_url": app.public,
        "bootstrap_url": format!("{}/bootstrap", app.public),
        "dm_url": format!("{}/dm", app.public),
        "anonymous": app.config.bootstrap.anonymous,
        "devices": devices,
        "notices": app.certificates.notices(),
    })))
}

/// `GET /api/v1/ca`: what devices have to trust to reach the device port.
pub(super) async fn anchors(State(admin): State<Admin>) -> Result<Response, Refusal> {
    let pem = admin.app.certificates.anchors();
    let pem = pem.ok_or_else(|| Refusal::not_found("the certificate is for the devices' own trust stores"))?;
    Ok(([(CONTENT_TYPE, "application/x-pem-file")], pem).into_response())
}
