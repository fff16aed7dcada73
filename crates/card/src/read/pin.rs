//! Opening a private object: never the last try, and never a PIN that this card refused before.

use omadm_core::ids::Iccid;
use omadm_core::secret::Secret;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroize;

use crate::apdu::{Command, StatusWord, VERIFY};
use crate::error::{CardError, CardErrorKind, Place};
use crate::file::fcp::Fcp;
use crate::file::tlv::{Objects, Tlv, find};
use crate::hex;
use crate::pkcs15::aodf::PinObject;
use crate::pkcs15::dodf::DataObject;
use crate::read::ReadRequest;
use crate::read::message::{Pkcs15, directory};
use crate::read::session::Session;

/// A PIN that a card refused, or that was sent and not answered, or with something that says nothing about the PIN. It is
/// kept durably; a refused one is never sent to that card again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedPin {
    /// The card.
    pub iccid: Iccid,
    /// The reference of the PIN on it.
    pub reference: u8,
    /// Tells this PIN from another one that a person sets later: a hash of it with the ICCID and the reference.
    pub fingerprint: String,
    /// Where the answer to VERIFY was lost or told nothing, how many tries there were before: if fewer are left later, it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unanswered: Option<u8>,
}

impl RefusedPin {
    /// Whether both are about the same PIN of the same card.
    pub fn is_same_pin(&self, other: &Self) -> bool {
        (&self.iccid, self.reference, &self.fingerprint) == (&other.iccid, other.reference, &other.fingerprint)
    }

    fn new(iccid: &Iccid, reference: u8, pin: &Secret) -> Self {
        let hash =
            Sha256::new().chain_update(iccid.as_str()).chain_update([reference]).chain_update(pin.expose()).finalize();
        let fingerprint = hex::encode(hash.get(..8).unwrap_or_default());
        Self { iccid: iccid.clone(), reference, fingerprint, unanswered: None }
    }
}

/// A private object and all that is known about its PIN.
pub(super) struct Lock<'a> {
    pub(super) pkcs15: &'a Pkcs15,
    pub(super) object: &'a DataObject,
    pub(super) request: &'a ReadRequest<'a>,
    pub(super) iccid: Option<&'a Iccid>,
    pub(super) refused: &'a mut Option<RefusedPin>,
    pub(super) accepted: &'a mut Option<RefusedPin>,
}

impl Lock<'_> {
    /// Verifies the PIN, if the card wants one. `file` are the parameters of the object's file, where known.
    ///
    /// Where no PIN can be sent the object may be open all the same, since somebody else verified it: then the reason for
    /// which none was sent comes back, for the case that reading is refused.
    pub(super) fn open(
        &mut self,
        session: &mut Session<'_, '_>,
        file: Option<&Fcp>,
    ) -> Result<Option<CardError>, CardError> {
        let Some(reference) = self.reference(session, file)? else {
            return Err(CardError::new(
                CardErrorKind::PinNeeded,
                Place::Message(self.object.path.file_id()),
                "the object is private, but nothing on the card says which PIN opens it",
            ));
        };
        let place = Place::Pin(reference);
        let needed = |detail: &str| CardError::new(CardErrorKind::PinNeeded, place, detail);
        let refusal = |detail: &str| CardError::new(CardErrorKind::PinRefused, place, detail);
        if !session.card().is_exclusive() && matches!(reference, 0x01 | 0x11) {
            return Ok(Some(needed("this PIN belongs to the modem, which alone may verify it; have the modem do so")));
        }
        // An empty VERIFY asks for the state and spends no try.
        let state = session.send(&Command::case1(VERIFY, 0, reference))?.status;
        if state.is_ok() {
            return Ok(None);
        }
        let left = match (state, state.tries()) {
            (StatusWord::BLOCKED, _) | (_, Some(0)) => {
                return Err(refusal("the PIN is blocked; unblock it with the PUK"));
            }
            (StatusWord::UNUSABLE, _) => {
                return Err(refusal("the card says that this PIN cannot be used (6984)"));
            }
            (_, Some(1)) => {
                return Err(refusal("one try is left, which is never used here; verify the PIN with another tool"));
            }
            (_, Some(left)) => left,
            (_, None) => {
                return Err(needed(&format!("the card does not tell how many tries are left ({state})")));
            }
        };
        if session.pin_sent {
            return Err(needed("one PIN is sent in one reading, and it was sent already; it opens no other object"));
        }
        let Some(pin) = self.request.pin else {
            let sentence = "the object is behind this PIN, and none is given: name a file with it (pin_file in [card], or \
                            --pin-file)";
            return Ok(Some(needed(sentence)));
        };
        if !(4..=8).contains(&pin.expose().len()) || !pin.expose().iter().all(u8::is_ascii_digit) {
            return Err(needed("the configured PIN has not 4 to 8 digits"));
        }
        let Some(iccid) = self.iccid else {
            return Err(needed("the card does not tell its ICCID, so that a refused PIN could not be remembered"));
        };
        let memory = RefusedPin::new(iccid, reference, pin);
        let again = "the card refused this PIN earlier, so it was not sent again; correct the PIN";
        let earlier = self.request.refused.iter().find(|earlier| earlier.is_same_pin(&memory));
        match earlier {
            Some(RefusedPin { unanswered: None, .. }) => return Err(refusal(again)),
            Some(RefusedPin { unanswered: Some(before), .. }) if left < *before => {
                *self.refused = Some(memory);
                return Err(refusal(again));
            }
            Some(_) | None => {}
        }
        // A card that is asked for its tries counts them down before it answers: a lost answer is found out next time.
        let unanswered = RefusedPin { unanswered: Some(left), ..memory.clone() };
        let answer = verify(session, reference, pin).inspect_err(|_| *self.refused = Some(unanswered.clone()))?;
        if answer.is_ok() {
            *self.accepted = earlier.cloned();
            return Ok(None);
        }
        let error = match (answer, answer.tries()) {
            (_, Some(1)) => refusal("the card refused the PIN, one try is left; correct the PIN"),
            (_, Some(tries)) => refusal(&format!("the card refused the PIN, {tries} tries are left; correct the PIN")),
            (StatusWord::BLOCKED | StatusWord::UNUSABLE, None) => {
                refusal(&format!("the card refused the PIN ({answer}); correct the PIN"))
            }
            // Nothing about the PIN: as after a lost answer, and perhaps from a card that was put in just now.
            (_, None) => {
                *self.refused = Some(unanswered);
                return Err(CardError::status(place, "VERIFY", answer));
            }
        };
        *self.refused = Some(memory);
        Err(error)
    }

    /// P2 of VERIFY: what the application names if it names one, else the access rule of the file, else the PIN object.
    fn reference(&self, session: &mut Session<'_, '_>, file: Option<&Fcp>) -> Result<Option<u8>, CardError> {
        let parameters = match (&self.pkcs15.fcp, &self.pkcs15.aid) {
            (Some(fcp), _) => fcp.clone(),
            (None, Some(aid)) => session.select_aid(aid)?.unwrap_or_default(),
            (None, None) => session.select_application()?.unwrap_or_default(),
        };
        let mut named: Vec<u8> = parameters.pins.into_iter().filter(|pin| is_user_pin(*pin)).collect();
        let first = named.first().copied();
        named.retain(|pin| Some(*pin) != first);
        if first.is_some() && named.is_empty() {
            return Ok(first);
        }
        if let Some(reference) = self.access_rule(session, file)? {
            return Ok(Some(reference));
        }
        let mut damage = None;
        for path in &self.pkcs15.odf.aodfs {
            let place = Place::Aodf(path.file_id());
            let parts = directory(session, place, path, &self.pkcs15.df)?;
            for pin in parts.iter().flat_map(|part| PinObject::parse_all(part)) {
                match pin {
                    Ok(pin) if self.object.auth_id.as_ref().is_some_and(|id| *id != pin.auth_id) => {}
                    Ok(pin) if is_user_pin(pin.reference) => return Ok(Some(pin.reference)),
                    // A key of the administrator has few tries, and no PIN of a user opens it.
                    Ok(pin) => {
                        let sentence = format!(
                            "the directory names the reference {:02X}, which is no PIN of a user; personalise the card again",
                            pin.reference
                        );
                        return Err(CardError::new(CardErrorKind::PinNeeded, place, sentence));
                    }
                    Err(error) => {
                        damage.get_or_insert(CardError::malformed(place, error.to_string()));
                    }
                }
            }
        }
        damage.map_or(Ok(None), Err)
    }

    fn access_rule(&self, session: &mut Session<'_, '_>, file: Option<&Fcp>) -> Result<Option<u8>, CardError> {
        let selected;
        let file = match file {
            Some(file) => file,
            None => match session.select_first(&self.object.path.selections(&self.pkcs15.df))? {
                Ok(fcp) => {
                    selected = fcp;
                    &selected
                }
                Err(_) => return Ok(None),
            },
        };
        let Some((arr, record)) = file.access_rule else { return Ok(None) };
        // Identifiers that begin with 2F are those of files under the MF.
        let id = arr.to_be_bytes();
        let path = if id[0] == 0x2F { id.to_vec() } else { [&[0x7F, 0xFF], &id[..]].concat() };
        let Ok(fcp) = session.select_path(&path)? else { return Ok(None) };
        let Ok(rule) = session.read_record(&fcp, record)? else { return Ok(None) };
        Ok(read_pin(&rule))
    }
}

fn verify(session: &mut Session<'_, '_>, reference: u8, pin: &Secret) -> Result<StatusWord, CardError> {
    let mut block = [0xFF; 8];
    for (place, digit) in block.iter_mut().zip(pin.expose()) {
        *place = *digit;
    }
    let mut command = Command::case3(VERIFY, 0, reference, &block);
    session.pin_sent = true;
    session.card().reset_when_released();
    let answer = session.send(&command);
    command.data.zeroize();
    block.zeroize();
    Ok(answer?.status)
}

/// The PIN that allows READ, of a record of EF(ARR), ETSI TS 102 221 9.2.7; none where reading needs no PIN or
/// several.
fn read_pin(rule: &[u8]) -> Option<u8> {
    let mut allows_read = false;
    for object in Objects::new(rule) {
        let Tlv { tag, value } = object.ok()?;
        match tag {
            0x80 => allows_read = value.first()? & 0x01 != 0,
            0x81..=0x8F => allows_read = false,
            0xA4 if allows_read => {
                return find(value, 0x83).ok()??.first().copied().filter(|pin| is_user_pin(*pin));
            }
            0xA0 if allows_read => {
                let condition = find(value, 0xA4).ok()??;
                return find(condition, 0x83).ok()??.first().copied().filter(|pin| is_user_pin(*pin));
            }
            _ if allows_read => return None,
            _ => {}
        }
    }
    None
}

/// PINs of the user, ETSI TS 102 221 9.5.1: application PINs, the universal one, second application PINs. Not ADM.
pub(crate) fn is_user_pin(reference: u8) -> bool {
    matches!(reference, 0x01..=0x08 | 0x11 | 0x81..=0x88)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pin_for_reading_is_taken_from_an_access_rule() {
        let rule = |text: &str| read_pin(&hex::decode(text).unwrap());
        assert_eq!(rule("800101 A406 830101 950108 800102 A406 83010A 950108"), Some(1));
        assert_eq!(rule("800102 A406 83010A 950108 800101 A406 830181 950108"), Some(0x81));
        assert_eq!(rule("800101 9000 800102 A406 83010A 950108"), None);
        assert_eq!(rule("800101 A406 83010A 950108"), None, "an administrator's key is no PIN");
        assert_eq!(rule("800101 A010 A406830102950108 A40683010A950108"), Some(2));
        assert_eq!(rule("8001"), None);
    }

    #[test]
    fn a_refused_pin_is_told_from_another_and_not_stored() {
        let iccid: Iccid = "8901012345678901234".parse().unwrap();
        let refused = RefusedPin::new(&iccid, 1, &Secret::from("1234"));
        assert_eq!(refused, RefusedPin::new(&iccid, 1, &Secret::from("1234")));
        assert_ne!(refused, RefusedPin::new(&iccid, 1, &Secret::from("1235")));
        assert_ne!(refused.fingerprint, RefusedPin::new(&iccid, 2, &Secret::from("1234")).fingerprint);
        assert!(!serde_json::to_string(&refused).unwrap().contains("\"1234\""));
    }
}
