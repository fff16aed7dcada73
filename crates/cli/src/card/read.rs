//! `omadm card read`.

use omadm_card::{ReadRequest, Shortcuts};
use omadm_core::reason::sentence;
use serde_json::{Value, json};
use std::fs;
use std::io::{IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Instant;

use super::source;
use crate::args::ReadCard;
use crate::failure::Failure;
use crate::output;

/// Prints the message on the card, or another object.
pub(super) fn read(args: &ReadCard) -> Result<(), Failure> {
    let mut link = source::open(&args.what.card)?;
    let pin = source::pin(args.what.pin_file.as_deref())?;
    let began = Instant::now();
    let shortcuts = Shortcuts::default();
    let request = ReadRequest {
        pin: pin.as_ref(),
        object: args.object.as_ref(),
        fast: args.what.fast.then_some(&shortcuts),
        ..ReadRequest::default()
    };
    let reading = omadm_card::read(&mut *link, &request, &|| began.elapsed());
    for one in &reading.passed_over {
        output::remark(&sentence(&format!("passed over: {one}")));
    }
    let content = reading.message.map_err(|error| source::card_failure(&error))?;
    if let Some(path) = &args.out {
        write(path, &content)?;
    }
    if args.what.listing.json {
        let message: Value = match &args.object {
            Some(_) => Value::Null,
            None => serde_json::from_slice(&content)
                .map_err(|error| Failure::failed(format!("the message is no JSON: {error}")))?,
        };
        let mut report = json!({
            "iccid": reading.iccid,
            "bytes": content.len(),
            "apdus": reading.counts.total(),
            "message": message,
            "passed_over": reading.passed_over.iter().map(ToString::to_string).collect::<Vec<_>>(),
        });
        if let (Some(object), Some(report)) = (&args.object, report.as_object_mut()) {
            report.remove("message");
            report.insert("object".to_owned(), object.to_string().into());
            report.insert("content".to_owned(), omadm_card::hex::encode(&content).into());
        }
        return output::json(&report);
    }
    if let Some(path) = &args.out {
        return output::say(format!("{}: {} bytes", path.display(), content.len()));
    }
    if args.object.is_some() {
        if std::io::stdout().is_terminal() {
            let problem = format!("the object has {} bytes, which are not for a terminal", content.len());
            return Err(Failure::usage(problem).advise("write them to a file with --out, or show them with --json"));
        }
        return output::write(&content);
    }
    output::write(&content)?;
    output::say("")
}

/// Writes what was read, which may hold secrets, where no file is yet.
fn write(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(content)).map_err(|error| Failure::unwritable(path, &error))
}
