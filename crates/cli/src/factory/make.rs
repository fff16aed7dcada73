//! `omadm factory make`.

use omadm_core::factory::bundle::{Enrolment, FactoryBundle, MAX_FILE};
use omadm_core::factory::manifest::{CredentialMark, ManifestLine};
use omadm_core::ids::DevId;
use omadm_core::secret::Secret;
use omadm_core::time::Timestamp;
use omadm_tls::ca::key_digest;
use omadm_tls::cms::Sealer;
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::folder::{Folder, Met, Terms, digest, hex};
use super::key;
use super::progress::Progress;
use super::rejects::Rejects;
use super::rows::{Row, Rows};
use crate::admin::Admin;
use crate::args::FactoryMake;
use crate::failure::{Exit, Failure};
use crate::output;

/// How many bundles are asked for, and made durable, at a time.
const BATCH: usize = 200;
/// How many bytes of bundles are made at a time, at most and as far as it can be known beforehand.
const BATCH_BYTES: usize = 8 << 20;

/// How many bytes a bundle has at most around its message and DevID: names of members, user and secret.
const FRAME: usize = 512;
/// By how many bytes the signatures of one key, and what encrypts for others, differ at most.
const SIGNATURES_DIFFER: usize = 64;

/// What the server gives.
#[derive(Deserialize)]
struct Answer {
    devices: Vec<Given>,
}

/// What it gives for a device.
#[derive(Deserialize)]
struct Given {
    dev_id: DevId,
    problem: Option<String>,
    message: Option<Value>,
    credential: Option<CredentialMark>,
    enrolment: Option<GivenEnrolment>,
    at: Option<Timestamp>,
}

#[derive(Deserialize)]
struct GivenEnrolment {
    user: String,
    secret: String,
}

/// A run.
struct Run<'a> {
    args: &'a FactoryMake,
    admin: Admin,
    sealer: Sealer,
    folder: Folder,
    rejects: Rejects,
    waiting: Vec<(u64, DevId, String)>,
    /// How many are to wait for each other: few where messages are large. The first one shows that.
    batch: usize,
    made: u64,
    skipped: u64,
    /// How many bytes signature and encryption add to a bundle at most.
    around: usize,
}

/// Makes the bundles of a list that are not made yet.
pub(super) fn make(args: &FactoryMake) -> Result<(), Failure> {
    let signer = key::read(&args.sign_key, &args.sign_cert)?;
    let readers = args.encrypt_to.as_deref().map(key::text).transpose()?;
    let unusable = |error| Failure::usage(format!("the keys cannot be used: {error}"));
    let sealer = Sealer::new(&signer, readers.as_deref()).map_err(unusable)?;
    // What cannot be encrypted to is found before anything is asked for.
    let around = sealer.seal(&[b' '; MAX_FILE]).map_err(unusable)?.len() - MAX_FILE + SIGNATURES_DIFFER;
    let terms = Terms {
        profile: args.profile.clone(),
        signer: hex(&key_digest(&signer.certificate).map_err(unusable)?),
        encrypted_to: readers.as_deref().map(|pem| hex(&digest(pem))),
        enrol: args.enrol,
    };
    let admin = Admin::find(&args.reach)?;
    admin.check_profile(&args.profile, &args.out)?;
    let (mut rows, size) = Rows::open(&args.devices)?;
    let folder = Folder::open(&args.out, &terms, new_name)?;
    let rejects = Rejects::of_run(folder.join("rejects.csv"));
    let mut run =
        Run { args, admin, sealer, folder, rejects, waiting: Vec::new(), batch: 1, made: 0, skipped: 0, around };
    let progress = Progress::of(size);
    while let Some(row) = rows.next()? {
        run.take(row)?;
        if run.waiting.len() >= run.batch {
            run.make_waiting()?;
            progress.is_at(rows.bytes(), format!("{} made, {} refused", run.made, run.rejects.count()));
        }
    }
    run.make_waiting()?;
    run.rejects.finish()?;
    drop(progress);
    run.tell(rows.rows())
}

impl Run<'_> {
    fn take(&mut self, row: Row) -> Result<(), Failure> {
        let dev_id = match row.dev_id {
            Ok(dev_id) => dev_id,
            Err(why) => return self.rejects.add(row.line, &why, &row.text),
        };
        match self.folder.meet(&dev_id, row.line) {
            Met::Never => self.waiting.push((row.line, dev_id, row.text)),
            Met::Made => self.skipped += 1,
            Met::InLine(first) => {
                self.rejects.add(row.line, &format!("the same device as in line {first}"), &row.text)?
            }
        }
        Ok(())
    }

    fn make_waiting(&mut self) -> Result<(), Failure> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let waiting = std::mem::take(&mut self.waiting);
        let dev_ids: Vec<&str> = waiting.iter().map(|(_, dev_id, _)| dev_id.as_str()).collect();
        // What is found to be too large only afterwards has made the device known already.
        let longest = dev_ids.iter().map(|dev_id| dev_id.len()).max().unwrap_or(0);
        let limit = MAX_FILE.saturating_sub(self.around + FRAME + longest);
        let (profile, run) = (&self.args.profile, self.folder.run());
        let answer = self.admin.factory_messages(profile, run, &dev_ids, self.args.enrol, limit);
        let answer: Answer = answer.map_err(|failure| self.broken_off(failure.or_usage()))?;
        if !answer.devices.iter().map(|given| given.dev_id.as_str()).eq(dev_ids) {
            return Err(Failure::failed("the server answered for other devices than were asked for"));
        }
        let mut made = Vec::with_capacity(waiting.len());
        for ((line, _, text), given) in waiting.iter().zip(answer.devices) {
            let user = given.credential.as_ref().map(|mark| mark.user.clone());
            match (self.bundle(given)?, user) {
                (Ok(bundle), _) => made.push(bundle),
                (Err(why), user) => {
                    // No credential is to be valid that is in no bundle. The server was told how much fits, so this is rare.
                    user.map_or(Ok(()), |user| self.admin.withdraw(&user))?;
                    self.rejects.add(*line, &why, text)?;
                }
            }
        }
        if let Some(largest) = made.iter().map(|(_, bundle)| bundle.len()).max() {
            self.folder.keep(&made)?;
            self.batch = (BATCH_BYTES / largest.max(1)).clamp(1, BATCH);
        }
        self.made += made.len() as u64;
        Ok(())
    }

    /// The bundle and its line; or why the device gets none.
    fn bundle(&self, given: Given) -> Result<Result<(ManifestLine, Vec<u8>), String>, Failure> {
        let (message, at) = match (given.problem, given.message, given.at) {
            (Some(problem), _, _) => return Ok(Err(problem)),
            (None, Some(message), Some(at)) => (Zeroizing::new(message.to_string()), at),
            (None, _, _) => return Err(Failure::failed("the server gave neither a message nor a reason")),
        };
        let enrolment =
            given.enrolment.map(|given| Enrolment { user: given.user, secret: Secret::new(given.secret.into_bytes()) });
        let has_enrolment = enrolment.is_some();
        let bundle = FactoryBundle::new(given.dev_id.clone(), message.as_bytes(), enrolment);
        let content = match bundle.and_then(|bundle| bundle.to_bytes()) {
            Ok(content) => Zeroizing::new(content),
            Err(error) => return Ok(Err(error.to_string())),
        };
        let sealed = self.sealer.seal(&content);
        let sealed = sealed.map_err(|error| Failure::failed(format!("a bundle cannot be signed: {error}")))?;
        if sealed.len() > MAX_FILE {
            let size = sealed.len();
            return Ok(Err(format!("its bundle has {size} bytes, and a device reads {MAX_FILE} at most")));
        }
        let line = ManifestLine {
            file: Folder::file_of(&given.dev_id),
            dev_id: given.dev_id,
            sha256: digest(&sealed).into(),
            profile: self.args.profile.clone(),
            credential: given.credential,
            enrolment: has_enrolment,
            at,
        };
        Ok(Ok((line, sealed)))
    }

    fn broken_off(&self, failure: Failure) -> Failure {
        if self.made == 0 {
            return failure;
        }
        let more = format!("{} bundles were made; the same command goes on from there", self.made);
        let advice = failure.advice.as_ref().map_or(more.clone(), |advice| format!("{advice}; {more}"));
        failure.advise(advice)
    }

    fn tell(&self, rows: u64) -> Result<(), Failure> {
        let refused = self.rejects.count();
        let (manifest, rejects) = (self.folder.manifest_path(), self.rejects.path());
        if self.args.listing.json {
            output::json(&json!({
                "rows": rows,
                "made": self.made,
                "made_before": self.skipped,
                "refused": refused,
                "in_manifest": self.folder.made_before() + self.made,
                "manifest": manifest,
                "rejects": (refused > 0).then_some(rejects),
            }))?;
        } else if rows > 0 {
            let before = if self.skipped > 0 { format!(", {} were made before", self.skipped) } else { String::new() };
            let manifest = manifest.display();
            output::say(format!(
                "{} bundles are made{before}; {manifest} lists them.\nBind their credentials: omadm factory import {manifest}",
                self.made
            ))?;
        }
        if refused > 0 {
            let message = format!("{refused} of {rows} rows were refused");
            return Err(Failure::failed(message).advise(format!("{} says why", rejects.display())));
        }
        if rows == 0 {
            return Err(Failure::new(Exit::Nothing, format!("{} lists no device", self.args.devices.display())));
        }
        Ok(())
    }
}

/// The name of a run that begins.
fn new_name() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| Failure::failed("the system gives no random bytes"))?;
    Ok(hex(&bytes))
}
