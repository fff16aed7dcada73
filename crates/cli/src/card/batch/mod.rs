//! `omadm card batch`: a card for each row of a CSV file. An interrupted batch goes on where it was, and no card is
//! made twice.

mod manifest;
mod pins;
mod press;
mod rows;
mod template;

use csv::ByteRecord;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead, BufReader, BufWriter};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::making;
use crate::admin::Admin;
use crate::args::{BatchCards, MadeAs};
use crate::failure::{Exit, Failure};
use crate::output;
use crate::private;
use crate::signals::Ending;
use manifest::{Head, Locked, Manifest};
use pins::Pins;
use press::{Press, Source};
use rows::{Bad, Next, Row, Rows, RowsError};
use template::Template;

/// How many cards are made before they are listed: what an interruption costs at most.
const CHUNK: usize = 32;
/// The PIN that cards usually have.
const USUAL_PIN: u8 = 0x01;
/// The folder of the cards.
const CARDS: &str = "cards";

/// What came of a run.
#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    made: u64,
    skipped: u64,
    refused: u64,
}

/// Makes the cards.
pub(super) fn run(args: &BatchCards) -> Result<(), Failure> {
    let ending = Ending::on_signals()?;
    let csv = File::open(&args.csv).map_err(|error| Failure::unreadable(&args.csv, &error))?;
    let size = csv.metadata().map_or(0, |about| about.len());
    let mut rows = Rows::new(csv).map_err(|error| in_csv(args, &error))?;
    if args.make_pins.is_some() && rows.columns.iter().any(|column| column == "pin") {
        return Err(Failure::usage("the CSV file has PINs already; leave its column pin or --make-pins away"));
    }
    let others = making::objects(&args.objects)?;
    let (source, content) = source(args, &rows.columns)?;
    remark_on_unused(&source, &rows.columns);
    let cards = args.out.join(CARDS);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&cards)
        .map_err(|error| Failure::unwritable(&cards, &error))?;
    // From here on nobody else works on this batch.
    let locked = Locked::open(args.out.join("manifest.jsonl"))?;
    let mut pins = match &args.make_pins {
        Some(path) => Pins::open(path, !locked.is_begun()?)?,
        None => None,
    };
    let id = args.make_pins.is_some().then(|| pins.as_ref().map_or(Some(String::new()), |pins| pins.id.clone()));
    let head = Head::new(args.kind, args.profile.clone(), settings(args, &content, &others), id.flatten());
    let mut made_before = Vec::new();
    let mut manifest = Manifest::open(locked, &head, |iccid| {
        rows.is_done(iccid);
        if pins.is_some() {
            made_before.push(iccid.clone());
        }
    })?;
    if let Some(pins) = &mut pins {
        pins.take_up(|iccid| rows.was_done(iccid), made_before)?;
    }
    let mut rejects = Rejects::new(&args.out, &rows.columns)?;
    let press = Press { args, source, others, columns: rows.columns.clone() };
    let bar = progress(size);
    let mut tally = Tally::default();
    let mut is_over = false;
    while !is_over && !ending.is_due() {
        let chunk = take(&mut rows, &mut rejects, &mut tally, &mut is_over).map_err(|error| in_csv(args, &error))?;
        press.run(chunk, pins.as_mut(), &mut manifest, &mut rejects, &mut tally)?;
        bar.set_position(rows.position());
        bar.set_message(format!("{} made, {} refused", tally.made, tally.refused));
    }
    bar.finish_and_clear();
    if !is_over {
        return Err(Failure::failed(format!("interrupted after {} cards of this run", tally.made))
            .advise("give the same command again to go on"));
    }
    let listed = if tally.refused > 0 { Some(rejects.finish()?) } else { None };
    report(args, tally, listed.as_deref())
}

/// The next rows to be made.
fn take(
    rows: &mut Rows<File>,
    rejects: &mut Rejects,
    tally: &mut Tally,
    is_over: &mut bool,
) -> Result<Vec<Row>, RowsError> {
    let mut chunk = Vec::new();
    // So many rows are gone through at once, whatever becomes of them, that a signal is heard.
    for _ in 0..CHUNK * 32 {
        if chunk.len() == CHUNK {
            break;
        }
        match rows.next() {
            Ok(Some(Next::Row(row))) => chunk.push(*row),
            Ok(Some(Next::Done)) => tally.skipped += 1,
            Ok(Some(Next::Bad(bad))) => {
                tally.refused += 1;
                rejects.add(&bad);
            }
            Ok(None) => {
                *is_over = true;
                break;
            }
            // What came before is made first; the error comes again.
            Err(_) if !chunk.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    Ok(chunk)
}

fn source(args: &BatchCards, columns: &[String]) -> Result<(Source, Vec<u8>), Failure> {
    match (&args.message, &args.profile) {
        (Some(path), _) => {
            let text = making::bounded(path, omadm_card::read::MAX_MESSAGE)?;
            let template = Template::parse(&text, columns)
                .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
            Ok((Source::Template(template), text))
        }
        (None, Some(profile)) => {
            let admin = Admin::find(&args.reach)?;
            admin.check_profile(profile, &args.out)?;
            Ok((Source::Server(admin, profile.clone()), Vec::new()))
        }
        (None, None) => Err(Failure::usage("neither a message nor a profile is named")),
    }
}

/// A column whose name is misspelt leaves cards without what stands in it.
fn remark_on_unused(source: &Source, columns: &[String]) {
    let fills_in = |column: &str| matches!(source, Source::Template(template) if template.uses(column));
    let unused: Vec<_> = columns.iter().filter(|one| !rows::is_known(one) && !fills_in(one)).cloned().collect();
    if !unused.is_empty() {
        output::remark(&format!(
            "not used: column {}; others than iccid, imsi, mnc_length, pin and adm fill in {{name}} in a message",
            unused.join(", ")
        ));
    }
}

/// What tells one batch from another, but for its rows.
fn settings(args: &BatchCards, content: &[u8], others: &[omadm_card::make::NewObject]) -> String {
    let mut hash = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    add(content);
    for other in others {
        add(other.oid.content());
        add(&other.content);
    }
    let scripting = &args.scripting;
    let options = format!(
        "{:?} {:?} {} {} {} {:02X} {} {}",
        args.laid.form,
        args.laid.file_size,
        args.laid.allow_public_secret,
        args.make_pins.is_some(),
        scripting.create_files,
        scripting.adm_ref,
        scripting.open_rule,
        scripting.pin_rule
    );
    add(options.as_bytes());
    // Left out where it is the usual one, as by versions that did not know another.
    if args.laid.pin_ref != USUAL_PIN {
        add(&[args.laid.pin_ref]);
    }
    omadm_card::hex::encode(&hash.finalize()).to_lowercase()
}

fn in_csv(args: &BatchCards, error: &RowsError) -> Failure {
    Failure::usage(format!("{}: {error}", args.csv.display()))
}

fn progress(size: u64) -> ProgressBar {
    let bar = ProgressBar::new(size);
    let template = "{bar:30} {percent}%  {msg}  {elapsed}, {eta} left";
    bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn report(args: &BatchCards, tally: Tally, rejects: Option<&Path>) -> Result<(), Failure> {
    let Tally { made, skipped, refused } = tally;
    if args.listing.json {
        output::json(&json!({
            "made": made,
            "made_before": skipped,
            "refused": refused,
            "manifest": args.out.join("manifest.jsonl"),
            "rejects": rejects,
            "pins": args.make_pins,
        }))?;
    } else {
        let before = if skipped > 0 { format!(", {skipped} were made before") } else { String::new() };
        output::say(format!("{}: {made} cards made{before}.", args.out.display()))?;
    }
    if let (Some(pins), MadeAs::Apdu | MadeAs::Pysim) = (&args.make_pins, args.kind) {
        output::remark(&format!(
            "a script sets no PIN: the bureau has to give each card its own of {}",
            pins.display()
        ));
    }
    match rejects {
        None if made == 0 && skipped == 0 => {
            Err(Failure::new(Exit::Nothing, format!("{} has no rows", args.csv.display())))
        }
        None => Ok(()),
        Some(rejects) => Err(Failure::failed(format!("{refused} rows were refused; {} says why", rejects.display()))
            .advise("correct them there and make a batch of that file into the same folder")),
    }
}

/// The rows that are no cards: line, reason, and the fields as they were. It may hold PINs. Its file is there when the
/// run is through, under a name that no file had: an earlier one may have been corrected meanwhile, or be what is read.
struct Rejects {
    writer: csv::Writer<BufWriter<File>>,
    folder: PathBuf,
    /// For each column whether it is one of those that are written anew.
    is_renewed: Vec<bool>,
    failed: Option<csv::Error>,
}

/// What stands before the fields.
const ADDED: [&str; 2] = ["line", "reason"];
/// The most files of rejects in one folder.
const MAX_REJECTS: usize = 1000;

impl Rejects {
    fn new(folder: &Path, columns: &[String]) -> Result<Self, Failure> {
        let path = unfinished(folder);
        let file = private::replace(&path).map_err(|error| Failure::unwritable(&path, &error))?;
        let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(BufWriter::new(file));
        let is_renewed: Vec<bool> = columns.iter().map(|name| ADDED.contains(&name.as_str())).collect();
        let kept = columns.iter().zip(&is_renewed).filter(|(_, renewed)| !**renewed).map(|(name, _)| name.as_str());
        let failed = writer.write_record(ADDED.into_iter().chain(kept)).err();
        Ok(Self { writer, folder: folder.to_owned(), is_renewed, failed })
    }

    fn add(&mut self, bad: &Bad) {
        self.write(bad.line, &bad.why, &bad.record);
    }

    fn write(&mut self, line: u64, why: &str, record: &ByteRecord) {
        let line = line.to_string();
        let is_kept = |at: &usize| !self.is_renewed.get(*at).copied().unwrap_or(false);
        let kept = record.iter().enumerate().filter(|(at, _)| is_kept(at)).map(|(_, field)| field);
        let written = self.writer.write_record([line.as_bytes(), why.as_bytes()].into_iter().chain(kept));
        self.failed = self.failed.take().or(written.err());
    }

    /// Puts the list into its place. One that says the same as the last one is that one.
    fn finish(mut self) -> Result<PathBuf, Failure> {
        let path = unfinished(&self.folder);
        let failed = |error: io::Error| Failure::unwritable(&path, &error);
        match self.failed.take() {
            Some(error) => return Err(failed(error.into())),
            None => self.writer.flush().map_err(failed)?,
        }
        self.writer.get_ref().get_ref().sync_all().map_err(failed)?;
        for number in 1..=MAX_REJECTS {
            let end = if number == 1 { String::new() } else { format!("-{number}") };
            let place = self.folder.join(format!("rejects{end}.csv"));
            match is_same(&path, &place) {
                // Nobody else works in this folder.
                Ok(None) => fs::rename(&path, &place).map_err(failed)?,
                Ok(Some(true)) => {}
                Ok(Some(false)) => continue,
                Err(error) => return Err(Failure::unreadable(&place, &error)),
            }
            return Ok(place);
        }
        Err(Failure::failed(format!("{} holds {MAX_REJECTS} files of rejects", self.folder.display()))
            .advise("remove those that are dealt with"))
    }
}

impl Drop for Rejects {
    fn drop(&mut self) {
        // What is not finished is made anew by the next run.
        let _ = fs::remove_file(unfinished(&self.folder));
    }
}

fn unfinished(folder: &Path) -> PathBuf {
    folder.join("rejects.csv.new")
}

/// Whether a file holds the same as the other one; none if there is no other one.
fn is_same(one: &Path, other: &Path) -> io::Result<Option<bool>> {
    let other = match File::open(other) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let one = File::open(one)?;
    if one.metadata()?.len() != other.metadata()?.len() {
        return Ok(Some(false));
    }
    let (mut one, mut other) = (BufReader::new(one), BufReader::new(other));
    loop {
        let (left, right) = (one.fill_buf()?, other.fill_buf()?);
        let count = left.len().min(right.len());
        if count == 0 || left.get(..count) != right.get(..count) {
            return Ok(Some(left.is_empty() && right.is_empty()));
        }
        one.consume(count);
        other.consume(count);
    }
}
