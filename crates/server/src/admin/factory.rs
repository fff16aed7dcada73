//! What a factory run asks for: messages for many devices at once, and the import of its manifest.

use axum::Json;
use axum::extract::State;
use omadm_core::account::Credential;
use omadm_core::factory::manifest::{CredentialMark, Digest};
use omadm_core::ids::DevId;
use omadm_core::reason::Method;
use omadm_core::secret::Secret;
use omadm_core::time::Timestamp;
use omadm_core::web::default_user;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::sync::Arc;

use super::Admin;
use super::input::Json as Input;
use crate::app::App;
use crate::auth::{credential_place, enrolment_place};
use crate::bootstrap::rendering::{Filling, Form};
use crate::bootstrap::{filling, new_credential};
use crate::clock;
use crate::problem::Refusal;
use crate::profile::{Profile, Scheme, readable};
use crate::random;
use crate::store::{CredentialScheme, FactoryDevice, FactoryOrder, Imported, NewDevice, StoreError};

/// How many devices one request may name.
const DEVICES: usize = 500;
/// How many bytes of messages one answer holds at most.
const ANSWER: usize = 16 << 20;
/// By how many bytes the messages of one profile differ at most: in their credentials, all of one scheme.
const DIFFERENCE: usize = 1024;
/// The longest name of a run, in bytes.
const RUN: usize = 64;

/// For which devices a run wants messages.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OrderBody {
    profile: String,
    /// The run: the same one is given the same for a device, however often it asks.
    run: String,
    devices: Vec<DevId>,
    /// Each device is made known, and gets an enrolment secret.
    #[serde(default)]
    enrol: bool,
    /// How many bytes a message may have; a device whose message has more gets nothing, and stays what it is.
    message_limit: Option<usize>,
}

/// What a device is given, or why not.
#[derive(Serialize)]
#[serde(untagged)]
enum Given {
    Made(Box<Made>),
    Refused { dev_id: DevId, problem: String },
}

#[derive(Serialize)]
struct Made {
    dev_id: DevId,
    message: Value,
    credential: Option<CredentialMark>,
    enrolment: Option<Enrolment>,
    at: Timestamp,
}

#[derive(Serialize)]
struct Enrolment {
    user: String,
    secret: String,
}

/// Devices of a manifest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ImportBody {
    devices: Vec<ImportedDevice>,
}

/// What the manifest says of one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ImportedDevice {
    dev_id: DevId,
    profile: String,
    credential: Option<CredentialMark>,
}

/// What came of the import of one.
#[derive(Serialize)]
#[serde(untagged)]
enum Told {
    Done { dev_id: DevId, outcome: Imported },
    Refused { dev_id: DevId, problem: String },
}

/// `POST /api/v1/factory/messages`: messages of one profile, each with a credential of its own. It is bound by the
/// import of the manifest, else by its first use, and never to another device than it was made for.
pub(super) async fn issue(State(admin): State<Admin>, Input(body): Input<OrderBody>) -> Result<Json<Value>, Refusal> {
    let app = &admin.app;
    at_most(body.devices.len())?;
    if !(1..=RUN).contains(&body.run.len()) || !body.run.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(Refusal::bad(format!("run: 1 to {RUN} letters and digits are expected")));
    }
    let profile =
        named(app, &body.profile).await?.ok_or_else(|| Refusal::not_found("there is no profile of this name"))?;
    match profile.credentials {
        Scheme::Basic | Scheme::Psk | Scheme::X509 => {
            profile.template.check_room_for_credentials().map_err(|error| Refusal::bad(error.to_string()))?;
        }
        Scheme::None => {}
    }
    let (mut fresh, mut orders, mut first) = (Vec::new(), Vec::new(), None);
    for dev_id in &body.devices {
        // Certificates take a while; devices are served between them.
        tokio::task::yield_now().await;
        let (scheme, label) = (profile.credentials, dev_id.to_string());
        let (values, credential) = new_credential(app, &profile, scheme, None, Method::Factory, label)?;
        // Whatever cannot be answered is found before anything is issued, by the first one: they hardly differ.
        let size = match first {
            Some(size) => size,
            None => *first.insert(render(&profile, &values)?.len()),
        };
        if (size + DIFFERENCE).saturating_mul(body.devices.len()) > ANSWER {
            let detail = format!("devices: so many messages have more than {ANSWER} bytes; name fewer");
            return Err(Refusal::bad(detail));
        }
        if let Some(limit) = body.message_limit.filter(|limit| size + DIFFERENCE > *limit) {
            let size = render(&profile, &values)?.len();
            if size > limit {
                fresh.push(Err(format!("its message has {size} bytes, and {limit} at most fit into its bundle")));
                continue;
            }
        }
        fresh.push(Ok((values.credential, credential.as_ref().map(|row| (row.scheme, row.user.clone())))));
        let enrolment = if body.enrol { Some(new_device(app, dev_id)?) } else { None };
        orders.push(FactoryOrder { run: body.run.clone(), dev_id: dev_id.clone(), credential, enrolment });
    }
    let issued = app.store.issue_in_factory(orders).await?;
    let mut issued = issued.into_iter();
    let mut given = Vec::with_capacity(fresh.len());
    for (dev_id, fresh) in body.devices.into_iter().zip(fresh) {
        let ordered = match fresh {
            Ok(fresh) => issued.next().ok_or(StoreError::Broken)?.map(|issue| (fresh, issue)),
            Err(problem) => Err(problem),
        };
        let (fresh, issue) = match ordered {
            Ok(ordered) => ordered,
            Err(problem) => {
                given.push(Given::Refused { dev_id, problem });
                continue;
            }
        };
        let credential = match (fresh, issue.credential) {
            ((credential, Some((scheme, made))), Some((user, sealed))) => {
                let credential = if made == user { credential } else { kept(app, scheme, &user, &sealed)? };
                let mark = mark(app, scheme, user, &sealed)?;
                credential.map(|credential| (credential, mark))
            }
            ((_, _), _) => None,
        };
        let (credential, mark) = credential.unzip();
        let values = Filling { credential, ..filling(app) };
        let message = serde_json::from_slice(&render(&profile, &values)?)
            .map_err(|error| StoreError::Corrupt(error.to_string()))?;
        let enrolment = match issue.enrolment {
            None => None,
            Some((user, sealed)) => {
                let secret = app.keys.open_sealed(enrolment_place(dev_id.as_str()), &sealed)?;
                Some(Enrolment { user, secret: String::from_utf8_lossy(secret.expose()).into_owned() })
            }
        };
        given.push(Given::Made(Box::new(Made { dev_id, message, credential: mark, enrolment, at: clock::now() })));
    }
    Ok(Json(json!({ "devices": given })))
}

/// `POST /api/v1/factory/devices`: devices get known, and what they come with is bound to them. A second time changes
/// nothing.
pub(super) async fn import(State(admin): State<Admin>, Input(body): Input<ImportBody>) -> Result<Json<Value>, Refusal> {
    let app = &admin.app;
    at_most(body.devices.len())?;
    let (mut problems, mut devices, mut dev_ids) = (Vec::new(), Vec::new(), Vec::new());
    for line in body.devices {
        dev_ids.push(line.dev_id.clone());
        let credential = match found(app, &line).await? {
            Ok(credential) => credential,
            Err(problem) => {
                problems.push(Some(problem));
                continue;
            }
        };
        problems.push(None);
        let (user, at) = (default_user(&line.dev_id), clock::now());
        let device = NewDevice { dev_id: line.dev_id, user, enrolment: None, psk: None, key_digest: None, at };
        devices.push(FactoryDevice { device, credential });
    }
    let mut outcomes = app.store.import(devices).await?.into_iter();
    let mut told = Vec::with_capacity(dev_ids.len());
    for (dev_id, problem) in dev_ids.into_iter().zip(problems) {
        let outcome = match problem {
            Some(problem) => Err(problem),
            None => outcomes.next().ok_or(StoreError::Broken)?,
        };
        told.push(match outcome {
            Ok(outcome) => Told::Done { dev_id, outcome },
            Err(problem) => Told::Refused { dev_id, problem },
        });
    }
    Ok(Json(json!({ "devices": told })))
}

/// The credential that a line means; or why the line cannot be right.
async fn found(app: &App, line: &ImportedDevice) -> Result<Result<Option<i64>, String>, Refusal> {
    let Some(mark) = &line.credential else {
        let known = named(app, &line.profile).await?.is_some();
        return Ok(if known { Ok(None) } else { Err(format!("there is no profile {}", line.profile)) });
    };
    let credential = app.store.credential(&mark.user).await?;
    let Some(credential) = credential.filter(|credential| credential.source == Method::Factory) else {
        return Ok(Err("its credential was not made here for a factory, or is no longer valid".to_owned()));
    };
    if let Some(other) = credential.made_for.filter(|made_for| *made_for != line.dev_id) {
        return Ok(Err(format!("its credential was made for {other}")));
    }
    if credential.profile != line.profile {
        return Ok(Err(format!("its credential was made with the profile {}", credential.profile)));
    }
    if self::mark(app, credential.scheme, credential.user, &credential.secret)? != *mark {
        return Ok(Err("its credential is another one than that in its bundle".to_owned()));
    }
    Ok(Ok(Some(credential.id)))
}

fn render(profile: &Profile, values: &Filling) -> Result<Vec<u8>, Refusal> {
    Form::BootstrapMessage
        .render(&profile.template, values)
        .map_err(|error| Refusal::new(http::StatusCode::CONFLICT, "conflict", error.to_string()))
}

fn at_most(devices: usize) -> Result<(), Refusal> {
    if (1..=DEVICES).contains(&devices) {
        return Ok(());
    }
    Err(Refusal::bad(format!("devices: 1 to {DEVICES} are expected")))
}

async fn named(app: &App, name: &str) -> Result<Option<Arc<Profile>>, StoreError> {
    let profiles = app.profiles.all(app.store.as_ref()).await?;
    Ok(readable(&profiles).find(|profile| profile.name == name).cloned())
}

fn new_device(app: &App, dev_id: &DevId) -> Result<NewDevice, Refusal> {
    let secret = Secret::from(&*random::token()?);
    Ok(NewDevice {
        dev_id: dev_id.clone(),
        user: default_user(dev_id),
        enrolment: Some(app.keys.seal(enrolment_place(dev_id.as_str()), secret.expose())?),
        psk: None,
        key_digest: None,
        at: clock::now(),
    })
}

/// A credential that was made before. The key of a certificate is not kept, so there is none of these.
fn kept(app: &App, scheme: CredentialScheme, user: &str, sealed: &[u8]) -> Result<Option<Credential>, Refusal> {
    let open = || app.keys.open_sealed(credential_place(user), sealed);
    Ok(match scheme {
        CredentialScheme::Basic => Some(Credential::Basic { user: user.to_owned(), password: open()? }),
        CredentialScheme::Psk => Some(Credential::Psk { identity: user.to_owned(), key: open()? }),
        CredentialScheme::X509 => None,
    })
}

/// What tells a credential from every other one, and tells nobody its secret: that has at least 192 random bits.
fn mark(app: &App, scheme: CredentialScheme, user: String, sealed: &[u8]) -> Result<CredentialMark, Refusal> {
    let mut hash = Sha256::new_with_prefix(format!("omadm-credential\n{}\n{user}\n", scheme.as_str()));
    match scheme {
        CredentialScheme::Basic | CredentialScheme::Psk => {
            hash.update(app.keys.open_sealed(credential_place(&user), sealed)?.expose());
        }
        // Its name is the SHA-256 of its public key.
        CredentialScheme::X509 => {}
    }
    let fingerprint = Digest::from(<[u8; 32]>::from(hash.finalize()));
    Ok(CredentialMark { scheme: scheme.as_str().to_owned(), user, fingerprint })
}
