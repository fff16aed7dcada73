//! `/data/<token>/<name>`: the data repository that HGET, HPUT and HPOST address. A token is good once, for one device.

use axum::body::Body;
use axum::response::Response;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode, request::Parts};
use omadm_core::json;
use omadm_core::mo::parse_items;
use omadm_core::web::{media, media_type, negotiate};

use crate::app::App;
use crate::body;
use crate::clock;
use crate::device_port::{Answered, Case};
use crate::dm::{ACCEPT_HEADER, Sender, prove};
use crate::problem::Refusal;
use crate::store::Item;

/// A token that was not used is dead after so many seconds: a session lasts 30 minutes.
const LIFE: u64 = 3600;

/// Answers a request to the data repository.
pub(crate) async fn answer(app: &App, case: &mut Case, request: &Parts, content: Body) -> Result<Answered, Refusal> {
    let gone = || Refusal::not_found("nothing is here, or not any more");
    let path = request.uri.path().strip_prefix("/data/").unwrap_or_default();
    let (token, name) = path.split_once('/').ok_or_else(gone)?;
    let sender = prove(app, case, &request.headers).await?;
    let item = app.store.item(token).await?.ok_or_else(gone)?;
    let alive = item.used_at.is_none() && clock::now().since(item.made_at) <= LIFE;
    if item.device != sender.device.id || item.name != name || !alive {
        return Err(gone().because(reason(&item, &sender, name)));
    }
    match (&request.method, item.upload) {
        (&Method::GET, false) => give(app, request, item).await,
        (&Method::PUT | &Method::POST, true) => take(app, request, &item, content).await,
        (_, upload) => {
            let allowed = if upload { "PUT, POST" } else { "GET" };
            let detail = format!("only {allowed} is allowed here");
            Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method", detail).with(ALLOW, allowed))
        }
    }
}

async fn give(app: &App, request: &Parts, item: Item) -> Result<Answered, Refusal> {
    let offered = [media::MO, media::JSON];
    let chosen = negotiate(body::accept(&request.headers).as_deref(), &offered).ok_or_else(|| {
        let detail = format!("Accept allows none of {}", offered.join(", "));
        Refusal::new(StatusCode::NOT_ACCEPTABLE, "not-acceptable", detail)
    })?;
    used_once(app.store.use_item(&item.token, None, clock::now()).await?)?;
    let chosen = if chosen == media::JSON { media::JSON } else { media::MO };
    let mut response = Response::new(Body::from(item.content.unwrap_or_default()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(chosen));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(Answered { response, code: "fetched", why: format!("fetched {} of job {}", item.name, item.job) })
}

async fn take(app: &App, request: &Parts, item: &Item, content: Body) -> Result<Answered, Refusal> {
    let content_type = media_type(body::header(&request.headers, CONTENT_TYPE.as_str())?.unwrap_or_default());
    if !media::MO_READ.contains(&content_type.as_str()) {
        let detail = format!("Content-Type has to be one of {}", media::MO_READ.join(", "));
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "media-type", detail)
            .with(ACCEPT_HEADER, "application/vnd.oma.dm.mo+json, application/json;q=0.5"));
    }
    let limits = &app.config.limits;
    let bytes = body::read(content, limits.max_body as usize, limits.body).await?;
    let _work = app.load.work(bytes.len()).await;
    json::parse(&bytes, limits.max_body as usize)
        .map_err(|error| Refusal::bad(error.to_string()))
        .and_then(|value| parse_items(&value).map_err(|error| Refusal::bad(error.to_string())))?;
    used_once(app.store.use_item(&item.token, Some(bytes), clock::now()).await?)?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(Answered { response, code: "stored", why: format!("sent {} of job {}", item.name, item.job) })
}

fn used_once(first: bool) -> Result<(), Refusal> {
    if first { Ok(()) } else { Err(Refusal::not_found("nothing is here, or not any more").because("used meanwhile")) }
}

fn reason(item: &Item, sender: &Sender, name: &str) -> String {
    match (item.device == sender.device.id, item.name == name, item.used_at) {
        (false, _, _) => "the token is another device's".to_owned(),
        (true, false, _) => "the token is for another name".to_owned(),
        (true, true, Some(_)) => "the token was used already".to_owned(),
        (true, true, None) => "the token is too old".to_owned(),
    }
}
