//! `omadm card write`: a message, or other objects, to a card that is there already.

use indicatif::{ProgressBar, ProgressStyle};
use omadm_card::make::NewObject;
use omadm_card::personalise::{Action, Looking, PersonaliseError, Plan, Step, Survey, Wanted, carry_out, plan, survey};
use omadm_card::pkcs15::oid::ObjectId;
use omadm_card::{Link, ReadRequest, VirtualUicc};
use omadm_core::secret::Secret;
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

use super::making::{self, Issued};
use super::source;
use crate::admin::Admin;
use crate::args::WriteCard;
use crate::failure::Failure;
use crate::output;
use crate::private;

/// How long looking and writing may take, each: the memory of a card is slow.
const LIMIT: Duration = Duration::from_secs(300);

/// How many commands went to the card.
#[derive(Debug, Clone, Copy)]
struct Commands {
    /// Looking, writing, and reading back.
    all: u32,
    /// Writing, and reading back with the key.
    writing: u32,
}

/// Writes the card that is meant. That in a file is saved as it is afterwards, with the tries that are left.
pub(super) fn write(args: &WriteCard) -> Result<(), Failure> {
    let mut kept = None;
    let result = match &args.card.file {
        None => put(&mut *source::open(&args.card)?, args, &mut kept),
        Some(path) => {
            let mut card = VirtualUicc::new(&source::image(path)?);
            let result = put(&mut card, args, &mut kept);
            if !args.dry_run {
                save(&card, path)?;
            }
            result
        }
    };
    kept.into_iter().for_each(Issued::keep);
    result
}

fn save(card: &VirtualUicc, path: &Path) -> Result<(), Failure> {
    let image = card.image().map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
    private::write(path, image.to_json().as_bytes())
}

/// Puts onto a card what is wanted, and into `kept` what was issued for it and lies there now.
fn put(link: &mut dyn Link, args: &WriteCard, kept: &mut Option<Issued>) -> Result<(), Failure> {
    let key = making::adm_key(args.adm_file.as_deref())?;
    let pin = source::pin(args.pin_file.as_deref())?;
    let others = making::objects(&args.objects)?;
    let began = Instant::now();
    let now = || began.elapsed();
    // A card that cannot be written at all shall cost no credential of the server.
    let objects = objects(args, &others);
    let private_by = args.behind_pin.then_some(args.adm_ref);
    let looking = Looking { objects: &objects, pin: pin.as_ref(), rule: args.access_rule, private_by };
    let seen = survey(link, &looking, &now, LIMIT).map_err(|error| making::failure(&error))?;
    let (message, issued) = message(args, &seen)?;
    let wanted = Wanted {
        listing: making::listing(args.form),
        behind_pin: args.behind_pin,
        file_size: args.file_size.map(usize::from),
        adm: args.adm_ref,
        rule: args.access_rule,
        allow_public_secret: args.allow_public_secret,
        replace_unseen: args.replace_unseen,
        ..Wanted::new(message.iter().cloned().map(NewObject::dm).chain(others).collect())
    };
    let plan = plan(&seen, &wanted).map_err(|error| making::failure(&error))?;
    if args.dry_run {
        return show(args, &seen, &plan);
    }
    let progress = progress(plan.steps.len());
    let (mut is_begun, mut is_under_way, mut done) = (false, false, 0);
    let written = carry_out(link, &plan, key.as_ref(), (&now, LIMIT), &mut |number, step| {
        progress.set_position(number as u64);
        done = number;
        // The step before was carried out. A single byte blanks what was there.
        is_begun |= is_under_way;
        is_under_way = matches!(&step.action, Action::UpdateBinary { data, .. } if data.len() > 1);
    });
    progress.finish_and_clear();
    // Even if it was not written to its end, the message may be there; not if the card refused the first part of it.
    let is_refused = matches!(written, Err(PersonaliseError::Refused { .. }));
    if is_begun || is_under_way && !is_refused {
        *kept = issued;
    }
    let written = written.map_err(|error| {
        let failure = making::failure(&error);
        let changes = |step: &Step| matches!(step.action, Action::CreateFile { .. } | Action::UpdateBinary { .. });
        if matches!(error, PersonaliseError::Card(_)) && plan.steps.iter().take(done + 1).any(changes) {
            let (at, all) = (done + 1, plan.steps.len());
            return failure.advise(format!("the card is written in part, up to command {at} of {all}; write it again"));
        }
        failure
    })?;
    let mut unchecked = written.unchecked;
    let mut commands = Commands { all: seen.commands.saturating_add(written.commands), writing: written.commands };
    if let (Some(pin), false) = (&pin, unchecked.is_empty()) {
        commands.all = commands.all.saturating_add(read_back(link, &wanted.objects, pin, &now)?);
        unchecked.clear();
    }
    report(args, &seen, &plan, commands, &unchecked)
}

/// Reads what lies behind the PIN back with the PIN, by the reader that devices have; says how many commands that took.
fn read_back(
    link: &mut dyn Link,
    objects: &[NewObject],
    pin: &Secret,
    now: &dyn Fn() -> Duration,
) -> Result<u32, Failure> {
    let mut commands = 0_u32;
    for object in objects {
        let is_message = object.oid == ObjectId::dm_bootstrap();
        // Of objects with a message of DM 1.x before ours only the reading of a message knows.
        let oid = (!is_message).then_some(&object.oid);
        let request = ReadRequest { pin: Some(pin), sim: false, object: oid, ..ReadRequest::default() };
        let reading = omadm_card::read(link, &request, now);
        commands = commands.saturating_add(reading.counts.total());
        let found = reading.message.map_err(|error| source::card_failure(&error))?;
        // What follows the JSON text of a message file, such as a newline, is not written.
        let wanted = if is_message { object.content.trim_ascii_end() } else { &object.content };
        if !found.strip_prefix(wanted).is_some_and(|rest| rest.iter().all(|byte| *byte == 0xFF)) {
            let problem = format!("the card was written, but another content of object {} is read from it", object.oid);
            return Err(Failure::failed(problem));
        }
    }
    Ok(commands)
}

/// Which objects are to be written, as far as that is known before the card is looked at.
fn objects(args: &WriteCard, others: &[NewObject]) -> Vec<ObjectId> {
    let message = args.message.is_some() || args.profile.is_some();
    let dm = message.then(ObjectId::dm_bootstrap);
    dm.into_iter().chain(others.iter().map(|other| other.oid.clone())).collect()
}

fn message(args: &WriteCard, seen: &Survey) -> Result<(Option<Vec<u8>>, Option<Issued>), Failure> {
    match (&args.message, &args.profile) {
        (Some(path), _) => Ok((Some(making::message_of(path)?), None)),
        (None, Some(profile)) => {
            let iccid = seen.iccid.as_ref().ok_or_else(|| Failure::failed("the card does not tell its ICCID"))?;
            let issued = Issued::new(&Admin::find(&args.reach)?, profile, iccid.as_str())?;
            Ok((Some(issued.message().to_vec()), Some(issued)))
        }
        (None, None) => Ok((None, None)),
    }
}

fn progress(steps: usize) -> ProgressBar {
    let bar = ProgressBar::new(steps as u64);
    bar.set_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} commands").unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    bar
}

fn show(args: &WriteCard, seen: &Survey, plan: &Plan) -> Result<(), Failure> {
    let shown = |step: &Step| if args.show_data { step.shown_with_data() } else { step.shown() };
    if args.listing.json {
        let steps: Vec<_> = plan.steps.iter().map(|step| json!({"apdu": shown(step), "about": step.about})).collect();
        return output::json(&json!({"iccid": seen.iccid, "steps": steps, "notes": plan.notes}));
    }
    for step in &plan.steps {
        output::say(format!("{}\n    {}", shown(step), step.about))?;
    }
    for note in &plan.notes {
        output::say(format!("note: {note}"))?;
    }
    match plan.steps.len() {
        0 => output::say("The card holds that already: there is nothing to write."),
        count => output::say(format!("{count} commands; nothing was written.")),
    }
}

fn report(args: &WriteCard, seen: &Survey, plan: &Plan, commands: Commands, unchecked: &[u16]) -> Result<(), Failure> {
    let unchecked: Vec<String> = unchecked.iter().map(|id| format!("{id:04X}")).collect();
    if args.listing.json {
        return output::json(&json!({
            "iccid": seen.iccid,
            "written": !plan.steps.is_empty(),
            "apdus": commands.all,
            "writing": commands.writing,
            "unchecked": unchecked,
            "notes": plan.notes,
        }));
    }
    for note in &plan.notes {
        output::say(format!("note: {note}"))?;
    }
    let card = seen.iccid.as_ref().map_or_else(|| "without an ICCID".to_owned(), ToString::to_string);
    if plan.steps.is_empty() {
        return output::say(format!("Card {card} holds that already: nothing was written."));
    }
    let checked = match unchecked.as_slice() {
        [] => "written and read back".to_owned(),
        files => format!("written; {} cannot be read without the PIN, name it by --pin-file", files.join(" and ")),
    };
    output::say(format!("Card {card}: {checked}, {} commands, {} of them to write.", commands.all, commands.writing))
}
