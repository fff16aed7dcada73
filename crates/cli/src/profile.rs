//! `omadm profile`: what devices are told at bootstrap.

use serde_json::Value;
use std::fs;
use std::io::Read;
use std::path::Path;

use crate::admin::Admin;
use crate::args::{Listing, Preview, ProfileCommand};
use crate::failure::{Exit, Failure};
use crate::output::{self, Output, Style};

/// The largest profile that is sent, in bytes.
const MAX_PROFILE: u64 = 1 << 20;

/// Carries out a command of `omadm profile`.
///
/// # Errors
/// If it fails; see [`Failure`].
pub(crate) fn run(command: &ProfileCommand) -> Result<(), Failure> {
    match command {
        ProfileCommand::Add { file, listing, reach } => add(&Admin::find(reach)?, file, *listing),
        ProfileCommand::List { listing, reach } => list(&Admin::find(reach)?, *listing),
        ProfileCommand::Show { name, listing, reach } => show(&Admin::find(reach)?, name, *listing),
        ProfileCommand::Remove { name, listing, reach } => remove(&Admin::find(reach)?, name, *listing),
        ProfileCommand::Preview(args) => preview(&Admin::find(&args.reach)?, args),
    }
}

fn add(admin: &Admin, file: &Path, listing: Listing) -> Result<(), Failure> {
    let text = read(file)?;
    let stored = admin.add_profile(text).map_err(|failure| match failure.exit {
        Exit::Usage => Failure { message: format!("{}: {}", file.display(), failure.message), ..failure },
        Exit::Failed | Exit::Nothing | Exit::Denied => failure,
    })?;
    if listing.json {
        return output::json(&stored);
    }
    output::say(format!("The profile {} is stored.", text_of(&stored, "name")))
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let result = if file == Path::new("-") {
        std::io::stdin().take(MAX_PROFILE + 1).read_to_end(&mut text)
    } else {
        fs::File::open(file).and_then(|opened| opened.take(MAX_PROFILE + 1).read_to_end(&mut text))
    };
    result.map_err(|error| Failure::unreadable(file, &error))?;
    match text.len() as u64 {
        0 => Err(Failure::usage(format!("{} is empty", file.display()))),
        size if size > MAX_PROFILE => {
            Err(Failure::usage(format!("{} is larger than {MAX_PROFILE} bytes", file.display())))
        }
        _ => Ok(text),
    }
}

fn list(admin: &Admin, listing: Listing) -> Result<(), Failure> {
    let profiles = admin.profiles()?;
    if listing.json {
        return output::json(&profiles);
    }
    if profiles.is_empty() {
        return output::say("There is no profile. Add one: omadm profile add FILE");
    }
    let mut table = Output::stdout().table(&["profile", "for", "release", "credentials", "changed"]);
    for profile in &profiles {
        let problem = text_of(profile, "problem");
        if !problem.is_empty() {
            let name = text_of(profile, "name");
            table.add_row([
                name,
                format!("nobody: {problem}"),
                String::new(),
                String::new(),
                text_of(profile, "changed_at"),
            ]);
            continue;
        }
        table.add_row([
            text_of(profile, "name"),
            matches(profile.get("match").unwrap_or(&Value::Null)),
            or_default(profile, "release", "known"),
            or_default(profile, "credentials", "basic"),
            text_of(profile, "changed_at"),
        ]);
    }
    output::say(table.trim_fmt())
}

/// A member's text, or what it is where the profile leaves it out.
fn or_default(profile: &Value, name: &str, default: &str) -> String {
    Some(text_of(profile, name)).filter(|text| !text.is_empty()).unwrap_or_else(|| default.to_owned())
}

/// For whom a profile is, in words.
fn matches(value: &Value) -> String {
    let list = |name: &str| value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut words: Vec<String> = list("dev_id").iter().filter_map(Value::as_str).map(str::to_owned).collect();
    words.extend(list("dev_id_prefix").iter().filter_map(Value::as_str).map(|prefix| format!("{prefix}…")));
    words.extend(list("network").iter().map(|one| format!("network {}-{}", text_of(one, "mcc"), text_of(one, "mnc"))));
    if value.get("default").and_then(Value::as_bool) == Some(true) {
        words.push("every other device".to_owned());
    }
    let more = words.len().saturating_sub(5);
    words.truncate(5);
    if more > 0 {
        words.push(format!("and {more} more"));
    }
    words.join("\n")
}

fn show(admin: &Admin, name: &str, listing: Listing) -> Result<(), Failure> {
    let written = admin.profile(name)?;
    if !listing.json {
        return output::write(&written);
    }
    let profile: Value = serde_json::from_slice(&written)
        .map_err(|error| Failure::failed(format!("the profile {name} is not understood: {error}")))?;
    output::json(&profile)
}

fn remove(admin: &Admin, name: &str, listing: Listing) -> Result<(), Failure> {
    admin.remove_profile(name)?;
    if listing.json {
        return output::json(&serde_json::json!({"removed": name}));
    }
    output::say(format!("The profile {name} is removed."))
}

fn preview(admin: &Admin, args: &Preview) -> Result<(), Failure> {
    let network = args.mcc.as_deref().zip(args.mnc.as_deref());
    let preview = admin.preview(args.name.as_deref(), &args.dev_id, network)?;
    if args.listing.json {
        return output::json(&preview);
    }
    let why = text_of(&preview, "why");
    let Some(message) = preview.get("message").filter(|message| !message.is_null()) else {
        let advice = match text_of(&preview, "profile") {
            none if none.is_empty() => "add a profile for it, or a default one: omadm profile add FILE".to_owned(),
            name => format!("store the profile {name} anew (omadm profile add FILE), or remove it"),
        };
        return Err(Failure::new(Exit::Nothing, format!("{} gets nothing: {why}", args.dev_id)).advise(advice));
    };
    let name = Output::stdout().paint(Style::Bold, text_of(&preview, "profile"));
    output::say(format!("Profile {name}: {why}. Its message, with made-up credentials:"))?;
    output::say(pretty(message))
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// A member's text; empty where there is none.
pub(crate) fn text_of(value: &Value, name: &str) -> String {
    match value.get(name) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => output::harmless(text),
        Some(other) => output::harmless(&other.to_string()),
    }
}
