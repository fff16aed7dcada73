//! The rows of a CSV file, one at a time, each with its line; a bad one is told and never stops the others.

use csv::ByteRecord;
use omadm_card::personalise::AdmKey;
use omadm_core::ids::Iccid;
use omadm_core::secret::Secret;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read};

/// The most bytes of one row.
const MAX_ROW: u64 = 64 * 1024;
/// The most rows; each takes some 20 bytes of memory, by which a second row for the same card is found.
const MAX_ROWS: usize = 10_000_000;
/// The most columns.
const MAX_COLUMNS: usize = 256;

/// A card that is asked for.
#[derive(Clone)]
pub(super) struct Row {
    /// Its line in the file, from 1.
    pub(super) line: u64,
    pub(super) iccid: Iccid,
    pub(super) imsi: Option<String>,
    pub(super) mnc_length: Option<u8>,
    pub(super) pin: Option<Secret>,
    pub(super) adm: Option<AdmKey>,
    /// All its fields, by column.
    pub(super) fields: Vec<String>,
}

/// A row that is no card.
pub(super) struct Bad {
    pub(super) line: u64,
    pub(super) why: String,
    pub(super) record: ByteRecord,
}

// The fields may hold PINs and keys.
impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}, card {}", self.line, self.iccid)
    }
}

impl std::fmt::Debug for Bad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

/// Why a file cannot be gone through.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum RowsError {
    /// Its header.
    #[error("the header {0}")]
    Header(String),
    /// A row that cannot even be told from the next one.
    #[error("line {line}: {why}")]
    Broken { line: u64, why: String },
}

/// The columns that have a meaning of their own.
const ICCID: &str = "iccid";
const IMSI: &str = "imsi";
const MNC_LENGTH: &str = "mnc_length";
const PIN: &str = "pin";
const ADM: &str = "adm";

/// Whether a column has a meaning of its own.
pub(super) fn is_known(column: &str) -> bool {
    [ICCID, IMSI, MNC_LENGTH, PIN, ADM].contains(&column)
}

/// The rows of a file in their order.
pub(super) struct Rows<R> {
    file: BufReader<R>,
    /// Names of the columns, in lower case.
    pub(super) columns: Vec<String>,
    /// The line that comes next, from 1, and how many bytes stand before it.
    line: u64,
    position: u64,
    /// Why it cannot be gone on with.
    broken: Option<RowsError>,
    seen: HashMap<Key, Seen>,
}

/// An ICCID in few bytes: two digits in each, and how many there are.
type Key = [u8; 11];

#[derive(Debug, Clone, Copy)]
enum Seen {
    /// In an earlier run.
    Before,
    At(u32),
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Next {
    Row(Box<Row>),
    /// A card that an earlier run made.
    Done,
    Bad(Bad),
}

impl<R: Read> Rows<R> {
    /// Reads the header.
    pub(super) fn new(file: R) -> Result<Self, RowsError> {
        let columns = Vec::new();
        let (file, broken, seen) = (BufReader::new(file), None, HashMap::new());
        let mut rows = Self { file, columns, line: 1, position: 0, broken, seen };
        let (_, text) = rows.text()?.unwrap_or_default();
        let header = |why: String| RowsError::Header(why);
        let text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(&text);
        let record = record(text).map_err(|why| header(format!("cannot be read: {why}")))?;
        let names = record.iter().map(|name| String::from_utf8_lossy(name).trim().to_ascii_lowercase());
        rows.columns = names.collect();
        let columns = &rows.columns;
        if columns.len() > MAX_COLUMNS {
            return Err(header(format!("has more than {MAX_COLUMNS} columns")));
        }
        let is_twice = |(at, name): &(usize, &String)| columns.iter().take(*at).any(|one| one == *name);
        if let Some((_, name)) = columns.iter().enumerate().find(is_twice) {
            return Err(header(format!("has the column {name:?} twice")));
        }
        if !columns.iter().any(|name| name == ICCID) {
            let advice = if columns.len() == 1 { "; columns are separated by commas" } else { "" };
            return Err(header(format!("has no column iccid{advice}")));
        }
        Ok(rows)
    }

    /// Tells of a card that an earlier run made.
    pub(super) fn is_done(&mut self, iccid: &Iccid) {
        self.seen.insert(key(iccid), Seen::Before);
    }

    /// Whether an earlier run made this card.
    pub(super) fn was_done(&self, iccid: &Iccid) -> bool {
        matches!(self.seen.get(&key(iccid)), Some(Seen::Before))
    }

    /// How many bytes of the file were gone through.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The next row; none at the end.
    ///
    /// # Errors
    /// If the rows from here on cannot be told apart; the same each time.
    pub(super) fn next(&mut self) -> Result<Option<Next>, RowsError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        let text = self.text().inspect_err(|error| self.broken = Some(error.clone()));
        let Some((line, text)) = text? else { return Ok(None) };
        let record = match record(&text) {
            Ok(record) => record,
            Err(why) => return Ok(Some(Next::Bad(Bad { line, why, record: ByteRecord::from(vec![text]) }))),
        };
        let parsed = self.parse(&record, line).and_then(|row| Ok((self.check_in(&row.iccid, line)?, row)));
        Ok(Some(match parsed {
            Ok((true, row)) => Next::Row(Box::new(row)),
            Ok((false, _)) => Next::Done,
            Err(why) => Next::Bad(Bad { line, why, record }),
        }))
    }

    /// The text of the next row, which takes several lines where there are some in quotation marks, and its first line.
    /// Lines with nothing in them are passed over.
    fn text(&mut self) -> Result<Option<(u64, Vec<u8>)>, RowsError> {
        let (mut text, mut quotes, mut first) = (Vec::new(), Quotes::default(), self.line);
        loop {
            let start = text.len();
            let broken = |why: String| RowsError::Broken { line: first, why };
            let left = (MAX_ROW + 1).saturating_sub(start as u64);
            let read = self.file.by_ref().take(left).read_until(b'\n', &mut text);
            let count = read.map_err(|error| broken(error.to_string()))? as u64;
            if text.len() as u64 > MAX_ROW {
                return Err(broken(format!("a row of more than {MAX_ROW} bytes; is a quotation mark not closed?")));
            }
            self.position += count;
            self.line += u64::from(count > 0);
            quotes.follow(text.get(start..).unwrap_or_default());
            if quotes.is_open() {
                if count == 0 {
                    // What was meant to be rows may be one field now.
                    return Err(broken("a quotation mark is opened in this row and never closed".to_owned()));
                }
                continue;
            }
            if text.iter().any(|byte| !matches!(byte, b'\r' | b'\n')) {
                return Ok(Some((first, text)));
            }
            if count == 0 {
                return Ok(None);
            }
            text.clear();
            first = self.line;
        }
    }

    /// Whether this card is still to be made; an error if another row has it.
    fn check_in(&mut self, iccid: &Iccid, line: u64) -> Result<bool, String> {
        let at = u32::try_from(line).unwrap_or(u32::MAX);
        let is_full = self.seen.len() >= MAX_ROWS;
        match self.seen.get_mut(&key(iccid)) {
            Some(Seen::At(first)) => Err(format!("the card {iccid} stands in line {first} already")),
            Some(seen @ Seen::Before) => {
                *seen = Seen::At(at);
                Ok(false)
            }
            None if is_full => Err(format!("more than {MAX_ROWS} cards; make them in several batches")),
            None => {
                self.seen.insert(key(iccid), Seen::At(at));
                Ok(true)
            }
        }
    }

    fn parse(&self, record: &ByteRecord, line: u64) -> Result<Row, String> {
        if record.len() != self.columns.len() {
            return Err(format!("{} fields; the header has {} columns", record.len(), self.columns.len()));
        }
        let mut fields = Vec::with_capacity(record.len());
        for (field, column) in record.iter().zip(&self.columns) {
            let text = std::str::from_utf8(field).map_err(|_| format!("{column} is no UTF-8 text"))?;
            fields.push(text.trim().to_owned());
        }
        let field = |name: &str| {
            let place = self.columns.iter().position(|column| column == name);
            place.and_then(|place| fields.get(place)).map(String::as_str).filter(|text| !text.is_empty())
        };
        let iccid = field(ICCID).ok_or("there is no ICCID")?;
        let iccid: Iccid = iccid.parse().map_err(|error| format!("iccid: {error}"))?;
        let imsi = match field(IMSI) {
            Some(imsi) if !(6..=15).contains(&imsi.len()) || !imsi.bytes().all(|digit| digit.is_ascii_digit()) => {
                return Err("imsi: 6 to 15 digits are expected".to_owned());
            }
            imsi => imsi.map(str::to_owned),
        };
        let mnc_length = match field(MNC_LENGTH) {
            None => None,
            Some("2") => Some(2),
            Some("3") => Some(3),
            Some(_) => return Err("mnc_length: 2 or 3 is expected".to_owned()),
        };
        let pin = match field(PIN) {
            // The PIN itself is not told.
            Some(pin) if !(4..=8).contains(&pin.len()) || !pin.bytes().all(|digit| digit.is_ascii_digit()) => {
                return Err("pin: 4 to 8 digits are expected".to_owned());
            }
            pin => pin.map(Secret::from),
        };
        let adm = field(ADM).map(AdmKey::parse).transpose().map_err(|error| format!("adm: {error}"))?;
        Ok(Row { line, iccid, imsi, mnc_length, pin, adm, fields })
    }
}

fn key(iccid: &Iccid) -> Key {
    let mut key = [0; 11];
    let digits = iccid.as_str().bytes().map(|digit| char::from(digit).to_digit(16).unwrap_or(0).to_le_bytes()[0]);
    for (at, digit) in digits.enumerate() {
        if let Some(byte) = key.get_mut(at / 2) {
            *byte |= if at % 2 == 0 { digit } else { digit << 4 };
        }
    }
    key[10] = iccid.as_str().len().to_le_bytes()[0];
    key
}

/// The fields of one row.
fn record(text: &[u8]) -> Result<ByteRecord, String> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text);
    let mut records = reader.byte_records();
    let first = records.next().unwrap_or_else(|| Ok(ByteRecord::new())).map_err(|error| error.to_string())?;
    match records.next() {
        None => Ok(first),
        Some(_) => Err("a carriage return stands inside the row".to_owned()),
    }
}

/// Whether a quotation mark is open, RFC 4180: one at the start of a field opens, the next that is not doubled closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Quotes {
    #[default]
    FieldStart,
    Plain,
    Quoted,
    /// Behind a mark in quotation marks: doubled, or the end.
    Mark,
}

impl Quotes {
    fn follow(&mut self, text: &[u8]) {
        for byte in text {
            *self = match (*self, byte) {
                (Self::FieldStart | Self::Mark, b'"') => Self::Quoted,
                (Self::Quoted, b'"') => Self::Mark,
                (Self::Quoted, _) => Self::Quoted,
                (Self::FieldStart | Self::Plain | Self::Mark, b',' | b'\n') => Self::FieldStart,
                (Self::FieldStart | Self::Plain | Self::Mark, _) => Self::Plain,
            };
        }
    }

    fn is_open(self) -> bool {
        self == Self::Quoted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(text: &[u8]) -> Result<(Vec<Row>, Vec<Bad>), RowsError> {
        let mut rows = Rows::new(text)?;
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        while let Some(next) = rows.next()? {
            match next {
                Next::Row(row) => good.push(*row),
                Next::Bad(one) => bad.push(one),
                Next::Done => panic!("there was no earlier run"),
            }
        }
        Ok((good, bad))
    }

    #[test]
    fn good_rows_are_read_and_bad_ones_told_with_their_line() {
        let text = b"\xEF\xBB\xBFICCID, imsi ,mnc_length,pin,adm,name\r\n\
            8901000000000000001,001010000000001,2,4711,12345678,\"Meter \"\"1\"\", cellar\"\r\n\
            8901000000000000002,,,,,\n\
            \n\
            8901000000000000001,,,,,\n\
            89,,,,,\n\
            8901000000000000003,12,,,,\n\
            8901000000000000004,,4,,,\n\
            8901000000000000005,,,47x1,,\n\
            8901000000000000006,,,,short,\n\
            8901000000000000007,,,,\n\
            8901000000000000008,,,,,\xFF\n\
            ,,,,,\n\
            8901000000000000009,,,,,last";
        let (good, bad) = all(text).unwrap();
        let lines: Vec<_> = good.iter().map(|row| row.line).collect();
        assert_eq!(lines, [2, 3, 14]);
        assert_eq!(good[0].fields[5], "Meter \"1\", cellar");
        assert_eq!((good[0].mnc_length, good[0].pin.as_ref().map(Secret::expose)), (Some(2), Some(&b"4711"[..])));
        assert!(good[1].imsi.is_none() && good[1].pin.is_none() && good[1].adm.is_none());
        let bad: Vec<_> = bad.iter().map(|bad| (bad.line, bad.why.as_str())).collect();
        assert_eq!(bad[0], (5, "the card 8901000000000000001 stands in line 2 already"));
        let told = ["iccid", "imsi", "mnc_length", "pin", "adm", "5 fields", "name is no UTF-8", "no ICCID"];
        assert_eq!(bad.len(), 1 + told.len());
        for ((line, why), (number, told)) in bad[1..].iter().zip((6..).zip(told)) {
            assert!(*line == number && why.contains(told), "{line}: {why}");
        }
        assert!(bad.iter().all(|(_, why)| !why.contains("47x1") && !why.contains("short")), "no secret is told");
    }

    #[test]
    fn a_header_that_cannot_be_used_is_told() {
        let error = |text: &[u8]| all(text).unwrap_err().to_string();
        assert!(error(b"").contains("iccid") && error(b"\n\n").contains("iccid"));
        assert!(error(b"iccid;imsi\n").contains("commas"));
        assert!(error(b"iccid,pin,PIN\n").contains("twice"));
        assert!(error(&[&b"iccid"[..], &b",x".repeat(300)].concat()).contains("256 columns"));
    }

    #[test]
    fn lines_are_counted_whatever_rows_are_made_of() {
        let text = b"iccid,name\n8901000000000000001,\"two\nlines\"\n\n\r\n8901000000000000002,5\" pipe\n8901000000000000003,a\rb\nx";
        let (good, bad) = all(text).unwrap();
        assert_eq!(good.iter().map(|row| row.line).collect::<Vec<_>>(), [2, 6]);
        assert_eq!((good[0].fields[1].as_str(), good[1].fields[1].as_str()), ("two\nlines", "5\" pipe"));
        let told: Vec<_> = bad.iter().map(|bad| (bad.line, bad.why.as_str())).collect();
        assert!(matches!(told[..], [(7, why), (8, _)] if why.contains("carriage return")), "{told:?}");
    }

    #[test]
    fn a_quotation_mark_that_is_not_closed_ends_it_with_its_line() {
        let mut text = b"iccid,name\n8901000000000000001,a\n8901000000000000002,\"b\n".to_vec();
        text.extend(b"8901000000000000003,c\n".repeat(10_000));
        let mut rows = Rows::new(&text[..]).unwrap();
        assert!(matches!(rows.next(), Ok(Some(Next::Row(_)))));
        let error = rows.next().unwrap_err().to_string();
        assert!(error.starts_with("line 3: ") && error.contains("quotation mark"), "{error}");
        assert_eq!(rows.next().unwrap_err().to_string(), error, "and that each time");
    }

    #[test]
    fn rows_that_a_quotation_mark_swallows_up_to_the_end_are_not_passed_over() {
        let text = b"iccid,name\n8901000000000000001,a\n8901000000000000002,\"b\n8901000000000000003,c\n";
        let mut rows = Rows::new(&text[..]).unwrap();
        assert!(matches!(rows.next(), Ok(Some(Next::Row(_)))));
        let error = rows.next().unwrap_err().to_string();
        assert!(error.starts_with("line 3: ") && error.contains("never closed"), "{error}");
    }

    #[test]
    fn a_card_of_an_earlier_run_is_not_made_again_and_twice_is_still_twice() {
        let mut rows = Rows::new(&b"iccid\n8901000000000000001\n8901000000000000001\n"[..]).unwrap();
        rows.is_done(&"8901000000000000001".parse().unwrap());
        assert!(matches!(rows.next(), Ok(Some(Next::Done))));
        assert!(matches!(rows.next(), Ok(Some(Next::Bad(_)))));
    }

    #[test]
    fn cards_are_told_apart_by_all_their_digits() {
        let keys: std::collections::HashSet<Key> =
            ["8901000000", "89010000000", "08901000000", "89010000001", "890100000A"]
                .iter()
                .map(|text| key(&text.parse().unwrap()))
                .collect();
        assert_eq!(keys.len(), 5);
        assert_eq!(key(&"890100000a".parse().unwrap()), key(&"890100000A".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn any_bytes_give_rows_or_reasons(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let text = [b"iccid,pin,x\n", &bytes[..]].concat();
            let (good, bad) = match all(&text) {
                Ok(rows) => rows,
                Err(RowsError::Broken { why, .. }) if why.contains("never closed") => return Ok(()),
                Err(error) => return Err(TestCaseError::fail(error.to_string())),
            };
            let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
            prop_assert!(good.len() + bad.len() <= lines);
        }

        #[test]
        fn what_is_written_is_read_field_by_field(
            cards in proptest::collection::btree_map(0_u64..10_000_000, "[ -~\u{e4}\n]{0,40}", 0..30),
        ) {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(["name", "iccid"]).unwrap();
            for (number, name) in &cards {
                writer.write_record([name, &format!("8901{number:015}")]).unwrap();
            }
            let (good, bad) = all(&writer.into_inner().unwrap()).unwrap();
            prop_assert_eq!((good.len(), bad.len()), (cards.len(), 0));
            for (row, (number, name)) in good.iter().zip(&cards) {
                prop_assert_eq!(&row.fields[0], name.trim());
                prop_assert_eq!(row.iccid.as_str(), format!("8901{number:015}"));
            }
        }
    }
}
