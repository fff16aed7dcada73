//! What a person decides about accounts holds as long as it strands no device: one that was removed does not come back by
//! itself while another can be relied on, one that another source may take over is taken over once (spec 2.2,
//! Profile P-3). And accounts that this client cannot use keep no method from its turn.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use omadm_core::account::{AccountBook, Change, Judgement, NothingToAllow, Source};
use omadm_core::backoff::Now;
use omadm_core::bootstrap::message::{BootstrapMessage, Limit};
use omadm_core::bootstrap::sequence::{
    CardAllow, CardReport, Event, Run, RunResult, Sequence, SequenceConfig, ServerAnswer, SimFacts, SimPolicy, Step,
};
use omadm_core::ids::SrvId;
use omadm_core::reason::{Method, Outcome, Reason};
use omadm_core::secret::Secret;
use omadm_core::time::Timestamp;
use omadm_core::web::media;

const WEEK: u64 = 7 * 24 * 3600;
const NOW: Now = Now { time: Timestamp(1_800_000_000), random: u64::MAX / 2 };
const CARD: &str = "8901012345678901234";

/// `basic:x`, and `digest:x`, which no client of this release can use.
const BASIC: &str = "YmFzaWM6eA==";
const DIGEST: &str = "ZGlnZXN0Ong=";

fn item(srv_id: &str, name: &str, trsp: &str) -> String {
    format!(
        r#"{{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/{srv_id}/","MOData":{{"DMAcc":{{"SrvID":"{srv_id}",
        "SrvURI":"https://dm.example/dm","Name":"{name}","Perm":{{"1":{{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2"}}}},
        "Auth":{{"Trsp":{{"Data":"{trsp}","Secret":"c2VjcmV0"}}}}}}}}}}"#
    )
}

fn message(srv_id: &str) -> Vec<u8> {
    format!("[{}]", item(srv_id, "a name", BASIC)).into_bytes()
}

fn source(method: Method) -> Source {
    let origin = match method {
        Method::Smartcard => CARD,
        Method::Factory => "/factory.json",
        Method::BootstrapServer => "https://bs.example/bootstrap",
    };
    Source { method, origin: origin.to_owned() }
}

fn at(later: u64) -> Now {
    Now { time: NOW.time.plus(later), ..NOW }
}

/// What the methods give: nothing where it is `None`.
#[derive(Default)]
struct Offers {
    card: Option<Vec<u8>>,
    factory: Option<Vec<u8>>,
    server: Option<Vec<u8>>,
}

fn run(book: &AccountBook, offers: &Offers, later: u64) -> Run {
    let config = SequenceConfig {
        dev_id: "IMEI:493005100592800".parse().unwrap(),
        card: true,
        card_allow: CardAllow::Any,
        factory: Some("/factory.json".to_owned()),
        server: Some("https://bs.example/bootstrap".parse().unwrap()),
        sim: SimPolicy { required: false, wait_secs: 60, mcc: None, mnc: None },
        stale_after: WEEK,
        failures: 0,
    };
    let (mut sequence, mut step) = Sequence::start(config, book.clone(), at(later));
    loop {
        let event = match step {
            Step::ReadCard { .. } => Event::Card(CardReport {
                iccid: Some(CARD.parse().unwrap()),
                absent: false,
                behind_pin: true,
                message: offers.card.clone().ok_or((Reason::CardIo, "the card cannot be read".to_owned())),
                passed_over: Vec::new(),
                partial: false,
            }),
            Step::ReadFactory => Event::Factory(Ok(offers.factory.clone().map(Secret::new))),
            Step::AwaitSim { .. } => Event::Sim(SimFacts::default()),
            Step::Ask { .. } => Event::Answer(Ok(ServerAnswer {
                status: if offers.server.is_some() { 200 } else { 404 },
                content_type: Some(media::BOOTSTRAP.to_owned()),
                retry_after: None,
                body: offers.server.clone().unwrap_or_default(),
            })),
            Step::Install { .. } => Event::Installed(Ok(())),
            Step::Done(run) => return *run,
        };
        step = sequence.handle(event, at(later));
    }
}

/// A book with one account of each of these from its method.
fn book(accounts: &[(Method, &str)]) -> AccountBook {
    let by = Judgement { now: NOW.time, stale_after: WEEK };
    accounts.iter().fold(AccountBook::default(), |book, (method, srv_id)| {
        let message = BootstrapMessage::parse(&message(srv_id), Limit::Card).unwrap();
        match book.install(message.accounts(), &source(*method), by) {
            Ok(Change::Installed(book)) => book,
            other => panic!("{other:?}"),
        }
    })
}

fn names(book: &AccountBook) -> Vec<String> {
    book.iter().map(|one| one.account.srv_id.to_string()).collect()
}

fn srv_id(text: &str) -> SrvId {
    text.parse().unwrap()
}

fn outcomes(run: &Run) -> Vec<Outcome> {
    run.attempts.iter().map(|attempt| attempt.outcome).collect()
}

#[test]
fn a_card_does_not_bring_back_what_a_person_removed() {
    let offers = Offers { card: Some(message("acme")), ..Offers::default() };
    let mut book = book(&[(Method::Smartcard, "acme"), (Method::Factory, "other")]);
    assert!(book.remove(&srv_id("acme")) && !book.remove(&srv_id("acme")));
    let first = run(&book, &offers, 1);
    assert_eq!((names(&first.book), &first.result), (vec!["other".to_owned()], &RunResult::Unchanged));
    assert_eq!(outcomes(&first), [Outcome::Unchanged, Outcome::Skipped, Outcome::Skipped]);
    assert!(first.attempts[0].message.contains("was removed by a person"), "{:?}", first.attempts);
    assert_eq!(first.book, book, "and nothing is to be written");

    let changed = format!("[{}]", item("acme", "another name", BASIC)).into_bytes();
    let second = run(&book, &Offers { card: Some(changed), ..Offers::default() }, 2);
    assert_eq!(names(&second.book), ["other", "acme"], "other content is another matter");
    let third = run(&second.book, &offers, 3);
    assert_eq!(names(&third.book), ["other", "acme"], "and settles it");
    assert_eq!(third.book.account(&srv_id("acme")).unwrap().account.name, "a name");
}

#[test]
fn of_a_message_with_several_accounts_the_others_stay() {
    let both = format!("[{},{}]", item("acme", "a", BASIC), item("other", "b", BASIC)).into_bytes();
    let offers = Offers { card: Some(both), ..Offers::default() };
    let mut book = run(&AccountBook::default(), &offers, 0).book;
    assert_eq!(names(&book), ["acme", "other"]);
    book.remove(&srv_id("acme"));
    let again = run(&book, &offers, 1);
    assert_eq!((names(&again.book), &again.result), (vec!["other".to_owned()], &RunResult::Unchanged));
    let changed = format!("[{},{}]", item("acme", "a", BASIC), item("other", "c", BASIC)).into_bytes();
    let changed = run(&book, &Offers { card: Some(changed), ..Offers::default() }, 2);
    assert_eq!(names(&changed.book), ["other"]);
    let RunResult::Bootstrapped { srv_ids, .. } = &changed.result else { panic!("{:?}", changed.result) };
    assert_eq!(*srv_ids, [srv_id("other")], "what was left out owes no session");
    let alone = Offers { card: Some(format!("[{}]", item("acme", "a", BASIC)).into_bytes()), ..Offers::default() };
    assert_eq!(names(&run(&changed.book, &alone, 3).book), ["acme"], "a card that says nothing else is heard");
}

#[test]
fn no_device_is_stranded_by_a_removal() {
    let offers = Offers { card: Some(message("acme")), factory: Some(message("other")), ..Offers::default() };
    let mut alone = book(&[(Method::Smartcard, "acme")]);
    alone.remove(&srv_id("acme"));
    let anew = run(&alone, &offers, 1);
    assert_eq!(names(&anew.book), ["acme"], "the sequence starts anew with the card");
    assert_eq!(anew.book.iter().next().unwrap().miid.as_str(), "1", "its MIID stays used");

    let mut two = book(&[(Method::Smartcard, "acme"), (Method::Factory, "other")]);
    two.remove(&srv_id("acme"));
    assert_eq!(names(&run(&two, &offers, WEEK - 1).book), ["other"]);
    assert_eq!(names(&run(&two, &offers, WEEK).book), ["other", "acme"], "the other is stale");

    let mut none = book(&[(Method::Factory, "acme")]);
    none.remove(&srv_id("acme"));
    assert!(none.is_empty());
    let factory = Offers { factory: Some(message("acme")), ..Offers::default() };
    assert_eq!(names(&run(&none, &factory, 1).book), ["acme"], "the factory is included");
}

#[test]
fn a_removal_takes_what_waits_beside_the_account_and_is_taken_back_by_a_permission() {
    let stale = book(&[(Method::Factory, "other"), (Method::Factory, "acme")]);
    assert_eq!(names(&stale), ["acme"], "a source brings what it names");
    let offers = Offers { card: Some(message("acme")), ..Offers::default() };
    let mut both = run(&stale, &offers, WEEK).book;
    both.note_session(&srv_id("acme"), false, false, Judgement { now: at(WEEK).time, stale_after: WEEK });
    assert_eq!(both.iter().next().unwrap().source.method, Method::Factory, "they take turns");
    assert!(both.remove(&srv_id("acme")) && both.is_empty() && both.cards().next().is_none());
    assert_eq!(both.allow(&srv_id("nobody")), Err(NothingToAllow(srv_id("nobody"))));

    let mut kept = book(&[(Method::Smartcard, "acme"), (Method::Factory, "other")]);
    kept.remove(&srv_id("acme"));
    assert_eq!(kept.allow(&srv_id("acme")), Ok(()));
    assert_eq!(names(&run(&kept, &offers, 1).book), ["other", "acme"]);
}

#[test]
fn a_taken_srv_id_is_replaced_once_if_a_person_allows_it() {
    let offers = Offers { card: Some(message("acme")), ..Offers::default() };
    let mut book = book(&[(Method::Factory, "acme")]);
    let refused = run(&book, &offers, 1);
    assert_eq!(refused.attempts[0].reason, Some(Reason::SrvIdTaken));
    assert_eq!(book.allow(&srv_id("acme")), Ok(()));
    assert!(book.account(&srv_id("acme")).unwrap().may_be_replaced);
    let replaced = run(&book, &offers, 2);
    let origin = |book: &AccountBook| book.account(&srv_id("acme")).unwrap().source.method;
    assert_eq!(origin(&replaced.book), Method::Smartcard);
    assert!(!replaced.book.awaits_another_source(), "once");

    let by = Judgement { now: at(3).time, stale_after: WEEK };
    let mut failed = replaced.book.clone();
    failed.note_session(&srv_id("acme"), false, false, by);
    assert_eq!(origin(&failed), Method::Factory, "the old one waits beside the new one");
    let mut works = replaced.book;
    works.note_session(&srv_id("acme"), true, false, by);
    works.note_session(&srv_id("acme"), false, false, by);
    assert_eq!(origin(&works), Method::Smartcard, "until that had its first session");
}

#[test]
fn while_a_permission_stands_all_methods_are_asked_and_the_account_stays_in_use() {
    let mut book = book(&[(Method::Factory, "acme")]);
    let offers = Offers { factory: Some(message("acme")), server: Some(message("acme")), ..Offers::default() };
    let without = run(&book, &offers, 1);
    assert_eq!(outcomes(&without), [Outcome::Failed, Outcome::Skipped, Outcome::Skipped]);
    book.allow(&srv_id("acme")).unwrap();
    let silent = run(&book, &Offers { factory: Some(message("acme")), ..Offers::default() }, 1);
    assert_eq!(outcomes(&silent), [Outcome::Failed, Outcome::Skipped, Outcome::None], "only others are asked");
    assert_eq!((&silent.result, &silent.next, &silent.book), (&RunResult::Unchanged, &None, &book));
    let replaced = run(&book, &offers, 1);
    assert_eq!(replaced.book.account(&srv_id("acme")).unwrap().source.method, Method::BootstrapServer);
}

#[test]
fn the_own_source_of_an_account_is_not_asked_for_another_to_replace_it() {
    let mut book = book(&[(Method::BootstrapServer, "acme")]);
    book.note_session(&srv_id("acme"), true, false, Judgement { now: at(1).time, stale_after: WEEK });
    book.allow(&srv_id("acme")).unwrap();
    let fresh = format!("[{}]", item("acme", "with fresh credentials", BASIC)).into_bytes();
    let offers = Offers { server: Some(fresh), factory: Some(message("other")), ..Offers::default() };
    for later in [2, 3] {
        let run = run(&book, &offers, later);
        assert_eq!(outcomes(&run), [Outcome::Failed, Outcome::Unchanged, Outcome::Skipped], "{:?}", run.attempts);
        assert_eq!((&run.result, &run.book), (&RunResult::Unchanged, &book), "the proven account stays");
    }
}

#[test]
fn a_permission_brings_nothing_but_what_it_is_for() {
    let both = || Some(format!("[{},{}]", item("acme", "a", BASIC), item("other", "b", BASIC)).into_bytes());
    let mut book = run(&AccountBook::default(), &Offers { factory: both(), ..Offers::default() }, 0).book;
    let third = BootstrapMessage::parse(&message("third"), Limit::Elsewhere).unwrap();
    let by = Judgement { now: NOW.time, stale_after: WEEK };
    match book.install(third.accounts(), &source(Method::BootstrapServer), by) {
        Ok(Change::Installed(three)) => book = three,
        other => panic!("{other:?}"),
    }
    assert_eq!(names(&book), ["acme", "other", "third"]);
    assert!(book.remove(&srv_id("acme")) && book.remove(&srv_id("other")));
    book.allow(&srv_id("third")).unwrap();
    let offers = Offers { factory: both(), ..Offers::default() };
    let unchanged = run(&book, &offers, 1);
    assert_eq!((names(&unchanged.book), outcomes(&unchanged)[1]), (vec!["third".to_owned()], Outcome::Unchanged));
    let three = [item("acme", "a", BASIC), item("third", "c", BASIC), item("other", "b", BASIC)].join(",");
    let run = run(&book, &Offers { factory: Some(format!("[{three}]").into_bytes()), ..Offers::default() }, 1);
    assert_eq!(names(&run.book), ["third"], "what was removed does not come along");
    assert_eq!(run.book.account(&srv_id("third")).unwrap().source.method, Method::Factory);
    let RunResult::Bootstrapped { srv_ids, .. } = &run.result else { panic!("{:?}", run.result) };
    assert_eq!(*srv_ids, [srv_id("third")]);
}

#[test]
fn what_else_a_source_gave_stays_when_it_takes_one_over_and_a_taken_name_refuses_all() {
    let of_factory = Offers { factory: Some(message("mine")), ..Offers::default() };
    let mut book = run(&AccountBook::default(), &of_factory, 0).book;
    let by = Judgement { now: at(1).time, stale_after: WEEK };
    let message_of = |items: &[String]| format!("[{}]", items.join(",")).into_bytes();
    let others = message_of(&[item("acme", "x", BASIC), item("taken", "x", BASIC)]);
    let others = BootstrapMessage::parse(&others, Limit::Elsewhere).unwrap();
    match book.install(others.accounts(), &source(Method::BootstrapServer), by) {
        Ok(Change::Installed(more)) => book = more,
        other => panic!("{other:?}"),
    }
    book.allow(&srv_id("acme")).unwrap();
    let factory = |items: &[String]| Offers { factory: Some(message_of(items)), ..Offers::default() };
    let renewed = [item("mine", "another name", BASIC), item("acme", "y", BASIC)];
    let taken = run(&book, &factory(&[&renewed[..], &[item("taken", "y", BASIC)]].concat()), 2);
    assert_eq!((taken.attempts[1].reason, &taken.book), (Some(Reason::SrvIdTaken), &book));
    let run = run(&book, &factory(&renewed), 2);
    let account = |name: &str| run.book.account(&srv_id(name)).unwrap();
    assert_eq!(account("acme").source.method, Method::Factory);
    assert_eq!(account("mine").account.name, "a name", "it was not asked for");
    assert_eq!(account("taken").source.method, Method::BootstrapServer);
}

#[test]
fn a_card_that_holds_only_what_was_removed_takes_back_what_else_it_gave_and_brings_nothing() {
    let of = |names: &[&str]| {
        let items: Vec<_> = names.iter().map(|name| item(name, "x", BASIC)).collect();
        Offers { card: Some(format!("[{}]", items.join(",")).into_bytes()), ..Offers::default() }
    };
    let mut book = run(&book(&[(Method::Factory, "c")]), &of(&["a", "b"]), 1).book;
    assert_eq!(names(&book), ["c", "a", "b"]);
    book.remove(&srv_id("a"));
    let taken_back = run(&book, &of(&["a"]), 2);
    assert_eq!((names(&taken_back.book), &taken_back.result), (vec!["c".to_owned()], &RunResult::Unchanged));
    assert!(taken_back.attempts[0].message.contains("stays so"), "{:?}", taken_back.attempts);
    assert_eq!(run(&taken_back.book, &of(&["a"]), 3).book, taken_back.book, "once");
    assert_eq!(names(&run(&taken_back.book, &of(&["a", "b"]), 3).book), ["c", "b"]);
}

#[test]
fn removals_are_bounded() {
    let items: Vec<_> = (0..18).map(|number| item(&format!("s{number}"), "x", BASIC)).collect();
    let offers = Offers { card: Some(format!("[{}]", items.join(",")).into_bytes()), ..Offers::default() };
    let mut book = run(&AccountBook::default(), &offers, 0).book;
    for number in 0..17 {
        assert!(book.remove(&srv_id(&format!("s{number}"))));
    }
    let mut left = names(&run(&book, &offers, 1).book);
    left.sort();
    assert_eq!(left, ["s0", "s17"], "the oldest of 17 is forgotten");
}

#[test]
fn a_permission_outlives_turns_and_what_the_own_source_brings() {
    let offers = Offers { card: Some(message("acme")), ..Offers::default() };
    let mut both = run(&book(&[(Method::Factory, "acme")]), &offers, WEEK).book;
    both.allow(&srv_id("acme")).unwrap();
    both.note_session(&srv_id("acme"), false, false, Judgement { now: at(WEEK).time, stale_after: WEEK });
    let account = both.account(&srv_id("acme")).unwrap();
    assert_eq!((account.source.method, account.may_be_replaced), (Method::Factory, true), "whoever's turn it is");

    let mut own = book(&[(Method::Smartcard, "acme")]);
    own.allow(&srv_id("acme")).unwrap();
    let changed = format!("[{}]", item("acme", "another name", BASIC)).into_bytes();
    let renewed = run(&own, &Offers { card: Some(changed), ..Offers::default() }, 1).book;
    let account = renewed.account(&srv_id("acme")).unwrap();
    assert_eq!((account.account.name.as_str(), account.may_be_replaced), ("another name", true));
}

#[test]
fn credentials_that_this_client_cannot_use_keep_no_method_from_its_turn() {
    let unusable = || Some(format!("[{}]", item("acme", "x", DIGEST)).into_bytes());
    let offers = Offers { card: unusable(), factory: Some(message("other")), ..Offers::default() };
    let first = run(&AccountBook::default(), &offers, 0);
    assert_eq!(outcomes(&first)[..2], [Outcome::Installed, Outcome::Installed], "{:?}", first.attempts);
    let RunResult::Bootstrapped { srv_ids, source } = &first.result else { panic!("{:?}", first.result) };
    assert_eq!((srv_ids.clone(), source.method), (vec![srv_id("acme"), srv_id("other")], Method::Factory));
    assert_eq!(first.next, None, "one of them can be relied on");

    let by = |later: u64| Judgement { now: at(later).time, stale_after: WEEK };
    let mut book = first.book;
    book.note_session(&srv_id("other"), true, false, by(1));
    assert_eq!(names(&book), ["acme", "other"], "it is kept");
    let again = run(&book, &offers, 2);
    assert_eq!((&again.result, &again.book), (&RunResult::Unchanged, &book), "a restart writes nothing");

    let alone = run(&AccountBook::default(), &Offers { card: unusable(), ..Offers::default() }, 0);
    assert!(!alone.book.has_usable(by(0)) && alone.next.is_some(), "the others are asked again");
    assert_eq!(outcomes(&alone), [Outcome::Installed, Outcome::None, Outcome::None]);
    let same = Offers { card: unusable(), factory: Some(message("acme")), ..Offers::default() };
    let mut turned = run(&alone.book, &same, 1).book;
    assert_eq!(turned.account(&srv_id("acme")).unwrap().source.method, Method::Factory);
    turned.note_session(&srv_id("acme"), false, false, by(2));
    let source = turned.account(&srv_id("acme")).unwrap().source.method;
    assert_eq!(source, Method::Factory, "what cannot be used is not tried in its place");
}

#[test]
fn what_a_person_decided_survives_the_state_file_without_secrets() {
    let mut book = book(&[(Method::Smartcard, "acme"), (Method::Factory, "other")]);
    book.remove(&srv_id("acme"));
    book.allow(&srv_id("other")).unwrap();
    let stored = serde_json::to_string(&book).unwrap();
    assert_eq!(serde_json::from_str::<AccountBook>(&stored).unwrap(), book);
    assert_eq!(stored.matches("c2VjcmV0").count(), 1, "only that of the account that is there");
}
