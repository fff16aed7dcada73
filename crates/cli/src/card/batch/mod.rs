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
use std::fs::{DirBuilder, File};
use std::io::BufWriter;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use super::making;
use crate::admin::Admin;
use crate::args::BatchCards;
use crate::failure::{Exit, Failure};
use crate::output;
use crate::private;
use crate::signals::Ending;
use manifest::{Head, Manifest};
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
    let cards = args.out.join(CARDS);
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&cards)
        .map_err(|error| Failure::unwritable(&cards, &error))?;
    let mut pins = args.make_pins.as_deref().map(Pins::open).transpose()?;
    let id = pins.as_ref().and_then(|pins| pins.id.clone());
    let head = Head::new(args.kind, args.profile.clone(), settings(args, &content, &others), id);
    let mut made_before = Vec::new();
    let manifest = Manifest::open(args.out.join("manifest.jsonl"), &head, |iccid| {
        rows.is_done(iccid);
        if pins.is_some() {
            made_before.push(iccid.clone());
        }
    });
    let mut manifest = match (manifest, pins.take()) {
        (Ok(manifest), taken) => {
            pins = taken;
            manifest
        }
        (Err(failure), taken) => {
            taken.into_iter().for_each(Pins::withdraw);
            return Err(failure);
        }
    };
    if let Some(pins) = &mut pins {
        pins.take_up(|iccid| rows.was_done(iccid), made_before)?;
    }
    let mut rejects = Rejects::new(args.out.join("rejects.csv"), &rows.columns)?;
    let press = Press { args, source, others, columns: rows.columns.clone() };
    let bar = progress(size);
    let mut tally = Tally::default();
    let mut is_over = false;
    while !is_over && !ending.is_due() {
        let chunk = take(&mut rows, &mut rejects, &mut tally, &mut is_over).map_err(|error| in_csv(args, &error))?;
        let made = press.run(chunk, pins.as_mut(), &mut manifest, &mut rejects, &mut tally);
        rejects.flush()?;
        made?;
        bar.set_position(rows.position());
        bar.set_message(format!("{} made, {} refused", tally.made, tally.refused));
    }
    bar.finish_and_clear();
    if !is_over {
        return Err(Failure::failed(format!("interrupted after {} cards of this run", tally.made))
            .advise("give the same command again to go on"));
    }
    report(args, tally, &rejects)
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
        (None, Some(profile)) => Ok((Source::Server(Admin::find(&args.reach)?, profile.clone()), Vec::new())),
        (None, None) => Err(Failure::usage("neither a message nor a profile is named")),
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

fn report(args: &BatchCards, tally: Tally, rejects: &Rejects) -> Result<(), Failure> {
    let Tally { made, skipped, refused } = tally;
    if args.listing.json {
        output::json(&json!({
            "made": made,
            "made_before": skipped,
            "refused": refused,
            "manifest": args.out.join("manifest.jsonl"),
            "rejects": (refused > 0).then_some(&rejects.path),
            "pins": args.make_pins,
        }))?;
    } else {
        let before = if skipped > 0 { format!(", {skipped} were made before") } else { String::new() };
        output::say(format!("{}: {made} cards made{before}.", args.out.display()))?;
    }
    match refused {
        0 if made == 0 && skipped == 0 => {
            Err(Failure::new(Exit::Nothing, format!("{} has no rows", args.csv.display())))
        }
        0 => Ok(()),
        _ => Err(Failure::failed(format!("{refused} rows were refused; {} says why", rejects.path.display()))
            .advise("correct them there and make a batch of that file into the same folder")),
    }
}

/// The rows that are no cards: line, reason, and the fields as they were. It may hold PINs.
struct Rejects {
    writer: csv::Writer<BufWriter<File>>,
    path: PathBuf,
    failed: Option<csv::Error>,
}

impl Rejects {
    fn new(path: PathBuf, columns: &[String]) -> Result<Self, Failure> {
        let failed = |error| Failure::unwritable(&path, &error);
        let file = private::replace(&path).map_err(failed)?;
        let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(BufWriter::new(file));
        let added = ["line", "reason"];
        // A file of rejects may be corrected and be the input of the next batch.
        let names = added.into_iter().chain(columns.iter().map(String::as_str).filter(|name| !added.contains(name)));
        let failed = writer.write_record(names).err();
        Ok(Self { writer, path, failed })
    }

    fn add(&mut self, bad: &Bad) {
        self.write(bad.line, &bad.why, &bad.record);
    }

    fn write(&mut self, line: u64, why: &str, record: &ByteRecord) {
        let line = line.to_string();
        let fields = [line.as_bytes(), why.as_bytes()].into_iter().chain(record.iter());
        let written = self.writer.write_record(fields);
        self.failed = self.failed.take().or(written.err());
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let failed = |why: String| Failure::failed(format!("cannot write {}: {why}", self.path.display()));
        match self.failed.take() {
            Some(error) => Err(failed(error.to_string())),
            None => self.writer.flush().map_err(|error| failed(error.to_string())),
        }
    }
}
