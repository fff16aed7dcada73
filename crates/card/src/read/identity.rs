//! Which card it is, and which network it belongs to.

use omadm_core::ids::Iccid;
use omadm_core::reason::Reason;

use crate::apdu::StatusWord;
use crate::channel::{Card, Channel, Purpose};
use crate::error::{CardError, Place};
use crate::file::digits;
use crate::pkcs15::dir::{Application, USIM};
use crate::read::SimFacts;
use crate::read::session::{Refusal, Session};

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

/// The ICCID; none where the card does not tell it.
pub(super) fn iccid(card: &mut Card<'_>, channel: Channel) -> Result<Option<Iccid>, CardError> {
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

/// What the card tells about its SIM.
pub(super) fn sim(card: &mut Card<'_>, channel: Channel) -> Result<SimFacts, CardError> {
    let before = card.count_for(Purpose::Identity);
    let facts = usim(&mut Session::new(card, channel));
    card.count_for(before);
    facts
}

fn usim(session: &mut Session<'_, '_>) -> Result<SimFacts, CardError> {
    let not_ready = |message: &str| SimFacts {
        present: true,
        reason: Some(Reason::SimNotReady),
        message: Some(message.to_owned()),
        ..SimFacts::default()
    };
    let usim = applications(session)?.into_iter().find(Application::is_usim);
    // Without EF(DIR) the start of the AID is tried.
    let aid = usim.map_or_else(|| USIM.to_vec(), |usim| usim.aid);
    if let Err(Refusal(status)) = session.select_aid_briefly(&aid)? {
        return Ok(not_ready(&format!("the card has no USIM that can be selected ({status})")));
    }
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

/// The applications in EF(DIR), which has records or is transparent; damaged entries are left out.
pub(crate) fn applications(session: &mut Session<'_, '_>) -> Result<Vec<Application>, CardError> {
    let Ok(fcp) = session.select_path(&DIR)? else { return Ok(Vec::new()) };
    let mut applications = Vec::new();
    if fcp.record_length.is_none()
        && let Ok(content) = session.read_binary(Place::Dir, &fcp, 0, 2048)?
    {
        applications.extend(Application::parse_all(&content).filter_map(Result::ok));
        return Ok(applications);
    }
    for number in 1..=fcp.records.unwrap_or(MAX_APPLICATIONS).min(MAX_APPLICATIONS) {
        let Ok(record) = session.read_record(&fcp, number)? else { break };
        applications.extend(Application::parse(&record).ok().flatten());
    }
    Ok(applications)
}
