//! `omadm card create`.

use omadm_card::make::{CardPlan, Content, Listing, make};
use omadm_core::bootstrap::message::{BootstrapMessage, Limit};
use serde_json::json;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::source;
use crate::admin::{Admin, Carrier};
use crate::args::{CreateCard, Form};
use crate::failure::Failure;
use crate::output;

/// Makes a card file.
pub(super) fn create(args: &CreateCard) -> Result<(), Failure> {
    let content = content(args)?;
    let iccid = args.iccid.parse().map_err(|error| Failure::usage(format!("--iccid {}: {error}", args.iccid)))?;
    let plan = CardPlan {
        imsi: Some(args.imsi.clone()),
        mnc_length: args.mnc_length,
        content,
        listing: match args.form {
            Form::Opaque => Listing::Opaque,
            Form::Oid => Listing::Oid,
            Form::Both => Listing::Both,
        },
        pin: source::pin(args.pin.as_deref())?,
        allow_public_secret: args.allow_public_secret,
        ..CardPlan::new(iccid, b"")
    };
    let image = make(&plan).map_err(|error| Failure::usage(error.to_string()))?;
    write(&args.output, image.to_json().as_bytes())?;
    if args.listing.json {
        return output::json(&json!({"file": args.output, "iccid": args.iccid, "pin": plan.pin.is_some()}));
    }
    let how = if plan.pin.is_some() { "behind its PIN" } else { "readable by everybody" };
    let what = if args.content.empty { "without a message".to_owned() } else { format!("with a message {how}") };
    let file = args.output.display();
    output::say(format!("{file}: card {} {what}. Look into it: omadm card inspect {file}", args.iccid))
}

fn content(args: &CreateCard) -> Result<Content, Failure> {
    let message = match (&args.content.message, &args.content.profile) {
        (Some(path), _) => fs::read(path).map_err(|error| Failure::unreadable(path, &error))?,
        (None, Some(profile)) => {
            Admin::find(&args.reach)?.issue_message(profile, Carrier::Card(&args.iccid)).map_err(Failure::or_usage)?
        }
        (None, None) => return Ok(Content::None),
    };
    BootstrapMessage::parse(&message, Limit::Card)
        .map_err(|error| Failure::usage(format!("the message is refused: {error}")))?;
    Ok(Content::Message(message))
}

/// Writes a card file, which holds secrets: 0600, also where there was one before.
fn write(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let failed = |error| Failure::unwritable(path, &error);
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        Ok(()) | Err(_) => {}
    }
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(content).map_err(failed)
}
