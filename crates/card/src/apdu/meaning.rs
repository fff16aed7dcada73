//! What each status word means and what a person can do about it (ISO/IEC 7816-4, ETSI TS 102 221 10.2; 9xxx also from
//! 3GPP TS 51.011).

use super::StatusWord;

/// A status word, or a run of them, explained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusMeaning {
    /// The first status word that it is about.
    pub first: u16,
    /// The last one; the same where it is about one alone.
    pub last: u16,
    /// What it means, in a few words.
    pub meaning: &'static str,
    /// What to do about it; none where nothing is wrong.
    pub advice: Option<&'static str>,
}

const NOTHING_WRONG: Option<&str> = None;
const RESEAT: &str = "clean and reseat the card; if it stays so, the card is defective";
const OTHER_COMMAND: &str =
    "the card does not know this form of the command; report it with `omadm card inspect --json`";
const PERSONALISE: &str = "personalise the card again";
const ACCESS: &str = "give the PIN in a pin_file, or let the issuer open the file for reading";

const fn run(first: u16, last: u16, meaning: &'static str, advice: Option<&'static str>) -> StatusMeaning {
    StatusMeaning { first, last, meaning, advice }
}

const fn one(word: u16, meaning: &'static str, advice: &'static str) -> StatusMeaning {
    run(word, word, meaning, Some(advice))
}

/// Every status word that ISO/IEC 7816-4 and ETSI TS 102 221 know, those that stand for themselves before the runs that
/// hold them.
pub const MEANINGS: &[StatusMeaning] = &[
    run(0x6100, 0x61FF, "more data to fetch", NOTHING_WRONG),
    one(0x6200, "warning without a reason, nothing changed", "read again"),
    one(0x6281, "the data may be damaged", PERSONALISE),
    run(0x6282, 0x6282, "end of file", NOTHING_WRONG),
    one(0x6283, "file is deactivated", "let the issuer activate the file"),
    one(0x6284, "file parameters are in another format", "read on; the card tells its file sizes in its own way"),
    one(0x6285, "file is terminated", "the file cannot be used again; use another card"),
    one(0x6286, "no data from a sensor of the card", "try again"),
    one(0x6287, "a record is deactivated", "let the issuer activate the record"),
    run(0x62F1, 0x62F2, "more data to ask for", Some("try again")),
    run(0x62F3, 0x62F3, "response data to fetch", NOTHING_WRONG),
    run(0x6200, 0x62FF, "warning, nothing changed", Some("try again")),
    one(0x6300, "warning without a reason, something changed", "try again"),
    one(0x6381, "file is full", "make the file larger, or the message smaller"),
    one(0x63C0, "PIN not verified, no try left", "unblock the PIN with the PUK"),
    one(0x63C1, "PIN not verified, one try left", "verify the PIN with another tool; the last try is never used here"),
    run(0x63C2, 0x63CF, "PIN not verified", Some("give the right PIN in a pin_file")),
    run(0x63F1, 0x63F2, "more data expected", Some("try again")),
    run(0x6300, 0x63FF, "warning, something changed", Some("try again")),
    one(0x6400, "command failed, nothing changed", "try again; if it stays so, the card is defective"),
    one(0x6401, "the card wants an answer first", "try again when other programs have released the card"),
    one(0x6481, "shared access to the channel refused", "end other programs that use the card"),
    one(0x6482, "channel not opened", "end other programs that use the card"),
    run(0x6400, 0x64FF, "command failed, nothing changed", Some("try again")),
    one(0x6500, "command failed, something changed", "read the card again and compare"),
    one(0x6581, "memory problem", "the card is worn or defective; use another one"),
    run(0x6500, 0x65FF, "command failed, something changed", Some("read the card again and compare")),
    run(0x6600, 0x66FF, "security problem of the card", Some("reset the card; if it stays so, it is defective")),
    one(0x6700, "wrong length", "the card or its modem takes shorter commands only; report it"),
    one(0x6701, "command of a form that the card does not know", OTHER_COMMAND),
    one(0x6702, "wrong length of the data", OTHER_COMMAND),
    run(0x6700, 0x67FF, "wrong length", Some(OTHER_COMMAND)),
    one(
        0x6881,
        "logical channel not supported",
        "none is open under this number; end other programs that use channels",
    ),
    one(0x6882, "secure messaging not supported", OTHER_COMMAND),
    one(0x6883, "last command of a chain expected", "reset the card"),
    one(0x6884, "command chaining not supported", OTHER_COMMAND),
    run(0x6800, 0x68FF, "function of the class not supported", Some(OTHER_COMMAND)),
    one(0x6981, "command does not fit the kind of file", "the file has records where none are expected, or none"),
    one(0x6982, "security status not satisfied", ACCESS),
    one(0x6983, "PIN blocked", "unblock the PIN with the PUK"),
    one(0x6984, "PIN disabled or not usable", "enable the PIN, or let the issuer open the file for reading"),
    one(0x6985, "conditions of use not satisfied", "the file may be deactivated; let the issuer look at it"),
    one(0x6986, "no file selected", "another program may use the same channel; end it"),
    one(
        0x6987,
        "secure messaging missing",
        "the file can be read with keys of the issuer only; personalise it open or behind a PIN",
    ),
    one(
        0x6988,
        "secure messaging wrong",
        "the file can be read with keys of the issuer only; personalise it open or behind a PIN",
    ),
    one(
        0x6989,
        "secure channel missing",
        "the file can be read over a secure channel only; personalise it open or behind a PIN",
    ),
    one(
        0x6999,
        "application or file cannot be selected",
        "the application is not installed, or not selectable; personalise the card",
    ),
    run(0x6900, 0x69FF, "command not allowed", Some(ACCESS)),
    one(0x6A80, "wrong data in the command", OTHER_COMMAND),
    one(0x6A81, "function not supported", OTHER_COMMAND),
    one(0x6A82, "file or application not found", "if it should be there, personalise the card again"),
    one(0x6A83, "record not found", "if it should be there, personalise the card again"),
    one(0x6A84, "not enough memory", "delete something on the card, or make the message smaller"),
    one(0x6A85, "length does not fit the structure of the data", OTHER_COMMAND),
    one(0x6A86, "P1 or P2 not supported", OTHER_COMMAND),
    one(0x6A87, "Lc and P1 P2 do not agree", OTHER_COMMAND),
    one(
        0x6A88,
        "PIN reference not found",
        "the directory names a PIN that the card does not have; personalise the card again",
    ),
    one(0x6A89, "file exists already", "update the file, or delete it first"),
    one(0x6A8A, "name of an application exists already", "update the application, or delete it first"),
    run(0x6A00, 0x6AFF, "wrong parameters", Some(OTHER_COMMAND)),
    run(
        0x6B00,
        0x6BFF,
        "wrong P1 or P2, or offset behind the end",
        Some("the file is shorter than a directory says; personalise the card again"),
    ),
    run(0x6C00, 0x6CFF, "wrong Le", Some("the card asks for another length, and again for another; it is defective")),
    run(0x6D00, 0x6DFF, "instruction not supported", Some("the card cannot do this; use another card")),
    run(
        0x6E00,
        0x6EFF,
        "class not supported",
        Some("the card cannot do this in this application or on this channel; use another card"),
    ),
    run(0x6F00, 0x6FFF, "technical problem of the card", Some(RESEAT)),
    run(0x9000, 0x9000, "done", NOTHING_WRONG),
    run(0x9100, 0x91FF, "done, and a command of the SIM toolkit waits", NOTHING_WRONG),
    one(0x9240, "memory problem", "the card is worn or defective; use another one"),
    run(
        0x9200,
        0x923F,
        "done after repeats inside the card",
        Some("the memory of the card is wearing out; think of another one"),
    ),
    run(0x9241, 0x92FF, "done, and a data transfer of the SIM toolkit goes on", NOTHING_WRONG),
    one(0x9300, "SIM toolkit is busy", "try again"),
    one(0x9400, "no file selected", "another program may use the same channel; end it"),
    one(0x9402, "address out of range", "the file is shorter than a directory says; personalise the card again"),
    one(0x9404, "file not found", "if it should be there, personalise the card again"),
    one(0x9408, "command does not fit the kind of file", "the file has records where none are expected, or none"),
    one(0x9802, "no PIN initialised", "let the issuer set a PIN, or open the file for reading"),
    one(0x9804, "PIN not verified", ACCESS),
    one(0x9808, "PIN in another state", "enable the PIN, or unblock it with the PUK"),
    one(0x9810, "file is deactivated", "let the issuer activate the file"),
    one(0x9840, "PIN blocked", "unblock the PIN with the PUK"),
    one(0x9850, "value cannot be increased", "the counter of the card is full; use another card"),
    one(
        0x9862,
        "authentication failed, wrong MAC",
        "the network's key is not the card's; compare the keys at the issuer",
    ),
    one(0x9863, "security session expired", "try again"),
    one(0x9864, "authentication in this context not supported", "let the server use another method"),
    one(0x9865, "key freshness failure", "try again with a fresh challenge"),
    run(0x9866, 0x9867, "authentication failed, no memory", Some("the card is full; use another card")),
    run(0x9800, 0x98FF, "security problem of the application", Some(ACCESS)),
    run(
        0x9F00,
        0x9FFF,
        "more data to fetch, as GSM cards say it",
        Some("the card knows commands of GSM only; use a UICC"),
    ),
];

const UNKNOWN: StatusMeaning = run(0, 0xFFFF, "not among the answers expected here", Some(RESEAT));

impl StatusWord {
    /// What is known about it.
    pub fn explained(self) -> &'static StatusMeaning {
        MEANINGS.iter().find(|one| (one.first..=one.last).contains(&self.0)).unwrap_or(&UNKNOWN)
    }

    /// What it means, in a few words.
    pub fn meaning(self) -> &'static str {
        self.explained().meaning
    }

    /// What a person can do about it; none where nothing is wrong.
    pub fn advice(self) -> Option<&'static str> {
        self.explained().advice
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_of_status_words_has_a_meaning_and_each_failure_an_advice() {
        for sw1 in [0x61..=0x6F, 0x90..=0x92, 0x98..=0x98, 0x9F..=0x9F].into_iter().flatten() {
            for sw2 in 0..=0xFF_u8 {
                let status = StatusWord(u16::from_be_bytes([sw1, sw2]));
                let known = status.explained() != &UNKNOWN || (sw1 == 0x90 && sw2 != 0);
                assert!(known, "{status}");
                let fine = matches!(sw1, 0x61 | 0x91) || matches!(status.0, 0x6282 | 0x62F3 | 0x9000 | 0x9241..=0x92FF);
                assert_eq!(status.advice().is_none(), fine, "{status}");
            }
        }
    }

    #[test]
    fn no_row_is_hidden_by_an_earlier_one() {
        for (index, row) in MEANINGS.iter().enumerate() {
            let reached = (row.first..=row.last).any(|word| StatusWord(word).explained() == row);
            assert!(reached, "row {index}: {row:?}");
        }
    }

    #[test]
    fn the_page_on_cards_lists_every_row() {
        let page = include_str!("../../../../docs/card-status-words.md");
        let written: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
        let rows: Vec<String> = MEANINGS
            .iter()
            .map(|row| {
                let words = match (row.first, row.last) {
                    (first, last) if first == last => format!("`{first:04X}`"),
                    (first, last) if first & 0xFF == 0 && last & 0xFF == 0xFF => format!("`{:02X}xx`", first >> 8),
                    (first, last) => format!("`{first:04X}` to `{last:04X}`"),
                };
                format!("| {words} | {} | {} |", row.meaning, row.advice.unwrap_or("nothing"))
            })
            .collect();
        assert_eq!(written, rows, "\n{}\n", rows.join("\n"));
    }
}
