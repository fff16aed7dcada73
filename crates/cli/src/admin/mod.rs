//! The server's admin API, as its client sees it. Nothing else of this program speaks to a server.

mod calls;
mod tls;

pub(crate) use calls::{Carrier, Enrolment};

use omadm_core::secret::Secret;
use omadm_core::web::{Url, UrlError};
use omadm_tls::TlsError;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::time::Duration;
use ureq::http::{Method, Request, StatusCode};
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{Connector, TcpConnector};

use crate::args::Reach;
use crate::failure::{Exit, Failure};
use tls::TlsConnector;

/// The file in the server's data folder that holds the admin token.
pub(crate) const TOKEN_FILE: &str = "admin-token";
/// The file in the server's data folder that says where the admin API is.
pub(crate) const URL_FILE: &str = "admin-url";
/// The file in the server's data folder that holds the certificate of its own CA.
pub(crate) const CA_FILE: &str = "ca.pem";
/// How long one call may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The largest answer that is read, in bytes.
const MAX_ANSWER: u64 = 64 << 20;

/// An admin API that we may use.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    agent: ureq::Agent,
    base: String,
    token: Secret,
}

impl Admin {
    /// Finds address and token by what the person said: `--server` and `--token-file`, or `--data`.
    ///
    /// # Errors
    /// If one of them is missing or cannot be read.
    pub(crate) fn find(reach: &Reach) -> Result<Self, Failure> {
        let in_data = |name: &str| reach.data.as_ref().map(|folder| folder.join(name));
        let base = match (&reach.server, in_data(URL_FILE)) {
            (Some(url), _) => url.clone(),
            (None, Some(path)) if !path.exists() => {
                let folder = path.parent().unwrap_or(&path).display();
                return Err(Failure::failed(format!("no server runs on the data folder {folder}"))
                    .advise(format!("start it: omadm serve --data {folder}")));
            }
            (None, Some(path)) => first_line(&path)?,
            (None, None) => {
                return Err(Failure::usage("no server is named")
                    .advise("say --server URL --token-file FILE, or --data DIR on the server's own machine"));
            }
        };
        let Some(token_file) = reach.token_file.clone().or_else(|| in_data(TOKEN_FILE)) else {
            return Err(Failure::usage("no admin token is given")
                .advise(format!("say --token-file FILE; the server made it as DIR/{TOKEN_FILE} at its first start")));
        };
        let own_ca = in_data(CA_FILE).filter(|path| reach.server.is_none() && path.exists());
        let ca = reach.ca.clone().or(own_ca);
        Self::new(&base, Secret::from(first_line(&token_file)?.as_str()), ca.as_deref())
    }

    /// The admin API at this address, with this token; `ca` is the file of the only certificates to trust.
    ///
    /// # Errors
    /// If the address would carry the token in the clear beyond this machine, or `ca` cannot be read.
    pub(crate) fn new(base: &str, token: Secret, ca: Option<&Path>) -> Result<Self, Failure> {
        let url: Url =
            base.parse().map_err(|error: UrlError| Failure::usage(format!("the server's address {base}: {error}")))?;
        if url.require_secure().is_err() {
            return Err(Failure::usage(format!("{base} would carry the admin token in the clear"))
                .advise("use https, or http to a loopback address on the server's own machine"));
        }
        let connector = ().chain(TcpConnector::default()).chain(TlsConnector::new(ca)?);
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .build();
        let agent = ureq::Agent::with_parts(config, connector, DefaultResolver::default());
        Ok(Self { agent, base: base.trim_end_matches('/').to_owned(), token })
    }

    /// The address without a slash at its end.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Asks for a value.
    ///
    /// # Errors
    /// If there is no answer, or one that is no success.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.call(Method::GET, path, Vec::new())?.value()
    }

    /// Sends a request with a JSON body.
    ///
    /// # Errors
    /// If there is no answer, or one that is no success.
    pub(crate) fn send<T: DeserializeOwned>(&self, method: Method, path: &str, body: &Value) -> Result<T, Failure> {
        self.call(method, path, body.to_string().into_bytes())?.value()
    }

    /// Sends a request with a JSON body that is passed on as it is; an empty one is no body.
    ///
    /// # Errors
    /// If there is no answer, or one that is no success.
    pub(crate) fn call(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Answer, Failure> {
        let url = format!("{}/api/v1{path}", self.base);
        let token = String::from_utf8_lossy(self.token.expose()).into_owned();
        let request = Request::builder()
            .method(method)
            .uri(&url)
            .header("authorization", format!("Bearer {token}"))
            .header("accept", "application/json, application/problem+json");
        let request = if body.is_empty() { request } else { request.header("content-type", "application/json") };
        let request = request.body(body).map_err(|error| Failure::usage(format!("{url}: {error}")))?;
        let response = self.agent.run(request).map_err(|error| self.unanswered(&error))?;
        let status = response.status();
        let place = response.headers().get("content-location").and_then(|place| place.to_str().ok()).map(str::to_owned);
        let mut body = Vec::new();
        response
            .into_body()
            .into_reader()
            .take(MAX_ANSWER)
            .read_to_end(&mut body)
            .map_err(|error| Failure::failed(format!("the answer of {url} broke off: {error}")))?;
        let answer = Answer { url, status, place, body };
        if status.is_success() { Ok(answer) } else { Err(answer.into_failure()) }
    }
}

impl Admin {
    fn unanswered(&self, error: &ureq::Error) -> Failure {
        let inner = match error {
            ureq::Error::Io(error) => error.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>()),
            _ => None,
        };
        let failure = |why: &dyn std::fmt::Display| Failure::failed(format!("no answer from {}: {why}", self.base));
        match inner {
            Some(error @ TlsError::Certificate { .. }) => failure(error)
                .advise("name the certificate to trust by --ca FILE; that of the server's own CA is DIR/ca.pem"),
            Some(error) => failure(error),
            None => failure(error).advise("check that the server runs there"),
        }
    }
}

/// What the server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    url: String,
    status: StatusCode,
    /// What the body is, as a path.
    pub(crate) place: Option<String>,
    /// The body as it came.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body as a value; an empty one is null.
    ///
    /// # Errors
    /// If it is something else than expected.
    pub(crate) fn value<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        let body = if self.body.is_empty() { b"null".as_slice() } else { &self.body };
        serde_json::from_slice(body).map_err(|error| {
            Failure::failed(format!("the answer of {} is not understood: {error}", self.url))
                .advise("check that omadm and the server have the same version")
        })
    }

    fn into_failure(self) -> Failure {
        let problem: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let text = |name: &str| problem.get(name).and_then(Value::as_str).map(str::to_owned);
        let detail = text("detail").or_else(|| text("title"));
        let what = detail.unwrap_or_else(|| format!("{} answered {}", self.url, self.status));
        match self.status.as_u16() {
            401 | 403 => Failure::new(Exit::Denied, format!("the server refuses the admin token: {what}"))
                .advise("use the token file that the server made in its data folder"),
            400 | 413 | 415 | 422 => Failure::usage(what),
            404 => Failure::new(Exit::Nothing, what),
            _ => Failure::failed(what),
        }
    }
}

/// Encodes a name so that it is one segment of a path.
pub(crate) fn segment(name: &str) -> String {
    percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// The first line of a small file, without blanks around it.
///
/// # Errors
/// If it cannot be read or is empty.
pub(crate) fn first_line(path: &Path) -> Result<String, Failure> {
    let text = fs::read_to_string(path).map_err(|error| Failure::unreadable(path, &error))?;
    match text.lines().next().map(str::trim) {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(Failure::usage(format!("{} is empty", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Failure {
        let status = StatusCode::from_u16(status).unwrap();
        Answer { url: "http://127.0.0.1/api/v1/devices".to_owned(), status, place: None, body: body.into() }
            .into_failure()
    }

    #[test]
    fn a_problem_becomes_a_sentence_and_an_exit_code() {
        let problem = r#"{"title":"Bad Request","status":400,"detail":"the profile has no name"}"#;
        assert_eq!(answer(400, problem), Failure::usage("the profile has no name"));
        assert_eq!(answer(401, "").exit, Exit::Denied);
        assert_eq!(answer(404, r#"{"title":"Not Found"}"#), Failure::new(Exit::Nothing, "Not Found"));
        assert!(answer(500, "<html>").message.contains("500"));
    }

    #[test]
    fn the_token_never_leaves_the_machine_in_the_clear() {
        let token = || Secret::from("t");
        assert_eq!(Admin::new("http://dm.example:8080", token(), None).unwrap_err().exit, Exit::Usage);
        assert!(Admin::new("http://127.0.0.1:8080/", token(), None).unwrap().base().ends_with(":8080"));
        assert!(Admin::new("https://dm.example", token(), None).is_ok());
    }
}
