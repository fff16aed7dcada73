//! `omadm card read`.

use omadm_card::ReadRequest;
use serde_json::{Value, json};
use std::time::Instant;

use super::source;
use crate::args::ReadCard;
use crate::failure::Failure;
use crate::output;

/// Prints the message on the card.
pub(super) fn read(args: &ReadCard) -> Result<(), Failure> {
    let mut link = source::open(&args.card)?;
    let pin = source::pin(args.pin_file.as_deref())?;
    let began = Instant::now();
    let request = ReadRequest { pin: pin.as_ref(), ..ReadRequest::default() };
    let reading = omadm_card::read(&mut *link, &request, &|| began.elapsed());
    let message = reading.message.map_err(|error| source::card_failure(&error))?;
    if args.listing.json {
        let content: Value = serde_json::from_slice(&message)
            .map_err(|error| Failure::failed(format!("the message is no JSON: {error}")))?;
        return output::json(&json!({
            "iccid": reading.iccid,
            "bytes": message.len(),
            "apdus": reading.counts.total(),
            "message": content,
        }));
    }
    output::write(&message)?;
    output::say("")
}
