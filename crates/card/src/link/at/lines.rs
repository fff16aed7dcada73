//! What a modem sends, cut into lines, and what a line is.

use std::collections::VecDeque;

/// The longest line that is looked at, in bytes: the echo of the longest command, or 258 bytes as digits with a name.
pub const MAX_LINE: usize = 4_096;
/// The most characters of a modem's own words that are shown to people.
const MAX_SHOWN: usize = 64;

/// Cuts bytes into lines. A line that is too long, or that holds anything but printable ASCII, is left out.
#[derive(Debug, Default)]
pub struct Lines {
    begun: Vec<u8>,
    is_noise: bool,
    whole: VecDeque<String>,
}

impl Lines {
    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\r' | b'\n' => self.end(),
                0x20..=0x7E if self.begun.len() < MAX_LINE => self.begun.push(*byte),
                _ => self.is_noise = true,
            }
        }
    }

    fn end(&mut self) {
        let line = std::mem::take(&mut self.begun);
        if !std::mem::take(&mut self.is_noise)
            && let Ok(line) = String::from_utf8(line)
            && !line.trim().is_empty()
        {
            self.whole.push_back(line.trim().to_owned());
        }
    }

    /// The next whole line, not blank, without white space around it.
    pub fn take(&mut self) -> Option<String> {
        self.whole.pop_front()
    }

    /// Forgets all that came so far.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// A command to a modem, and what its answer looks like.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    /// The whole line, without its end.
    pub command: &'a str,
    /// The names that begin a line of the answer, such as `+CSIM`, before the colon.
    pub names: &'a [&'a str],
    /// Whether a line without a name belongs to the answer.
    pub bare: fn(&str) -> bool,
}

/// What one line is to somebody who waits for an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A line of the answer, without its name.
    Value(String),
    /// The end: done.
    Ok,
    /// The end: refused.
    Refused(Refusal),
    /// Echo, or what nobody asked for.
    Other,
}

/// What a modem says when it refuses a command, 3GPP TS 27.007 9.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// ERROR alone, or words that mean nothing here.
    Plain,
    /// There is no SIM: 10.
    NoSim,
    /// The SIM waits for a PIN or PUK: 5, 11, 12, 17, 18.
    PinPending,
    /// Another number.
    Number(u16),
}

impl Refusal {
    /// Of what follows `+CME ERROR:`, a number or words.
    fn parse(text: &str) -> Self {
        match text.trim().parse() {
            Ok(10) => Self::NoSim,
            Ok(5 | 11 | 12 | 17 | 18) => Self::PinPending,
            Ok(number) => Self::Number(number),
            Err(_) => {
                let words: String = text.chars().take(MAX_SHOWN).filter(char::is_ascii_alphanumeric).collect();
                let words = words.to_ascii_lowercase();
                if says_no_sim(&words) {
                    Self::NoSim
                } else if words.contains("simpin") || words.contains("simpuk") {
                    Self::PinPending
                } else {
                    Self::Plain
                }
            }
        }
    }
}

/// Of words without spaces, in lower case.
fn says_no_sim(words: &str) -> bool {
    words.contains("notinserted") || words == "nosim"
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Plain => f.write_str("ERROR"),
            Self::NoSim => f.write_str("no SIM is inserted"),
            Self::PinPending => f.write_str("the SIM waits for its PIN"),
            Self::Number(number) => write!(f, "+CME ERROR: {number}"),
        }
    }
}

/// What this line is in the answer to this question.
pub fn classify(line: &str, question: &Question<'_>) -> Line {
    if line == "OK" {
        return Line::Ok;
    }
    if line == "ERROR" {
        return Line::Refused(Refusal::Plain);
    }
    for error in ["+CME ERROR", "+CMS ERROR"] {
        if let Some(rest) = strip_name(line, error) {
            return Line::Refused(Refusal::parse(rest.trim_start_matches(':')));
        }
    }
    // An echo; no answer begins so.
    if strip_name(line, "AT").is_some() {
        return Line::Other;
    }
    for name in question.names {
        if let Some(value) = strip_name(line, name).and_then(|rest| rest.trim_start().strip_prefix(':')) {
            return Line::Value(value.trim().to_owned());
        }
    }
    if (question.bare)(line) { Line::Value(line.to_owned()) } else { Line::Other }
}

/// What follows the name, in either case of letters.
fn strip_name<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (start, rest) = line.split_at_checked(name.len())?;
    start.eq_ignore_ascii_case(name).then_some(rest)
}

/// The state of a SIM as CPIN tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PinState {
    /// READY.
    Ready,
    /// There is no SIM.
    NoSim,
    /// It is being started.
    Starting,
    /// It waits for a PIN or a PUK: what the modem said.
    Waiting(String),
}

impl PinState {
    /// Of what follows `+CPIN:`.
    pub fn parse(value: &str) -> Self {
        let words: String = value.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
        if words == "ready" {
            Self::Ready
        } else if words == "notready" {
            Self::Starting
        } else if says_no_sim(&words) {
            Self::NoSim
        } else {
            Self::Waiting(value.trim_matches('"').chars().take(MAX_SHOWN).collect())
        }
    }
}

/// The text of a field, with or without quotation marks around it.
pub fn unquoted(field: &str) -> &str {
    let field = field.trim();
    field.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(field)
}

/// Whether it is pairs of hexadecimal digits and nothing else, at least one.
pub fn is_hex(text: &str) -> bool {
    !text.is_empty() && text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether it is decimal digits and nothing else, at least one.
pub fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a modem counts itself registered, home or roaming, by what follows `+CEREG:` and the like: the state behind the
/// mode in an answer, the state alone in what nobody asked for (Profile P-24). None where it says no state.
pub fn registration(value: &str) -> Option<u8> {
    let mut fields = value.split(',').map(str::trim);
    let first = fields.next().filter(|field| is_digits(field));
    let second = fields.next().filter(|field| is_digits(field));
    second.or(first).and_then(|state| state.parse().ok())
}

/// States of [`registration`] that mean registered.
pub fn is_registered(state: u8) -> bool {
    matches!(state, 1 | 5 | 9 | 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSIM: Question<'_> = Question { command: "AT+CSIM=10,\"0070000001\"", names: &["+CSIM"], bare: is_hex };

    fn lines(parts: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::default();
        parts.iter().for_each(|part| lines.push(part));
        std::iter::from_fn(|| lines.take()).collect()
    }

    #[test]
    fn lines_are_found_wherever_the_bytes_are_cut() {
        let whole = b"\r\n+CSIM: 6,\"019000\"\r\n\r\nOK\r\nbegun";
        for at in 0..whole.len() {
            assert_eq!(lines(&[&whole[..at], &whole[at..]]), ["+CSIM: 6,\"019000\"", "OK"], "{at}");
        }
    }

    #[test]
    fn endless_lines_and_noise_are_left_out() {
        let long = vec![b'A'; MAX_LINE + 1];
        assert_eq!(lines(&[&long, b"\r\nOK\r\n"]), ["OK"]);
        assert_eq!(lines(&[b"\x00\xFFOK\r\n \t\r\nE\x1BRROR\n  ERROR \n"]), ["ERROR"]);
        let mut lines = Lines::default();
        (0..1_000).for_each(|_| lines.push(&long));
        assert!(lines.begun.len() <= MAX_LINE);
    }

    #[test]
    fn echo_and_what_nobody_asked_for_are_told_from_the_answer() {
        assert_eq!(classify("+CSIM: 6,\"019000\"", &CSIM), Line::Value("6,\"019000\"".to_owned()));
        assert_eq!(classify("+csim:6,019000", &CSIM), Line::Value("6,019000".to_owned()));
        assert_eq!(classify("019000", &CSIM), Line::Value("019000".to_owned()));
        for other in ["AT+CSIM=10,\"0070000001\"", "at", "RING", "+CPIN: NOT READY", "^MODE: 5", "+CSIM", "01900", "+"]
        {
            assert_eq!(classify(other, &CSIM), Line::Other, "{other}");
        }
        assert_eq!(classify("OK", &CSIM), Line::Ok);
    }

    #[test]
    fn errors_are_read_as_numbers_and_as_words() {
        let refused = |line| match classify(line, &CSIM) {
            Line::Refused(refusal) => refusal,
            other => panic!("{other:?}"),
        };
        assert_eq!(refused("ERROR"), Refusal::Plain);
        assert_eq!(refused("+CME ERROR: 10"), Refusal::NoSim);
        assert_eq!(refused("+CME ERROR: SIM not inserted"), Refusal::NoSim);
        assert_eq!(refused("+CME ERROR: 11"), Refusal::PinPending);
        assert_eq!(refused("+CME ERROR: SIM PIN required"), Refusal::PinPending);
        assert_eq!(refused("+CME ERROR:100"), Refusal::Number(100));
        assert_eq!(refused("+cme error: 4"), Refusal::Number(4));
        assert_eq!(refused("+CME ERROR: 99999"), Refusal::Plain);
        assert_eq!(refused("+CME ERROR"), Refusal::Plain);
        assert_eq!(Refusal::Number(4).to_string(), "+CME ERROR: 4");
    }

    #[test]
    fn the_state_of_the_sim_is_told_by_cpin() {
        assert_eq!(PinState::parse("READY"), PinState::Ready);
        assert_eq!(PinState::parse("NOT INSERTED"), PinState::NoSim);
        assert_eq!(PinState::parse("SIM PIN"), PinState::Waiting("SIM PIN".to_owned()));
        assert_eq!(PinState::parse("NOT READY"), PinState::Starting);
    }

    #[test]
    fn a_registration_is_told_in_answers_and_in_what_nobody_asked_for() {
        for (value, state) in [
            ("0,1", Some(1)),
            ("2,5,\"00A1\",\"01\",7", Some(5)),
            ("1,\"00A1\",\"01\",7", Some(1)),
            ("2", Some(2)),
            ("0, 10", Some(10)),
            ("", None),
            ("x,y", None),
            ("0,999", None),
        ] {
            assert_eq!(registration(value), state, "{value}");
        }
        assert_eq!((0..12).filter(|state| is_registered(*state)).collect::<Vec<_>>(), [1, 5, 9, 10]);
    }

    #[test]
    fn quotation_marks_may_be_left_out() {
        assert_eq!((unquoted(" \"9000\" "), unquoted("9000"), unquoted("\"9000")), ("9000", "9000", "\"9000"));
    }
}
