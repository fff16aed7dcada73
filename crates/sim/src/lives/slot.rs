//! The reader and the cards in it: real virtual UICCs behind a link that wears out.

use super::broken::Invariant;
use super::plan::CardIll;
use super::world::{Fault, ModelWorld};
use omadm_card::VirtualUicc;
use omadm_card::apdu::{Protocol, VERIFY};
use omadm_card::link::{Link, LinkError, Patience};
use omadm_card::make::{CardPlan, Content, make};
use omadm_core::ids::Iccid;
use omadm_core::secret::Secret;
use std::sync::Arc;

/// The PIN that a card has after so many changes. None comes again: one that a card refused is never sent to it again, so
/// a device would not find out that it is the right one now.
pub fn pin(changes: usize) -> String {
    format!("{:04}", (1234 + 4321 * changes) % 10_000)
}

/// How long one command takes, in milliseconds.
const COMMAND: u64 = 15;
/// The reference of the PIN on our cards.
const REFERENCE: u8 = 1;

/// The reader.
pub struct Slot {
    card: VirtualUicc,
    message: Option<Arc<Vec<u8>>>,
    number: u32,
    with_pin: bool,
    pin: usize,
    ill: Option<CardIll>,
    /// Counts what was done with the card, so that a link notices.
    generation: u64,
}

impl Slot {
    /// A reader with the first card.
    pub fn new(message: Option<&Arc<Vec<u8>>>, with_pin: bool) -> Self {
        let mut slot =
            Self { card: blank(), message: message.cloned(), number: 0, with_pin, pin: 0, ill: None, generation: 0 };
        slot.make();
        slot
    }

    /// What is wrong with it.
    pub fn ill(&self) -> Option<CardIll> {
        self.ill
    }

    /// From now on this is wrong with it.
    pub fn set_ill(&mut self, ill: Option<CardIll>) {
        let before = std::mem::replace(&mut self.ill, ill);
        let remade = |ill| matches!(ill, Some(CardIll::Bare | CardIll::Damaged));
        if remade(before) || remade(ill) {
            self.make();
        }
        if before.or(ill) == Some(CardIll::Out) {
            self.generation += 1;
        }
    }

    /// Puts in a card with this message: another one, or the same one made anew.
    pub fn insert(&mut self, message: &Arc<Vec<u8>>, other: bool) {
        self.number += u32::from(other);
        self.message = Some(message.clone());
        self.make();
    }

    /// Changes the card's PIN and says to which.
    pub fn change_pin(&mut self) -> String {
        self.pin += 1;
        self.make();
        pin(self.pin)
    }

    /// The card's number.
    pub fn iccid(&self) -> Iccid {
        iccid(if self.ill == Some(CardIll::Bare) { 500 + self.number } else { self.number })
    }

    fn make(&mut self) {
        let mut plan = CardPlan::new(self.iccid(), b"");
        plan.allow_public_secret = true;
        plan.pin = self.with_pin.then(|| Secret::from(pin(self.pin).as_str()));
        plan.content = match (&self.message, self.ill) {
            (None, _) | (_, Some(CardIll::Bare)) => Content::None,
            (Some(message), Some(CardIll::Damaged)) => Content::Raw(message[..message.len() / 2].to_vec()),
            (Some(message), _) => Content::Message(message.to_vec()),
        };
        self.card = make(&plan).map_or_else(|_| blank(), |image| VirtualUicc::new(&image));
        self.generation += 1;
    }
}

/// A card without anything, for where none can be made.
fn blank() -> VirtualUicc {
    let plan = CardPlan { content: Content::None, ..CardPlan::new(iccid(999), b"") };
    match make(&plan) {
        Ok(image) => VirtualUicc::new(&image),
        Err(error) => panic!("a card without a message can always be made: {error}"),
    }
}

/// The ICCID of a card of this number, with its check digit.
fn iccid(number: u32) -> Iccid {
    let digits = format!("8988211{number:011}");
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, digit)| {
            let doubled = u32::from(digit - b'0') * if place % 2 == 0 { 2 } else { 1 };
            doubled / 10 + doubled % 10
        })
        .sum();
    match format!("{digits}{}", (10 - sum % 10) % 10).parse() {
        Ok(iccid) => iccid,
        Err(error) => panic!("19 digits are an ICCID: {error}"),
    }
}

/// A link to the card in the reader.
pub struct ModelLink {
    world: ModelWorld,
    generation: u64,
    protocol: Protocol,
}

impl ModelLink {
    /// Opens it, if there is a card.
    pub fn open(world: &ModelWorld, patience: &Patience) -> Result<Self, LinkError> {
        let mut inner = world.inner();
        let gone = |_| LinkError::Io("the power is gone".to_owned());
        inner.exchange(300).map_err(gone)?;
        match inner.slot.ill {
            Some(CardIll::Out) => {
                let wait = patience.wait.min(patience.empty).as_millis() as u64;
                inner.exchange(wait).map_err(gone)?;
                return Err(LinkError::NoCard("the slot is empty".to_owned()));
            }
            Some(CardIll::Unreadable) => {
                return Err(LinkError::Io("the card does not answer to reset".to_owned()));
            }
            Some(CardIll::Bare | CardIll::Worn(_) | CardIll::Slow | CardIll::Damaged) | None => {}
        }
        inner.slot.card.reset();
        let protocol = inner.slot.card.protocol();
        let generation = inner.slot.generation;
        Ok(Self { world: world.clone(), generation, protocol })
    }
}

impl Link for ModelLink {
    fn protocol(&self) -> Protocol {
        self.protocol
    }

    fn is_exclusive(&self) -> bool {
        true
    }

    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, LinkError> {
        let mut inner = self.world.inner();
        let slow = inner.slot.ill == Some(CardIll::Slow);
        inner.exchange(if slow { 7000 } else { COMMAND }).map_err(|_| LinkError::Io("the power is gone".to_owned()))?;
        if inner.slot.generation != self.generation || inner.slot.ill == Some(CardIll::Out) {
            return Err(LinkError::Removed("another card is there".to_owned()));
        }
        let lost = match inner.slot.ill {
            Some(CardIll::Worn(one_of)) => inner.model.below(u64::from(one_of)) == 0,
            _ => false,
        };
        if lost && inner.model.chance(50) {
            return Err(LinkError::Io("the command was lost".to_owned()));
        }
        let before = inner.slot.card.tries_left(REFERENCE);
        let answer = inner.slot.card.answer(command);
        if command.get(1) == Some(&VERIFY) && command.len() > 5 {
            self.check_pin(&mut inner, command, before);
        } else if command.get(1) == Some(&VERIFY) && inner.fault == Fault::LyingCard {
            return Ok(vec![0x63, 0xC3]);
        }
        if lost { Err(LinkError::Timeout("the answer was lost".to_owned())) } else { Ok(answer) }
    }
}

impl ModelLink {
    fn check_pin(&self, inner: &mut super::world::Inner, command: &[u8], before: Option<u8>) {
        let after = inner.slot.card.tries_left(REFERENCE);
        let iccid = inner.slot.iccid().to_string();
        let key = (iccid.clone(), command[5..].to_vec());
        inner.tell(|| format!("a PIN was sent to the card {iccid}: {before:?} tries before, {after:?} after"));
        if inner.refused.get(&key) == Some(&true) {
            inner.break_with(Invariant::PinOnce, format!("the card {iccid} was sent a PIN that it had refused"));
        }
        if after >= before || (before == Some(0) && after == Some(0)) {
            return;
        }
        if before == Some(1) {
            inner.break_with(Invariant::LastTryKept, format!("the last try of the card {iccid} was used"));
        }
        inner.refused.insert(key, false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_have_numbers_that_are_right() {
        assert_eq!(iccid(1).as_str().len(), 19);
        assert_ne!(iccid(1), iccid(2));
    }
}
