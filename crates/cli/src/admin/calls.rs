//! The calls of the admin API.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::path::Path;
use ureq::http::Method;

use super::{Admin, segment};
use crate::failure::{Exit, Failure};

/// How many devices one answer lists.
const PAGE: usize = 1000;

/// What carries a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier<'a> {
    /// The card with this ICCID.
    Card(&'a str),
    /// A factory file, with a label for people.
    Factory(&'a str),
}

/// By what a device enrols.
#[derive(Clone, Copy)]
pub(crate) enum Enrolment<'a> {
    /// A secret that the server makes up and shows this once.
    MadeUp,
    /// This secret.
    Secret(&'a str),
    /// This pre-shared key, in hexadecimal digits; its identity is the DevID percent-encoded if there is none.
    Psk { identity: Option<&'a str>, key: &'a str },
    /// The key of this certificate, in PEM.
    Certificate(&'a str),
    /// A certificate of the server's device CA.
    DeviceCa,
}

impl Admin {
    /// All profiles by name.
    pub(crate) fn profiles(&self) -> Result<Vec<Value>, Failure> {
        self.get("/profiles")
    }

    /// A profile as it was written.
    pub(crate) fn profile(&self, name: &str) -> Result<Vec<u8>, Failure> {
        Ok(self.call(Method::GET, &format!("/profiles/{}", segment(name)), Vec::new())?.body)
    }

    /// Makes sure that there is a profile of this name, before a folder is bound to it; one that is there is bound already.
    ///
    /// # Errors
    /// If there is none, or the server cannot be asked.
    pub(crate) fn check_profile(&self, name: &str, folder: &Path) -> Result<(), Failure> {
        if folder.exists() { Ok(()) } else { self.profile(name).map(drop).map_err(Failure::or_usage) }
    }

    /// Has a profile checked and stored.
    pub(crate) fn add_profile(&self, text: Vec<u8>) -> Result<Value, Failure> {
        self.call(Method::POST, "/profiles", text)?.value()
    }

    /// Removes a profile.
    pub(crate) fn remove_profile(&self, name: &str) -> Result<(), Failure> {
        self.call(Method::DELETE, &format!("/profiles/{}", segment(name)), Vec::new()).map(|_| ())
    }

    /// The message of this profile with sample credentials, and whether a device with these facts gets it, or without a
    /// name which profile it gets.
    pub(crate) fn preview(
        &self,
        profile: Option<&str>,
        dev_id: &str,
        network: Option<(&str, &str)>,
    ) -> Result<Value, Failure> {
        let path = profile.map_or("/preview".to_owned(), |name| format!("/profiles/{}/preview", segment(name)));
        let (mcc, mnc) = network.unzip();
        self.send(Method::POST, &path, &json!({"dev_id": dev_id, "mcc": mcc, "mnc": mnc}))
    }

    /// Has a message of this profile issued, with a credential of its own, and says of which user that is, if any was made.
    pub(crate) fn issue_message(
        &self,
        profile: &str,
        carrier: Carrier<'_>,
    ) -> Result<(Vec<u8>, Option<String>), Failure> {
        let body = match carrier {
            Carrier::Card(iccid) => json!({"profile": profile, "for": "card", "iccid": iccid}),
            Carrier::Factory(label) => json!({"profile": profile, "for": "factory", "label": label}),
        };
        let answer = self.call(Method::POST, "/messages", body.to_string().into_bytes())?;
        let user = answer.place.as_deref().and_then(|place| place.strip_prefix("/api/v1/messages/")).map(str::to_owned);
        Ok((answer.body, user))
    }

    /// The credentials of cards and factory files, the newest first.
    pub(crate) fn messages(&self, limit: u16) -> Result<Vec<Value>, Failure> {
        #[derive(serde::Deserialize)]
        struct Messages {
            messages: Vec<Value>,
        }
        Ok(self.get::<Messages>(&format!("/messages?limit={limit}"))?.messages)
    }

    /// Withdraws the credential of this user, which was made for a card or factory file.
    pub(crate) fn withdraw(&self, user: &str) -> Result<(), Failure> {
        self.call(Method::DELETE, &format!("/messages/{}", segment(user)), Vec::new()).map(|_| ())
    }

    /// Has messages of this profile made for the devices of a factory run, which is given the same whenever it asks. A
    /// device whose message has more than `limit` bytes gets nothing.
    pub(crate) fn factory_messages<T: DeserializeOwned>(
        &self,
        profile: &str,
        run: &str,
        devices: &[&str],
        enrol: bool,
        limit: usize,
    ) -> Result<T, Failure> {
        let body = json!({"profile": profile, "run": run, "devices": devices, "enrol": enrol, "message_limit": limit});
        self.send(Method::POST, "/factory/messages", &body)
    }

    /// Makes devices of a manifest known, and binds what they come with.
    pub(crate) fn import_devices<T: DeserializeOwned>(&self, devices: &[Value]) -> Result<T, Failure> {
        self.send(Method::POST, "/factory/devices", &json!({"devices": devices}))
    }

    /// All devices by DevID.
    pub(crate) fn devices(&self) -> Result<Vec<Value>, Failure> {
        let mut devices: Vec<Value> = Vec::new();
        loop {
            let last = devices.last().and_then(|device| device.get("dev_id")).and_then(Value::as_str);
            let after = last.map(|dev_id| format!("&after={}", segment(dev_id))).unwrap_or_default();
            let page: Vec<Value> = self.get(&format!("/devices?limit={PAGE}{after}"))?;
            let is_last = page.len() < PAGE;
            devices.extend(page);
            if is_last {
                return Ok(devices);
            }
        }
    }

    /// Makes a device known, and by what it enrols.
    pub(crate) fn add_device(&self, dev_id: &str, by: Enrolment<'_>) -> Result<Value, Failure> {
        let body = match by {
            Enrolment::MadeUp => json!({"dev_id": dev_id}),
            Enrolment::Secret(secret) => json!({"dev_id": dev_id, "secret": secret}),
            Enrolment::Psk { identity, key } => json!({"dev_id": dev_id, "psk": {"identity": identity, "key": key}}),
            Enrolment::Certificate(pem) => json!({"dev_id": dev_id, "cert": pem}),
            Enrolment::DeviceCa => json!({"dev_id": dev_id, "device_ca": true}),
        };
        self.send(Method::POST, "/devices", &body)
    }

    /// A device and what is known of it.
    pub(crate) fn device<T: DeserializeOwned>(&self, dev_id: &str) -> Result<T, Failure> {
        self.get(&format!("/devices/{}", segment(dev_id)))
    }

    /// Forgets a device.
    pub(crate) fn remove_device(&self, dev_id: &str) -> Result<(), Failure> {
        self.call(Method::DELETE, &format!("/devices/{}", segment(dev_id)), Vec::new()).map(|_| ())
    }

    /// Blocks a device, or ends that.
    pub(crate) fn block_device(&self, dev_id: &str, blocked: bool) -> Result<Value, Failure> {
        let method = if blocked { Method::POST } else { Method::DELETE };
        self.call(method, &format!("/devices/{}/block", segment(dev_id)), Vec::new())?.value()
    }

    /// What became of a device's requests, and why.
    pub(crate) fn why(&self, dev_id: &str) -> Result<Value, Failure> {
        self.get(&format!("/devices/{}/why", segment(dev_id)))
    }
}

impl Failure {
    /// The same for a caller who named something that is not there: a mistake in what was typed.
    pub(crate) fn or_usage(self) -> Self {
        match self.exit {
            Exit::Nothing => Self { exit: Exit::Usage, ..self },
            Exit::Failed | Exit::Usage | Exit::Denied => self,
        }
    }
}
