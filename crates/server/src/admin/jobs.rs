//! Jobs: commands for one device, sent in its next session.

use axum::Json;
use axum::extract::{Path, State};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

use super::Admin;
use super::input::{DevicePath, Json as Input};
use super::views::JobView;
use crate::clock;
use crate::dm::queue;
use crate::problem::Refusal;
use crate::store::{Device, JobKind, NewJob};

/// How many jobs are listed.
const SHOWN: u32 = 100;
/// How many jobs of one device may wait.
const WAITING: u32 = 100;

/// Commands to be queued. `data:NAME` as a ServerURI stands for a place in the data repository; `data` holds what HGET
/// finds there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewJobBody {
    commands: Value,
    #[serde(default)]
    data: BTreeMap<String, Value>,
}

/// `POST /api/v1/devices/{dev_id}/jobs`.
pub(super) async fn add(
    State(admin): State<Admin>,
    DevicePath(dev_id): DevicePath,
    Input(body): Input<NewJobBody>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    queue::check(&body.commands, &body.data).map_err(|error| Refusal::bad(error.to_string()))?;
    let device = device(&admin, &dev_id).await?;
    if admin.app.store.waiting_jobs(device.id, WAITING).await?.len() >= WAITING as usize {
        let detail = format!("{WAITING} jobs of this device wait already");
        return Err(Refusal::new(StatusCode::CONFLICT, "conflict", detail));
    }
    let job = NewJob {
        device: device.id,
        kind: JobKind::Operator,
        commands: body.commands,
        data: body.data,
        at: clock::now(),
    };
    let id = admin.app.store.add_job(job).await?;
    Ok((StatusCode::CREATED, Json(json!({ "id": id }))))
}

/// `GET /api/v1/devices/{dev_id}/jobs`.
pub(super) async fn list(State(admin): State<Admin>, DevicePath(dev_id): DevicePath) -> Result<Json<Value>, Refusal> {
    let device = device(&admin, &dev_id).await?;
    let jobs: Vec<JobView> = admin.app.store.jobs(device.id, SHOWN).await?.into_iter().map(JobView::from).collect();
    Ok(Json(json!({ "jobs": jobs })))
}

/// `GET /api/v1/devices/{dev_id}/jobs/{id}`: with what the device sent to the data repository for it.
pub(super) async fn show(
    State(admin): State<Admin>,
    DevicePath(dev_id): DevicePath,
    Path((_, id)): Path<(String, i64)>,
) -> Result<Json<JobView>, Refusal> {
    let device = device(&admin, &dev_id).await?;
    let found = admin.app.store.job(device.id, id).await?;
    let (row, uploads) = found.ok_or_else(|| Refusal::not_found("this device has no such job"))?;
    let mut view = JobView::from(row);
    let content = |bytes: &[u8]| serde_json::from_slice(bytes).unwrap_or(Value::Null);
    view.uploads =
        Some(uploads.into_iter().map(|upload| (upload.name, content(&upload.content))).collect::<Map<_, _>>());
    Ok(Json(view))
}

async fn device(admin: &Admin, dev_id: &omadm_core::ids::DevId) -> Result<Device, Refusal> {
    admin.app.store.device(dev_id).await?.ok_or_else(|| Refusal::not_found("this DevID is not known"))
}
