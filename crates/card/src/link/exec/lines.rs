//! The lines that go to an executable and come from it (docs/card-links.md, "Executables"), without any process.

use omadm_core::ids::Iccid;
use serde_json::{Map, Value};

use crate::apdu::{Protocol, StatusWord};
use crate::file::digits;
use crate::hex;
use crate::link::{LinkError, ToldSim};

/// The version of the protocol that is spoken here.
pub const VERSION: u64 = 1;
/// The most bytes of one line.
pub const MAX_LINE: usize = 64 * 1024;
/// The most bytes of the response to one command, status word included.
const MAX_RESPONSE: usize = 4096 + 2;
/// The most characters of a handle.
const MAX_HANDLE: usize = 64;
/// The most characters of a sentence that are passed on.
const MAX_SENTENCE: usize = 200;
/// The most records of EF(DIR), and the most bytes of each.
const MAX_DIR: (usize, usize) = (16, 255);

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request<'a> {
    /// Which version is spoken; always the first.
    Hello,
    /// Which card there is, and how its SIM is.
    Status,
    /// A command to the card as it is, its channel in the class byte; `on`: to an application that was opened, the
    /// channel bits of the class being zero.
    Apdu {
        /// The command.
        command: &'a [u8],
        /// The handle of the application.
        on: Option<&'a str>,
    },
    /// Open a logical channel with this application selected.
    Open(&'a [u8]),
    /// Close it.
    Close(&'a str),
    /// The records of EF(DIR).
    Dir,
}

impl Request<'_> {
    /// The line, its end included. Handles hold nothing that JSON would have to escape, see [`opened`].
    pub fn line(&self) -> String {
        match self {
            Self::Hello => format!("{{\"hello\":{VERSION}}}\n"),
            Self::Status => "{\"status\":true}\n".to_owned(),
            Self::Apdu { command, on: None } => format!("{{\"apdu\":\"{}\"}}\n", hex::encode(command)),
            Self::Apdu { command, on: Some(handle) } => {
                format!("{{\"apdu\":\"{}\",\"on\":\"{handle}\"}}\n", hex::encode(command))
            }
            Self::Open(aid) => format!("{{\"open\":\"{}\"}}\n", hex::encode(aid)),
            Self::Close(handle) => format!("{{\"close\":\"{handle}\"}}\n"),
            Self::Dir => "{\"dir\":true}\n".to_owned(),
        }
    }
}

/// What an executable says where it cannot do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What kind.
    pub code: Code,
    /// Its sentence, cleaned and cut.
    pub sentence: String,
    /// The status word of the card, where it is told.
    pub status: Option<StatusWord>,
}

/// The kinds of refusal that make a difference here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// `no-card`: there is no card.
    NoCard,
    /// `no-link`: the modem or reader behind the executable is not there, or not yet.
    NoLink,
    /// `removed`: the card was taken out or reset.
    Removed,
    /// `timeout`: the card or modem did not answer.
    Timeout,
    /// `unsupported`: the executable does no such thing.
    Unsupported,
    /// `no-channel`, `refused` and any other.
    Other,
}

impl Refusal {
    /// What it means for a link.
    pub fn link_error(self) -> LinkError {
        match self.code {
            Code::NoCard | Code::NoLink => LinkError::NoCard(self.sentence),
            Code::Removed => LinkError::Removed(self.sentence),
            Code::Timeout => LinkError::Timeout(self.sentence),
            Code::Unsupported | Code::Other => LinkError::Io(self.sentence),
        }
    }
}

/// What an answer is that breaks the protocol, in one sentence that repeats nothing of it: it may hold what is secret.
fn broken(what: impl std::fmt::Display) -> LinkError {
    LinkError::Io(format!("the executable's answer {what}; see docs/card-links.md"))
}

/// An answer: the members of the object, or the refusal that it is.
pub type Answer = Result<Map<String, Value>, Refusal>;

/// Takes a line apart.
///
/// # Errors
/// Where it is no JSON object, or names an error without a sentence.
pub fn answer(line: &[u8]) -> Result<Answer, LinkError> {
    let members = match serde_json::from_slice(line) {
        Ok(Value::Object(members)) => members,
        Ok(_) => return Err(broken("is no JSON object")),
        // The library's sentence tells the place only, and bounds the depth.
        Err(error) => return Err(broken(format_args!("is no JSON object ({error})"))),
    };
    let Some(error) = members.get("error") else { return Ok(Ok(members)) };
    let said = error.as_str().ok_or_else(|| broken("has an error that is no text"))?;
    let code = members.get("code").and_then(Value::as_str).unwrap_or_default();
    let is_of_channels = code == "no-channel";
    let code = match code {
        "no-card" => Code::NoCard,
        "no-link" => Code::NoLink,
        "removed" => Code::Removed,
        "timeout" => Code::Timeout,
        "unsupported" => Code::Unsupported,
        _ => Code::Other,
    };
    let status = members.get("sw").and_then(Value::as_str).and_then(|text| u16::from_str_radix(text, 16).ok());
    // Whatever the card said when no channel was free, it said nothing of an application.
    let status = status.filter(|_| !is_of_channels);
    Ok(Err(Refusal { code, sentence: sentence(said), status: status.map(StatusWord) }))
}

/// Text from outside as part of a sentence: without control characters, at most 200 characters.
pub fn sentence(text: &str) -> String {
    text.trim().chars().take(MAX_SENTENCE).map(|one| if one.is_control() { ' ' } else { one }).collect()
}

/// Checks the answer to [`Request::Hello`].
///
/// # Errors
/// If another version is spoken.
pub fn hello(members: &Map<String, Value>) -> Result<(), LinkError> {
    match members.get("hello").and_then(Value::as_u64) {
        Some(VERSION) => Ok(()),
        Some(other) => Err(broken(format_args!("speaks version {other} of the protocol, this program {VERSION}"))),
        None => Err(broken("to hello has no version")),
    }
}

/// The response of the card in the answer to [`Request::Apdu`].
///
/// # Errors
/// If there is none, or not of 2 to 4,098 bytes.
pub fn response(members: &Map<String, Value>) -> Result<Vec<u8>, LinkError> {
    let text = members.get("apdu").and_then(Value::as_str).ok_or_else(|| broken("to a command has no apdu"))?;
    hex::decode(text)
        .ok()
        .filter(|bytes| (2..=MAX_RESPONSE).contains(&bytes.len()))
        .ok_or_else(|| broken("to a command is not 2 to 4,098 bytes in hexadecimal"))
}

/// The handle in the answer to [`Request::Open`].
///
/// # Errors
/// If there is none, or not of 1 to 64 printable ASCII characters without quote and backslash.
pub fn opened(members: &Map<String, Value>) -> Result<String, LinkError> {
    let handle = members.get("open").and_then(Value::as_str).filter(|text| {
        (1..=MAX_HANDLE).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
    });
    handle.map(str::to_owned).ok_or_else(|| broken("to open has no handle of 1 to 64 printable characters"))
}

/// What an executable tells without a channel being opened for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// There is a card.
    pub card: bool,
    /// Why there is none, or why its SIM is not ready.
    pub why: Option<String>,
    /// Which card it is.
    pub iccid: Option<Iccid>,
    /// Nobody else uses the card, so that its basic channel may be used too.
    pub exclusive: bool,
    /// How commands have to be written.
    pub protocol: Protocol,
    /// How its SIM is; none where the card has to be asked.
    pub sim: Option<ToldSim>,
}

/// The answer to [`Request::Status`].
///
/// # Errors
/// If a member is not what it should be.
pub fn status(members: &Map<String, Value>) -> Result<Status, LinkError> {
    let flag = |name: &str| match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(*value)),
        Some(_) => Err(broken(format_args!("to status has a member {name} that is neither true nor false"))),
    };
    let text = |name: &str| match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(value)) => Ok(Some(value.as_str())),
        Some(_) => Err(broken(format_args!("to status has a member {name} that is no text"))),
    };
    let bytes = |name: &str| match text(name)?.map(hex::decode) {
        None => Ok(None),
        Some(Ok(bytes)) => Ok(Some(bytes)),
        Some(Err(error)) => Err(broken(format_args!("to status has a member {name} that is {error}"))),
    };
    let card = flag("card")?.ok_or_else(|| broken("to status does not say whether there is a card"))?;
    let why = text("why")?.map(sentence).filter(|why| !why.is_empty());
    let iccid = match text("iccid")?.map(|iccid| iccid.trim_end_matches(['F', 'f']).parse()) {
        None => None,
        Some(Ok(iccid)) => Some(iccid),
        Some(Err(_)) => return Err(broken("to status has an iccid that is none")),
    };
    let protocol = match text("protocol")? {
        None | Some("T=1") => Protocol::T1,
        Some("T=0") => Protocol::T0,
        Some(_) => return Err(broken("to status has a protocol that is neither T=0 nor T=1")),
    };
    let network = match (text("mcc")?, text("mnc")?) {
        (Some(mcc), Some(mnc)) => {
            let network = mcc.parse().ok().zip(mnc.parse().ok());
            Some(network.ok_or_else(|| broken("to status has an mcc or mnc that is none"))?)
        }
        (None, None) => {
            let (imsi, ad) = (bytes("ef_imsi")?, bytes("ef_ad")?);
            imsi.and_then(|imsi| digits::home_network(&imsi, ad.as_deref()))
        }
        (Some(_), None) | (None, Some(_)) => return Err(broken("to status has one of mcc and mnc without the other")),
    };
    let sim = flag("ready")?.map(|ready| {
        let not_ready = || why.clone().unwrap_or_else(|| "the executable says that the SIM is not ready".to_owned());
        ToldSim { network, not_ready: (!ready).then(not_ready) }
    });
    Ok(Status { card, iccid, exclusive: flag("exclusive")?.unwrap_or(false), protocol, sim, why })
}

/// The records in the answer to [`Request::Dir`].
///
/// # Errors
/// If there are none, more than 16, or one of more than 255 bytes.
pub fn dir(members: &Map<String, Value>) -> Result<Vec<Vec<u8>>, LinkError> {
    let records = members.get("dir").and_then(Value::as_array).filter(|records| records.len() <= MAX_DIR.0);
    let records = records.ok_or_else(|| broken("to dir is no list of at most 16 records"))?;
    let record = |record: &Value| record.as_str().and_then(|text| hex::decode(text).ok());
    let records = records.iter().map(|one| record(one).filter(|bytes| bytes.len() <= MAX_DIR.1));
    records
        .collect::<Option<_>>()
        .ok_or_else(|| broken("to dir has a record that is not at most 255 bytes in hexadecimal"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn members(value: Value) -> Map<String, Value> {
        answer(value.to_string().as_bytes()).unwrap().unwrap()
    }

    fn status_of(value: Value) -> Result<Status, String> {
        status(&members(value)).map_err(|error| error.to_string())
    }

    #[test]
    fn requests_are_single_lines_of_json() {
        let requests = [
            (Request::Hello, json!({"hello": 1})),
            (Request::Status, json!({"status": true})),
            (Request::Apdu { command: &[0, 0x70, 0, 0, 1], on: None }, json!({"apdu": "0070000001"})),
            (Request::Apdu { command: &[0, 0xB0, 0, 0, 9], on: Some("#2") }, json!({"apdu": "00B0000009", "on": "#2"})),
            (Request::Open(&[0xA0, 0, 0, 0, 0x63]), json!({"open": "A000000063"})),
            (Request::Close("#2"), json!({"close": "#2"})),
            (Request::Dir, json!({"dir": true})),
        ];
        for (request, expected) in requests {
            let line = request.line();
            assert!(line.ends_with('\n') && line.matches('\n').count() == 1, "{line}");
            assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), expected);
        }
    }

    #[test]
    fn a_status_tells_card_network_and_sim() {
        let told = status_of(json!({
            "card": true, "iccid": "8988000000000000016F", "ready": true, "mcc": "001", "mnc": "01",
            "vendor": {"any": ["thing"]},
        }))
        .unwrap();
        assert_eq!((told.card, told.exclusive, told.protocol, told.why), (true, false, Protocol::T1, None));
        assert_eq!(told.iccid.unwrap().as_str(), "8988000000000000016");
        let sim = told.sim.unwrap();
        assert_eq!(sim.not_ready, None);
        assert_eq!(sim.network.unwrap().1.as_str(), "01");

        let files = status_of(json!({
            "card": true, "ready": false, "why": "PIN\npending", "exclusive": true, "protocol": "T=0",
            "ef_imsi": "080910101032547698", "ef_ad": "00000003",
        }))
        .unwrap();
        assert_eq!((files.exclusive, files.protocol), (true, Protocol::T0));
        let sim = files.sim.unwrap();
        assert_eq!(sim.not_ready.as_deref(), Some("PIN pending"));
        assert_eq!(sim.network.unwrap().1.as_str(), "010", "EF(AD) says three digits");

        let silent = status_of(json!({"card": true, "mcc": null})).unwrap();
        assert_eq!(silent.sim, None, "without \"ready\" the card has to be asked");
        assert!(!status_of(json!({"card": false, "why": "empty"})).unwrap().card);
    }

    #[test]
    fn a_status_that_is_none_is_named_by_its_member() {
        let cases = [
            (json!({}), "whether there is a card"),
            (json!({"card": "yes"}), "a member card that is neither"),
            (json!({"card": true, "ready": 1}), "a member ready that is neither"),
            (json!({"card": true, "iccid": "12"}), "an iccid"),
            (json!({"card": true, "iccid": 12}), "a member iccid that is no text"),
            (json!({"card": true, "protocol": "T=2"}), "a protocol"),
            (json!({"card": true, "mcc": "001"}), "one of mcc and mnc"),
            (json!({"card": true, "mcc": "001", "mnc": "1"}), "an mcc or mnc"),
            (json!({"card": true, "ef_imsi": "0"}), "a member ef_imsi"),
        ];
        for (value, expected) in cases {
            let error = status_of(value.clone()).unwrap_err();
            assert!(error.contains(expected) && error.contains("docs/card-links.md"), "{value}: {error}");
        }
    }

    #[test]
    fn what_breaks_the_protocol_is_refused_and_never_repeated() {
        let deep = "[".repeat(300);
        for line in ["", "4711", "\"4711\"", "[4711]", "4711 4711", "{\"apdu\":4711", "\u{1}4711", deep.as_str()] {
            let error = answer(line.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("is no JSON object") && !error.contains("4711"), "{line}: {error}");
        }
        assert!(answer(b"{\"error\":7}").is_err());
        let long = "00".repeat(4099);
        for apdu in [json!(null), json!(9000), json!("9"), json!("90"), json!("90g0"), json!(long)] {
            assert!(response(&members(json!({"apdu": apdu}))).is_err());
        }
        assert_eq!(response(&members(json!({"apdu": "6f 00 90 00"}))), Ok(vec![0x6F, 0, 0x90, 0]));
        for handle in
            [json!(1), json!(""), json!("a b"), json!("a\"b"), json!("a\\b"), json!("\u{e9}"), json!("x".repeat(65))]
        {
            assert!(opened(&members(json!({"open": handle}))).is_err());
        }
        for records in
            [json!(null), json!("61"), json!(["zz"]), json!([7]), json!(["00".repeat(256)]), json!(vec!["61"; 17])]
        {
            assert!(dir(&members(json!({"dir": records}))).is_err());
        }
        assert_eq!(dir(&members(json!({"dir": ["61", ""]}))), Ok(vec![vec![0x61], vec![]]));
        assert!(hello(&members(json!({"hello": 2}))).unwrap_err().to_string().contains("version 2"));
        assert!(hello(&members(json!({}))).is_err());
    }

    #[test]
    fn a_refusal_keeps_its_kind_and_a_clean_sentence() {
        let said = |code: &str| {
            let line = json!({"error": format!(" a\u{7}b {}", "x".repeat(300)), "code": code, "sw": "6A82"});
            answer(line.to_string().as_bytes()).unwrap().unwrap_err()
        };
        let refusal = said("no-channel");
        assert_eq!((refusal.code, refusal.status), (Code::Other, None), "it says nothing of the application");
        assert_eq!(said("refused").status, Some(StatusWord::NOT_FOUND));
        assert!(refusal.sentence.starts_with("a b x") && refusal.sentence.chars().count() == 200);
        assert!(matches!(said("no-card").link_error(), LinkError::NoCard(_)));
        assert!(matches!(said("no-link").link_error(), LinkError::NoCard(_)));
        assert!(matches!(said("removed").link_error(), LinkError::Removed(_)));
        assert!(matches!(said("timeout").link_error(), LinkError::Timeout(_)));
        assert!(matches!(said("unsupported").link_error(), LinkError::Io(_)));
        assert!(matches!(said("anything").link_error(), LinkError::Io(said) if said == refusal.sentence));
        assert_eq!(answer(br#"{"error":"x"}"#).unwrap().unwrap_err().code, Code::Other);
    }
}
