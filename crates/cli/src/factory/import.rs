//! `omadm factory import`.

use omadm_core::factory::manifest::{MAX_LINE, ManifestError, ManifestLine};
use omadm_core::ids::DevId;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};

use super::progress::Progress;
use super::rejects::Rejects;
use crate::admin::Admin;
use crate::args::FactoryImport;
use crate::failure::{Exit, Failure};
use crate::output;

/// How many devices go to the server at a time.
const BATCH: usize = 500;
/// How many refused lines are shown where nobody asked for a list.
const SHOWN: u64 = 20;

/// What the server answers.
#[derive(Deserialize)]
struct Answer {
    devices: Vec<Told>,
}

/// What came of a line.
#[derive(Deserialize)]
struct Told {
    dev_id: String,
    outcome: Option<Outcome>,
    problem: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    Added,
    Bound,
    Unchanged,
}

#[derive(Default)]
struct Counts {
    lines: u64,
    added: u64,
    bound: u64,
    unchanged: u64,
    refused: u64,
}

/// An import.
struct Import<'a> {
    args: &'a FactoryImport,
    admin: Admin,
    waiting: Vec<(u64, ManifestLine)>,
    rejects: Option<Rejects>,
    counts: Counts,
}

/// Tells the server what a manifest says.
pub(super) fn import(args: &FactoryImport) -> Result<(), Failure> {
    let admin = Admin::find(&args.reach)?;
    let path = &args.manifest;
    let unreadable = |error| Failure::unreadable(path, &error);
    let file = File::open(path).map_err(unreadable)?;
    let progress = Progress::of(file.metadata().map_or(0, |facts| facts.len()));
    let rejects = args.rejects.clone().map(|path| Rejects::named(path, args.force)).transpose()?;
    let mut import = Import { args, admin, waiting: Vec::new(), rejects, counts: Counts::default() };
    let (mut reader, mut line, mut read) = (BufReader::new(file), Vec::new(), 0);
    loop {
        line.clear();
        let length = reader.by_ref().take(MAX_LINE as u64 + 2).read_until(b'\n', &mut line).map_err(unreadable)?;
        if length == 0 {
            break;
        }
        read += length as u64;
        import.take(&line)?;
        if import.waiting.len() == BATCH {
            import.send()?;
            progress.is_at(read, format!("{} lines", import.counts.lines));
        }
    }
    import.send()?;
    if let Some(rejects) = &mut import.rejects {
        rejects.finish()?;
    }
    drop(progress);
    import.tell()
}

/// Why a line is none of a manifest, in words that hold nothing of it.
fn reason(error: &ManifestError) -> &'static str {
    match error {
        ManifestError::Malformed(_) => "not readable as JSON",
        ManifestError::Form(_) => "not a line of a manifest: a member is missing or wrong",
    }
}

/// The device that a line names, whatever else is wrong with it.
fn named(line: &[u8]) -> Option<DevId> {
    #[derive(Deserialize)]
    struct Named {
        dev_id: DevId,
    }
    serde_json::from_slice(line).ok().map(|Named { dev_id }| dev_id)
}

impl Import<'_> {
    fn take(&mut self, line: &[u8]) -> Result<(), Failure> {
        self.counts.lines += 1;
        let number = self.counts.lines;
        let line = line.trim_ascii();
        if line.len() > MAX_LINE {
            // Its rest would be taken for a line.
            let place = format!("{}:{number}", self.args.manifest.display());
            return Err(Failure::usage(format!("{place}: longer than {MAX_LINE} bytes; this is no manifest")));
        }
        match ManifestLine::parse(line) {
            Ok(entry) => self.waiting.push((number, entry)),
            Err(_) if number == 1 => {
                let failure = Failure::usage(format!("{}: this is no manifest", self.args.manifest.display()));
                return Err(failure.advise("name the manifest.jsonl that `omadm factory make` wrote"));
            }
            // The wrong file may hold secrets, and reasons quote what they are about.
            Err(error) => self.refuse(number, reason(&error), named(line).as_ref().map_or("", DevId::as_str))?,
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), Failure> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let waiting = std::mem::take(&mut self.waiting);
        let device = |(_, line): &(u64, ManifestLine)| json!({"dev_id": line.dev_id, "profile": line.profile, "credential": line.credential});
        let devices: Vec<Value> = waiting.iter().map(device).collect();
        let answer: Answer = self.admin.import_devices(&devices)?;
        if !answer.devices.iter().map(|told| &*told.dev_id).eq(waiting.iter().map(|(_, line)| line.dev_id.as_str())) {
            return Err(Failure::failed("the server answered for other devices than were told of"));
        }
        for ((number, line), told) in waiting.iter().zip(answer.devices) {
            match (told.outcome, told.problem) {
                (Some(Outcome::Added), _) => self.counts.added += 1,
                (Some(Outcome::Bound), _) => self.counts.bound += 1,
                (Some(Outcome::Unchanged), _) => self.counts.unchanged += 1,
                (None, problem) => self.refuse(*number, &problem.unwrap_or_default(), line.dev_id.as_str())?,
            }
        }
        Ok(())
    }

    /// A line that is not taken; the device is empty where that is not known.
    fn refuse(&mut self, number: u64, why: &str, device: &str) -> Result<(), Failure> {
        self.counts.refused += 1;
        match &mut self.rejects {
            Some(rejects) => rejects.add(number, why, device),
            None if self.counts.refused <= SHOWN => {
                let device = if device.is_empty() { String::new() } else { format!("{device}: ") };
                let text = format!("{}:{number}: {device}{why}\n", self.args.manifest.display());
                // Standard error may be gone; the count tells all the same.
                let _ = std::io::stderr().write_all(text.as_bytes());
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn tell(&self) -> Result<(), Failure> {
        let Counts { lines, added, bound, unchanged, refused } = self.counts;
        if self.args.listing.json {
            output::json(&json!({
                "lines": lines,
                "added": added,
                "bound": bound,
                "unchanged": unchanged,
                "refused": refused,
            }))?;
        } else if lines > 0 {
            output::say(format!(
                "{added} devices are known now, {bound} that were known got their credential, {unchanged} were so already."
            ))?;
        }
        if refused > 0 {
            let failure = Failure::failed(format!("{refused} of {lines} lines were refused"));
            return Err(match &self.rejects {
                Some(rejects) => failure.advise(format!("{} says why", rejects.path().display())),
                None => failure.advise("--rejects FILE lists all of them"),
            });
        }
        if lines == 0 {
            return Err(Failure::new(Exit::Nothing, format!("{} is empty", self.args.manifest.display())));
        }
        Ok(())
    }
}
