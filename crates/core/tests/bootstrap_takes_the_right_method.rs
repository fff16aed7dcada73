//! Every combination of what a card, a factory file and a bootstrap server can be: the right method wins, every attempt
//! has its reason, and something is always tried next (spec 2.1, 2.2, 2.4).

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use omadm_core::account::{AccountBook, Judgement};
use omadm_core::backoff::Now;
use omadm_core::bootstrap::message::merge;
use omadm_core::bootstrap::sequence::{
    Admitted, CardAllow, CardReport, Event, Run, RunResult, Sequence, SequenceConfig, ServerAnswer, SimFacts,
    SimPolicy, Step,
};
use omadm_core::reason::{Method, Outcome, Reason};
use omadm_core::secret::Secret;
use omadm_core::time::Timestamp;
use omadm_core::web::media;

const NOW: Now = Now { time: Timestamp(1_800_000_000), random: u64::MAX / 2 };

fn message(srv_id: &str) -> Vec<u8> {
    format!(
        r#"[{{"ClientURI":"urn:oma:mo:oma-dm-dmacc:1.2/{srv_id}/","MOData":{{"DMAcc":{{"SrvID":"{srv_id}","SrvURI":"https://dm.example/dm","Name":"x","Perm":{{"1":{{"MOID":"urn:oma:mo:oma-dm-devinfo:1.2"}}}}}}}}}}]"#
    )
    .into_bytes()
}

fn damaged() -> Vec<u8> {
    let mut bytes = message("acme");
    bytes.truncate(100);
    bytes
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Card {
    Good,
    None,
    NoDmObject,
    Dm1x,
    Damaged,
    Unreadable,
    PinRefused,
}

impl Card {
    const ALL: [Self; 7] =
        [Self::Good, Self::None, Self::NoDmObject, Self::Dm1x, Self::Damaged, Self::Unreadable, Self::PinRefused];

    fn report(self) -> CardReport {
        let iccid = (self != Self::None).then(|| "8901012345678901234".parse().unwrap());
        let message = match (self, self.reason()) {
            (Self::Good, _) => Ok(message("from-card")),
            (Self::Damaged, _) => Ok(damaged()),
            (_, Some((_, reason))) => Err((reason, format!("the card said {reason}"))),
            (_, None) => unreachable!("only a good card has no reason"),
        };
        let absent = self == Self::None;
        CardReport { iccid, absent, behind_pin: true, message, passed_over: Vec::new(), partial: false }
    }

    fn reason(self) -> Option<(Outcome, Reason)> {
        match self {
            Self::Good => None,
            Self::None => Some((Outcome::None, Reason::NoCard)),
            Self::NoDmObject => Some((Outcome::None, Reason::NoDmObject)),
            Self::Dm1x => Some((Outcome::None, Reason::CardHoldsDm1x)),
            Self::Damaged => Some((Outcome::Failed, Reason::MalformedMessage)),
            Self::Unreadable => Some((Outcome::Failed, Reason::CardIo)),
            Self::PinRefused => Some((Outcome::Failed, Reason::PinRefused)),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Factory {
    Good,
    None,
    Damaged,
}

impl Factory {
    const ALL: [Self; 3] = [Self::Good, Self::None, Self::Damaged];

    fn read(self) -> Result<Option<Secret>, (Reason, String)> {
        match self {
            Self::Good => Ok(Some(Secret::new(message("from-factory")))),
            Self::None => Ok(None),
            Self::Damaged => Ok(Some(Secret::new(damaged()))),
        }
    }

    fn reason(self) -> Option<(Outcome, Reason)> {
        match self {
            Self::Good => None,
            Self::None => Some((Outcome::None, Reason::NoFactoryFile)),
            Self::Damaged => Some((Outcome::Failed, Reason::MalformedMessage)),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Server {
    Message,
    Status(u16),
    Busy,
    Closed,
    Silent,
    WrongCertificate,
    Damaged,
}

impl Server {
    const ALL: [Self; 12] = [
        Self::Message,
        Self::Status(204),
        Self::Status(401),
        Self::Status(403),
        Self::Status(404),
        Self::Status(429),
        Self::Busy,
        Self::Status(500),
        Self::Closed,
        Self::Silent,
        Self::WrongCertificate,
        Self::Damaged,
    ];

    fn answer(self) -> Result<ServerAnswer, (Reason, String)> {
        let with = |status, content_type: Option<&str>, retry_after: Option<&str>, body| {
            Ok(ServerAnswer {
                status,
                content_type: content_type.map(str::to_owned),
                retry_after: retry_after.map(str::to_owned),
                body,
            })
        };
        match self {
            Self::Message => with(200, Some(media::BOOTSTRAP), None, message("from-server")),
            Self::Damaged => with(200, Some(media::BOOTSTRAP), None, damaged()),
            Self::Status(status) => with(status, None, None, Vec::new()),
            Self::Busy => with(503, None, Some("7200"), Vec::new()),
            Self::Closed => Err((Reason::Connect, "refused".to_owned())),
            Self::Silent => Err((Reason::Timeout, "nothing came".to_owned())),
            Self::WrongCertificate => Err((Reason::Tls, "another name".to_owned())),
        }
    }

    fn reason(self) -> Option<(Outcome, Reason)> {
        match self {
            Self::Message => None,
            Self::Status(status @ (204 | 404)) => Some((Outcome::None, Reason::Http(status))),
            Self::Status(status) => Some((Outcome::Failed, Reason::Http(status))),
            Self::Busy => Some((Outcome::Failed, Reason::Http(503))),
            Self::Closed => Some((Outcome::Failed, Reason::Connect)),
            Self::Silent => Some((Outcome::Failed, Reason::Timeout)),
            Self::WrongCertificate => Some((Outcome::Failed, Reason::Tls)),
            Self::Damaged => Some((Outcome::Failed, Reason::MalformedMessage)),
        }
    }

    /// The seconds within which the device must ask again.
    fn wait(self) -> std::ops::RangeInclusive<u64> {
        match self {
            Self::Status(429 | 500) | Self::Closed | Self::Silent | Self::WrongCertificate => 1..=30,
            Self::Busy => 7200..=9000,
            Self::Message | Self::Status(_) | Self::Damaged => 3 * 3600..=9 * 3600,
        }
    }
}

fn config() -> SequenceConfig {
    SequenceConfig {
        dev_id: "IMEI:493005100592800".parse().unwrap(),
        card: true,
        card_allow: CardAllow::Unset,
        factory: Some("/factory.json".to_owned()),
        server: Some("https://bs.example/bootstrap".parse().unwrap()),
        sim: SimPolicy { required: false, wait_secs: 60, mcc: None, mnc: None },
        stale_after: 7 * 24 * 3600,
        failures: 0,
    }
}

/// Plays a world to the sequence until it is done; every step must be followed by its event.
fn play(config: SequenceConfig, book: AccountBook, card: CardReport, factory: Factory, server: Server) -> Run {
    let (mut sequence, mut step) = Sequence::start(config, book, NOW);
    for _ in 0..8 {
        let event = match step {
            Step::ReadCard { .. } => Event::Card(card.clone()),
            Step::ReadFactory => Event::Factory(factory.read()),
            Step::AwaitSim { limit_secs } => {
                assert_eq!(limit_secs, 60);
                Event::Sim(SimFacts { present: true, ready: true, mcc: "001".parse().ok(), mnc: "01".parse().ok() })
            }
            Step::Ask { url, .. } => {
                assert_eq!(url.path_and_query(), "/bootstrap?MNC=01&MCC=001&DevID=IMEI%3A493005100592800");
                Event::Answer(server.answer())
            }
            Step::Install { .. } => Event::Installed(Ok(())),
            Step::Done(run) => return *run,
        };
        step = sequence.handle(event, NOW);
    }
    panic!("the sequence does not end");
}

#[test]
fn over_every_combination() {
    let mut combinations = 0;
    for card in Card::ALL {
        for factory in Factory::ALL {
            for server in Server::ALL {
                check(card, factory, server);
                combinations += 1;
            }
        }
    }
    assert_eq!(combinations, 7 * 3 * 12);
}

fn check(card: Card, factory: Factory, server: Server) {
    let case = format!("{card:?} {factory:?} {server:?}");
    let run = play(config(), AccountBook::default(), card.report(), factory, server);
    let mut expected = Vec::new();
    let mut winner = None;
    for (method, reason) in [
        (Method::Smartcard, card.reason()),
        (Method::Factory, factory.reason()),
        (Method::BootstrapServer, server.reason()),
    ] {
        match reason {
            Some((outcome, reason)) => expected.push((method, outcome, Some(reason))),
            None => {
                expected.push((method, Outcome::Installed, None));
                winner = Some(method);
                break;
            }
        }
    }
    let got: Vec<_> = run.attempts.iter().map(|one| (one.method, one.outcome, one.reason)).collect();
    assert_eq!(got, expected, "{case}");
    assert!(run.attempts.iter().all(|one| !one.message.is_empty() && one.at == NOW.time), "{case}");
    match (winner, &run.result, &run.next) {
        (Some(method), RunResult::Bootstrapped { source, srv_ids }, None) => {
            assert_eq!(source.method, method, "{case}");
            assert!(run.book.account(&srv_ids[0]).is_some_and(|one| one.bootstrap_complete_due), "{case}");
        }
        (None, RunResult::Nothing, Some(next)) => {
            assert!(server.wait().contains(&next.at.since(NOW.time)), "{case}: {next:?}");
            assert!(!next.why.is_empty(), "{case}");
        }
        other => panic!("{case}: {other:?}"),
    }
}

#[test]
fn nothing_configured_is_still_tried_again() {
    let config = SequenceConfig { card: false, factory: None, server: None, ..config() };
    let run = play(config, AccountBook::default(), Card::None.report(), Factory::None, Server::Closed);
    assert!(
        run.attempts.iter().all(|one| (one.outcome, one.reason) == (Outcome::Skipped, Some(Reason::NotConfigured)))
    );
    assert_eq!(run.attempts.len(), 3);
    assert!(Server::Damaged.wait().contains(&run.next.unwrap().at.since(NOW.time)));
}

#[test]
fn a_restart_asks_nothing_again_and_records_nothing() {
    for (card, factory, server) in [
        (Card::Good, Factory::None, Server::Closed),
        (Card::Damaged, Factory::Good, Server::Closed),
        (Card::NoDmObject, Factory::None, Server::Message),
    ] {
        let first = play(config(), AccountBook::default(), card.report(), factory, server);
        let recorded = first.worth_recording(&[]);
        assert_eq!(recorded, first.attempts);
        let again = play(config(), first.book.clone(), card.report(), factory, server);
        assert_eq!(again.result, RunResult::Unchanged);
        assert_eq!(again.book, first.book);
        assert_eq!(again.worth_recording(&recorded), []);
        assert!(!again.attempts.iter().any(|one| one.method != Method::Smartcard && one.outcome != Outcome::Skipped));
    }
}

#[test]
fn another_card_takes_the_place_of_the_first() {
    let first = play(config(), AccountBook::default(), Card::Good.report(), Factory::None, Server::Closed);
    let other_card = CardReport {
        iccid: Some("8901019999999999999".parse().unwrap()),
        message: Ok(message("other")),
        ..Card::Good.report()
    };
    let second = play(config(), first.book.clone(), other_card, Factory::None, Server::Closed);
    assert!(matches!(second.result, RunResult::Bootstrapped { .. }));
    let names: Vec<_> = second.book.iter().map(|one| one.account.srv_id.as_str()).collect();
    assert_eq!(names, ["other"], "the first card's account was suspended, and went when another one was installed");
}

#[test]
fn a_card_that_comes_back_is_in_use_again() {
    let first = play(config(), AccountBook::default(), Card::Good.report(), Factory::None, Server::Closed);
    let absent = play(config(), first.book.clone(), Card::None.report(), Factory::None, Server::Closed);
    assert_eq!(absent.result, RunResult::Nothing);
    assert!(absent.book.iter().all(|one| one.suspended) && absent.next.is_some());
    let back = play(config(), absent.book, Card::Good.report(), Factory::None, Server::Closed);
    assert_eq!(back.result, RunResult::Unchanged);
    assert_eq!(back.book, first.book);
}

#[test]
fn a_link_that_is_switched_off_suspends_what_came_from_a_card() {
    let first = play(config(), AccountBook::default(), Card::Good.report(), Factory::None, Server::Closed);
    let off = SequenceConfig { card: false, ..config() };
    let run = play(off, first.book, Card::None.report(), Factory::Good, Server::Closed);
    assert!(matches!(run.result, RunResult::Bootstrapped { .. }), "the factory takes over");
}

#[test]
fn a_card_that_may_not_configure_the_device_counts_as_absent() {
    let first = play(config(), AccountBook::default(), Card::Good.report(), Factory::None, Server::Closed);
    for allow in [CardAllow::None, CardAllow::Prefixes(vec!["8999".to_owned()])] {
        let locked = SequenceConfig { card_allow: allow, ..config() };
        let run = play(locked, first.book.clone(), Card::Good.report(), Factory::Good, Server::Closed);
        assert_eq!(run.attempts[0].reason, Some(Reason::CardNotAllowed));
        let names: Vec<_> = run.book.iter().map(|one| one.account.srv_id.as_str()).collect();
        assert_eq!(names, ["from-factory"], "the factory takes over");
    }
}

#[test]
fn secrets_that_everybody_can_read_on_a_card_are_shown() {
    let told = |behind_pin, secret: &str| {
        let text = String::from_utf8(message("from-card")).unwrap();
        let auth = format!(r#""Name":"x","Auth":{{"Trsp":{{"Data":"{secret}","Secret":"eA=="}}}}"#);
        let message = Ok(text.replace(r#""Name":"x""#, &auth).into_bytes());
        let card = CardReport { behind_pin, message, ..Card::Good.report() };
        play(config(), AccountBook::default(), card, Factory::None, Server::Closed).attempts[0].message.clone()
    };
    assert!(told(false, "YmFzaWM6dQ==").contains("everybody who holds the card"));
    assert!(!told(true, "YmFzaWM6dQ==").contains("everybody"));
    assert!(!told(false, "YWthOnU=").contains("everybody"), "aka has no secret");
}

#[test]
fn what_a_peer_says_does_not_swell_the_record() {
    let name = "k".repeat(30_000);
    let swollen =
        CardReport { message: Ok(format!("{{\"{name}\":1,\"{name}\":2}}").into_bytes()), ..Card::Good.report() };
    let run = play(config(), AccountBook::default(), swollen, Factory::None, Server::Closed);
    assert!(run.attempts.iter().all(|attempt| attempt.message.len() < 600), "{:?}", run.attempts);
    assert_eq!(run.attempts[0].reason, Some(Reason::MalformedMessage));
}

#[test]
fn an_unreadable_card_changes_nothing() {
    let first = play(config(), AccountBook::default(), Card::Good.report(), Factory::None, Server::Closed);
    for card in [Card::Unreadable, Card::Damaged, Card::PinRefused] {
        let run = play(config(), first.book.clone(), card.report(), Factory::Good, Server::Message);
        assert_eq!((run.result, run.book), (RunResult::Unchanged, first.book.clone()), "{card:?}");
    }
}

#[test]
fn of_a_card_that_is_read_in_part_nothing_is_lost() {
    let both = String::from_utf8(message("from-card")).unwrap().replace(']', ",")
        + String::from_utf8(message("second")).unwrap().trim_start_matches('[');
    let both = CardReport { message: Ok(both.into_bytes()), ..Card::Good.report() };
    let first = play(config(), AccountBook::default(), both, Factory::None, Server::Closed);
    assert_eq!(first.book.iter().count(), 2);
    let sentence = "EF(DM_Bootstrap) 6435: the JSON text is cut off".to_owned();
    let part = CardReport { passed_over: vec![sentence.clone()], partial: true, ..Card::Good.report() };
    let run = play(config(), first.book.clone(), part.clone(), Factory::Good, Server::Message);
    assert_eq!((run.result, run.book), (RunResult::Unchanged, first.book.clone()));
    assert!(run.attempts[0].message.ends_with(&format!("; passed over: {sentence}")), "{:?}", run.attempts);
    let changed = CardReport { message: Ok(message("third")), ..part };
    let run = play(config(), first.book.clone(), changed, Factory::Good, Server::Message);
    let mut names: Vec<_> = run.book.iter().map(|one| one.account.srv_id.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["from-card", "second", "third"]);
    let whole = play(config(), first.book, Card::Good.report(), Factory::Good, Server::Message);
    assert_eq!(whole.book.iter().count(), 1, "what is gone from the card goes");
}

#[test]
fn of_a_card_whose_first_object_fails_no_account_is_replaced_by_one_that_stands_behind_it() {
    let card = |messages: &[Vec<u8>], partial| {
        let message = Ok(merge(messages).message.unwrap());
        CardReport { message, partial, ..Card::Good.report() }
    };
    let named = |name: &str| {
        let text = String::from_utf8(message("acme")).unwrap();
        text.replace(r#""Name":"x""#, &format!(r#""Name":"{name}""#)).into_bytes()
    };
    let objects = [named("first"), named("behind it"), message("other")];
    let whole = play(config(), AccountBook::default(), card(&objects, false), Factory::None, Server::Closed);
    let in_part = card(&objects[1..], true);
    let run = play(config(), whole.book.clone(), in_part.clone(), Factory::Good, Server::Message);
    assert_eq!((run.result, &run.book), (RunResult::Unchanged, &whole.book));

    let more = [&objects[1..], &[message("new")]].concat();
    let run = play(config(), whole.book.clone(), card(&more, true), Factory::Good, Server::Message);
    let srv_id = "acme".parse().unwrap();
    assert_eq!(run.book.account(&srv_id).unwrap().account.name, "first");
    assert_eq!(run.book.iter().count(), 3, "what is new is added");

    let mut refused = whole.book;
    for hours in [0, 12, 24] {
        let by = Judgement { now: NOW.time.plus(hours * 3600), stale_after: config().stale_after };
        refused.note_session(&srv_id, false, true, by);
    }
    let run = play(config(), refused, in_part, Factory::Good, Server::Message);
    assert_eq!(run.book.account(&srv_id).unwrap().account.name, "behind it", "the first one is refused for good");
}

#[test]
fn another_sources_srv_id_is_taken() {
    let first = play(config(), AccountBook::default(), Card::None.report(), Factory::Good, Server::Closed);
    let card = CardReport { message: Ok(message("from-factory")), ..Card::Good.report() };
    let allowed = SequenceConfig { card_allow: CardAllow::Any, ..config() };
    let run = play(allowed, first.book.clone(), card.clone(), Factory::Good, Server::Closed);
    assert_eq!(run.attempts[0].reason, Some(Reason::SrvIdTaken));
    assert_eq!(run.book, first.book);
    let run = play(config(), first.book.clone(), card, Factory::Good, Server::Closed);
    assert_eq!(run.attempts[0].reason, Some(Reason::CardNotAllowed), "a foreign card, while an account is usable");
}

#[test]
fn a_full_disk_is_an_attempt_that_failed() {
    let (mut sequence, step) = Sequence::start(config(), AccountBook::default(), NOW);
    assert_eq!(step, Step::ReadCard { admitted: Admitted::Any });
    let step = sequence.handle(Event::Card(Card::Good.report()), NOW);
    assert!(matches!(step, Step::Install { .. }));
    let step = sequence.handle(Event::Installed(Err("no space left".to_owned())), NOW);
    assert_eq!(step, Step::ReadFactory, "the next method may need less room");
    assert_eq!(sequence.record()[0].reason, Some(Reason::Storage));
}

#[test]
fn a_sim_that_is_required_is_waited_for() {
    let mut strict = config();
    strict.sim.required = true;
    let (mut sequence, _) = Sequence::start(strict, AccountBook::default(), NOW);
    sequence.handle(Event::Card(Card::None.report()), NOW);
    let step = sequence.handle(Event::Factory(Ok(None)), NOW);
    assert_eq!(step, Step::AwaitSim { limit_secs: 60 });
    let Step::Done(run) = sequence.handle(Event::Sim(SimFacts::default()), NOW) else { panic!("asked without a SIM") };
    assert_eq!(run.attempts[2].reason, Some(Reason::SimNotReady));
    assert!(run.next.unwrap().at.since(NOW.time) <= 30);
}

#[test]
fn a_request_without_a_ready_sim_says_so() {
    let told = |card, ready| {
        let config = SequenceConfig { card, factory: None, ..config() };
        let (mut sequence, step) = Sequence::start(config, AccountBook::default(), NOW);
        if card {
            assert_eq!(step, Step::ReadCard { admitted: Admitted::Any });
            sequence.handle(Event::Card(Card::None.report()), NOW);
            sequence.handle(Event::Sim(SimFacts { ready, ..SimFacts::default() }), NOW);
        }
        let Step::Done(run) = sequence.handle(Event::Answer(Server::Status(404).answer()), NOW) else { panic!() };
        run.attempts[2].message.contains("without a SIM")
    };
    assert!(told(true, false));
    assert!(!told(true, true));
    assert!(!told(false, false), "no SIM is expected where there is no link to a card");
}

#[test]
fn the_backoff_grows_with_each_failure() {
    let at = |failures| {
        let config = SequenceConfig { failures, ..config() };
        let run = play(config, AccountBook::default(), Card::None.report(), Factory::None, Server::Closed);
        (run.failures, run.next.unwrap().at.since(NOW.time))
    };
    let waits: Vec<_> = [0, 1, 2, 20].map(at).to_vec();
    assert_eq!(waits.iter().map(|one| one.0).collect::<Vec<_>>(), [1, 2, 3, 21]);
    assert!(waits.windows(2).all(|pair| pair[0].1 < pair[1].1), "{waits:?}");
}
