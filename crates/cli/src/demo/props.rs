//! What the demo gives its devices: profiles on the server, cards, factory files, configurations.

use omadm_card::make::{CardPlan, Content, make};
use omadm_card::{CardImage, VirtualUicc};
use omadm_core::secret::Secret;
use serde_json::{Value, json};
use std::path::Path;

use super::stage::{private_file, private_folder};
use super::watch::{configuration, home};
use crate::admin::{Admin, Carrier, Enrolment};
use crate::args::Cast;
use crate::failure::Failure;

/// The profile for devices in general: the messages of cards and factory files are made by it.
const GENERAL: &str = "demo";
/// The profile for devices of the test network.
const HOME: &str = "demo-001-01";
/// The PIN of the demo's cards.
const PIN: &str = "4711";
/// What `network` proves itself with.
const ENROLMENT_SECRET: &str = "a secret from the device's box";

/// How a device reaches its card.
#[derive(Debug)]
pub(super) enum CardLink {
    /// It has none.
    Off,
    /// A PC/SC reader of this name.
    Reader(String),
    /// The socket `card.sock` in its folder.
    Socket,
}

/// Stores the demo's profiles and makes the device known that asks for its message.
pub(super) fn prepare_server(admin: &Admin) -> Result<(), Failure> {
    for (name, matches) in
        [(GENERAL, json!({"default": true})), (HOME, json!({"network": [{"mcc": "001", "mnc": "01"}]}))]
    {
        admin.add_profile(profile(name, &matches).to_string().into_bytes())?;
    }
    admin.add_device(Cast::Network.facts().dev_id, Enrolment::Secret(ENROLMENT_SECRET)).map(|_| ())
}

fn profile(name: &str, matches: &Value) -> Value {
    let may_manage = [
        "urn:oma:mo:oma-dm-devinfo:1.2",
        "urn:oma:mo:oma-dm-dmacc:1.2",
        "urn:oma:mo:oma-sessioninfomo:1.0",
        "urn:omadm:mo:example:1.0",
    ];
    let perm: serde_json::Map<_, _> =
        may_manage.iter().enumerate().map(|(n, moid)| ((n + 1).to_string(), json!({"MOID": moid}))).collect();
    let account = json!({"SrvID": "omadm-demo", "Name": "The demo's server", "Perm": perm});
    json!({
        "name": name,
        "match": matches,
        "message": [{"ClientURI": "urn:oma:mo:oma-dm-dmacc:1.2/demo/", "MOData": {"DMAcc": account}}],
    })
}

/// Makes a device's folder with its card and factory file, if it has them. With `sabotage` it cannot become managed.
pub(super) fn equip(folder: &Path, cast: Cast, admin: &Admin, sabotage: bool) -> Result<Option<VirtualUicc>, Failure> {
    let home = home(folder, cast);
    private_folder(&home)?;
    if cast.iccid().is_some() {
        let pin = if sabotage { "9999" } else { PIN };
        private_file(&home.join("pin"), format!("{pin}\n").as_bytes())?;
    }
    if cast == Cast::Network {
        let secret = if sabotage { "something else" } else { ENROLMENT_SECRET };
        private_file(&home.join("secret"), format!("{secret}\n").as_bytes())?;
    }
    if cast.has_factory_file() {
        let (mut message, _) = admin.issue_message(GENERAL, Carrier::Factory(cast.name()))?;
        if sabotage {
            message.truncate(message.len() / 2);
        }
        private_file(&home.join("factory.json"), &message)?;
    }
    let Some(image) = card(cast, admin)? else { return Ok(None) };
    private_file(&home.join("card.json"), image.to_json().as_bytes())?;
    Ok(Some(VirtualUicc::new(&image)))
}

fn card(cast: Cast, admin: &Admin) -> Result<Option<CardImage>, Failure> {
    let Some(iccid) = cast.iccid() else { return Ok(None) };
    let content = match cast {
        Cast::Sim => Content::Message(admin.issue_message(GENERAL, Carrier::Card(iccid))?.0),
        Cast::MixedUp => {
            // A writer that was cut off: half of the message.
            let (mut message, _) = admin.issue_message(GENERAL, Carrier::Card(iccid))?;
            message.truncate(message.len() / 2);
            Content::Raw(message)
        }
        Cast::Network | Cast::Factory => Content::None,
    };
    let iccid = iccid.parse().map_err(|error| Failure::failed(format!("the ICCID {iccid}: {error}")))?;
    let pin = match content {
        Content::None => None,
        Content::Message(_) | Content::Raw(_) => Some(Secret::from(PIN)),
    };
    let plan = CardPlan { content, pin, ..CardPlan::new(iccid, b"") };
    make(&plan).map(Some).map_err(|error| Failure::failed(format!("the card of {}: {error}", cast.name())))
}

/// Writes a device's configuration file.
pub(super) fn configure(
    folder: &Path,
    cast: Cast,
    link: &CardLink,
    bootstrap_url: &str,
    ca: &Path,
) -> Result<(), Failure> {
    let mut text = cast.facts().configuration();
    text.push_str(&match link {
        CardLink::Off => "\n[card]\nlink = \"off\"\n".to_owned(),
        CardLink::Reader(name) => format!("\n[card]\nlink = \"pcsc\"\nreader = \"{name}\"\npin_file = \"pin\"\n"),
        CardLink::Socket => "\n[card]\nlink = \"socket:card.sock\"\npin_file = \"pin\"\n".to_owned(),
    });
    if cast.has_factory_file() {
        text.push_str("\n[factory]\nfile = \"factory.json\"\n");
    }
    if cast == Cast::Network {
        let ca = ca.display();
        text.push_str(&format!("\n[bootstrap]\nurl = \"{bootstrap_url}\"\nca = \"{ca}\"\nsecret_file = \"secret\"\n"));
    }
    private_file(&configuration(folder, cast), text.as_bytes())
}
