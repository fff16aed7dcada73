//! Which card may configure a device: `card.allow`, a SIM that waits for its PIN, and a link that is switched off.

#![allow(clippy::unwrap_used, reason = "in tests")]

mod kit;

use kit::slot::{By, Folder, InMemory, Slot};
use kit::{Device, message};
use omadm_card::CardImage;
use omadm_card::make::{CardPlan, Content, make};
use omadm_card::virtual_modem::ModemQuirk;
use omadm_client::client::Client;
use omadm_client::config::Config;
use omadm_client::status::Status;
use omadm_core::bootstrap::sequence::{Run, RunResult};
use omadm_core::reason::{Method, Outcome, Reason};
use std::sync::Arc;

const ICCID: &str = "8988211000000000017";
const PIN_OF_THE_SIM: u8 = 0x01;

fn plan() -> CardPlan {
    let content = message("card", "http://127.0.0.1:9/dm");
    CardPlan { allow_public_secret: true, ..CardPlan::new(ICCID.parse().unwrap(), content.as_bytes()) }
}

fn card() -> CardImage {
    make(&plan()).unwrap()
}

/// A card whose message lies behind this PIN.
fn private(pin_reference: u8) -> CardImage {
    make(&CardPlan { pin: Some("1234".into()), pin_reference, ..plan() }).unwrap()
}

/// One start of a device that has a factory file and a DM Bootstrap Server beside the card, with these lines in `[card]` and
/// `[sim]`.
fn start(card: &str, sim: &str, slot: &Arc<Slot>, folder: &Folder) -> (Run, Status) {
    let device = Device::new();
    let config = device.configure(&format!(
        "[card]\npin_file = \"pin\"\nwait = \"1s\"\n{card}\n[sim]\n{sim}\n[factory]\nfile = \"factory.json\"\n\
         [bootstrap]\nurl = \"http://127.0.0.1:9/b\"\nsecret_file = \"secret\"\n"
    ));
    let world = Arc::new(InMemory(slot.clone()));
    let mut client = Client::new(Config::load(&config).unwrap(), world, Box::new(folder.clone())).unwrap();
    let run = client.bootstrap().unwrap();
    (run, client.status())
}

const LINK: &str = "link = \"socket:card.sock\"";

fn allowing(allow: &str, slot: &Arc<Slot>, folder: &Folder) -> (Run, Status) {
    start(&format!("{LINK}\n{allow}"), "wait = \"0s\"", slot, folder)
}

fn with_factory(mut slot: Slot) -> Arc<Slot> {
    slot.factory = Some(message("factory", "http://127.0.0.1:9/dm"));
    Arc::new(slot)
}

fn attempt(run: &Run, number: usize) -> (Method, Outcome, Option<Reason>) {
    let attempt = &run.attempts[number];
    (attempt.method, attempt.outcome, attempt.reason)
}

/// Who manages the device, and whether the account is suspended.
fn accounts(status: &Status) -> Vec<(String, bool)> {
    status.accounts.iter().map(|one| (one.srv_id.to_string(), one.suspended)).collect()
}

#[test]
fn card_allow_names_the_cards_and_any_other_gives_the_next_method_its_turn() {
    let rejected = (Method::Smartcard, Outcome::Skipped, Some(Reason::CardNotAllowed));
    for (allow, is_allowed) in [
        ("", true),
        ("allow = \"any\"", true),
        ("allow = [\"8949\", \"8988\"]", true),
        ("allow = \"none\"", false),
        ("allow = [\"8949\", \"89882\\u003111\"]", false),
        ("allow = []", false),
    ] {
        let slot = with_factory(Slot::new(By::Itself, &private(PIN_OF_THE_SIM)));
        let (run, status) = allowing(allow, &slot, &Folder::default());
        if is_allowed {
            assert_eq!(accounts(&status), [("card".to_owned(), false)], "{allow}");
        } else {
            assert_eq!(attempt(&run, 0), rejected, "{allow}");
            assert_eq!(attempt(&run, 1), (Method::Factory, Outcome::Installed, None), "{allow}");
            assert_eq!(accounts(&status), [("factory".to_owned(), false)], "{allow}");
        }
        assert_eq!(slot.verified(), is_allowed, "{allow}: no PIN of ours for a card that may not configure the device");
    }
}

#[test]
fn a_card_in_use_that_is_no_longer_allowed_counts_as_absent_until_it_is_allowed_again() {
    let (slot, folder) = (Arc::new(Slot::new(By::Itself, &card())), Folder::default());
    allowing("", &slot, &folder);
    for allow in ["allow = \"none\"", "allow = [\"8949\"]"] {
        let (run, status) = allowing(allow, &slot, &folder);
        assert_eq!(run.result, RunResult::Nothing, "{allow}");
        assert_eq!(accounts(&status), [("card".to_owned(), true)], "{allow}");
        assert_eq!(slot.asked(), 1, "the next methods have their turn");
        let (run, status) = allowing("", &slot, &folder);
        assert_eq!(run.result, RunResult::Unchanged, "{allow}");
        assert_eq!(accounts(&status), [("card".to_owned(), false)], "{allow}");
        slot.forget_asked();
    }
    let (_, status) = allowing("allow = \"none\"", &with_factory(Slot::new(By::Itself, &card())), &folder);
    assert_eq!(accounts(&status), [("factory".to_owned(), false)], "another message takes its place");
}

#[test]
fn without_card_allow_a_foreign_card_is_left_alone_while_an_account_can_be_used() {
    let (slot, folder) = (Slot::new(By::Itself, &private(PIN_OF_THE_SIM)), Folder::default());
    slot.take_out();
    let slot = with_factory(slot);
    allowing("", &slot, &folder);
    let before = folder.files();
    slot.insert(&private(PIN_OF_THE_SIM));
    let (run, status) = allowing("", &slot, &folder);
    assert_eq!(attempt(&run, 0), (Method::Smartcard, Outcome::Skipped, Some(Reason::CardNotAllowed)));
    assert_eq!(run.result, RunResult::Unchanged);
    assert_eq!(accounts(&status), [("factory".to_owned(), false)]);
    assert!(!slot.verified());
    assert_eq!(folder.files(), before, "nothing is written");
    // Its owner says otherwise.
    let (_, status) = allowing("allow = \"any\"", &slot, &folder);
    assert_eq!(accounts(&status).len(), 2, "{:?}", accounts(&status));
}

#[test]
fn of_a_sim_that_waits_for_its_pin_an_open_message_is_read_and_a_private_one_costs_no_try() {
    let waits = [ModemQuirk::PinPending];
    let slot = with_factory(Slot::with_modem(&card(), &waits));
    let (_, status) = allowing("", &slot, &Folder::default());
    assert_eq!(accounts(&status), [("card".to_owned(), false)]);
    assert_eq!((status.sim.present, status.sim.ready), (true, false));
    assert_eq!(status.sim.reason, Some(Reason::SimNotReady));
    let slot = with_factory(Slot::with_modem(&private(PIN_OF_THE_SIM), &waits));
    let (run, status) = allowing("", &slot, &Folder::default());
    assert_eq!(attempt(&run, 0), (Method::Smartcard, Outcome::Failed, Some(Reason::PinNeeded)), "{run:?}");
    assert_eq!(accounts(&status), [("factory".to_owned(), false)]);
    assert_eq!(slot.tries_left(PIN_OF_THE_SIM), Some(3));
}

#[test]
fn a_server_is_asked_without_such_a_sim_only_where_none_is_required() {
    let bare = make(&CardPlan { content: Content::None, ..plan() }).unwrap();
    let asks = |sim: &str, quirks: &[ModemQuirk]| {
        let slot = Arc::new(Slot::with_modem(&bare, quirks));
        let (run, _) = start(LINK, sim, &slot, &Folder::default());
        assert_eq!(attempt(&run, 0), (Method::Smartcard, Outcome::None, Some(Reason::NoDmObject)), "{run:?}");
        (slot.asked(), run.attempts[2].reason, run.attempts[2].message.contains("without a SIM"), slot.passed())
    };
    let (asked, reason, told, passed) = asks("required = true", &[ModemQuirk::PinPending]);
    assert_eq!((asked, reason, told), (0, Some(Reason::SimNotReady), false));
    assert!((60..70).contains(&passed), "{passed} s");
    let (asked, _, told, passed) = asks("", &[ModemQuirk::PinPending]);
    assert_eq!((asked, told), (1, true));
    assert!((60..70).contains(&passed), "{passed} s");
    let (asked, _, told, passed) = asks("required = true", &[]);
    assert_eq!((asked, told), (1, false));
    assert!(passed < 5, "{passed} s");
}

#[test]
fn a_link_that_is_switched_off_suspends_what_came_from_the_card_until_it_is_on_again() {
    let (slot, folder) = (Arc::new(Slot::new(By::Itself, &card())), Folder::default());
    allowing("", &slot, &folder);
    let commands = slot.commands();
    let (run, status) = start("link = \"off\"", "wait = \"0s\"", &slot, &folder);
    assert_eq!(attempt(&run, 0), (Method::Smartcard, Outcome::Skipped, Some(Reason::NotConfigured)));
    assert_eq!((attempt(&run, 1).0, attempt(&run, 2).0), (Method::Factory, Method::BootstrapServer));
    assert_eq!((run.result, slot.asked(), slot.commands()), (RunResult::Nothing, 1, commands));
    assert_eq!(accounts(&status), [("card".to_owned(), true)]);
    let (run, status) = allowing("", &slot, &folder);
    assert_eq!(run.result, RunResult::Unchanged);
    assert_eq!(accounts(&status), [("card".to_owned(), false)]);
}
