//! `omadm message`: the credentials in messages that were made for cards and factory files.

use serde_json::json;

use crate::admin::Admin;
use crate::args::{ListMessages, Listing, MessageCommand};
use crate::failure::{Exit, Failure};
use crate::output::{self, Output, Style};
use crate::profile::text_of;

/// Carries out a command of `omadm message`.
///
/// # Errors
/// If it fails; see [`Failure`].
pub(crate) fn run(command: &MessageCommand) -> Result<(), Failure> {
    match command {
        MessageCommand::List(args) => list(&Admin::find(&args.reach)?, args),
        MessageCommand::Withdraw { user, listing, reach } => withdraw(&Admin::find(reach)?, user, *listing),
    }
}

fn list(admin: &Admin, args: &ListMessages) -> Result<(), Failure> {
    let messages = admin.messages(args.limit)?;
    if args.listing.json {
        return output::json(&messages);
    }
    if messages.is_empty() {
        return output::say(
            "No card or factory file has a message of this server. Make one: omadm card create --profile NAME",
        );
    }
    let paint = Output::stdout();
    let mut table = paint.table(&["user", "in", "label", "profile", "scheme", "made", "used", "device"]);
    for message in &messages {
        let used = match text_of(message, "used_at") {
            at if at.is_empty() => paint.cell(Style::Dim, "not yet"),
            at => paint.cell(Style::Good, at),
        };
        table.add_row([
            paint.cell(Style::Bold, text_of(message, "user")),
            text_of(message, "source").into(),
            text_of(message, "label").into(),
            text_of(message, "profile").into(),
            text_of(message, "scheme").into(),
            text_of(message, "made_at").into(),
            used,
            text_of(message, "dev_id").into(),
        ]);
    }
    output::say(table.trim_fmt())?;
    if messages.len() >= usize::from(args.limit) {
        output::remark(&format!("these are the last {}; --limit shows more", args.limit));
    }
    Ok(())
}

fn withdraw(admin: &Admin, user: &str, listing: Listing) -> Result<(), Failure> {
    admin.withdraw(user).map_err(|failure| match failure.exit {
        Exit::Nothing => {
            failure.advise("`omadm message list` shows the users; `omadm device remove` ends those of a device")
        }
        Exit::Failed | Exit::Usage | Exit::Denied => failure,
    })?;
    if listing.json {
        return output::json(&json!({ "withdrawn": user }));
    }
    output::say(format!("The credential of {user} is withdrawn; the message that holds it is worth nothing now."))
}
