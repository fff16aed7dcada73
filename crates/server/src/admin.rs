//! The admin port: the REST API under `/api/v1`, by bearer token, and the overview page, by cookie.

mod access;
mod credentials;
mod devices;
mod factory;
mod input;
mod jobs;
mod pages;
mod profiles;
mod server;
mod views;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{delete, get, post};
use http::StatusCode;
use std::sync::Arc;

use crate::app::App;
use crate::problem::Refusal;
use access::Access;

/// What the handlers of the admin port share.
#[derive(Clone)]
pub(crate) struct Admin {
    app: Arc<App>,
    access: Arc<Access>,
}

/// The admin port's routes. `secure`: it is served over TLS.
pub(crate) fn router(app: Arc<App>, token: &str, secure: bool) -> Router {
    let admin = Admin { app, access: Arc::new(Access::new(token, secure)) };
    let api = Router::new()
        .route("/server", get(server::show))
        .route("/ca", get(server::anchors))
        .route("/profiles", get(profiles::list).post(profiles::add))
        .route("/profiles/{name}", get(profiles::show).delete(profiles::remove))
        .route("/profiles/{name}/preview", post(profiles::preview))
        .route("/preview", post(profiles::choose))
        .route("/devices", get(devices::list).post(devices::add))
        .route("/devices/{dev_id}", get(devices::show).delete(devices::remove))
        .route("/devices/{dev_id}/block", post(devices::block).delete(devices::unblock))
        .route("/devices/{dev_id}/why", get(devices::why))
        .route("/devices/{dev_id}/jobs", get(jobs::list).post(jobs::add))
        .route("/devices/{dev_id}/jobs/{id}", get(jobs::show))
        .route("/messages", get(credentials::list).post(credentials::issue))
        .route("/messages/{user}", delete(credentials::withdraw))
        .route("/factory/messages", post(factory::issue))
        .route("/factory/devices", post(factory::import))
        .route("/requests", get(devices::requests))
        .layer(from_fn_with_state(admin.clone(), access::bearer));
    let console = Router::new()
        .route("/", get(pages::overview))
        .route("/devices/{dev_id}", get(pages::device))
        .route("/logout", post(pages::logout))
        .layer(from_fn_with_state(admin.clone(), access::cookie));
    Router::new()
        .nest("/api/v1", api)
        .merge(console)
        .route("/login", get(pages::login_form).post(pages::login))
        .route("/style.css", get(pages::style))
        .route("/health", get(server::health))
        .fallback(async || Refusal::not_found("nothing is served at this path"))
        .method_not_allowed_fallback(async || {
            Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method", "this method is not allowed here")
        })
        .layer(from_fn(access::headers))
        .with_state(admin)
}
