//! The PIN of the user, for what lies behind it: sent once, never as the last try, never to a card in a modem in the
//! modem's place.

use omadm_core::secret::Secret;
use zeroize::Zeroize;

use crate::apdu::{Command, StatusWord, VERIFY};
use crate::error::{CardError, CardErrorKind, Place};
use crate::read::FileSession;

/// Verifies the PIN with this reference, unless it is verified already. An empty VERIFY first tells the tries that are
/// left, and spends none.
pub(crate) fn verify(session: &mut FileSession<'_, '_>, reference: u8, pin: &Secret) -> Result<(), CardError> {
    let place = Place::Pin(reference);
    let needed = |detail: &str| Err(CardError::new(CardErrorKind::PinNeeded, place, detail));
    let refused = |detail: &str| Err(CardError::new(CardErrorKind::PinRefused, place, detail));
    if is_of_modem(session, reference) {
        return needed("this PIN belongs to the modem, which alone may verify it; have the modem do so");
    }
    if !(4..=8).contains(&pin.expose().len()) || !pin.expose().iter().all(u8::is_ascii_digit) {
        return needed("the PIN has not 4 to 8 digits");
    }
    let state = session.send(&Command::case1(VERIFY, 0, reference))?.status;
    if state.is_ok() {
        return Ok(());
    }
    match (state, state.tries()) {
        (StatusWord::BLOCKED, _) | (_, Some(0)) => return refused("the PIN is blocked; unblock it with the PUK"),
        (StatusWord::UNUSABLE, _) => return refused("the card says that this PIN cannot be used (6984)"),
        (_, Some(1)) => {
            return refused("one try is left, which is never used here; verify the PIN with another tool");
        }
        (_, Some(_)) => {}
        (_, None) => return needed(&format!("the card does not tell how many tries are left ({state})")),
    }
    let mut block = [0xFF; 8];
    for (place, digit) in block.iter_mut().zip(pin.expose()) {
        *place = *digit;
    }
    let mut command = Command::case3(VERIFY, 0, reference, &block);
    session.card().reset_when_released();
    let answer = session.send(&command);
    command.data.zeroize();
    block.zeroize();
    match answer?.status {
        status if status.is_ok() => Ok(()),
        status => refused(&format!("the card refused the PIN ({status}); nothing was written, correct the PIN")),
    }
}

/// Whether a modem verifies it itself, so that it is none of ours.
pub(crate) fn is_of_modem(session: &mut FileSession<'_, '_>, reference: u8) -> bool {
    !session.card().is_exclusive() && matches!(reference, 0x01 | 0x11)
}
