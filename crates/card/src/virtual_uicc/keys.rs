//! PINs, PUKs and the key of the administrator: VERIFY, CHANGE PIN, UNBLOCK PIN, ETSI TS 102 221 11.1.9 to 11.1.13.

use omadm_core::secret::Secret;

use super::quirks::Quirk;
use super::{Request, VirtualUicc};
use crate::apdu::{Response, StatusWord};
use crate::image::{Access, AdmKey, Byte, CardParts, Pin};

/// No PIN or key has this reference.
const NO_REFERENCE: StatusWord = StatusWord(0x6A88);
/// The data are none that the command takes.
const WRONG_DATA: StatusWord = StatusWord(0x6A80);

/// The PINs and keys of a card, and which of them were verified.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    pins: Vec<PinState>,
    adm: Option<AdmState>,
}

#[derive(Debug, Clone)]
struct PinState {
    pin: Pin,
    verified: bool,
}

#[derive(Debug, Clone)]
struct AdmState {
    adm: AdmKey,
    verified: bool,
}

impl Keys {
    pub(super) fn new(parts: &CardParts) -> Self {
        Self {
            pins: parts.pins.iter().map(|pin| PinState { pin: pin.clone(), verified: false }).collect(),
            adm: parts.adm.as_ref().map(|adm| AdmState { adm: adm.clone(), verified: false }),
        }
    }

    /// Puts them into `parts` as they are now.
    pub(super) fn save(&self, parts: &mut CardParts) {
        parts.pins = self.pins.iter().map(|state| state.pin.clone()).collect();
        parts.adm = self.adm.as_ref().map(|state| state.adm.clone());
    }

    pub(super) fn reset(&mut self) {
        self.pins.iter_mut().for_each(|state| state.verified = false);
        self.adm.iter_mut().for_each(|state| state.verified = false);
    }

    /// Whether what is asked for may be done now.
    pub(super) fn allow(&self, access: Access) -> bool {
        match access {
            Access::Always => true,
            Access::Never => false,
            Access::Adm => self.adm.as_ref().is_some_and(|state| state.verified),
            Access::Pin(Byte(reference)) => {
                self.pins.iter().any(|state| state.pin.reference.0 == reference && state.verified)
            }
        }
    }

    /// Verifies a PIN without its value, as if who holds the card had entered it.
    pub(super) fn unlock(&mut self, reference: u8) {
        let pins = self.pins.iter_mut().filter(|state| state.pin.reference.0 == reference && state.pin.tries_left > 0);
        pins.for_each(|state| state.verified = true);
    }

    /// How many tries a PIN or the key of the administrator has left.
    pub(super) fn tries_left(&self, reference: u8) -> Option<u8> {
        let adm = self.adm.as_ref().filter(|state| state.adm.reference.0 == reference);
        let pin = || self.pins.iter().find(|state| state.pin.reference.0 == reference);
        adm.map(|state| state.adm.tries_left).or_else(|| pin().map(|state| state.pin.tries_left))
    }

    /// How many tries the PUK of a PIN has left.
    pub(super) fn puk_tries_left(&self, reference: u8) -> Option<u8> {
        let state = self.pins.iter().find(|state| state.pin.reference.0 == reference)?;
        state.pin.puk.as_ref().map(|puk| puk.tries_left)
    }

    fn pin(&mut self, reference: u8) -> Option<&mut PinState> {
        self.pins.iter_mut().find(|state| state.pin.reference.0 == reference)
    }
}

impl VirtualUicc {
    pub(super) fn verify(&mut self, request: &Request<'_>) -> Response {
        if request.p1 != 0 || request.data.is_empty() && self.quirks.has(Quirk::EmptyVerify6A86) {
            return StatusWord::WRONG_P1_P2.into();
        }
        if request.data.is_empty() && self.quirks.has(Quirk::EmptyVerify6700) {
            return StatusWord::WRONG_LENGTH.into();
        }
        if let Some(state) = self.keys.adm.as_mut().filter(|state| state.adm.reference.0 == request.p2) {
            let AdmKey { key, tries, tries_left, .. } = &mut state.adm;
            let right = request.data == key.expose();
            return try_once(request, Counter { tries: *tries, left: tries_left }, &mut state.verified, right).into();
        }
        let Some(PinState { pin, verified }) = self.keys.pin(request.p2) else {
            return NO_REFERENCE.into();
        };
        // A PIN that is not padded is a wrong PIN, as on cards in the field.
        let right = is_padded(request.data, &pin.value);
        try_once(request, Counter { tries: pin.tries, left: &mut pin.tries_left }, verified, right).into()
    }

    /// The old PIN, the new one.
    pub(super) fn change_pin(&mut self, request: &Request<'_>) -> Response {
        if request.p1 != 0 {
            return StatusWord::WRONG_P1_P2.into();
        }
        let Some(PinState { pin, verified }) = self.keys.pin(request.p2) else {
            return NO_REFERENCE.into();
        };
        let Some((old, new)) = request.data.split_at_checked(8).filter(|(_, new)| new.len() == 8) else {
            return StatusWord::WRONG_LENGTH.into();
        };
        let Some(new) = digits(new) else {
            return WRONG_DATA.into();
        };
        let right = is_padded(old, &pin.value);
        let status = try_once(request, Counter { tries: pin.tries, left: &mut pin.tries_left }, verified, right);
        if status == StatusWord::OK {
            pin.value = new;
        }
        status.into()
    }

    /// The PUK, the new PIN; without data the tries that are left for the PUK.
    pub(super) fn unblock_pin(&mut self, request: &Request<'_>) -> Response {
        if request.p1 != 0 {
            return StatusWord::WRONG_P1_P2.into();
        }
        let Some(PinState { pin, verified }) = self.keys.pin(request.p2) else {
            return NO_REFERENCE.into();
        };
        let Some(puk) = &mut pin.puk else {
            return StatusWord::UNUSABLE.into();
        };
        if request.data.is_empty() {
            return tries(puk.tries_left).into();
        }
        let Some((unblocking, new)) = request.data.split_at_checked(8).filter(|(_, new)| new.len() == 8) else {
            return StatusWord::WRONG_LENGTH.into();
        };
        let Some(new) = digits(new) else {
            return WRONG_DATA.into();
        };
        let right = unblocking == puk.value.expose();
        let mut was_right = false;
        let status = try_once(request, Counter { tries: puk.tries, left: &mut puk.tries_left }, &mut was_right, right);
        if was_right {
            pin.value = new;
            pin.tries_left = pin.tries;
            *verified = true;
        }
        status.into()
    }
}

/// How often something may be wrong.
struct Counter<'a> {
    tries: u8,
    left: &'a mut u8,
}

/// One try, or the state of the counter where nothing was sent.
fn try_once(request: &Request<'_>, counter: Counter<'_>, verified: &mut bool, right: bool) -> StatusWord {
    if *counter.left == 0 {
        return StatusWord::BLOCKED;
    }
    if request.data.is_empty() {
        return if *verified { StatusWord::OK } else { tries(*counter.left) };
    }
    *verified = right;
    if right {
        *counter.left = counter.tries;
        return StatusWord::OK;
    }
    *counter.left -= 1;
    tries(*counter.left)
}

/// 63Cx.
fn tries(left: u8) -> StatusWord {
    StatusWord(0x63C0 | u16::from(left & 0x0F))
}

fn is_padded(block: &[u8], pin: &Secret) -> bool {
    let padded = pin.expose().iter().copied().chain(std::iter::repeat(0xFF)).take(8);
    block.iter().copied().eq(padded)
}

/// 4 to 8 digits with FF behind them.
fn digits(block: &[u8]) -> Option<Secret> {
    let length = block.iter().position(|byte| *byte == 0xFF).unwrap_or(block.len());
    let (digits, padding) = block.split_at(length);
    let possible = (4..=8).contains(&length) && digits.iter().all(u8::is_ascii_digit);
    (possible && padding.iter().all(|byte| *byte == 0xFF)).then(|| Secret::new(digits.to_vec()))
}
