//! The way to the PKCS#15 application: by a link that opens applications itself, else by a logical channel of ours, else
//! by the basic channel where that is ours too.

use crate::apdu::StatusWord;
use crate::channel::{Card, Channel};
use crate::error::{CardError, CardErrorKind, Place};
use crate::link::Opening;
use crate::pkcs15::dir::Application;
use crate::pkcs15::{AID, USUAL_DF};

/// At most this many records of EF(DIR) are looked at.
const MAX_APPLICATIONS: usize = 16;

/// An open channel, to be closed by [`Card::close_channel`].
pub(crate) struct Way {
    pub(crate) channel: Channel,
    /// The application, where the link has selected it on this channel.
    pub(crate) selected: Option<Selected>,
}

/// An application that a link has selected.
pub(crate) struct Selected {
    pub(crate) aid: Vec<u8>,
    /// Path of its DF without the MF.
    pub(crate) df: Vec<u8>,
}

/// Opens it. The inner error says why there is no way, where link and card work.
pub(crate) fn open(card: &mut Card<'_>) -> Result<Result<Way, CardError>, CardError> {
    let opened = |handle, aid: &[u8], df: &[u8]| {
        let df = if df.is_empty() { USUAL_DF.to_be_bytes().to_vec() } else { df.to_vec() };
        Ok(Ok(Way { channel: Channel::Opened(handle), selected: Some(Selected { aid: aid.to_vec(), df }) }))
    };
    let refused = match card.open_application(&AID)? {
        Opening::Opened(handle) => return opened(handle, &AID, &[]),
        Opening::NotOffered => None,
        Opening::Refused { status, detail } => Some((status, detail)),
    };
    let listed = if refused.is_some() { applications(card)? } else { Vec::new() };
    for application in listed.iter().filter(|one| one.is_pkcs15() && one.aid != AID) {
        if let Opening::Opened(handle) = card.open_application(&application.aid)? {
            return opened(handle, &application.aid, &application.df);
        }
    }
    let channel = match card.open_channel() {
        // A link that opens applications may know no other channels.
        Err(error) if refused.is_some() && error.kind == CardErrorKind::Io => None,
        result => result?,
    };
    match (channel, refused) {
        (Some(channel), _) => Ok(Ok(Way { channel, selected: None })),
        // Nobody else uses the card, so its basic channel does as well.
        (None, _) if card.is_exclusive() => Ok(Ok(Way { channel: Channel::BASIC, selected: None })),
        (None, refused) => Ok(Err(no_way(refused, &listed))),
    }
}

/// The applications that the link reads from EF(DIR); damaged entries are left out.
pub(super) fn applications(card: &mut Card<'_>) -> Result<Vec<Application>, CardError> {
    let records = card.tell_dir()?;
    Ok(records.iter().take(MAX_APPLICATIONS).filter_map(|record| Application::parse(record).ok().flatten()).collect())
}

fn no_way(refused: Option<(Option<StatusWord>, String)>, listed: &[Application]) -> CardError {
    let Some((status, detail)) = refused else {
        return CardError::new(
            CardErrorKind::NoLogicalChannel,
            Place::Channel,
            "the card gave no logical channel, and the basic channel belongs to the modem; \
             try again when other programs have closed theirs",
        );
    };
    let is_absent = status.is_some_and(StatusWord::says_no_application)
        || !listed.is_empty() && !listed.iter().any(Application::is_pkcs15);
    if is_absent {
        let detail = format!("the card has no PKCS#15 application ({detail})");
        return CardError::new(CardErrorKind::NoPkcs15, Place::Pkcs15, detail);
    }
    CardError::new(
        CardErrorKind::NoLogicalChannel,
        Place::Channel,
        format!(
            "the PKCS#15 application was not opened ({detail}), and there is no logical channel to select it on; \
             try again when other programs have closed theirs"
        ),
    )
}
