//! The commands of a session, one by one (spec 5; Profiles P-12, P-29, P-31, P-32).

use super::{ClientSession, HttpAnswer, HttpFailure, Input, Output, UploadMethod};
use crate::access::Principal;
use crate::mo::{Tree, Upload, to_json_bytes};
use crate::package::{Command, MAX_PACKAGE, Status};
use crate::status::StatusCode;
use crate::uri::ClientUri;
use crate::web::{Url, media, media_type, negotiate};

/// The most data that the results of GET have in one Package#3, in bytes; the rest of it is for statuses and alerts.
const MAX_DATA: usize = MAX_PACKAGE - (64 << 10);
/// The longest name of a command that is reported, in characters.
const MAX_NAME: usize = 32;
/// What HGET accepts.
const HGET_ACCEPT: &str = "application/vnd.oma.dm.mo+json, application/json;q=0.5";

/// A command that waits for the world.
#[derive(Debug)]
pub(super) enum Pending {
    /// Data is being fetched.
    Fetch { targets: Vec<ClientUri> },
    /// Data is being sent; `again` is what to send once more in another type if this one is refused.
    Upload { name: &'static str, again: Option<Retyped> },
    /// A change is being made durable; the tree before it comes back if that fails.
    Persist { name: &'static str, before: Box<Tree>, status: Status },
}

/// A PUT that can be sent again in another media type.
#[derive(Debug)]
pub(super) struct Retyped {
    url: Url,
    body: Vec<u8>,
    trusted: bool,
}

impl ClientSession {
    /// Carries out one command. `Some`: it waits for the world.
    pub(super) fn run(&mut self, command: Command) -> Option<Output> {
        match command {
            Command::Get { client_uri } => {
                let status = self.get(&client_uri);
                self.went("GET", status)
            }
            Command::Delete { client_uri } => self.delete(&client_uri),
            Command::Hget { server_uri, client_uris } => self.hget(&server_uri, &client_uris),
            Command::Hput { server_uri, client_uris } => {
                self.upload("HPUT", UploadMethod::Put, &server_uri, &client_uris)
            }
            Command::Hpost { server_uri, client_uris } => {
                self.upload("HPOST", UploadMethod::Post, &server_uri, &client_uris)
            }
            Command::Cont { server_uri } => {
                let sc = self.cont(&server_uri);
                self.went("CONT", sc.into())
            }
            Command::Unsupported { name, .. } => self.went(&name, StatusCode::NOT_SUPPORTED.into()),
            Command::Malformed(_) => self.went("malformed", StatusCode::BAD_REQUEST.into()),
            Command::End => None,
        }
    }

    /// Takes what the world said of the pending command.
    pub(super) fn command_went_on(&mut self, input: Input) -> Output {
        let output = match (self.pending.take(), input) {
            (Some(Pending::Fetch { targets }), Input::Answer(answer)) => self.fetched(&targets, &answer),
            (Some(Pending::Fetch { .. }), Input::Failed(failure)) => self.went("HGET", status_of(&failure).into()),
            (Some(Pending::Upload { name, again }), Input::Answer(answer)) => self.uploaded(name, again, &answer),
            (Some(Pending::Upload { name, .. }), Input::Failed(failure)) => self.went(name, status_of(&failure).into()),
            (Some(Pending::Persist { name, status, .. }), Input::Persisted(Ok(()))) => self.went(name, status),
            (Some(Pending::Persist { name, before, .. }), Input::Persisted(Err(_))) => {
                self.tree = *before;
                self.went(name, StatusCode::NO_ROOM.into())
            }
            // An answer to a question that was not asked is a slip of the driver: the command failed in the client.
            (_, _) => self.went("HGET", StatusCode::CLIENT_FAILURE.into()),
        };
        output.unwrap_or_else(|| self.run_commands())
    }

    fn went(&mut self, name: &str, status: Status) -> Option<Output> {
        // A name that nobody knows is the server's own text.
        self.done.push((name.chars().take(MAX_NAME).collect(), status.sc));
        self.statuses.push(status);
        None
    }

    fn get(&mut self, client_uri: &str) -> Status {
        let read = parse(client_uri).and_then(|uri| self.tree.get(&self.definitions, &self.principal(), &uri));
        match read {
            Err(sc) => sc.into(),
            Ok(read) if read.not_modified => StatusCode::NOT_MODIFIED.into(),
            Ok(read) => {
                let size = to_json_bytes(&read.items).len();
                let Ok(data) = serde_json::to_value(&read.items) else { return StatusCode::CLIENT_FAILURE.into() };
                // What does not fit into one Package#3 has to be asked for by HPUT.
                if self.data_bytes + size > MAX_DATA {
                    return StatusCode::TOO_LARGE.into();
                }
                self.data_bytes += size;
                Status { data: Some(data), ..StatusCode::OK.into() }
            }
        }
    }

    fn delete(&mut self, client_uri: &str) -> Option<Output> {
        let uri = match parse(client_uri) {
            Ok(uri) => uri,
            Err(sc) => return self.went("DELETE", sc.into()),
        };
        self.change("DELETE", |tree, session| {
            tree.delete(&session.definitions, &session.principal(), &uri).map(|()| Vec::new())
        })
    }

    fn hget(&mut self, server_uri: &str, client_uris: &[String]) -> Option<Output> {
        let checked = self.data_url(server_uri).and_then(|url| {
            let targets = client_uris.iter().map(|text| parse(text)).collect::<Result<Vec<_>, _>>()?;
            self.tree.check_hget(&self.definitions, &self.principal(), &targets)?;
            Ok((url, targets))
        });
        match checked {
            Err(sc) => self.went("HGET", sc.into()),
            Ok((url, targets)) => {
                let trusted = self.account.account.trusts(url.origin());
                self.pending = Some(Pending::Fetch { targets });
                Some(Output::Fetch { url, accept: HGET_ACCEPT, trusted })
            }
        }
    }

    fn fetched(&mut self, targets: &[ClientUri], answer: &HttpAnswer) -> Option<Output> {
        if !(200..300).contains(&answer.status) {
            return self.went("HGET", StatusCode::REPOSITORY_FAILED.into());
        }
        let content_type = answer.content_type.as_deref().map(media_type).unwrap_or_default();
        if !media::MO_READ.contains(&content_type.as_str()) {
            return self.went("HGET", StatusCode::NOT_ACCEPTABLE.into());
        }
        self.change("HGET", |tree, session| {
            let uris = tree.hget(&session.definitions, &session.principal(), targets, &answer.body)?;
            // Where each instance is, is said only where the client chose the place (spec 6.3).
            Ok(if targets.is_empty() { uris } else { Vec::new() })
        })
    }

    /// Changes the tree as one transaction, durable before its status is sent. A change that leaves the tree as it was
    /// writes nothing.
    fn change(
        &mut self,
        name: &'static str,
        change: impl FnOnce(&mut Tree, &Self) -> Result<Vec<String>, StatusCode>,
    ) -> Option<Output> {
        let mut after = self.tree.clone();
        match change(&mut after, self) {
            Err(sc) => self.went(name, sc.into()),
            Ok(uris) => {
                let status = Status { uris, ..StatusCode::OK.into() };
                if after == self.tree {
                    return self.went(name, status);
                }
                let before = Box::new(std::mem::replace(&mut self.tree, after.clone()));
                self.pending = Some(Pending::Persist { name, before, status });
                Some(Output::Persist(Box::new(after)))
            }
        }
    }

    fn upload(
        &mut self,
        name: &'static str,
        method: UploadMethod,
        server_uri: &str,
        client_uris: &[String],
    ) -> Option<Output> {
        let checked = self.data_url(server_uri).and_then(|url| {
            let uris = client_uris.iter().map(|text| parse(text)).collect::<Result<Vec<_>, _>>()?;
            Ok((url, self.tree.upload(&self.definitions, &self.principal(), &uris)?))
        });
        match checked {
            Err(sc) => self.went(name, sc.into()),
            Ok((_, Upload::NotModified)) => self.went(name, StatusCode::NOT_MODIFIED.into()),
            Ok((url, Upload::Body(body))) => {
                let trusted = self.account.account.trusts(url.origin());
                let again = match method {
                    UploadMethod::Put => Some(Retyped { url: url.clone(), body: body.clone(), trusted }),
                    UploadMethod::Post => None,
                };
                self.pending = Some(Pending::Upload { name, again });
                Some(Output::Upload { method, url, content_type: media::MO, body, trusted })
            }
        }
    }

    fn uploaded(&mut self, name: &'static str, again: Option<Retyped>, answer: &HttpAnswer) -> Option<Output> {
        let sc = match (answer.status, again) {
            (200..300, _) => StatusCode::OK,
            (413, _) => StatusCode::TOO_LARGE,
            (415, Some(again)) => {
                // Once more in a type that the repository lists; a POST is never repeated (Profile P-29).
                let others = &media::MO_READ[1..];
                let listed = answer.accept.as_deref().and_then(|accept| negotiate(Some(accept), others));
                let Some(content_type) = listed else { return self.went(name, StatusCode::NOT_ACCEPTABLE.into()) };
                self.pending = Some(Pending::Upload { name, again: None });
                let Retyped { url, body, trusted } = again;
                return Some(Output::Upload { method: UploadMethod::Put, url, content_type, body, trusted });
            }
            (415, None) => StatusCode::NOT_ACCEPTABLE,
            _ => StatusCode::REPOSITORY_FAILED,
        };
        self.went(name, sc.into())
    }

    /// Later packages go to another URI of the trusted origins; to another origin the session does not move
    /// (Profile P-31).
    fn cont(&mut self, server_uri: &str) -> StatusCode {
        match self.data_url(server_uri) {
            Err(sc) => sc,
            Ok(url) if self.account.account.trusts(url.origin()) => {
                self.url = url;
                StatusCode::OK
            }
            Ok(_) => StatusCode::FORBIDDEN,
        }
    }

    fn data_url(&self, server_uri: &str) -> Result<Url, StatusCode> {
        server_uri.parse::<Url>().and_then(Url::require_secure).map_err(|_| StatusCode::BAD_REQUEST)
    }

    fn principal(&self) -> Principal<'_> {
        self.account.principal(&self.rights)
    }
}

fn parse(client_uri: &str) -> Result<ClientUri, StatusCode> {
    client_uri.parse().map_err(|_| StatusCode::BAD_REQUEST)
}

fn status_of(failure: &HttpFailure) -> StatusCode {
    match failure {
        HttpFailure::Timeout => StatusCode::REPOSITORY_TIMEOUT,
        HttpFailure::Connect(_) | HttpFailure::Tls(_) | HttpFailure::Clock(_) => StatusCode::REPOSITORY_FAILED,
        HttpFailure::TooLarge => StatusCode::TOO_LARGE,
        HttpFailure::OriginRefused(_) => StatusCode::FORBIDDEN,
    }
}
