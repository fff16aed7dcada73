//! What the API reads: JSON bodies with errors that name line and column, and bounded pages.

use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use http::request::Parts;
use omadm_core::ids::DevId;
use omadm_core::json;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Admin;
use crate::body;
use crate::problem::Refusal;

/// The largest body, in bytes.
const MAX: usize = 1 << 20;

/// A body as it came.
pub(super) struct Bytes(pub(super) Vec<u8>);

/// A JSON body.
pub(super) struct Json<T>(pub(super) T);

/// A DevID in the path.
pub(super) struct DevicePath(pub(super) DevId);

/// Which part of a list.
pub(super) struct Page {
    pub(super) after: Option<String>,
    pub(super) limit: u32,
}

impl FromRequest<Admin> for Bytes {
    type Rejection = Refusal;

    async fn from_request(request: Request, admin: &Admin) -> Result<Self, Refusal> {
        body::read(request.into_body(), MAX, admin.app.config.limits.body).await.map(Self)
    }
}

impl<T: DeserializeOwned> FromRequest<Admin> for Json<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, admin: &Admin) -> Result<Self, Refusal> {
        let Bytes(bytes) = Bytes::from_request(request, admin).await?;
        json::parse(&bytes, MAX).map_err(|error| Refusal::bad(error.to_string()))?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| Refusal::bad(error.to_string()))
    }
}

impl FromRequestParts<Admin> for DevicePath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, admin: &Admin) -> Result<Self, Refusal> {
        let Path(segments): Path<Vec<(String, String)>> =
            Path::from_request_parts(parts, admin).await.map_err(|error| Refusal::bad(error.body_text()))?;
        let (_, text) =
            segments.into_iter().find(|(name, _)| name == "dev_id").ok_or_else(|| Refusal::bad("no DevID"))?;
        text.parse().map(Self).map_err(|error| Refusal::bad(format!("{error}")))
    }
}

impl FromRequestParts<Admin> for Page {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, admin: &Admin) -> Result<Self, Refusal> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            after: Option<String>,
            limit: Option<u32>,
        }
        let Query(written): Query<Written> =
            Query::from_request_parts(parts, admin).await.map_err(|error| Refusal::bad(error.body_text()))?;
        let limit = written.limit.unwrap_or(1000);
        if !(1..=1000).contains(&limit) {
            return Err(Refusal::bad("limit: 1 to 1000 is expected"));
        }
        Ok(Self { after: written.after, limit })
    }
}
