//! The list of devices: CSV with a header, a row a line, read as a stream within bounds.

use omadm_core::ids::DevId;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use crate::failure::Failure;

/// The longest row, in bytes.
const MAX_ROW: usize = 16 * 1024;
/// The most rows of one list, so that memory is bounded: each takes about 40 bytes.
const MAX_ROWS: u64 = 10_000_000;
/// The column that is read.
const COLUMN: &str = "dev_id";
/// What some programs begin a file of UTF-8 with.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A row of the list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Its line, from 1.
    pub(super) line: u64,
    /// The device, or why it is none.
    pub(super) dev_id: Result<DevId, String>,
    /// The row as it came.
    pub(super) text: String,
}

/// The rows of a list.
pub(super) struct Rows<R> {
    reader: R,
    /// What the errors call it.
    name: String,
    buffer: Vec<u8>,
    /// Which value is the DevID, and how many there are.
    columns: (usize, usize),
    line: u64,
    rows: u64,
    bytes: u64,
}

impl Rows<BufReader<File>> {
    /// Opens a list; its size in bytes beside it.
    pub(super) fn open(path: &Path) -> Result<(Self, u64), Failure> {
        let file = File::open(path).map_err(|error| Failure::unreadable(path, &error))?;
        let size = file.metadata().map_or(0, |facts| facts.len());
        Ok((Self::new(BufReader::new(file), path.display().to_string())?, size))
    }
}

impl<R: BufRead> Rows<R> {
    fn new(reader: R, name: String) -> Result<Self, Failure> {
        let mut rows = Self { reader, name, buffer: Vec::new(), columns: (0, 0), line: 0, rows: 0, bytes: 0 };
        let Some(too_long) = rows.next_line()? else { return Err(rows.no_header("it is empty")) };
        if let Some(rest) = rows.buffer.strip_prefix(BYTE_ORDER_MARK) {
            rows.buffer = rest.to_vec();
        }
        if too_long {
            return Err(rows.no_header("its first line is too long"));
        }
        let header = values(&rows.buffer).map_err(|why| rows.no_header(&why))?;
        let place = header.iter().position(|name| name.trim().eq_ignore_ascii_case(COLUMN));
        let Some(place) = place else { return Err(rows.no_header("its first line names no such column")) };
        rows.columns = (place, header.len());
        Ok(rows)
    }

    /// The next row; empty lines are passed over.
    pub(super) fn next(&mut self) -> Result<Option<Row>, Failure> {
        loop {
            let Some(too_long) = self.next_line()? else { return Ok(None) };
            if !too_long && self.buffer.trim_ascii().is_empty() {
                continue;
            }
            self.rows += 1;
            if self.rows > MAX_ROWS {
                return Err(Failure::usage(format!("{} has more than {MAX_ROWS} rows", self.name))
                    .advise("split the list, and make each part into a folder of its own"));
            }
            let dev_id = if too_long { Err(format!("longer than {MAX_ROW} bytes")) } else { self.dev_id() };
            return Ok(Some(Row { line: self.line, dev_id, text: String::from_utf8_lossy(&self.buffer).into_owned() }));
        }
    }

    /// How many bytes were read.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many rows were read.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    fn dev_id(&self) -> Result<DevId, String> {
        let (place, columns) = self.columns;
        let values = values(&self.buffer)?;
        if values.len() != columns {
            return Err(format!("{} values; the header has {columns}", values.len()));
        }
        let text = values.get(place).map(|value| value.trim()).unwrap_or_default();
        text.parse().map_err(|error| format!("{COLUMN}: {error}"))
    }

    /// Reads a line without its end into the buffer; whether it was too long, and so was cut. `None` at the end.
    fn next_line(&mut self) -> Result<Option<bool>, Failure> {
        self.buffer.clear();
        let read = self.reader.by_ref().take(MAX_ROW as u64 + 1).read_until(b'\n', &mut self.buffer);
        let unreadable = |error: io::Error, name: &str| Failure::usage(format!("cannot read {name}: {error}"));
        let read = read.map_err(|error| unreadable(error, &self.name))?;
        if read == 0 {
            return Ok(None);
        }
        self.line += 1;
        self.bytes += read as u64;
        let too_long = self.buffer.len() > MAX_ROW && !self.buffer.ends_with(b"\n");
        if too_long {
            self.buffer.truncate(MAX_ROW);
            self.bytes += skip_line(&mut self.reader).map_err(|error| unreadable(error, &self.name))?;
        }
        while matches!(self.buffer.last(), Some(b'\n' | b'\r')) {
            self.buffer.pop();
        }
        Ok(Some(too_long))
    }

    fn no_header(&self, why: &str) -> Failure {
        Failure::usage(format!("{}:1: {why}; CSV with a header that names the column {COLUMN} is expected", self.name))
    }
}

/// The values of a line.
fn values(line: &[u8]) -> Result<Vec<String>, String> {
    // The reader of CSV takes all that follows for one value, to the end of the file.
    if line.iter().filter(|byte| **byte == b'"').count() % 2 == 1 {
        return Err("a quoted value does not end on its line".to_owned());
    }
    let mut reader = csv::ReaderBuilder::new().has_headers(false).buffer_capacity(line.len().max(1)).from_reader(line);
    let record = reader.records().next();
    match record {
        Some(Ok(record)) => Ok(record.iter().map(str::to_owned).collect()),
        Some(Err(error)) => match error.kind() {
            csv::ErrorKind::Utf8 { .. } => Err("not UTF-8".to_owned()),
            _ => Err(error.to_string()),
        },
        None => Ok(Vec::new()),
    }
}

/// Passes over what is left of a line, however long; says how much that was.
fn skip_line(reader: &mut impl BufRead) -> io::Result<u64> {
    let mut skipped = 0;
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok(skipped);
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(buffer.len(), |end| end + 1);
        reader.consume(used);
        skipped += used as u64;
        if end.is_some() {
            return Ok(skipped);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Vec<(u64, Result<String, String>)> {
        let mut rows = Rows::new(text, "list.csv".to_owned()).unwrap();
        let mut found = Vec::new();
        while let Some(row) = rows.next().unwrap() {
            found.push((row.line, row.dev_id.map(String::from)));
        }
        assert_eq!(rows.bytes(), text.len() as u64);
        assert_eq!(rows.rows(), found.len() as u64);
        found
    }

    #[test]
    fn devices_are_read_with_their_lines_whatever_wrote_the_list() {
        let ok = |line, text: &str| (line, Ok(text.to_owned()));
        assert_eq!(all(b"dev_id\nIMEI:1\n\nIMEI:2"), [ok(2, "IMEI:1"), ok(4, "IMEI:2")]);
        assert_eq!(all(b"\xef\xbb\xbfDEV_ID , no\r\n\"IMEI:1\",\"a, \"\"b\"\"\"\r\n"), [ok(2, "IMEI:1")]);
        assert_eq!(all("name,dev_id\né, IMEI:1 \n".as_bytes()), [ok(2, "IMEI:1")]);
        assert_eq!(all(b"dev_id\n"), []);
    }

    #[test]
    fn a_bad_row_is_told_and_the_next_one_is_read() {
        let long = "x".repeat(100_000);
        let text = format!("dev_id,no\n\"IMEI:1,1\nIMEI:2\na b,1\n{long}\n\"IMEI:3\",3\n,5\n{long}");
        let mut text = text.into_bytes();
        text.extend(b"\nIMEI:4,\xff\nIMEI:5,5\n");
        let rows = all(&text);
        let problems = [
            (2, "does not end on its line"),
            (3, "1 values; the header has 2"),
            (4, "dev_id: not a DevID"),
            (5, "longer than 16384 bytes"),
            (7, "dev_id: not a DevID"),
            (8, "longer than 16384 bytes"),
            (9, "not UTF-8"),
        ];
        let found: Vec<_> = rows.iter().filter_map(|(line, row)| Some((*line, row.as_ref().err()?))).collect();
        assert_eq!(found.len(), problems.len(), "{found:?}");
        for ((line, why), (expected_line, expected)) in found.iter().zip(problems) {
            assert!(*line == expected_line && why.contains(expected), "{line}: {why}");
        }
        let good: Vec<_> = rows.iter().filter_map(|(_, row)| row.as_deref().ok()).collect();
        assert_eq!(good, ["IMEI:3", "IMEI:5"]);
    }

    #[test]
    fn a_list_without_the_column_is_refused() {
        for text in [&b""[..], b"IMEI:1\n", b"dev id\n", b"\"dev_id\n", &[b'x'; 20_000]] {
            let error = Rows::new(text, "list.csv".to_owned()).err().unwrap();
            assert!(error.message.starts_with("list.csv:1: ") && error.message.contains("dev_id"), "{error}");
        }
    }
}
