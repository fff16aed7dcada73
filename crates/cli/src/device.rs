//! `omadm device`: the devices, and what became of them.

use comfy_table::Cell;
use omadm_core::secret::Secret;
use serde_json::{Value, json};
use std::fs;
use std::io::BufRead;

use crate::admin::{Admin, Enrolment, first_line};
use crate::args::{AddDevice, DeviceCommand, EnrolBy, Listing};
use crate::failure::Failure;
use crate::output::{self, Output, Style};
use crate::profile::text_of;

/// Carries out a command of `omadm device`.
///
/// # Errors
/// If it fails; see [`Failure`].
pub(crate) fn run(command: &DeviceCommand) -> Result<(), Failure> {
    match command {
        DeviceCommand::Add(args) => add(&Admin::find(&args.reach)?, args),
        DeviceCommand::List { listing, reach } => list(&Admin::find(reach)?, *listing),
        DeviceCommand::Show { dev_id, listing, reach } => show(&Admin::find(reach)?, dev_id, *listing),
        DeviceCommand::Remove { dev_id, listing, reach } => remove(&Admin::find(reach)?, dev_id, *listing),
        DeviceCommand::Block { dev_id, listing, reach } => block(&Admin::find(reach)?, dev_id, true, *listing),
        DeviceCommand::Unblock { dev_id, listing, reach } => block(&Admin::find(reach)?, dev_id, false, *listing),
        DeviceCommand::Why { dev_id, listing, reach } => why(&Admin::find(reach)?, dev_id, *listing),
    }
}

fn add(admin: &Admin, args: &AddDevice) -> Result<(), Failure> {
    let by = &args.by;
    let text = text_to_send(by)?;
    let text = str::from_utf8(text.expose()).unwrap_or_default();
    let (enrolment, what) = if by.psk_file.is_some() {
        (Enrolment::Psk { identity: args.psk_identity.as_deref(), key: text }, "its pre-shared key")
    } else if by.cert.is_some() {
        (Enrolment::Certificate(text), "the key of its certificate")
    } else if by.device_ca {
        (Enrolment::DeviceCa, "a certificate of the device CA")
    } else if text.is_empty() {
        (Enrolment::MadeUp, "its secret")
    } else {
        (Enrolment::Secret(text), "its secret")
    };
    let added = admin.add_device(&args.dev_id, enrolment)?;
    if args.listing.json {
        return output::json(&added);
    }
    let user = text_of(&added, "user");
    output::say(match enrolment {
        Enrolment::MadeUp | Enrolment::Secret(_) => format!("The device {} is known; its user is {user}.", args.dev_id),
        Enrolment::Psk { identity, .. } => {
            format!("The device {} is known by {what}; its identity is {}.", args.dev_id, identity.unwrap_or(&user))
        }
        Enrolment::Certificate(_) | Enrolment::DeviceCa => format!("The device {} is known by {what}.", args.dev_id),
    })?;
    match text_of(&added, "secret") {
        made_up if made_up.is_empty() => Ok(()),
        made_up => {
            let made_up = Output::stdout().paint(Style::Use, made_up);
            output::say(format!(
                "Its enrolment secret, shown only now: {made_up}\n\
                 Put it into a file of the device (0600) that bootstrap.secret_file of omadm-client names."
            ))
        }
    }
}

/// What stands in the file that was named, or on standard input; nothing if neither was.
fn text_to_send(by: &EnrolBy) -> Result<Secret, Failure> {
    let text = if let Some(path) = by.secret_file.as_ref().or(by.psk_file.as_ref()) {
        first_line(path)?
    } else if let Some(path) = &by.cert {
        fs::read_to_string(path).map_err(|error| Failure::unreadable(path, &error))?
    } else if by.secret_stdin {
        line_of_stdin()?
    } else {
        String::new()
    };
    Ok(Secret::new(text.into_bytes()))
}

fn line_of_stdin() -> Result<String, Failure> {
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|error| Failure::usage(format!("cannot read standard input: {error}")))?;
    match line.trim() {
        "" => Err(Failure::usage("standard input holds no secret")),
        secret => Ok(secret.to_owned()),
    }
}

fn list(admin: &Admin, listing: Listing) -> Result<(), Failure> {
    let devices = admin.devices()?;
    if listing.json {
        return output::json(&devices);
    }
    if devices.is_empty() {
        return output::say("There is no device. Add one: omadm device add DEVID");
    }
    let paint = Output::stdout();
    let mut table = paint.table(&["device", "state", "source", "account", "model", "firmware", "added"]);
    for device in &devices {
        let info = device.get("devinfo").unwrap_or(&Value::Null);
        table.add_row([
            paint.cell(Style::Bold, text_of(device, "dev_id")),
            paint.cell(style_of(&text_of(device, "state")), standing(device)),
            Cell::new(text_of(device, "source")),
            Cell::new(text_of(device, "srv_id")),
            Cell::new(format!("{} {}", text_of(info, "Man"), text_of(info, "Mod")).trim()),
            Cell::new(text_of(info, "FwV")),
            Cell::new(text_of(device, "added_at")),
        ]);
    }
    output::say(table.trim_fmt())
}

fn state(word: &str, paint: Output) -> String {
    paint.paint(style_of(word), word)
}

fn style_of(state: &str) -> Style {
    match state {
        "managed" => Style::Good,
        "bootstrapped" => Style::Note,
        _ => Style::Dim,
    }
}

fn show(admin: &Admin, dev_id: &str, listing: Listing) -> Result<(), Failure> {
    let device: Value = admin.device(dev_id)?;
    if listing.json {
        return output::json(&device);
    }
    let paint = Output::stdout();
    let mut lines = vec![format!(
        "{}  {}",
        paint.paint(Style::Bold, text_of(&device, "dev_id")),
        state(&text_of(&device, "state"), paint)
    )];
    for (name, title) in [
        ("source", "source"),
        ("srv_id", "account"),
        ("user", "user"),
        ("added_at", "added"),
        ("blocked_at", "blocked"),
    ] {
        let value = text_of(&device, name);
        if !value.is_empty() {
            lines.push(format!("  {title:<8} {value}"));
        }
    }
    if let Some((info, leaves)) = device.get("devinfo").and_then(|info| Some((info, info.as_object()?))) {
        lines.push(paint.paint(Style::Bold, "DevInfo"));
        lines.extend(leaves.keys().map(|leaf| format!("  {:<8} {}", output::harmless(leaf), text_of(info, leaf))));
    }
    let made = made_for(list_of(&device, "credentials"));
    if !made.is_empty() {
        lines.push(paint.paint(Style::Bold, "Credentials"));
        lines.extend(made.iter().map(|one| format!("  {one}")));
    }
    output::say(lines.join("\n"))?;
    sessions(list_of(&device, "sessions"), paint)
}

/// What was made for the device beforehand, in a factory or on a card: a sentence for each credential.
fn made_for(credentials: &[Value]) -> Vec<String> {
    let beforehand = credentials.iter().filter(|one| text_of(one, "source") != "bootstrap-server");
    let sentence = |one: &Value| {
        let used = match text_of(one, "used_at") {
            at if at.is_empty() => "not used yet".to_owned(),
            at => format!("last used {at}"),
        };
        let (source, scheme, profile) = (text_of(one, "source"), text_of(one, "scheme"), text_of(one, "profile"));
        format!("{source}: {scheme}, made {} with profile {profile}, {used}", text_of(one, "made_at"))
    };
    beforehand.map(sentence).collect()
}

fn sessions(sessions: &[Value], paint: Output) -> Result<(), Failure> {
    if sessions.is_empty() {
        return Ok(());
    }
    let mut table = paint.table(&["session", "alerts", "commands", "outcome"]);
    for session in sessions {
        let alerts = list_of(session, "alerts").iter().filter_map(Value::as_str);
        let alerts: Vec<_> = alerts.filter_map(|alert| alert.rsplit(':').next().map(output::harmless)).collect();
        table.add_row([
            text_of(session, "started_at"),
            alerts.join("\n"),
            commands(list_of(session, "commands")),
            text_of(session, "outcome"),
        ]);
    }
    output::say(table.trim_fmt())
}

fn commands(commands: &[Value]) -> String {
    let plain = |value: &Value| value.as_str().map_or_else(|| output::harmless(&value.to_string()), output::harmless);
    let pairs = commands.iter().filter_map(Value::as_array);
    pairs.map(|pair| pair.iter().map(plain).collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("\n")
}

fn remove(admin: &Admin, dev_id: &str, listing: Listing) -> Result<(), Failure> {
    admin.remove_device(dev_id)?;
    if listing.json {
        return output::json(&json!({ "removed": dev_id }));
    }
    output::say(format!("The device {dev_id} is removed; nothing that it was given is worth anything now."))
}

fn block(admin: &Admin, dev_id: &str, blocked: bool, listing: Listing) -> Result<(), Failure> {
    let device = admin.block_device(dev_id, blocked)?;
    if listing.json {
        return output::json(&device);
    }
    output::say(if blocked {
        format!("The device {dev_id} is blocked since {}.", text_of(&device, "blocked_at"))
    } else {
        format!("The device {dev_id} is not blocked.")
    })
}

/// The word for a device's state, and that it is blocked.
fn standing(device: &Value) -> String {
    let blocked = if device.get("blocked_at").is_some() { ", blocked" } else { "" };
    format!("{}{blocked}", text_of(device, "state"))
}

fn why(admin: &Admin, dev_id: &str, listing: Listing) -> Result<(), Failure> {
    let why = admin.why(dev_id)?;
    if listing.json {
        return output::json(&why);
    }
    let paint = Output::stdout();
    let known = match text_of(&why, "state") {
        word if word.is_empty() => "not known here; make it known: omadm device add DEVID".to_owned(),
        word => state(&word, paint),
    };
    output::say(format!("{}  {known}", paint.paint(Style::Bold, dev_id)))?;
    for (name, what) in [("blocked_at", "blocked"), ("removed_at", "last removed")] {
        let at = text_of(&why, name);
        if !at.is_empty() {
            output::say(format!("{what} at {at}"))?;
        }
    }
    for one in made_for(list_of(&why, "credentials")) {
        output::say(format!("It is expected with this credential, and nobody else may use it: {one}."))?;
    }
    let requests = list_of(&why, "requests");
    if requests.is_empty() {
        return output::say("No request of it has come in.");
    }
    let mut table = paint.table(&["time", "request", "answer", "proven", "why"]);
    for request in requests {
        let proven = request.get("authenticated").and_then(Value::as_bool) == Some(true);
        let code = text_of(request, "code");
        let detail = text_of(request, "detail");
        table.add_row([
            text_of(request, "at"),
            format!("{} from {}", text_of(request, "endpoint"), text_of(request, "remote")),
            text_of(request, "status"),
            if proven { "yes" } else { "no" }.to_owned(),
            if detail.is_empty() { code } else { format!("{detail} [{code}]") },
        ]);
    }
    output::say(table.trim_fmt())
}

fn list_of<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}
