//! Carrying out what a session says (spec 3).

use crate::client::Client;
use crate::credentials::{Authorization, Credentials};
use crate::state::SessionNote;
use crate::trace::{Peer, Trace};
use crate::transport::{Answer, CookieJar, Dated, Http, HttpError, Method, PrivateHeaders, Request, Trust};
use crate::wait::Stopped;
use omadm_core::account::InstalledAccount;
use omadm_core::ids::SrvId;
use omadm_core::mo::Tree;
use omadm_core::package::{Alert, BOOTSTRAP_COMPLETE, CLIENT_INITIATED};
use omadm_core::reason::{Reason, sentence};
use omadm_core::session::MAX_SECONDS;
use omadm_core::session::client::{
    ClientSession, HttpAnswer, HttpFailure, Input, Output, Report, Retry, SessionSetup, UploadMethod,
};
use omadm_core::web::{DEV_ID_HEADER, media, retry_after};
use omadm_tls::Anchors;
use std::time::Duration;

/// The largest tree that a server can make, as it is in the state file, in bytes: half of what that may have, so that no
/// server can be in the way of accounts and of what else has to be remembered.
const MAX_TREE: usize = 8 << 20;

/// Why no session was opened.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// There is no such account.
    #[error("there is no account of {0}")]
    NoAccount(SrvId),
    /// Its card is gone.
    #[error("the account of {0} is suspended, since its card is gone")]
    Suspended(SrvId),
    /// The account's credentials cannot be used.
    #[error("no session with {srv_id}: {why}")]
    Credentials {
        /// The server.
        srv_id: SrvId,
        /// What is missing.
        why: String,
    },
    /// The account's anchors cannot be used.
    #[error("no session with {srv_id}: {why}")]
    Anchors {
        /// The server.
        srv_id: SrvId,
        /// What is wrong.
        why: String,
    },
    /// The program is to end.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl Client {
    /// Opens a session with this server and sees it through. How it went is in the report, and in the state.
    pub fn session(&mut self, srv_id: &SrvId) -> Result<Report, SessionError> {
        self.tally.resume(self.world.monotonic());
        let before = self.tally.meter.count();
        let report = self.run_session(srv_id);
        let after = self.tally.meter.count();
        let (round_trips, bytes) = (after.round_trips - before.round_trips, after.bytes - before.bytes);
        tracing::debug!("the session with {srv_id} took {round_trips} round trips and {bytes} bytes");
        self.tally.pause(self.world.monotonic());
        match &report {
            Ok((report, dated)) => {
                if let Some(dated) = dated.as_ref().filter(|_| report.ended) {
                    self.note_certificate(dated);
                }
                self.note_session(srv_id, report);
            }
            Err(SessionError::Credentials { why, .. }) => {
                self.note_session(srv_id, &unopened(Reason::NotConfigured, why))
            }
            Err(SessionError::Anchors { why, .. }) => self.note_session(srv_id, &unopened(Reason::Tls, why)),
            Err(SessionError::NoAccount(_) | SessionError::Suspended(_) | SessionError::Stopped(_)) => {}
        }
        self.publish();
        report.map(|(report, _)| report)
    }

    fn run_session(&mut self, srv_id: &SrvId) -> Result<(Report, Option<Dated>), SessionError> {
        let installed = self.state().accounts.account(srv_id).cloned();
        let installed = installed.ok_or_else(|| SessionError::NoAccount(srv_id.clone()))?;
        if installed.suspended {
            return Err(SessionError::Suspended(srv_id.clone()));
        }
        let account = &installed.account;
        let credentials =
            self.credentials(&installed).map_err(|why| SessionError::Credentials { srv_id: srv_id.clone(), why })?;
        let anchors = account.server_ca.clone().map_or(Anchors::System, Anchors::Pem);
        let trust = Trust::new(std::iter::once(account.srv_uri.origin()).chain(&account.origins));
        let http = self
            .http(trust, anchors, credentials.identity, false)
            .map_err(|error| SessionError::Anchors { srv_id: srv_id.clone(), why: error.to_string() })?;
        let reason = if installed.bootstrap_complete_due { BOOTSTRAP_COMPLETE } else { CLIENT_INITIATED };
        tracing::info!("opening a session with {srv_id} at {}", account.srv_uri.without_query());
        let session = ClientSession::new(SessionSetup {
            account: installed.clone(),
            alerts: vec![Alert::of_type(reason)],
            mos_asked: false,
            definitions: self.definitions.clone(),
            rights: self.rights.clone(),
            tree: self.state().tree.clone(),
        });
        let dev_id = self.config.device.dev_id.to_string();
        let mut wire = Wire {
            trace: self.trace.clone(),
            http,
            dev_id,
            authorization: credentials.authorization,
            jar: CookieJar::default(),
        };
        let report = self.drive(session, &mut wire)?;
        Ok((report, wire.http.dated()))
    }

    fn drive(&mut self, mut session: ClientSession, wire: &mut Wire) -> Result<Report, Stopped> {
        let end = self.world.monotonic() + Duration::from_secs(MAX_SECONDS);
        let mut output = session.start();
        loop {
            if self.world.monotonic() >= end {
                return Ok(session.give_up(Reason::Timeout, "the session took longer than 30 minutes"));
            }
            let input = match output {
                Output::Finished(report) => return Ok(*report),
                Output::Persist(tree) => Input::Persisted(self.persist(*tree)),
                Output::Send { .. } | Output::Fetch { .. } | Output::Upload { .. } => match wire.carry_out(output) {
                    Ok(answer) => Input::Answer(self.to_core(answer)),
                    Err(HttpError::Stopped) => return Err(Stopped),
                    Err(error) => {
                        tracing::info!("{error}");
                        Input::Failed(failure(error))
                    }
                },
            };
            output = session.handle(input);
        }
    }

    fn persist(&mut self, tree: Tree) -> Result<(), String> {
        let size = serde_json::to_vec(&tree).map_err(|error| error.to_string())?.len();
        if size > MAX_TREE {
            return Err(format!("the tree would have {size} bytes; at most {MAX_TREE} are kept"));
        }
        self.memory.change(self.known_time(), |state| state.tree = tree).map_err(|error| error.to_string())
    }

    fn to_core(&self, answer: Answer) -> HttpAnswer {
        let text = |name| answer.header(name).map(str::to_owned);
        HttpAnswer {
            status: answer.status,
            content_type: text("content-type"),
            accept: text("omadm-accept").or_else(|| text("accept")),
            retry_after: answer.header("retry-after").and_then(|text| retry_after(text, self.clock.now())),
            body: answer.body,
        }
    }

    /// What an account is used with. Without Auth/Trsp that is what the device itself has, never nothing.
    fn credentials(&self, installed: &InstalledAccount) -> Result<Credentials, String> {
        match (&installed.account.trsp, &self.config.login) {
            (Some(credential), _) => Credentials::of_account(credential),
            (None, Some(login)) => Credentials::own(&*self.world, login, &self.config.device.dev_id),
            (None, None) => Err("it brings no credentials, and bootstrap.secret_file is not configured".to_owned()),
        }
    }

    fn note_session(&mut self, srv_id: &SrvId, report: &Report) {
        let now = self.clock.now();
        let (by, is_set) = (self.judgement(), self.clock.is_set());
        let ending = if report.ended { "ended" } else { "broke off" };
        tracing::info!("the session with {srv_id} {ending}: {}", report.message);
        if report.ended && self.tally.open {
            self.memory.state_mut().notes.last_run = self.count();
            self.tally.open = false;
            self.trace.did("Managed", "");
            self.trace.totals(&self.state().notes.last_run);
        }
        let shown: Vec<_> = self.state().accounts.iter().map(|one| one.miid.clone()).collect();
        let state = self.memory.state_mut();
        let note = SessionNote {
            at: now,
            ended: report.ended,
            reason: report.reason,
            message: report.message.clone(),
            alerts: if report.answered { report.alerts.clone() } else { Vec::new() },
            commands: report.commands.len(),
        };
        state.notes.sessions.insert(srv_id.clone(), note);
        state.notes.sessions.retain(|srv_id, _| state.accounts.account(srv_id).is_some());
        if let Some(installed) = state.accounts.account_mut(srv_id) {
            // BootstrapComplete is due until a Package#2 came back (spec 6.1).
            installed.bootstrap_complete_due &= !report.answered;
            if report.mos_answered.is_some() {
                installed.mos_answered = report.mos_answered.clone();
            }
        }
        state.accounts.note_session(srv_id, report.ended, report.retry == Retry::Refused, by);
        if report.ended && !is_set {
            state.accounts.undate(now);
        }
        if report.ended {
            state.session_not_before.remove(srv_id);
        }
        // A fallback may have taken the account's place.
        let as_before = self.state().accounts.iter().map(|one| &one.miid).eq(&shown);
        if !as_before && let Err(error) = self.refresh_tree() {
            tracing::error!("{error}");
        }
        self.save();
    }
}

/// How a session went that the account gave no means for: it failed, so that the account which it took the place of gets
/// its turn (Profiles P-3, P-25).
fn unopened(reason: Reason, why: &str) -> Report {
    Report {
        ended: false,
        answered: false,
        reason: Some(reason),
        message: sentence(why),
        retry: Retry::Slow,
        alerts: Vec::new(),
        mos_answered: None,
        commands: Vec::new(),
        packages: 0,
    }
}

/// One session's way to its servers.
struct Wire {
    trace: Trace,
    http: Http,
    dev_id: String,
    authorization: Option<Authorization>,
    jar: CookieJar,
}

impl Wire {
    fn carry_out(&mut self, output: Output) -> Result<Answer, HttpError> {
        match output {
            Output::Send { url, content_type, body } => {
                let mut private = self.private();
                private.0.extend(self.jar.header(&url).map(|cookies| ("Cookie", cookies)));
                let headers = vec![("Content-Type", content_type.to_owned()), ("Accept", media::REQUEST.to_owned())];
                self.trace.package_sent(content_type, &body, &url);
                let request = Request { method: Method::Post, url: url.clone(), headers, private, body: Some(body) };
                let answer = self.http.exchange(request)?;
                self.trace.package_came(answer.status, answer.header("content-type"), &answer.body);
                for header in answer.headers.get_all("set-cookie") {
                    self.jar.take(&url, header);
                }
                Ok(answer)
            }
            // The transport knows the trusted origins itself and keeps what is private within them.
            Output::Fetch { url, accept, trusted: _ } => {
                let headers = vec![("Accept", accept.to_owned())];
                let private = self.private();
                let request = Request { method: Method::Get, url: url.clone(), headers, private, body: None };
                let answer = self.http.fetch(request);
                self.trace.exchange(Peer::Repository, "HTTP GET", "GET", &url, &ending(&answer));
                answer
            }
            Output::Upload { method, url, content_type, body, trusted: _ } => {
                let method = match method {
                    UploadMethod::Put => Method::Put,
                    UploadMethod::Post => Method::Post,
                };
                let headers = vec![("Content-Type", content_type.to_owned())];
                let private = self.private();
                let name = method.to_string();
                let request = Request { method, url: url.clone(), headers, private, body: Some(body) };
                let answer = self.http.exchange(request);
                self.trace.exchange(Peer::Repository, &format!("HTTP {name}"), &name, &url, &ending(&answer));
                answer
            }
            Output::Persist(_) | Output::Finished(_) => Err(HttpError::Protocol("nothing is to be sent".to_owned())),
        }
    }

    fn private(&self) -> PrivateHeaders {
        let mut headers = vec![(DEV_ID_HEADER, self.dev_id.clone())];
        headers.extend(self.authorization.as_ref().map(|header| ("Authorization", header.0.to_string())));
        PrivateHeaders(headers)
    }
}

fn ending(answer: &Result<Answer, HttpError>) -> String {
    match answer {
        Ok(answer) => answer.status.to_string(),
        Err(error) => error.to_string(),
    }
}

fn failure(error: HttpError) -> HttpFailure {
    match error {
        HttpError::Timeout(_) => HttpFailure::Timeout,
        HttpError::Tls(why) => HttpFailure::Tls(why),
        HttpError::Clock(why) => HttpFailure::Clock(why),
        HttpError::TooLarge(_) => HttpFailure::TooLarge,
        HttpError::Refused(why) => HttpFailure::OriginRefused(why),
        HttpError::Connect(why) | HttpError::Protocol(why) => HttpFailure::Connect(why),
        HttpError::Stopped => HttpFailure::Connect(Stopped.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::wait::Stop;
    use omadm_core::account::{Change, Judgement, Source};
    use omadm_core::bootstrap::message::{BootstrapMessage, Limit};
    use omadm_core::mo::{Node, ddf};
    use omadm_core::reason::Method;
    use omadm_core::time::Timestamp;

    /// A client with one stale account of `acme` from the factory, and the means of another by these credentials.
    fn client(folder: &tempfile::TempDir, trsp: &str) -> Client {
        let config = Config::parse("state = \"state\"\ndev_id = \"IMEI:1\"\n", &folder.path().join("c.toml")).unwrap();
        let mut client = Client::open(config, &Stop::new().unwrap()).unwrap();
        let message = |trsp: &str| {
            let text = format!(
                r#"[{{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/acme/","MOData":{{"DMAcc":{{"SrvID":"acme","Name":"Acme",
                "SrvURI":"https://dm.example/dm","Perm":{{"1":{{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2"}}}},
                "Auth":{{"Trsp":{{"Data":"{trsp}","Secret":"Y29ycmVjdCBob3JzZSBiYXR0ZXJ5"}}}}}}}}}}]"#
            );
            BootstrapMessage::parse(text.as_bytes(), Limit::Elsewhere).unwrap().accounts().to_vec()
        };
        let mut by = Judgement { now: Timestamp(1_000_000), ..client.judgement() };
        for (trsp, method) in [("YmFzaWM6YWNtZS0wMDAx", Method::Factory), (trsp, Method::BootstrapServer)] {
            let source = Source { method, origin: "here".to_owned() };
            match client.state().accounts.install(&message(trsp), &source, by) {
                Ok(Change::Installed(book)) => client.memory.state_mut().accounts = book,
                change => panic!("{change:?}"),
            }
            by.now = by.now.plus(by.stale_after);
        }
        client
    }

    #[test]
    fn an_account_with_unusable_credentials_makes_way_for_the_one_it_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let srv_id: SrvId = "acme".parse().unwrap();
        // digest:me
        let mut client = client(&folder, "ZGlnZXN0Om1l");
        let source = |client: &Client| client.state().accounts.account(&srv_id).unwrap().source.method;
        assert_eq!(source(&client), Method::BootstrapServer);
        assert!(matches!(client.session(&srv_id), Err(SessionError::Credentials { .. })));
        assert_eq!(source(&client), Method::Factory, "the old account goes on being tried");
        let note = &client.state().notes.sessions[&srv_id];
        assert!(!note.ended && note.message.contains("not supported yet"), "{note:?}");
    }

    #[test]
    fn a_clock_that_is_ahead_says_nothing_by_dating_a_session() {
        let folder = tempfile::tempdir().unwrap();
        let mut client = client(&folder, "YmFzaWM6YWNtZS0wMDAy");
        let (early, ahead) = (Timestamp(2_000_000), Timestamp(4_000_000_000));
        let accounts = &mut client.memory.state_mut().accounts;
        accounts.account_mut(&"acme".parse().unwrap()).unwrap().session_succeeded(early);
        accounts.undate(early);
        client.memory.state_mut().heed_clock(ahead, true);
        assert_eq!(client.state().accounts.iter().next().unwrap().last_session, Some(ahead));
        assert!(client.known_time() < ahead);
    }

    #[test]
    fn no_tree_is_kept_that_would_leave_no_room_for_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let text = "state = \"state\"\ndev_id = \"IMEI:1\"\nexample_mo = true\n";
        let config = Config::parse(text, &folder.path().join("c.toml")).unwrap();
        let mut client = Client::open(config, &Stop::new().unwrap()).unwrap();
        // A control character takes one byte in the tree and six in the state file.
        let mut tree = client.state().tree.clone();
        let root = Node::interior([("Name", Node::chr("\u{1}".repeat(3 << 20)))]);
        let definitions = client.definitions.clone();
        tree.put_local(&definitions, &ddf::EXAMPLE.parse().unwrap(), "x".parse().unwrap(), root).unwrap();
        assert!(client.persist(tree).unwrap_err().contains("bytes"));
        assert!(client.persist(client.state().tree.clone()).is_ok());
    }
}
