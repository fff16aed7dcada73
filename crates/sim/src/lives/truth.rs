//! Which servers there are, who may log in where, and the Bootstrap Messages that say so.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::sync::Arc;

/// The device's own user and secret.
pub const OWN_USER: &str = "device-1";
/// The device's own secret.
pub const OWN_SECRET: &str = "own enrolment secret";
/// The bootstrap server's host.
pub const BOOTSTRAP_HOST: &str = "boot.example";
/// A host of somebody else.
pub const FOREIGN_HOST: &str = "evil.example";
/// The host of a server that nobody runs.
pub const NOWHERE_HOST: &str = "dm9999.example";
/// The authority that the device's trust store holds.
pub const PUBLIC: u8 = 0;

/// A DM Server, dead or alive.
#[derive(Debug, Clone)]
pub struct Server {
    /// Its identifier.
    pub srv_id: String,
    /// Its host.
    pub host: String,
    /// The authority of its certificate.
    pub authority: u8,
    /// The device's password there, and all that it ever had.
    pub passwords: Vec<String>,
    /// The device logs in with its own secret.
    pub own_login: bool,
    /// It is run.
    pub alive: bool,
}

impl Server {
    /// The server of this number, the first of its identifier or not.
    pub fn new(number: usize, srv_id: &str, authority: u8, own_login: bool) -> Self {
        Self {
            srv_id: srv_id.to_owned(),
            host: format!("dm{number}.example"),
            authority,
            passwords: vec![format!("password 0 of dm{number}")],
            own_login,
            alive: true,
        }
    }

    /// A server that a wrong message leads to: nobody runs it.
    pub fn nowhere() -> Self {
        Self::new(9999, "nowhere", PUBLIC, false)
    }

    /// The password that counts now.
    pub fn password(&self) -> &str {
        self.passwords.last().map_or("", String::as_str)
    }

    /// The Authorization header that it takes.
    pub fn authorization(&self) -> String {
        if self.own_login { basic(OWN_USER, OWN_SECRET) } else { basic(&self.srv_id, self.password()) }
    }

    /// Whether this Authorization header was ever meant for it.
    pub fn is_for_it(&self, authorization: &str) -> bool {
        (self.own_login && authorization == basic(OWN_USER, OWN_SECRET))
            || self.passwords.iter().any(|password| authorization == basic(&self.srv_id, password))
    }

    /// The Bootstrap Message that leads here, as of now.
    pub fn message(&self) -> Arc<Vec<u8>> {
        let Self { srv_id, host, .. } = self;
        let trsp = match self.own_login {
            true => String::new(),
            false => format!(
                r#""Auth":{{"Trsp":{{"Data":"{}","Secret":"{}"}}}},"#,
                BASE64_STANDARD.encode(format!("basic:{srv_id}")),
                BASE64_STANDARD.encode(self.password())
            ),
        };
        let anchor = match self.authority {
            PUBLIC => String::new(),
            authority => format!(r#""Ext":{{"omadm":{{"ServerCA":"{}"}}}},"#, anchor(authority).replace('\n', "\\n")),
        };
        let message = format!(
            r#"[{{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/{srv_id}/","MOData":{{"DMAcc":{{"SrvID":"{srv_id}","SrvURI":"https://{host}/dm","Name":"Server {srv_id}",{trsp}{anchor}"Perm":{{"1":{{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2"}},"2":{{"MOID":"urn:omadm:mo:example:1.0"}}}}}}}}}}]"#
        );
        Arc::new(message.into_bytes())
    }
}

/// The Authorization header of Basic.
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
}

/// The anchor of an authority, which looks like PEM and names it.
pub fn anchor(authority: u8) -> String {
    let der = BASE64_STANDARD.encode([0x30, 0x03, 0x02, 0x01, authority]);
    format!("-----BEGIN CERTIFICATE-----\n{der}\n-----END CERTIFICATE-----\n")
}

/// The authorities whose anchors stand in this PEM.
pub fn authorities(pem: &str) -> Vec<u8> {
    let lines = pem.lines().filter(|line| !line.starts_with("-----"));
    lines.filter_map(|line| BASE64_STANDARD.decode(line).ok()?.last().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use omadm_core::bootstrap::message::{BootstrapMessage, Limit};

    #[test]
    fn its_messages_are_real_ones() {
        for own_login in [false, true] {
            let server = Server::new(3, "acme", 7, own_login);
            let message = BootstrapMessage::parse(&server.message(), Limit::Card).unwrap();
            let (account, _) = &message.accounts()[0];
            assert_eq!(account.srv_uri.as_str(), "https://dm3.example/dm");
            assert_eq!(authorities(account.server_ca.as_deref().unwrap()), [7]);
            assert_eq!(account.trsp.is_none(), own_login);
        }
    }
}
