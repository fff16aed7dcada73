//! Makes some cards at once: their messages, PINs, files, and last their lines in the manifest.

use csv::ByteRecord;
use omadm_card::make::{CardPlan, Content, NewObject, make};
use omadm_card::personalise::AdmKey;
use omadm_core::bootstrap::message::{BootstrapMessage, Limit};
use omadm_core::ids::Iccid;
use omadm_core::secret::Secret;
use omadm_core::time::Timestamp;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::SystemTime;

use super::manifest::{Entry, Manifest};
use super::pins::Pins;
use super::rows::Row;
use super::template::Template;
use super::{CARDS, Rejects, Tally};
use crate::admin::Admin;
use crate::args::{BatchCards, MadeAs, ScriptKind};
use crate::card::making::{self, Issued};
use crate::failure::{Exit, Failure};
use crate::private;

/// How many requests to the server, or files, are under way at once.
const WORKERS: usize = 4;

/// Where messages come from.
pub(super) enum Source {
    Template(Template),
    Server(Admin, String),
}

/// What all cards of the batch have in common.
pub(super) struct Press<'a> {
    pub(super) args: &'a BatchCards,
    pub(super) source: Source,
    pub(super) others: Vec<NewObject>,
    pub(super) columns: Vec<String>,
}

/// A card that is made, in memory.
struct Made {
    iccid: Iccid,
    pin: Option<Secret>,
    /// Path from the folder of the batch on, and what it is to hold.
    file: String,
    content: Vec<u8>,
    message_sha256: String,
    users: Vec<String>,
    line: u64,
    /// Withdrawn unless the card is listed.
    issued: Option<Issued>,
}

/// Why a row is not made.
enum Trouble {
    /// The row itself is wrong.
    Row(String),
    /// Nothing can be made any more.
    Batch(Failure),
}

impl Press<'_> {
    /// Makes these rows. Each is listed once its file and its PIN are durable. What was made before the batch fails stays.
    pub(super) fn run(
        &self,
        rows: Vec<Row>,
        pins: Option<&mut Pins>,
        manifest: &mut Manifest,
        rejects: &mut Rejects,
        tally: &mut Tally,
    ) -> Result<(), Failure> {
        let mut ready = Vec::new();
        for row in rows {
            let pin = match pins.as_deref() {
                Some(pins) => Some(pins.choose(&row.iccid)?),
                None => row.pin.clone(),
            };
            ready.push((row, pin));
        }
        let results = at_once(&ready, |(row, pin)| self.make(row, pin.as_ref()));
        let (mut made, mut failure) = (Vec::new(), None);
        for ((row, _), result) in ready.iter().zip(results) {
            match result {
                Ok(one) => made.push(one),
                Err(Trouble::Row(why)) => {
                    tally.refused += 1;
                    let record: ByteRecord = row.fields.iter().map(String::as_str).collect::<Vec<_>>().into();
                    rejects.write(row.line, &why, &record);
                }
                Err(Trouble::Batch(why)) => failure = failure.or(Some(why)),
            }
        }
        if let Some(pins) = pins {
            pins.keep(made.iter().filter_map(|one| Some((&one.iccid, one.pin.as_ref()?))))?;
        }
        for written in at_once(&made, |one| private::write(&self.args.out.join(&one.file), &one.content)) {
            written?;
        }
        let folder = self.args.out.join(CARDS);
        sync_folder(&folder)?;
        let entries: Vec<Entry> = made.iter().map(|one| self.entry(one)).collect();
        // Lines that could not be written whole may be there all the same.
        made.into_iter().filter_map(|one| one.issued).for_each(Issued::keep);
        manifest.append(&entries)?;
        tally.made += entries.len() as u64;
        failure.map_or(Ok(()), Err)
    }

    fn make(&self, row: &Row, pin: Option<&Secret>) -> Result<Made, Trouble> {
        let issued = match &self.source {
            Source::Template(_) => None,
            Source::Server(admin, profile) => {
                Some(Issued::new(admin, profile, row.iccid.as_str()).map_err(Trouble::Batch)?)
            }
        };
        let message = match (&self.source, &issued) {
            (Source::Template(template), _) => template.fill(&self.columns, &row.fields),
            (Source::Server(..), issued) => issued.as_ref().map(|issued| issued.message().to_vec()).unwrap_or_default(),
        };
        let parsed = BootstrapMessage::parse(&message, Limit::Card)
            .map_err(|error| Trouble::Row(format!("the message is refused: {error}")))?;
        let made_up = issued.as_ref().and_then(Issued::user).map(|user| vec![user.to_owned()]);
        let users = made_up.unwrap_or_else(|| making::users(&parsed));
        let message_sha256 = sha256(&message);
        let plan = CardPlan {
            imsi: row.imsi.clone(),
            mnc_length: row.mnc_length.unwrap_or(2),
            content: Content::Message(message),
            others: self.others.clone(),
            pin: pin.cloned(),
            adm: row.adm.clone(),
            ..making::laid(&self.args.laid, row.iccid.clone())
        };
        let image = make(&plan).map_err(|error| Trouble::Row(error.to_string()))?;
        let iccid = row.iccid.as_str();
        let script = |kind, adm: Option<&AdmKey>| {
            making::script(&image, iccid, kind, &self.args.scripting, adm).map(String::into_bytes)
        };
        let (end, content) = match self.args.kind {
            MadeAs::Image => ("json", Ok(image.to_json().into_bytes())),
            MadeAs::Apdu => ("apdu", script(ScriptKind::Apdu, row.adm.as_ref())),
            MadeAs::Pysim => ("pysim", script(ScriptKind::Pysim, row.adm.as_ref())),
        };
        // The options of scripts are the same for all rows.
        let content = content.map_err(Trouble::Batch)?;
        let file = format!("{CARDS}/{iccid}.{end}");
        Ok(Made {
            iccid: row.iccid.clone(),
            pin: pin.cloned(),
            file,
            content,
            message_sha256,
            users,
            line: row.line,
            issued,
        })
    }

    fn entry(&self, made: &Made) -> Entry {
        Entry {
            sha256: sha256(&made.content),
            iccid: made.iccid.clone(),
            file: made.file.clone(),
            message_sha256: made.message_sha256.clone(),
            profile: self.args.profile.clone(),
            users: made.users.clone(),
            pin: made.pin.is_some(),
            line: made.line,
            at: now(),
        }
    }
}

/// Does the same with each of them, a few at a time; the results are in their order.
fn at_once<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..WORKERS.min(items.len()) {
            scope.spawn(|| {
                while let Some((number, item)) =
                    Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|number| Some((number, items.get(number)?)))
                {
                    let result = work(item);
                    results.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((number, result));
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.sort_by_key(|(number, _)| *number);
    results.into_iter().map(|(_, result)| result).collect()
}

fn sync_folder(folder: &Path) -> Result<(), Failure> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| Failure::new(Exit::Failed, format!("cannot write {}: {error}", folder.display())))
}

fn sha256(bytes: &[u8]) -> String {
    omadm_card::hex::encode(&Sha256::digest(bytes)).to_lowercase()
}

fn now() -> Timestamp {
    Timestamp(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}
