//! One package of the client and the answer to it. The session's state lives in the store, so any node can do this.

use axum::body::Body;
use axum::response::Response;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, SET_COOKIE};
use http::{HeaderValue, StatusCode};
use omadm_core::package::{Alert, BOOTSTRAP_COMPLETE, Package1, Package2, Package3};
use omadm_core::session::MAX_SECONDS;
use omadm_core::session::server::{Job, JobResult, ServerSession};
use omadm_core::time::Timestamp;
use omadm_core::web::media;
use serde_json::{Value, json};

use super::identity::Sender;
use super::{Continuity, cookie, devinfo, queue};
use crate::app::App;
use crate::clock;
use crate::device_port::Answered;
use crate::problem::Refusal;
use crate::random;
use crate::store::{
    DevInfo, DeviceState, End, Item, JobKind, JobRow, NewSession, Preparation, SessionRow, Step, StoreError,
};

/// A session is dead after so many idle seconds (Profile P-5).
pub(crate) const IDLE: u64 = 600;
/// How many jobs are looked at for one package.
const JOBS: u32 = 16;
/// The largest results of a job that are kept, in bytes of JSON.
const MAX_RESULTS: usize = 256 * 1024;
/// How many alert types of one package are kept, and the longest in bytes.
const ALERTS: (usize, usize) = (32, 200);
/// How often a job is taken anew that somebody else took meanwhile.
const RACES: u32 = 3;

/// A Package#1: a session opens, and ends the one before it.
pub(super) async fn first(app: &App, sender: &Sender, bytes: &[u8]) -> Result<Answered, Refusal> {
    let package = Package1::parse(bytes).map_err(|error| Refusal::bad(format!("Package#1: {error}")))?;
    let alerts = types(&package.alerts);
    let due = alerts.iter().any(|kind| kind == BOOTSTRAP_COMPLETE) || sender.device.state != DeviceState::Managed;
    for _ in 0..RACES {
        let now = clock::now();
        let preparation = Preparation {
            device: sender.device.id,
            account: sender.account.clone(),
            due: due.then(|| queue::read_devinfo(sender.device.id)),
            limit: JOBS,
            at: now,
        };
        let (jobs, items) = to_send(app, sender, &app.store.prepare_session(preparation).await?)?;
        let mut session = ServerSession::new();
        let turn = session.begin(&package, jobs);
        let token = random::token()?;
        let sent = numbers(&turn.sent);
        let new = NewSession {
            device: sender.device.id,
            credential: sender.credential,
            user: sender.identity.clone(),
            account: sender.account.clone(),
            cookie: cookie::digest(&token),
            state: state(&session)?,
            alerts: alerts.clone(),
            items: of_jobs(items, &sent),
            sent,
            ended: turn.ended,
            at: now,
        };
        if app.store.open_session(new).await? {
            let mut answered = package2(&turn.reply, turn.ended, format!("session opened: {}", short(&alerts)));
            set_cookie(&mut answered, Some(&token));
            return Ok(answered);
        }
    }
    Err(conflict())
}

/// A Package#3: results come in, and what else is queued goes out.
pub(super) async fn further(
    app: &App,
    sender: &Sender,
    shown: &Continuity<'_>,
    bytes: &[u8],
) -> Result<Answered, Refusal> {
    let now = clock::now();
    let row = live_session(app, sender, shown, now).await?;
    // Whoever comes by a CONT has no cookie for this address yet.
    let fresh = match (shown.cookie, shown.token) {
        (None, Some(_)) => Some(random::token()?),
        (Some(_), _) | (None, None) => None,
    };
    let mut session: ServerSession =
        serde_json::from_str(&row.state).map_err(|error| StoreError::Corrupt(format!("session: {error}")))?;
    let package = match Package3::parse(bytes) {
        Ok(package) => package,
        Err(error) => return Err(broken(app, &row, now, format!("Package#3: {error}")).await?),
    };
    let (jobs, items) = if now.since(row.started_at) > MAX_SECONDS {
        (Vec::new(), Vec::new())
    } else {
        to_send(app, sender, &app.store.waiting_jobs(sender.device.id, JOBS).await?)?
    };
    let turn = match session.proceed(&package, jobs) {
        Ok(turn) => turn,
        Err(error) => return Err(broken(app, &row, now, format!("Package#3: {error}")).await?),
    };
    let results = take_in(app, sender, &turn.results).await?;
    let why = results.sentence();
    let sent = numbers(&turn.sent);
    let step = Step {
        session: row.id,
        version: row.version,
        state: state(&session)?,
        alerts: types(&package.alerts),
        commands: results.commands,
        items: of_jobs(items, &sent),
        sent,
        done: results.done,
        devinfo: results.devinfo,
        agreed: results.agreed,
        end: turn.ended.then_some(End::Well),
        cookie: fresh.as_deref().map(cookie::digest),
        at: now,
    };
    if !app.store.advance_session(step).await? {
        return Err(conflict());
    }
    let mut answered = package2(&turn.reply, turn.ended, why);
    set_cookie(&mut answered, fresh.as_deref());
    Ok(answered)
}

fn set_cookie(answered: &mut Answered, token: Option<&str>) {
    if let Some(Ok(value)) = token.map(|token| HeaderValue::from_str(&cookie::set(token))) {
        answered.response.headers_mut().insert(SET_COOKIE, value);
    }
}

/// The session of this cookie; without one, that of this identity, by the token of a CONT or without (Profile P-5).
async fn live_session(
    app: &App,
    sender: &Sender,
    shown: &Continuity<'_>,
    now: Timestamp,
) -> Result<SessionRow, Refusal> {
    let refused = |why: &str| {
        Refusal::new(StatusCode::FORBIDDEN, "no-session", "no session is open here; begin a new one").because(why)
    };
    if let (None, Some(token)) = (shown.cookie, shown.token) {
        let item = app.store.item(token).await?.ok_or_else(|| refused("the token of its CONT is unknown"))?;
        if item.device != sender.device.id || item.name != queue::CONT {
            return Err(refused("the token of its CONT is another device's"));
        }
        if !app.store.use_item(token, None, now).await? {
            return Err(refused("the token of its CONT was used already"));
        }
    }
    let row = match shown.cookie {
        Some(token) => {
            let row = app.store.session_by_cookie(cookie::digest(token)).await?;
            let row = row.ok_or_else(|| refused("its cookie is unknown"))?;
            if row.device != sender.device.id || row.user != sender.identity {
                return Err(refused("its cookie is of another identity's session"));
            }
            row
        }
        None => app
            .store
            .newest_session(sender.device.id, &sender.identity)
            .await?
            .ok_or_else(|| refused("it has no cookie and no session"))?,
    };
    if row.ended_at.is_some() {
        return Err(refused("its session has ended"));
    }
    if now.since(row.touched_at) > IDLE {
        return Err(refused("its session was idle for more than ten minutes"));
    }
    Ok(row)
}

struct Results {
    done: Vec<(i64, Value)>,
    commands: Vec<(String, u16)>,
    devinfo: Option<DevInfo>,
    agreed: bool,
}

impl Results {
    fn sentence(&self) -> String {
        if self.commands.is_empty() {
            return "no results".to_owned();
        }
        let list: Vec<String> = self.commands.iter().take(16).map(|(name, code)| format!("{name} {code}")).collect();
        let devinfo = match (&self.devinfo, self.agreed) {
            (None, _) => "",
            (Some(_), true) => "; DevInfo read twice, both agree",
            (Some(_), false) => "; DevInfo read, but the two readings do not agree",
        };
        format!("results: {}{devinfo}", list.join(", "))
    }
}

async fn take_in(app: &App, sender: &Sender, results: &[JobResult]) -> Result<Results, Refusal> {
    let mut all = Results { done: Vec::new(), commands: Vec::new(), devinfo: None, agreed: false };
    for result in results {
        let Ok(id) = result.id.parse::<i64>() else { continue };
        let Some((row, uploads)) = app.store.job(sender.device.id, id).await? else { continue };
        all.commands.extend(queue::names(&row).zip(result.statuses.iter().map(|status| status.sc.0)));
        match row.kind {
            JobKind::ReadDevInfo => {
                let reading = devinfo::compare(&sender.device.dev_id, &uploads, &result.statuses);
                all.agreed |= reading.agreed;
                all.devinfo = reading.values.or(all.devinfo);
            }
            JobKind::Operator => {}
        }
        all.done.push((id, kept(result)));
    }
    Ok(all)
}

/// The results as kept: too large data is left out and said so.
fn kept(result: &JobResult) -> Value {
    let whole = json!(result.statuses);
    if whole.to_string().len() <= MAX_RESULTS {
        return whole;
    }
    let codes: Vec<u16> = result.statuses.iter().map(|status| status.sc.0).collect();
    json!(codes.iter().map(|sc| json!({ "sc": sc, "dropped": "the results were too large" })).collect::<Vec<_>>())
}

/// The session is over, and what was out waits again.
async fn broken(app: &App, row: &SessionRow, now: Timestamp, why: String) -> Result<Refusal, Refusal> {
    let step = Step {
        session: row.id,
        version: row.version,
        state: row.state.clone(),
        alerts: Vec::new(),
        commands: Vec::new(),
        sent: Vec::new(),
        items: Vec::new(),
        done: Vec::new(),
        devinfo: None,
        agreed: false,
        end: Some(End::Broken(why.chars().take(200).collect())),
        cookie: None,
        at: now,
    };
    app.store.advance_session(step).await?;
    Ok(Refusal::bad(why))
}

fn to_send(app: &App, sender: &Sender, rows: &[JobRow]) -> Result<(Vec<Job>, Vec<Item>), Refusal> {
    let (mut jobs, mut all) = (Vec::new(), Vec::new());
    for row in rows {
        let (job, items) = queue::to_send(&app.public, sender.device.id, row)?;
        jobs.push(job);
        all.extend(items);
    }
    Ok((jobs, all))
}

fn of_jobs(items: Vec<Item>, sent: &[i64]) -> Vec<Item> {
    items.into_iter().filter(|item| sent.contains(&item.job)).collect()
}

fn numbers(ids: &[String]) -> Vec<i64> {
    ids.iter().filter_map(|id| id.parse().ok()).collect()
}

fn types(alerts: &[Alert]) -> Vec<String> {
    alerts
        .iter()
        .take(ALERTS.0)
        .map(|alert| alert.alert_type[..alert.alert_type.floor_char_boundary(ALERTS.1)].to_owned())
        .collect()
}

/// The last part of each alert type, for people.
fn short(alerts: &[String]) -> String {
    let words: Vec<&str> = alerts.iter().map(|kind| kind.rsplit(':').next().unwrap_or(kind)).collect();
    words.join(", ")
}

fn state(session: &ServerSession) -> Result<String, Refusal> {
    Ok(serde_json::to_string(session).map_err(|error| StoreError::Corrupt(error.to_string()))?)
}

fn package2(reply: &Package2, ended: bool, why: String) -> Answered {
    let mut response = Response::new(Body::from(reply.to_bytes()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media::REQUEST));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let names: Vec<&str> = reply.commands.iter().take(16).map(omadm_core::package::Command::name).collect();
    let why = format!("{why}; sent {}", names.join(", "));
    Answered { response, code: if ended { "end" } else { "package" }, why }
}

fn conflict() -> Refusal {
    Refusal::new(StatusCode::CONFLICT, "conflict", "another package of this device is being answered")
}
