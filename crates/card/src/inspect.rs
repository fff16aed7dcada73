//! Explaining a card: the tree of its files, each decoded, what a DM Client makes of it, what is wrong and what to do.

mod data_files;
mod drawing;
mod look;
mod problems;
mod view;

use std::time::Duration;

use crate::channel::Card;
use crate::error::CardError;
use crate::file::digits;
use crate::link::Link;
use crate::pkcs15::dir::{Application, USIM};
use crate::pkcs15::{self, StructureError};
use crate::read::{
    CardReading, FileSession, ReadRequest, Refusal, Selected, applications, open_pkcs15, open_usim, read,
};
use crate::secrets;
use data_files::look_at_pkcs15;
use look::{Look, Seen};

pub use drawing::{Ink, Line};
pub use problems::{Problem, Severity};
pub use view::{FileView, Inspection, MessageView};

/// Reads the message as [`read`] does and looks at the files on the way. Give [`ReadRequest::sim`] to see the network.
pub fn inspect(
    link: &mut dyn Link,
    request: &ReadRequest<'_>,
    now: &dyn Fn() -> Duration,
) -> (Inspection, CardReading) {
    let reading = read(link, request, now);
    let protocol = link.protocol();
    let mut seen = Seen { pin_was_given: request.pin.is_some(), ..Seen::default() };
    let mut card = Card::new(link, now, request.limit);
    // What went wrong is in the reading already; here it only ends the list.
    let _ = look(&mut card, &mut seen);
    let message = match &reading.message {
        Ok(message) => MessageView::Found {
            bytes: message.len(),
            behind_pin: reading.behind_pin,
            json: secrets::masked(message),
            public_secrets: if reading.behind_pin { Vec::new() } else { secrets::in_message(message) },
        },
        Err(error) => MessageView::Missing { reason: error.reason(), message: error.to_string() },
    };
    let network = reading.sim.mcc.as_ref().zip(reading.sim.mnc.as_ref()).map(|(mcc, mnc)| format!("{mcc}-{mnc}"));
    let problems = problems::find(&seen, &reading);
    let inspection =
        Inspection { protocol, iccid: reading.iccid.clone(), files: seen.files, message, network, problems };
    (inspection, reading)
}

fn look(card: &mut Card<'_>, seen: &mut Seen) -> Result<(), CardError> {
    let Ok(way) = open_pkcs15(card)? else { return Ok(()) };
    let result = look_on_channel(&mut FileSession::new(card, way.channel), way.selected.as_ref(), seen);
    card.close_channel(way.channel);
    if way.selected.is_some()
        && result.is_ok()
        && let Ok(channel) = open_usim(card)?
    {
        let result = look_at_usim(&mut FileSession::new(card, channel), seen);
        card.close_channel(channel);
        return result;
    }
    result
}

/// Selects the PKCS#15 application as a reading does; gives the path of its DF.
fn select_pkcs15(
    session: &mut FileSession<'_, '_>,
    applications: &[Application],
) -> Result<Option<Vec<u8>>, CardError> {
    if session.select_aid(&pkcs15::AID)?.is_ok() {
        return Ok(Some(pkcs15::USUAL_DF.to_be_bytes().to_vec()));
    }
    for application in applications.iter().filter(|one| one.is_pkcs15()) {
        let by_aid = session.select_aid(&application.aid)?.is_ok();
        if by_aid || (!application.df.is_empty() && session.select_df(&application.df)?.is_ok()) {
            return Ok(Some(application.df.clone()));
        }
    }
    Ok(None)
}

/// `by_link` is the PKCS#15 application where the link selected it; such a link opens the USIM on a channel of its own.
fn look_on_channel(
    session: &mut FileSession<'_, '_>,
    by_link: Option<&Selected>,
    seen: &mut Seen,
) -> Result<(), CardError> {
    let mut iccid = Look::new(session, "MF", 0x2FE2, "EF(ICCID)", &[vec![0x2F, 0xE2]], 10)?;
    iccid.explain(|content| {
        let number = digits::iccid(content).ok_or(StructureError::Missing("an ICCID"))?;
        Ok(vec![format!("ICCID {number}")])
    });
    seen.files.push(iccid.view);

    let applications = applications(session)?.unwrap_or_default();
    let dir = session.select_path(&[0x2F, 0x00])?;
    seen.files.push(FileView {
        path: "MF/2F00".to_owned(),
        name: "EF(DIR)".to_owned(),
        size: dir.as_ref().ok().and_then(|fcp| fcp.size),
        content: None,
        meaning: applications.iter().map(Application::to_string).collect(),
        problem: dir.as_ref().err().map(|Refusal(status)| status.to_string()),
    });
    seen.has_dir = dir.is_ok();
    seen.is_in_dir = applications.iter().any(Application::is_pkcs15);

    let df = match by_link {
        Some(selected) => {
            // The MF was looked at.
            session.go_back_into(&selected.aid)?;
            session.was_opened_in(&selected.aid);
            Some(selected.df.clone())
        }
        None => select_pkcs15(session, &applications)?,
    };
    if let Some(df) = df {
        seen.has_pkcs15 = true;
        look_at_pkcs15(session, &df, seen)?;
    }
    if by_link.is_some() {
        return Ok(());
    }
    let usim = applications.into_iter().find(Application::is_usim).map_or_else(|| USIM.to_vec(), |usim| usim.aid);
    if session.select_aid(&usim)?.is_ok() {
        look_at_usim(session, seen)?;
    }
    Ok(())
}

fn look_at_usim(session: &mut FileSession<'_, '_>, seen: &mut Seen) -> Result<(), CardError> {
    // Never the IMSI itself (Profile P-26).
    let imsi = Look::new(session, "USIM", 0x6F07, "EF(IMSI)", &[vec![0x7F, 0xFF, 0x6F, 0x07]], 9)?;
    seen.files.push(FileView { content: None, ..imsi.view });
    let mut ad = Look::new(session, "USIM", 0x6FAD, "EF(AD)", &[vec![0x7F, 0xFF, 0x6F, 0xAD]], 32)?;
    ad.explain(|content| {
        let length = content.get(3).ok_or(StructureError::Missing("the length of the MNC"))?;
        Ok(vec![format!("MNC of {} digits", length & 0x0F)])
    });
    seen.files.push(ad.view);
    Ok(())
}
