//! What is said before and after: what this is, and what to try.

use std::path::Path;

use super::watch::{configuration, home};
use crate::args::Cast;
use crate::output::{Output, Style};

/// What this is.
pub(super) fn greeting(paint: Output) -> String {
    format!(
        "{}\n\nFour devices that know no server yet. Each finds its own, with nobody's help.\n",
        paint.paint(Style::Bold, "omadm demo: OMA Device Management 2.0, from nothing to managed")
    )
}

/// What to try while everything runs, each as a command to be copied.
pub(super) fn suggestions(
    omadm: &Path,
    client: &Path,
    folder: &Path,
    admin_url: &str,
    environment: Option<(&'static str, &Path)>,
    paint: Output,
) -> String {
    let (omadm, client) = (shown(omadm), shown(client));
    let config = |cast| format!("--config {}", shown(&configuration(folder, cast)));
    let dev_id = Cast::MixedUp.facts().dev_id;
    let card = home(folder, Cast::Sim);
    let mut steps = vec![
        ("tell omadm where the server is".to_owned(), format!("export OMADM_DATA={}", shown(&folder.join("server")))),
        ("see all devices".to_owned(), format!("{omadm} device list")),
        ("see why one was told what it was told".to_owned(), format!("{omadm} device why {dev_id}")),
        ("ask a device itself".to_owned(), format!("{client} {} status", config(Cast::MixedUp))),
        ("look at its management tree".to_owned(), format!("{client} {} tree", config(Cast::Network))),
        ("open one more session, and watch it here".to_owned(), format!("{client} {} session", config(Cast::Factory))),
        (
            "look into the card".to_owned(),
            format!("{omadm} card inspect {}/card.json --pin-file {}/pin", shown(&card), shown(&card)),
        ),
    ];
    if let Some((variable, socket)) = environment {
        steps.push(("see the virtual reader".to_owned(), format!("{variable}={} {omadm} card readers", shown(socket))));
    }
    let token = folder.join("server").join(crate::admin::TOKEN_FILE);
    let mut text = format!("{}\n", paint.paint(Style::Bold, "Everything runs on. Try, in another terminal:"));
    for (why, command) in steps {
        text.push_str(&format!("  {}\n      {}\n", why, paint.paint(Style::Use, command)));
    }
    text.push_str(&format!(
        "\nThe overview page: {}\n  sign in with the token in {}\n\nCtrl-C ends it all.",
        paint.paint(Style::Use, admin_url),
        shown(&token)
    ));
    text
}

/// A path as a shell takes it, relative where that is shorter.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().ok();
    let short = here.as_deref().and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path);
    let text = short.display().to_string();
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte));
    if is_plain { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_can_be_copied_into_a_shell() {
        assert_eq!(shown(Path::new("/tmp/omadm-x1/server")), "/tmp/omadm-x1/server");
        assert_eq!(shown(Path::new("/tmp/it's here")), r"'/tmp/it'\''s here'");
    }

    #[test]
    fn suggestions_are_whole_commands() {
        let text = suggestions(
            Path::new("/opt/omadm"),
            Path::new("/opt/omadm-client"),
            Path::new("/tmp/omadm-x"),
            "http://127.0.0.1:1",
            Some(("PCSCLITE_CSOCK_NAME", Path::new("/tmp/omadm-x/sim/pcscd"))),
            Output::plain(),
        );
        insta::assert_snapshot!(text);
    }
}
