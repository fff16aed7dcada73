//! The virtual UICC answers any command with a status, and a PIN has no more tries than it has (ISO 7816-4).
//!
//! The first byte chooses the card; then come commands, each with its length in a byte before it.

use omadm_card::VirtualUicc;

use crate::card_conversation::cards;
use crate::script::Script;

pub(crate) fn run(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let images = cards();
    let choice = usize::from(script.byte().unwrap_or(0)) % images.len();
    let Some(image) = images.get(choice) else { return };
    let mut card = VirtualUicc::new(image);
    for _ in 0..64 {
        let command = script.counted();
        if command.is_empty() {
            break;
        }
        let before = card.tries_left(1);
        let answer = card.answer(command);
        assert!((2..=258).contains(&answer.len()), "{} bytes", answer.len());
        if card.tries_left(1) < before {
            assert!(matches!(command.get(1), Some(0x20 | 0x24)), "only VERIFY and CHANGE PIN cost a try");
            assert_eq!(before.zip(card.tries_left(1)).map(|(before, after)| before - after), Some(1));
        }
    }
}
