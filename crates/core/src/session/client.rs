//! The client's end of a session (spec 3): it says what to send, fetch, upload and make durable, and is told how each
//! went. Commands run in their order; one that fails never stops those behind it.
//!
//! Every [`Input`] leads to exactly one [`Output`]. After [`Output::Finished`] nothing more is expected. A change of
//! the tree is durable before its status is sent: [`Output::Persist`] comes between.

mod commands;
mod report;

pub use report::{Report, Retry};

use std::sync::Arc;

use super::MAX_PACKAGES;
use crate::access::DeviceRights;
use crate::account::InstalledAccount;
use crate::mo::{Definitions, Tree};
use crate::package::{Alert, Command, MosItem, Package1, Package2, Package3, Status};
use crate::reason::{Reason, sentence};
use crate::status::StatusCode;
use crate::web::{Url, media, media_type};
use commands::Pending;

/// What a session begins with.
#[derive(Debug, Clone)]
pub struct SessionSetup {
    /// The account; it must not be suspended.
    pub account: InstalledAccount,
    /// The alerts of Package#1, one of which says why the session is opened.
    pub alerts: Vec<Alert>,
    /// Whether the server asked for MOS (REQ-MOS).
    pub mos_asked: bool,
    /// The MOs that the device supports.
    pub definitions: Arc<Definitions>,
    /// What servers may do with what the device made itself.
    pub rights: DeviceRights,
    /// The tree.
    pub tree: Tree,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// POST a package, with `Accept:` [`media::REQUEST`], OMADM-DevID, the account's credentials and the session's
    /// cookies; redirects are not followed.
    Send {
        /// Where to; always a trusted origin.
        url: Url,
        /// The package's media type.
        content_type: &'static str,
        /// The package.
        body: Vec<u8>,
    },
    /// GET data for HGET.
    Fetch {
        /// Where from.
        url: Url,
        /// The Accept header.
        accept: &'static str,
        /// Whether the origin is trusted: then with credentials and OMADM-DevID, without cookies; else under the limits
        /// of Profile P-32.
        trusted: bool,
    },
    /// PUT or POST data for HPUT and HPOST.
    Upload {
        /// PUT or POST.
        method: UploadMethod,
        /// Where to.
        url: Url,
        /// The media type.
        content_type: &'static str,
        /// The serialized MOs.
        body: Vec<u8>,
        /// As in `Fetch`.
        trusted: bool,
    },
    /// Make this tree durable.
    Persist(Box<Tree>),
    /// The session is over.
    Finished(Box<Report>),
}

/// How data goes to the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UploadMethod {
    /// HPUT.
    Put,
    /// HPOST.
    Post,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The answer to the last Send, Fetch or Upload.
    Answer(HttpAnswer),
    /// There was no answer.
    Failed(HttpFailure),
    /// The tree is durable, or a sentence why not.
    Persisted(Result<(), String>),
}

/// An HTTP answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HttpAnswer {
    /// The status code.
    pub status: u16,
    /// Content-Type.
    pub content_type: Option<String>,
    /// Accept, as a server answers 415 with it.
    pub accept: Option<String>,
    /// Seconds of a Retry-After.
    pub retry_after: Option<u64>,
    /// The body, bounded by the transport.
    pub body: Vec<u8>,
}

/// Why there is no HTTP answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpFailure {
    /// Not in time.
    Timeout,
    /// No connection, or it broke.
    Connect(String),
    /// The peer's certificate or the handshake.
    Tls(String),
    /// A certificate's dates.
    Clock(String),
    /// The answer was larger than allowed.
    TooLarge,
    /// The address is not one that a server may send the client to (Profile P-32).
    OriginRefused(String),
}

/// A session as the client knows it.
#[derive(Debug)]
pub struct ClientSession {
    account: InstalledAccount,
    definitions: Arc<Definitions>,
    rights: DeviceRights,
    tree: Tree,
    opening: Package1,
    mos: Vec<MosItem>,
    /// Where the next package goes: SrvURI, or the URI of the last CONT.
    url: Url,
    packages: u32,
    empty_packages: u32,
    answered: bool,
    commands: std::vec::IntoIter<Command>,
    ends: bool,
    statuses: Vec<Status>,
    data_bytes: usize,
    done: Vec<(String, StatusCode)>,
    pending: Option<Pending>,
}

impl ClientSession {
    /// A session that has not begun.
    pub fn new(setup: SessionSetup) -> Self {
        let account = setup.account;
        let principal = account.principal(&setup.rights);
        let mos: Vec<MosItem> = setup
            .tree
            .listed_instances(&setup.definitions, &principal)
            .into_iter()
            .map(|(moid, miids)| MosItem { ddf: None, moid, miids })
            .collect();
        // Profile P-13: MOS goes out when asked for, after bootstrap, and when the server's list is out of date.
        let mos_due = setup.mos_asked
            || account.bootstrap_complete_due
            || account.mos_answered.as_ref().is_none_or(|answered| *answered != mos);
        let opening = Package1 { mos: mos_due.then(|| mos.clone()), alerts: setup.alerts };
        let url = account.account.srv_uri.clone();
        Self {
            account,
            definitions: setup.definitions,
            rights: setup.rights,
            tree: setup.tree,
            opening,
            mos,
            url,
            packages: 0,
            empty_packages: 0,
            answered: false,
            commands: Vec::new().into_iter(),
            ends: false,
            statuses: Vec::new(),
            data_bytes: 0,
            done: Vec::new(),
            pending: None,
        }
    }

    /// Opens the session: Package#1.
    pub fn start(&mut self) -> Output {
        let body = self.opening.to_bytes();
        self.send(media::INITIATION, body)
    }

    /// Takes what happened and says what to do next.
    pub fn handle(&mut self, input: Input) -> Output {
        if self.pending.is_some() {
            return self.command_went_on(input);
        }
        match input {
            Input::Answer(answer) => self.package2_came(answer),
            Input::Failed(failure) => self.no_package2(failure),
            Input::Persisted(_) => self.fail(Reason::Storage, "the tree was not asked to be durable", Retry::Slow),
        }
    }

    /// Ends the session from outside, as when its time is over or the card was taken out.
    pub fn give_up(&mut self, reason: Reason, message: &str) -> Report {
        self.report(Some(reason), message.to_owned(), Retry::Backoff { retry_after: None })
    }

    fn send(&mut self, content_type: &'static str, body: Vec<u8>) -> Output {
        if self.packages == MAX_PACKAGES {
            return self.fail(Reason::InvalidMessage, "the session has more than 64 packages", Retry::Slow);
        }
        self.packages += 1;
        Output::Send { url: self.url.clone(), content_type, body }
    }

    fn package2_came(&mut self, answer: HttpAnswer) -> Output {
        if answer.status != 200 {
            let retry = match answer.status {
                408 | 425 | 429 | 500..=599 => Retry::Backoff { retry_after: answer.retry_after },
                401 | 403 => Retry::Refused,
                _ => Retry::Slow,
            };
            let sentence = format!("the DM Server answered {} instead of a Package#2", answer.status);
            return self.fail(Reason::Http(answer.status), &sentence, retry);
        }
        if answer.content_type.as_deref().map(media_type).as_deref() != Some(media::REQUEST) {
            let sentence = "the DM Server answered 200 with something that is no Package#2";
            return self.fail(Reason::Http(200), sentence, Retry::Slow);
        }
        let package2 = match Package2::parse(&answer.body) {
            Ok(package2) => package2,
            Err(error) => {
                let sentence = format!("the Package#2 is not readable: {error}");
                return self.fail(Reason::MalformedMessage, &sentence, Retry::Slow);
            }
        };
        self.answered = true;
        self.ends = package2.ends_session();
        self.empty_packages = if package2.commands.is_empty() { self.empty_packages + 1 } else { 0 };
        if self.empty_packages == 2 {
            // Profile P-30: a server with nothing to say that does not end the session is not waited for.
            return self.finish();
        }
        self.statuses.clear();
        self.data_bytes = 0;
        self.commands = package2.commands.into_iter();
        self.run_commands()
    }

    fn no_package2(&mut self, failure: HttpFailure) -> Output {
        let retry = Retry::Backoff { retry_after: None };
        match failure {
            HttpFailure::Timeout => self.fail(Reason::Timeout, "the DM Server did not answer in time", retry),
            HttpFailure::Connect(why) => self.fail(Reason::Connect, &why, retry),
            HttpFailure::Tls(why) => self.fail(Reason::Tls, &why, retry),
            HttpFailure::Clock(why) => self.fail(Reason::Clock, &why, retry),
            HttpFailure::TooLarge => {
                self.fail(Reason::InvalidMessage, "the Package#2 is larger than 1 MiB", Retry::Slow)
            }
            HttpFailure::OriginRefused(why) => self.fail(Reason::Connect, &why, Retry::Slow),
        }
    }

    /// Runs commands until one has to wait for the world, then the package is answered or the session ends.
    fn run_commands(&mut self) -> Output {
        while let Some(command) = self.commands.next() {
            if command == Command::End {
                continue;
            }
            if let Some(output) = self.run(command) {
                return output;
            }
        }
        if self.ends {
            return self.finish();
        }
        let package3 = Package3 { statuses: std::mem::take(&mut self.statuses), alerts: Vec::new() };
        self.send(media::RESPONSE, package3.to_bytes())
    }

    fn finish(&mut self) -> Output {
        Output::Finished(Box::new(self.report(None, "the DM Server ended the session".to_owned(), Retry::None)))
    }

    fn fail(&mut self, reason: Reason, sentence: &str, retry: Retry) -> Output {
        Output::Finished(Box::new(self.report(Some(reason), sentence.to_owned(), retry)))
    }

    fn report(&mut self, reason: Option<Reason>, message: String, retry: Retry) -> Report {
        Report {
            ended: reason.is_none(),
            answered: self.answered,
            reason,
            message: sentence(&message),
            retry,
            alerts: self.opening.alerts.iter().map(|alert| alert.alert_type.clone()).collect(),
            mos_answered: self.answered.then(|| self.mos.clone()),
            commands: std::mem::take(&mut self.done),
            packages: self.packages,
        }
    }
}
