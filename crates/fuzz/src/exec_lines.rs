//! An executable that answers anything (docs/card-links.md, "Executables"): reading ends within its bounds and with a clean
//! sentence, nothing strays to the modem's channel, and what is asked is one line each.
//!
//! Each line of the input is an answer; an empty one, and all after the last, stand for what a virtual UICC answers.

use std::time::Duration;

use omadm_card::link::exec::lines::MAX_LINE;
use omadm_card::link::exec::served::Served;
use omadm_card::link::exec::{Executable, Pipe, words};
use omadm_card::link::{Link, LinkError};
use omadm_card::{ReadRequest, VirtualUicc, read};
use serde_json::Value;

use crate::card_conversation::cards;

/// The most that one reading asks: its commands, and who the card is, how its SIM is and what is in EF(DIR), some times.
const MOST_ASKED: usize = 1_020;
/// The longest message that a card gives (Profile P-22).
const MOST_BYTES: usize = 32_767;
/// The most characters of a sentence: 200 of the executable's own, and what is said around them.
const MOST_CHARACTERS: usize = 1_000;

pub(crate) fn run(bytes: &[u8]) {
    check_words(bytes);
    let (which, answers) = bytes.split_first().map_or((0, bytes), |(which, answers)| (usize::from(*which), answers));
    let images = cards();
    let Some(image) = images.get(which % images.len()) else { return };
    let script = Script {
        served: Served::new(VirtualUicc::new(image), which & 0x80 != 0),
        other: Served::new(VirtualUicc::new(image), which & 0x80 != 0),
        answers: answers.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect::<Vec<_>>().into_iter(),
        asked: 0,
        may_stray: which & 0x80 != 0,
    };
    let mut link = match Executable::begin(script) {
        Ok(link) => link,
        Err(error) => return check_error(&error),
    };
    if let Err(error) = link.look() {
        return check_error(&error);
    }
    let reading = read(&mut link, &ReadRequest::default(), &|| Duration::ZERO);
    match &reading.message {
        Ok(message) => assert!(message.len() <= MOST_BYTES),
        Err(error) => check_sentence(&error.to_string()),
    }
    if let Some(message) = &reading.sim.message {
        check_sentence(message);
    }
    let script = link.pipe();
    assert!(script.asked <= MOST_ASKED, "{} questions", script.asked);
    assert!(script.may_stray || script.served.strayed() == 0, "the modem's channel was used");
    // Whatever it was, asking for more neither panics nor gives a handle that was never opened.
    if let Err(error) = link.tell_dir() {
        check_error(&error);
    }
}

fn check_error(error: &LinkError) {
    check_sentence(&error.to_string());
}

fn check_sentence(sentence: &str) {
    assert!(!sentence.is_empty() && sentence.chars().count() <= MOST_CHARACTERS, "{}", sentence.len());
    assert!(!sentence.chars().any(char::is_control), "{sentence:?}");
}

/// The words of a command, quoted, are its words again.
fn check_words(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(taken) = words(text) else { return };
    let quoted: Vec<String> = taken.iter().map(|word| format!("'{}'", word.replace('\'', "'\\''"))).collect();
    let quoted = quoted.join(" ");
    if quoted.len() <= 4096 {
        assert_eq!(words(&quoted), Ok(taken));
    }
}

/// Answers from the input, else from the card.
struct Script {
    served: Served,
    /// Another end, which is asked what is answered.
    other: Served,
    answers: std::vec::IntoIter<Vec<u8>>,
    asked: usize,
    /// Somebody said that the basic channel may be used.
    may_stray: bool,
}

impl Pipe for Script {
    fn ask(&mut self, line: &str) -> Result<Vec<u8>, LinkError> {
        self.asked += 1;
        let asked = line.strip_suffix('\n').expect("a line");
        assert!(line.len() <= MAX_LINE && !asked.contains('\n'));
        assert!(matches!(serde_json::from_str(asked), Ok(Value::Object(_))), "{asked}");
        let honest = self.served.answer(asked.as_bytes());
        assert!(!honest.contains('\n') && serde_json::from_str::<Value>(&honest).is_ok_and(|value| value.is_object()));
        match self.answers.next().filter(|answer| !answer.is_empty()) {
            Some(answer) => {
                self.may_stray |= String::from_utf8_lossy(&answer).contains("exclusive");
                // The other end has to bear anything, too.
                let _ = self.other.answer(&answer);
                Ok(answer)
            }
            None => Ok(honest.into_bytes()),
        }
    }
}
