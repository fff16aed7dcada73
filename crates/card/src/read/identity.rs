//! Which card it is, and which network it belongs to.

use omadm_core::ids::Iccid;
use omadm_core::reason::Reason;

use crate::apdu::StatusWord;
use crate::channel::{Card, Channel, Purpose};
use crate::error::{CardError, Place};
use crate::file::digits;
use crate::link::Opening;
use crate::pkcs15::dir::{Application, USIM};
use crate::read::SimFacts;
use crate::read::session::{Refusal, Session};
use crate::read::way;

/// EF(ICCID) under the MF.
const ICCID: [u8; 2] = [0x2F, 0xE2];
/// Its short identifier.
const ICCID_SFI: u8 = 0x02;
/// EF(DIR) under the MF.
const DIR: [u8; 2] = [0x2F, 0x00];
/// EF(IMSI) in the USIM.
const IMSI: [u8; 4] = [0x7F, 0xFF, 0x6F, 0x07];
/// EF(AD) in the USIM.
const AD: [u8; 4] = [0x7F, 0xFF, 0x6F, 0xAD];
/// Their short identifiers, 3GPP TS 31.102.
const IMSI_SFI: u8 = 0x07;
const AD_SFI: u8 = 0x03;
/// At most this many records of EF(DIR) are looked at.
const MAX_APPLICATIONS: u8 = 16;

/// Who says which card it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Teller {
    /// The link itself.
    Link,
    /// The card, asked on this channel.
    Card(Channel),
}

/// The ICCID; none where it is not told.
pub(super) fn iccid(card: &mut Card<'_>, teller: Teller) -> Result<Option<Iccid>, CardError> {
    let channel = match teller {
        Teller::Link => return card.tell_iccid(),
        Teller::Card(channel) => channel,
    };
    let before = card.count_for(Purpose::Identity);
    let mut session = Session::new(card, channel);
    let iccid = match iccid_on_the_short_way(&mut session) {
        Ok(None) => iccid_of_file(&mut session),
        known => known,
    };
    card.count_for(before);
    iccid
}

fn iccid_of_file(session: &mut Session<'_, '_>) -> Result<Option<Iccid>, CardError> {
    let content = match session.select_path(&ICCID)? {
        Ok(fcp) => session.read_binary(Place::Iccid, &fcp, 0, 10)?,
        Err(refusal) => Err(refusal),
    };
    Ok(content.ok().and_then(|content| digits::iccid(&content)))
}

/// By its short identifier, which ETSI TS 102 221 fixes; none where what comes is not sure to be an ICCID: another DF may
/// be selected on the channel.
fn iccid_on_the_short_way(session: &mut Session<'_, '_>) -> Result<Option<Iccid>, CardError> {
    if !session.card().is_fast() {
        return Ok(None);
    }
    let content = session.read_short(ICCID_SFI, 10)?;
    let iccid = content.and_then(|content| digits::iccid(&content));
    Ok(iccid.filter(|iccid| iccid.as_str().starts_with("89") && iccid.as_str().len() >= 18))
}

/// What the link tells about the SIM, else the card.
pub(super) fn sim(card: &mut Card<'_>, channel: Channel) -> Result<SimFacts, CardError> {
    if let Some(facts) = told_sim(card)? {
        return Ok(facts);
    }
    let before = card.count_for(Purpose::Identity);
    let facts = match channel {
        Channel::Logical(_) => usim(&mut Session::new(card, channel)),
        Channel::Opened(_) => opened_usim(card),
    };
    card.count_for(before);
    facts
}

/// What the link tells about the SIM by itself.
pub(super) fn told_sim(card: &mut Card<'_>) -> Result<Option<SimFacts>, CardError> {
    let Some(told) = card.tell_sim()? else { return Ok(None) };
    let (mcc, mnc) = told.network.unzip();
    let facts = match told.not_ready {
        Some(why) => SimFacts { mcc, mnc, ..not_ready(&why) },
        None => {
            let message = mcc.is_none().then(|| "the home network cannot be read from the SIM".to_owned());
            SimFacts { present: true, ready: true, mcc, mnc, reason: None, message }
        }
    };
    Ok(Some(facts))
}

fn not_ready(message: &str) -> SimFacts {
    SimFacts {
        present: true,
        reason: Some(Reason::SimNotReady),
        message: Some(message.to_owned()),
        ..SimFacts::default()
    }
}

/// Asks the USIM on a channel that the link opens for it.
fn opened_usim(card: &mut Card<'_>) -> Result<SimFacts, CardError> {
    match open_usim(card)? {
        Ok(channel) => {
            let facts = home_network(&mut Session::new(card, channel));
            card.close_channel(channel);
            facts
        }
        Err(why) => Ok(not_ready(&format!("the USIM cannot be opened ({why})"))),
    }
}

/// Opens the USIM by the link: under its full AID from EF(DIR), else by the start of it. The inner error is what the link
/// said.
pub(crate) fn open_usim(card: &mut Card<'_>) -> Result<Result<Channel, String>, CardError> {
    let listed = way::applications(card)?.into_iter().find(Application::is_usim).map(|usim| usim.aid);
    let mut why = "the link opens no applications".to_owned();
    for aid in listed.into_iter().chain([USIM.to_vec()]) {
        match card.open_application(&aid)? {
            Opening::Opened(handle) => return Ok(Ok(Channel::Opened(handle))),
            Opening::Refused { detail, .. } => why = detail,
            Opening::NotOffered => {}
        }
    }
    Ok(Err(why))
}

fn usim(session: &mut Session<'_, '_>) -> Result<SimFacts, CardError> {
    let usim = applications(session)?.unwrap_or_default().into_iter().find(Application::is_usim);
    // Without EF(DIR) the start of the AID is tried.
    let aid = usim.map_or_else(|| USIM.to_vec(), |usim| usim.aid);
    if let Err(Refusal(status)) = session.select_aid_briefly(&aid)? {
        return Ok(not_ready(&format!("the card has no USIM that can be selected ({status})")));
    }
    home_network(session)
}

/// MCC and MNC from the USIM, which is selected.
fn home_network(session: &mut Session<'_, '_>) -> Result<SimFacts, CardError> {
    if session.card().is_fast()
        && let Some(imsi) = session.read_short(IMSI_SFI, 9)?
        && let Some(ad) = session.read_short(AD_SFI, 4)?
        && let Some((mcc, mnc)) = digits::home_network(&imsi, Some(&ad))
    {
        return Ok(SimFacts { present: true, ready: true, mcc: Some(mcc), mnc: Some(mnc), ..SimFacts::default() });
    }
    let imsi = match read(session, &IMSI)? {
        Ok(imsi) => imsi,
        Err(Refusal(StatusWord::NOT_ALLOWED)) => return Ok(not_ready("the SIM waits for its PIN")),
        Err(Refusal(status)) => {
            let message = Some(format!("EF(IMSI) cannot be read ({status})"));
            return Ok(SimFacts { present: true, ready: true, message, ..SimFacts::default() });
        }
    };
    let ad = read(session, &AD)?.ok();
    let network = digits::home_network(&imsi, ad.as_deref());
    let message = network.is_none().then(|| "EF(IMSI) holds no MCC and MNC".to_owned());
    let (mcc, mnc) = network.unzip();
    Ok(SimFacts { present: true, ready: true, mcc, mnc, reason: None, message })
}

fn read(session: &mut Session<'_, '_>, path: &[u8]) -> Result<Result<Vec<u8>, Refusal>, CardError> {
    match session.select_path(path)? {
        Ok(fcp) => session.read_binary(Place::Usim, &fcp, 0, 32),
        Err(refusal) => Ok(Err(refusal)),
    }
}

/// The applications in EF(DIR), which has records or is transparent; damaged entries are left out, and a file that is not
/// there lists none. `Refusal` where the card was in trouble: then nothing is proven.
pub(crate) fn applications(session: &mut Session<'_, '_>) -> Result<Result<Vec<Application>, Refusal>, CardError> {
    let fcp = match session.select_path(&DIR)? {
        Ok(fcp) => fcp,
        Err(Refusal(status)) if status.says_absent() => return Ok(Ok(Vec::new())),
        Err(trouble) => return Ok(Err(trouble)),
    };
    let mut applications = Vec::new();
    if fcp.record_length.is_none()
        && let Ok(content) = session.read_binary(Place::Dir, &fcp, 0, 2048)?
    {
        applications.extend(Application::parse_all(&content).filter_map(Result::ok));
        return Ok(Ok(applications));
    }
    for number in 1..=fcp.records.unwrap_or(MAX_APPLICATIONS).min(MAX_APPLICATIONS) {
        match session.read_record(&fcp, number)? {
            Ok(record) => applications.extend(Application::parse(&record).ok().flatten()),
            Err(Refusal(status)) if status.says_absent() => break,
            Err(trouble) => return Ok(Err(trouble)),
        }
    }
    Ok(Ok(applications))
}
