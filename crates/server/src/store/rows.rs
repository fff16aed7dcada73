//! The rows of the store, as values.

use omadm_core::ids::DevId;
use omadm_core::reason::Method;
use omadm_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

use super::StoreError;

/// The values of DevInfo by the names of its leaves.
pub(crate) type DevInfo = BTreeMap<String, String>;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub(crate) enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// The word for it, as stored and shown.
            pub(crate) fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            pub(crate) fn from_word(word: &str) -> Result<Self, StoreError> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(StoreError::Corrupt(format!("`{word}` is no {}", stringify!($name)))),
                }
            }
        }
    };
}

words! {
    /// How far a device has come.
    DeviceState {
        /// It may ask for a Bootstrap Message.
        Known = "known",
        /// It was given one, or showed up with the credential of a card or factory file.
        Bootstrapped = "bootstrapped",
        /// It was read in a session that ended well.
        Managed = "managed",
    }
}

words! {
    /// What a job is for.
    JobKind {
        /// Reads DevInfo twice, by HPUT and by GET, after BootstrapComplete.
        ReadDevInfo = "read-devinfo",
        /// Commands that a person queued.
        Operator = "operator",
    }
}

words! {
    /// How far a job has come.
    JobState {
        /// Goes out in the next session.
        Waiting = "waiting",
        /// Went out in the session that is open now.
        Sent = "sent",
        /// The device answered every command of it.
        Done = "done",
        /// Given up: too many sessions broke while it was out.
        Failed = "failed",
    }
}

words! {
    /// How the holder of a credential proves it.
    CredentialScheme {
        /// A user and password of HTTP Basic.
        Basic = "basic",
        /// A pre-shared key of TLS.
        Psk = "psk",
        /// A client certificate of TLS.
        X509 = "x509",
    }
}

words! {
    /// Which door a request came to.
    Endpoint {
        /// `GET /bootstrap`.
        Bootstrap = "bootstrap",
        /// `POST /dm`.
        Session = "session",
        /// The data repository.
        Data = "data",
        /// No door at all: another path, no HTTP, no TLS.
        Other = "other",
    }
}

/// A profile as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProfileRow {
    pub(crate) name: String,
    /// Its JSON as the operator wrote it.
    pub(crate) content: String,
    pub(crate) changed_at: Timestamp,
}

/// A device as shown to people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) id: i64,
    pub(crate) dev_id: DevId,
    pub(crate) user: String,
    pub(crate) state: DeviceState,
    /// Where its present account came from.
    pub(crate) source: Option<Method>,
    pub(crate) srv_id: Option<String>,
    pub(crate) devinfo: Option<DevInfo>,
    pub(crate) added_at: Timestamp,
    /// Since when it is refused, whatever it proves itself by.
    pub(crate) blocked_at: Option<Timestamp>,
}

/// A device to be known.
#[derive(Debug, Clone)]
pub(crate) struct NewDevice {
    pub(crate) dev_id: DevId,
    /// The user by which it enrols.
    pub(crate) user: String,
    /// Its sealed enrolment secret.
    pub(crate) enrolment: Option<Vec<u8>>,
    /// The identity of its pre-shared key, and the sealed key.
    pub(crate) psk: Option<(String, Vec<u8>)>,
    /// SHA-256 of the public key of its certificate.
    pub(crate) key_digest: Option<[u8; 32]>,
    pub(crate) at: Timestamp,
}

/// A credential to be given out.
#[derive(Debug, Clone)]
pub(crate) struct NewCredential {
    pub(crate) scheme: CredentialScheme,
    /// The user, the identity of a pre-shared key, or SHA-256 of a certificate's public key in hexadecimal digits.
    pub(crate) user: String,
    /// The sealed password or pre-shared key; nothing with a certificate, whose key the device alone keeps.
    pub(crate) secret: Vec<u8>,
    /// Whom it is for; absent for a card or factory file, until a device uses it or a manifest is imported.
    pub(crate) device: Option<i64>,
    pub(crate) source: Method,
    /// The card or file that it is made for, for people.
    pub(crate) label: String,
    pub(crate) profile: String,
    pub(crate) srv_id: String,
    pub(crate) at: Timestamp,
}

/// A valid credential.
#[derive(Debug, Clone)]
pub(crate) struct Credential {
    pub(crate) id: i64,
    pub(crate) scheme: CredentialScheme,
    pub(crate) user: String,
    pub(crate) secret: Vec<u8>,
    pub(crate) device: Option<Device>,
    pub(crate) source: Method,
    /// The device that a factory run made it for: no other one may have it.
    pub(crate) made_for: Option<DevId>,
    pub(crate) label: String,
    pub(crate) profile: String,
    pub(crate) srv_id: String,
    pub(crate) made_at: Timestamp,
    pub(crate) used_at: Option<Timestamp>,
}

/// What came of the first use of a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Binding {
    /// It is this device's, since now or before.
    To(Device),
    /// Nothing changed: a factory run made it for this device, and another one used it.
    MadeFor(DevId),
    /// Nothing changed: the device that used it is blocked since then.
    Blocked(Timestamp),
}

/// What a factory run wants for a device.
#[derive(Debug, Clone)]
pub(crate) struct FactoryOrder {
    /// The run. Whatever it orders for a device a second time is what it was given the first time.
    pub(crate) run: String,
    pub(crate) dev_id: DevId,
    /// The credential in the message, not bound yet.
    pub(crate) credential: Option<NewCredential>,
    /// The device with its sealed enrolment secret, if the bundle is to hold that.
    pub(crate) enrolment: Option<NewDevice>,
}

/// What a device of a factory run is given: the user and the sealed secret of each, which are those of the order or what
/// an earlier order of the same run made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FactoryIssue {
    pub(crate) credential: Option<(String, Vec<u8>)>,
    pub(crate) enrolment: Option<(String, Vec<u8>)>,
}

/// A device that a factory made.
#[derive(Debug, Clone)]
pub(crate) struct FactoryDevice {
    /// The device; it gets no way to enrol that it did not have.
    pub(crate) device: NewDevice,
    /// The credential that it comes with.
    pub(crate) credential: Option<i64>,
}

/// What the import of a device changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Imported {
    /// It was not known.
    Added,
    /// It was known; its credential was nobody's.
    Bound,
    /// Nothing.
    Unchanged,
}

/// What happens before a session opens.
#[derive(Debug, Clone)]
pub(crate) struct Preparation {
    pub(crate) device: i64,
    /// The SrvID of the account; empty where the device signs in with its enrolment secret.
    pub(crate) account: String,
    /// A job that is due now, unless one of its kind is waiting.
    pub(crate) due: Option<NewJob>,
    /// How many jobs at most.
    pub(crate) limit: u32,
    pub(crate) at: Timestamp,
}

/// A session that opens with its first Package#2.
#[derive(Debug, Clone)]
pub(crate) struct NewSession {
    pub(crate) device: i64,
    /// The credential that was used; absent where the device signs in with its enrolment secret.
    pub(crate) credential: Option<i64>,
    pub(crate) user: String,
    pub(crate) account: String,
    /// SHA-256 of the cookie.
    pub(crate) cookie: [u8; 32],
    /// The core's session as JSON.
    pub(crate) state: String,
    pub(crate) alerts: Vec<String>,
    pub(crate) sent: Vec<i64>,
    pub(crate) items: Vec<Item>,
    /// The first Package#2 is also the last one.
    pub(crate) ended: bool,
    pub(crate) at: Timestamp,
}

/// A session, open or over.
#[derive(Debug, Clone)]
pub(crate) struct SessionRow {
    pub(crate) id: i64,
    pub(crate) device: i64,
    pub(crate) user: String,
    pub(crate) version: i64,
    pub(crate) state: String,
    pub(crate) alerts: Vec<String>,
    /// The commands that were answered, each with its status.
    pub(crate) commands: Vec<(String, u16)>,
    /// DevInfo was read twice in it, with the same result.
    pub(crate) agreed: bool,
    pub(crate) started_at: Timestamp,
    pub(crate) touched_at: Timestamp,
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) outcome: String,
}

/// A further step of a session.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) session: i64,
    /// The version that this step was taken from.
    pub(crate) version: i64,
    pub(crate) state: String,
    pub(crate) alerts: Vec<String>,
    pub(crate) commands: Vec<(String, u16)>,
    pub(crate) sent: Vec<i64>,
    pub(crate) items: Vec<Item>,
    /// Jobs that were answered, with their results.
    pub(crate) done: Vec<(i64, Value)>,
    /// What was read of DevInfo.
    pub(crate) devinfo: Option<DevInfo>,
    pub(crate) agreed: bool,
    pub(crate) end: Option<End>,
    /// SHA-256 of a cookie that takes the place of the one before.
    pub(crate) cookie: Option<[u8; 32]>,
    pub(crate) at: Timestamp,
}

/// How a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum End {
    /// END was sent.
    Well,
    /// It broke; its jobs are sent again.
    Broken(String),
}

/// A job to be queued.
#[derive(Debug, Clone)]
pub(crate) struct NewJob {
    pub(crate) device: i64,
    pub(crate) kind: JobKind,
    /// A list of commands, `data:NAME` standing for a place in the data repository.
    pub(crate) commands: Value,
    /// What HGET finds at those places.
    pub(crate) data: BTreeMap<String, Value>,
    pub(crate) at: Timestamp,
}

/// A job.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct JobRow {
    pub(crate) id: i64,
    pub(crate) kind: JobKind,
    pub(crate) commands: Value,
    pub(crate) data: BTreeMap<String, Value>,
    pub(crate) state: JobState,
    pub(crate) tries: u32,
    pub(crate) results: Option<Value>,
    pub(crate) made_at: Timestamp,
    pub(crate) done_at: Option<Timestamp>,
}

/// What a device sent to the data repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Upload {
    pub(crate) name: String,
    pub(crate) content: Vec<u8>,
}

/// A place in the data repository.
#[derive(Debug, Clone)]
pub(crate) struct Item {
    pub(crate) token: String,
    pub(crate) device: i64,
    pub(crate) job: i64,
    pub(crate) name: String,
    /// The device sends (HPUT, HPOST); otherwise it fetches.
    pub(crate) upload: bool,
    pub(crate) content: Option<Vec<u8>>,
    pub(crate) made_at: Timestamp,
    pub(crate) used_at: Option<Timestamp>,
}

/// A request and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) at: Timestamp,
    pub(crate) endpoint: Endpoint,
    /// The device that proved to be the sender.
    pub(crate) device: Option<i64>,
    /// The DevID that the request names, proven or not.
    pub(crate) dev_id: Option<String>,
    pub(crate) remote: String,
    /// The HTTP status of the answer; absent where there was none.
    pub(crate) status: Option<u16>,
    /// Why, for programs.
    pub(crate) code: String,
    /// Why, for people: one sentence.
    pub(crate) detail: String,
}

/// What a request leaves behind.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) record: Record,
    /// The credential for a device that its answer gives out.
    pub(crate) gives: Option<NewCredential>,
}

impl From<Record> for Entry {
    fn from(record: Record) -> Self {
        Self { record, gives: None }
    }
}

/// A kept record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Recorded {
    pub(crate) at: Timestamp,
    pub(crate) endpoint: Endpoint,
    /// Whether the sender proved to be a device that is known here.
    pub(crate) authenticated: bool,
    pub(crate) dev_id: Option<String>,
    pub(crate) remote: String,
    pub(crate) status: Option<u16>,
    pub(crate) code: String,
    pub(crate) detail: String,
}
