//! What every store has to do, whatever it is made of. [`contract!`] makes a test of each for one implementation.

use omadm_core::ids::DevId;
use omadm_core::reason::Method;
use omadm_core::time::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;

use super::*;

/// Makes a test of every function of the contract, each with a fresh store from `$make`.
macro_rules! contract {
    ($make:path: $($name:ident),+ $(,)?) => {
        $(#[tokio::test]
        async fn $name() {
            let (store, _folder) = $make().await;
            $crate::store::contract::$name(&store).await;
        })+
    };
}
pub(crate) use contract;

const NOW: Timestamp = Timestamp(1_800_000_000);
/// The bounds that the stores under test have.
pub(crate) const BOUNDS: crate::config::Retention =
    crate::config::Retention { per_device: 5, days: 30, total: 12, strangers: 8 };

fn dev_id(number: u32) -> DevId {
    format!("IMEI:{number:03}").parse().unwrap()
}

fn new_device(number: u32) -> NewDevice {
    NewDevice {
        dev_id: dev_id(number),
        user: format!("user{number}"),
        enrolment: Some(vec![1, 2, 3]),
        psk: None,
        key_digest: None,
        at: NOW,
    }
}

fn new_credential(user: &str, device: Option<i64>, source: Method) -> NewCredential {
    NewCredential {
        scheme: CredentialScheme::Basic,
        user: user.into(),
        secret: vec![9],
        device,
        source,
        label: "label".into(),
        profile: "profile".into(),
        srv_id: "acme".into(),
        at: NOW,
    }
}

fn preparation(device: i64, at: Timestamp) -> Preparation {
    Preparation { device, account: "acme".into(), due: None, limit: 16, at }
}

fn new_session(device: i64, cookie: u8, sent: Vec<i64>) -> NewSession {
    NewSession {
        device,
        credential: None,
        user: "u".into(),
        account: "acme".into(),
        cookie: [cookie; 32],
        state: "{}".into(),
        alerts: vec!["a".into()],
        sent,
        items: Vec::new(),
        ended: false,
        at: NOW,
    }
}

fn step(row: &SessionRow, end: Option<End>) -> Step {
    Step {
        session: row.id,
        version: row.version,
        state: "{}".into(),
        alerts: vec!["b".into()],
        commands: vec![("GET".into(), 200)],
        sent: Vec::new(),
        items: Vec::new(),
        done: Vec::new(),
        devinfo: None,
        agreed: false,
        end,
        cookie: None,
        at: NOW.plus(1),
    }
}

fn new_job(device: i64, kind: JobKind) -> NewJob {
    NewJob { device, kind, commands: json!([["GET", "urn:x:1//"]]), data: BTreeMap::new(), at: NOW }
}

fn record(device: Option<i64>, number: u32, at: Timestamp) -> Record {
    Record {
        at,
        endpoint: Endpoint::Bootstrap,
        device,
        dev_id: Some(dev_id(number).to_string()),
        remote: "192.0.2.1".into(),
        status: Some(200),
        code: format!("code{number}"),
        detail: "a sentence".into(),
    }
}

async fn keep(store: &dyn Store, records: Vec<Record>) {
    let entries = records.into_iter().map(Entry::from).collect();
    assert!(store.keep(entries).await.unwrap().iter().all(Result::is_ok));
}

fn item(device: i64, job: i64, token: &str, upload: bool) -> Item {
    Item {
        token: token.into(),
        device,
        job,
        name: "name".into(),
        upload,
        content: (!upload).then(|| b"[]".to_vec()),
        made_at: NOW,
        used_at: None,
    }
}

pub(crate) async fn values_of_the_server_are_kept(store: &dyn Store) {
    assert_eq!(store.meta("a").await.unwrap(), None);
    store.set_meta("a", vec![1]).await.unwrap();
    store.set_meta("a", vec![2]).await.unwrap();
    assert_eq!(store.meta("a").await.unwrap(), Some(vec![2]));
}

pub(crate) async fn every_change_of_a_profile_shows_in_the_version(store: &dyn Store) {
    let row = |content: &str| ProfileRow { name: "p".into(), content: content.into(), changed_at: NOW };
    let mut versions = vec![store.profiles_version().await.unwrap()];
    store.put_profile(row("1")).await.unwrap();
    versions.push(store.profiles_version().await.unwrap());
    store.put_profile(row("2")).await.unwrap();
    versions.push(store.profiles_version().await.unwrap());
    assert_eq!(store.profiles().await.unwrap(), [row("2")]);
    assert!(store.remove_profile("p").await.unwrap());
    versions.push(store.profiles_version().await.unwrap());
    assert!(!store.remove_profile("p").await.unwrap());
    versions.dedup();
    assert_eq!(versions.len(), 4);
    assert!(store.profiles().await.unwrap().is_empty());
}

pub(crate) async fn devices_are_found_by_dev_id_and_user(store: &dyn Store) {
    let device = store.add_device(new_device(1)).await.unwrap();
    assert_eq!((device.state, device.source), (DeviceState::Known, None));
    assert_eq!(store.device(&dev_id(1)).await.unwrap(), Some(device.clone()));
    assert_eq!(store.enrolled("user1").await.unwrap(), Some((device.clone(), vec![1, 2, 3])));
    assert_eq!(store.enrolled("USER1").await.unwrap(), None);
    assert_eq!(store.device(&dev_id(2)).await.unwrap(), None);
    // The same DevID again changes user and secret, and nothing else.
    let again = NewDevice { user: "new".into(), enrolment: Some(vec![4]), ..new_device(1) };
    let changed = store.add_device(again).await.unwrap();
    assert_eq!((changed.id, &*changed.user), (device.id, "new"));
    assert_eq!(store.enrolled("user1").await.unwrap(), None);
    let taken = NewDevice { user: "new".into(), ..new_device(2) };
    assert!(matches!(store.add_device(taken).await, Err(StoreError::Conflict(_))));
    assert_eq!(store.device(&dev_id(2)).await.unwrap(), None);
}

pub(crate) async fn devices_are_found_by_what_tls_proves(store: &dyn Store) {
    let psk = |identity: &str| Some((identity.to_owned(), vec![7, 8]));
    let both = NewDevice { enrolment: None, psk: psk("one"), key_digest: Some([1; 32]), ..new_device(1) };
    let device = store.add_device(both.clone()).await.unwrap();
    let (found, sealed) = store.enrolled_by_psk("one").await.unwrap().unwrap();
    assert_eq!((found.id, sealed), (device.id, vec![7, 8]));
    assert_eq!(store.enrolled_by_key([1; 32]).await.unwrap().unwrap().id, device.id);
    assert!(store.enrolled_by_psk("user1").await.unwrap().is_none());
    assert!(store.enrolled_by_key([2; 32]).await.unwrap().is_none());
    assert!(store.enrolled("user1").await.unwrap().is_none(), "it has no secret");

    // Each belongs to one device, and adding a device anew leaves it no other way in.
    for taken in
        [NewDevice { psk: psk("one"), ..new_device(2) }, NewDevice { key_digest: Some([1; 32]), ..new_device(2) }]
    {
        assert!(matches!(store.add_device(taken).await, Err(StoreError::Conflict(_))));
    }
    store.add_device(new_device(1)).await.unwrap();
    assert!(store.enrolled_by_psk("one").await.unwrap().is_none());
    assert!(store.enrolled_by_key([1; 32]).await.unwrap().is_none());
    store.add_device(NewDevice { dev_id: dev_id(3), user: "user3".into(), ..both }).await.unwrap();

    // What is given out comes back with its scheme.
    for (user, scheme) in [("a", CredentialScheme::Psk), ("b", CredentialScheme::X509)] {
        let new = NewCredential { scheme, ..new_credential(user, Some(device.id), Method::BootstrapServer) };
        store.give_out(new).await.unwrap();
        assert_eq!(store.credential(user).await.unwrap().unwrap().scheme, scheme);
    }
}

pub(crate) async fn a_removed_device_leaves_nothing_but_the_record_of_it(store: &dyn Store) {
    let device = store.add_device(new_device(1)).await.unwrap();
    let other = store.add_device(new_device(2)).await.unwrap();
    for (user, device) in [("given", device.id), ("others", other.id)] {
        store.give_out(new_credential(user, Some(device), Method::BootstrapServer)).await.unwrap();
    }
    store.give_out(new_credential("card", None, Method::Smartcard)).await.unwrap();
    let card = store.credential("card").await.unwrap().unwrap();
    store.bind(card.id, new_device(1)).await.unwrap();
    let job = store.add_job(new_job(device.id, JobKind::Operator)).await.unwrap();
    assert!(store.open_session(new_session(device.id, 1, vec![job])).await.unwrap());
    keep(store, vec![record(Some(device.id), 1, NOW)]).await;
    store.enrolled("user1").await.unwrap();
    assert!(store.remove_device(&dev_id(1), NOW).await.unwrap());
    assert!(!store.remove_device(&dev_id(1), NOW.plus(1)).await.unwrap());
    assert_eq!(store.removed_at(&dev_id(1)).await.unwrap(), Some(NOW));
    assert_eq!(store.removed_at(&dev_id(2)).await.unwrap(), None);
    assert_eq!((store.enrolled("user1").await.unwrap(), store.remembered("user1")), (None, None));
    assert!(store.credential("given").await.unwrap().is_none());
    assert!(store.credential("card").await.unwrap().is_none(), "nobody else may bind it");
    assert!(store.session_by_cookie([1; 32]).await.unwrap().is_none());
    assert!(store.job(device.id, job).await.unwrap().is_none());
    assert_eq!(store.devices(None, 9).await.unwrap().len(), 1);
    assert!(store.credential("others").await.unwrap().is_some());
    // What was under way for it cannot be given out any more.
    assert!(store.give_out(new_credential("late", Some(device.id), Method::BootstrapServer)).await.is_err());
    assert!(store.credential("late").await.unwrap().is_none());
    let again = store.add_device(new_device(1)).await.unwrap();
    assert_eq!((again.state, store.removed_at(&dev_id(1)).await.unwrap()), (DeviceState::Known, Some(NOW)));
}

pub(crate) async fn a_block_holds_until_it_is_ended(store: &dyn Store) {
    store.add_device(new_device(1)).await.unwrap();
    let (found, _) = store.enrolled("user1").await.unwrap().unwrap();
    assert_eq!(found.blocked_at, None);
    for later in 0..2 {
        let device = store.block_device(&dev_id(1), Some(NOW.plus(later))).await.unwrap().unwrap();
        assert_eq!(device.blocked_at, Some(NOW), "from its own time on");
    }
    assert_eq!(store.remembered("user1"), None, "what is remembered of it is not true any more");
    assert_eq!(store.enrolled("user1").await.unwrap().unwrap().0.blocked_at, Some(NOW));
    assert_eq!(store.add_device(new_device(1)).await.unwrap().blocked_at, Some(NOW), "another way in ends no block");
    assert_eq!(store.block_device(&dev_id(1), None).await.unwrap().unwrap().blocked_at, None);
    assert_eq!(store.block_device(&dev_id(2), Some(NOW)).await.unwrap(), None);
}

pub(crate) async fn devices_come_in_pages(store: &dyn Store) {
    for number in [3, 1, 2] {
        store.add_device(new_device(number)).await.unwrap();
    }
    let ids = |devices: Vec<Device>| devices.into_iter().map(|device| device.dev_id).collect::<Vec<_>>();
    assert_eq!(ids(store.devices(None, 2).await.unwrap()), [dev_id(1), dev_id(2)]);
    assert_eq!(ids(store.devices(Some("IMEI:002"), 2).await.unwrap()), [dev_id(3)]);
    assert_eq!(store.counts().await.unwrap(), [(DeviceState::Known, 3)]);
}

pub(crate) async fn valid_are_the_last_used_credential_and_the_four_newest_unused(store: &dyn Store) {
    let device = store.add_device(new_device(1)).await.unwrap();
    for user in ["c0", "c1", "c2", "c3", "c4", "c5"] {
        store.give_out(new_credential(user, Some(device.id), Method::BootstrapServer)).await.unwrap();
    }
    let again = new_credential("c5", Some(device.id), Method::BootstrapServer);
    assert!(matches!(store.give_out(again).await, Err(StoreError::Conflict(_))));
    let valid = async || {
        let mut valid = Vec::new();
        for user in ["c0", "c1", "c2", "c3", "c4", "c5", "c6", "card"] {
            if store.credential(user).await.unwrap().is_some() {
                valid.push(user);
            }
        }
        valid
    };
    assert_eq!(valid().await, ["c2", "c3", "c4", "c5"]);
    let shown = store.device(&dev_id(1)).await.unwrap().unwrap();
    assert_eq!((shown.state, shown.source), (DeviceState::Bootstrapped, Some(Method::BootstrapServer)));
    store.give_out(new_credential("card", None, Method::Smartcard)).await.unwrap();
    let card = store.credential("card").await.unwrap().unwrap();
    store.bind(card.id, new_device(1)).await.unwrap();
    for (cookie, user) in [(1, "c3"), (2, "c2"), (3, "card")] {
        let credential = store.credential(user).await.unwrap().unwrap();
        let session = NewSession { credential: Some(credential.id), ..new_session(device.id, cookie, Vec::new()) };
        assert!(store.open_session(session).await.unwrap());
    }
    assert_eq!(valid().await, ["c2", "c4", "c5", "card"]);
    store.give_out(new_credential("c6", Some(device.id), Method::BootstrapServer)).await.unwrap();
    assert_eq!(valid().await, ["c2", "c4", "c5", "c6", "card"]);
}

pub(crate) async fn a_loose_credential_is_bound_once(store: &dyn Store) {
    store.give_out(new_credential("card", None, Method::Smartcard)).await.unwrap();
    let credential = store.credential("card").await.unwrap().unwrap();
    assert!(credential.device.is_none());
    let first = bound(store, credential.id, NewDevice { enrolment: None, ..new_device(1) }).await;
    assert_eq!((first.state, first.source), (DeviceState::Bootstrapped, Some(Method::Smartcard)));
    assert_eq!(bound(store, credential.id, new_device(2)).await.dev_id, dev_id(1));
    assert_eq!(store.device(&dev_id(2)).await.unwrap(), None);
    assert_eq!(store.enrolled("user1").await.unwrap(), None);
    let loose = store.loose_credentials(10).await.unwrap();
    assert_eq!(loose[0].device.as_ref().map(|device| &device.dev_id), Some(&dev_id(1)));
    // Binding does not take a known device's secret away.
    store.add_device(new_device(3)).await.unwrap();
    store.give_out(new_credential("file", None, Method::Factory)).await.unwrap();
    let file = store.credential("file").await.unwrap().unwrap();
    store.bind(file.id, NewDevice { enrolment: None, user: "x".into(), ..new_device(3) }).await.unwrap();
    assert!(store.enrolled("user3").await.unwrap().is_some());
}

/// The device that a credential is bound to.
async fn bound(store: &dyn Store, credential: i64, new: NewDevice) -> Device {
    match store.bind(credential, new).await.unwrap() {
        Binding::To(device) => device,
        other => panic!("{other:?}"),
    }
}

fn order(run: &str, number: u32, user: &str, enrolment: bool) -> FactoryOrder {
    FactoryOrder {
        run: run.into(),
        dev_id: dev_id(number),
        credential: Some(new_credential(user, None, Method::Factory)),
        enrolment: enrolment.then(|| NewDevice { enrolment: Some(user.into()), ..new_device(number) }),
    }
}

async fn issue(store: &dyn Store, order: FactoryOrder) -> Result<FactoryIssue, String> {
    store.issue_in_factory(vec![order]).await.unwrap().remove(0)
}

pub(crate) async fn a_factory_run_is_given_each_credential_once(store: &dyn Store) {
    let user = |issue: FactoryIssue| issue.credential.unwrap().0;
    let both = vec![order("run", 1, "one", false), order("run", 2, "two", false)];
    let issued = store.issue_in_factory(both).await.unwrap();
    assert_eq!(issued.into_iter().map(|one| user(one.unwrap())).collect::<Vec<_>>(), ["one", "two"]);
    // The answer was lost, and the run asks again; another run is another matter.
    assert_eq!(user(issue(store, order("run", 1, "again", false)).await.unwrap()), "one");
    assert!(store.credential("again").await.unwrap().is_none());
    assert_eq!(user(issue(store, order("other", 1, "other", false)).await.unwrap()), "other");
    // What cannot be given again takes the place of what was made before.
    let mut certificate = order("run", 2, "key", false);
    certificate.credential.as_mut().unwrap().scheme = CredentialScheme::X509;
    assert_eq!(user(issue(store, certificate.clone()).await.unwrap()), "key");
    assert!(store.credential("two").await.unwrap().is_none());
    certificate.credential.as_mut().unwrap().user = "newer key".into();
    assert_eq!(user(issue(store, certificate).await.unwrap()), "newer key");
    assert!(store.credential("key").await.unwrap().is_none());
    // One that is a device's is never given again.
    let one = store.credential("one").await.unwrap().unwrap();
    store.bind(one.id, NewDevice { enrolment: None, ..new_device(1) }).await.unwrap();
    assert!(issue(store, order("run", 1, "again", false)).await.unwrap_err().contains("in use"));
}

pub(crate) async fn a_factory_run_takes_no_way_to_enrol_away(store: &dyn Store) {
    let first = issue(store, order("run", 1, "one", true)).await.unwrap();
    assert_eq!(first.enrolment, Some(("user1".to_owned(), b"one".to_vec())));
    assert_eq!(issue(store, order("run", 1, "again", true)).await.unwrap(), first);
    assert_eq!(store.enrolled("user1").await.unwrap().unwrap().1, b"one");
    let refused = issue(store, order("other", 1, "other", true)).await.unwrap_err();
    assert!(refused.contains("what it enrols by"), "{refused}");
    assert!(store.credential("other").await.unwrap().is_none(), "nothing of a refused order is kept");
    // Adding it anew ends what the run made.
    store.add_device(new_device(1)).await.unwrap();
    assert!(issue(store, order("run", 1, "again", true)).await.is_err());
    store.add_device(NewDevice { enrolment: None, key_digest: Some([1; 32]), ..new_device(2) }).await.unwrap();
    assert!(issue(store, order("run", 2, "two", true)).await.is_err());
    // A device that is known and cannot enrol may get a secret; its user is another's, and stays that.
    store.add_device(NewDevice { enrolment: None, user: "user4".into(), ..new_device(3) }).await.unwrap();
    assert_eq!(issue(store, order("run", 3, "three", true)).await.unwrap().enrolment.unwrap().0, "user4");
    assert_eq!(store.enrolled("user4").await.unwrap().unwrap().1, b"three");
    assert!(issue(store, order("run", 4, "four", true)).await.unwrap_err().contains("the user user4"));
}

pub(crate) async fn an_import_binds_in_advance_and_a_second_one_changes_nothing(store: &dyn Store) {
    for user in ["one", "two", "three"] {
        store.give_out(new_credential(user, None, Method::Factory)).await.unwrap();
    }
    let id = async |user: &str| store.credential(user).await.unwrap().unwrap().id;
    let (one, two, three) = (id("one").await, id("two").await, id("three").await);
    let wanted = |number: u32, credential: Option<i64>| FactoryDevice {
        device: NewDevice { enrolment: None, ..new_device(number) },
        credential,
    };
    store.add_device(new_device(2)).await.unwrap();
    store.bind(three, NewDevice { enrolment: None, ..new_device(9) }).await.unwrap();
    let all = || {
        vec![wanted(1, Some(one)), wanted(2, Some(two)), wanted(3, Some(three)), wanted(4, None), wanted(5, Some(99))]
    };
    let imported = store.import(all()).await.unwrap();
    assert_eq!(
        (&imported[0], &imported[1], &imported[3]),
        (&Ok(Imported::Added), &Ok(Imported::Bound), &Ok(Imported::Added))
    );
    assert!(imported[2].as_ref().unwrap_err().contains(dev_id(9).as_str()), "{imported:?}");
    assert!(imported[4].is_err() && store.device(&dev_id(3)).await.unwrap().is_none());
    let device = store.device(&dev_id(1)).await.unwrap().unwrap();
    assert_eq!((device.state, device.source), (DeviceState::Known, Some(Method::Factory)));
    assert_eq!(store.credentials_of(device.id, 9).await.unwrap()[0].user, "one");
    assert_eq!(bound(store, one, new_device(7)).await.dev_id, dev_id(1), "nobody else's any more");
    assert!(store.enrolled("user2").await.unwrap().is_some(), "it enrols as before");
    let again = store.import(all()).await.unwrap();
    assert!([0, 1, 3].iter().all(|place| again[*place] == Ok(Imported::Unchanged)), "{again:?}");
    assert!(again[2].is_err() && again[4].is_err());
    // It comes.
    let session = NewSession { credential: Some(one), ..new_session(device.id, 1, Vec::new()) };
    assert!(store.open_session(session).await.unwrap());
    assert_eq!(store.device(&dev_id(1)).await.unwrap().unwrap().state, DeviceState::Bootstrapped);
}

pub(crate) async fn what_a_run_made_for_a_device_is_no_other_ones(store: &dyn Store) {
    let both = vec![order("run", 1, "one", false), order("run", 2, "two", false)];
    assert!(store.issue_in_factory(both).await.unwrap().iter().all(Result::is_ok));
    let one = store.credential("one").await.unwrap().unwrap();
    assert_eq!(one.made_for, Some(dev_id(1)));
    let two = store.credential("two").await.unwrap().unwrap().id;
    let wanted = |number: u32, credential: i64| FactoryDevice {
        device: NewDevice { enrolment: None, ..new_device(number) },
        credential: Some(credential),
    };
    for told in store.import(vec![wanted(1, two), wanted(2, one.id)]).await.unwrap() {
        assert!(told.unwrap_err().starts_with("its credential was made for IMEI:00"));
    }
    assert_eq!(store.bind(one.id, new_device(2)).await.unwrap(), Binding::MadeFor(dev_id(1)));
    assert!(store.devices(None, 9).await.unwrap().is_empty(), "nothing is bound, and nobody known");
    let told = store.import(vec![wanted(1, one.id), wanted(2, two)]).await.unwrap();
    assert_eq!(told, [Ok(Imported::Added), Ok(Imported::Added)]);
}

pub(crate) async fn a_blocked_device_binds_nothing(store: &dyn Store) {
    store.add_device(new_device(1)).await.unwrap();
    store.block_device(&dev_id(1), Some(NOW)).await.unwrap();
    store.give_out(new_credential("card", None, Method::Smartcard)).await.unwrap();
    let before = store.device(&dev_id(1)).await.unwrap();
    let card = store.credential("card").await.unwrap().unwrap().id;
    assert_eq!(store.bind(card, new_device(1)).await.unwrap(), Binding::Blocked(NOW));
    assert_eq!(store.device(&dev_id(1)).await.unwrap(), before);
    assert_eq!(bound(store, card, new_device(2)).await.dev_id, dev_id(2), "it is still anybody's");
}

pub(crate) async fn removing_a_device_ends_what_runs_made_for_it(store: &dyn Store) {
    let valid = async |user: &str| store.credential(user).await.unwrap().is_some();
    for (run, number, user) in [("a", 1, "a1"), ("b", 1, "b1"), ("a", 2, "a2")] {
        issue(store, order(run, number, user, false)).await.unwrap();
    }
    store.give_out(new_credential("card", None, Method::Smartcard)).await.unwrap();
    assert!(store.remove_device(&dev_id(1), NOW).await.unwrap(), "it is not known, and something was made for it");
    assert_eq!(store.removed_at(&dev_id(1)).await.unwrap(), Some(NOW));
    assert_eq!(
        (valid("a1").await, valid("b1").await, valid("a2").await, valid("card").await),
        (false, false, true, true)
    );
    assert!(!store.remove_device(&dev_id(1), NOW).await.unwrap());
    assert!(!store.remove_device(&dev_id(3), NOW).await.unwrap());
    let device = store.add_device(new_device(2)).await.unwrap();
    store.give_out(new_credential("given", Some(device.id), Method::BootstrapServer)).await.unwrap();
    assert!(store.withdraw("card").await.unwrap() && !store.withdraw("card").await.unwrap());
    assert!(!store.withdraw("given").await.unwrap(), "none of a card or file");
    assert!(store.remove_device(&dev_id(2), NOW).await.unwrap());
    assert_eq!((valid("a2").await, valid("card").await), (false, false));
}

pub(crate) async fn a_session_goes_on_from_its_last_version_only(store: &dyn Store) {
    let device = store.add_device(new_device(1)).await.unwrap();
    assert!(store.open_session(new_session(device.id, 1, Vec::new())).await.unwrap());
    let row = store.session_by_cookie([1; 32]).await.unwrap().unwrap();
    assert!(store.session_by_cookie([2; 32]).await.unwrap().is_none());
    assert_eq!(store.newest_session(device.id, "u").await.unwrap().unwrap().id, row.id);
    assert!(store.newest_session(device.id, "other").await.unwrap().is_none());
    assert!(store.advance_session(step(&row, None)).await.unwrap());
    assert!(!store.advance_session(step(&row, None)).await.unwrap(), "two answers to one package");
    let row = store.session_by_cookie([1; 32]).await.unwrap().unwrap();
    let devinfo = DevInfo::from([("Man".to_owned(), "Acme".to_owned())]);
    let last = Step { agreed: true, devinfo: Some(devinfo.clone()), ..step(&row, Some(End::Well)) };
    assert!(store.advance_session(last).await.unwrap());
    let row = store.sessions(device.id, 5).await.unwrap().remove(0);
    assert_eq!((row.alerts.len(), row.commands.len(), row.agreed, &*row.outcome), (3, 2, true, "ended"));
    assert!(!store.advance_session(step(&row, None)).await.unwrap(), "it has ended");
    let device = store.device(&dev_id(1)).await.unwrap().unwrap();
    assert_eq!((device.state, device.devinfo), (DeviceState::Managed, Some(devinfo)));
    let (known, _) = store.enrolled("user1").await.unwrap().unwrap();
    assert_eq!((known.id, known.state, known.devinfo), (device.id, DeviceState::Managed, None));
}

pub(crate) async fn a_cookie_may_take_the_place_of_another(store: &dyn Store) {
    let device = store.add_device(new_device(1)).await.unwrap().id;
    assert!(store.open_session(new_session(device, 1, Vec::new())).await.unwrap());
    let row = store.session_by_cookie([1; 32]).await.unwrap().unwrap();
    assert!(store.advance_session(Step { cookie: Some([2; 32]), ..step(&row, None) }).await.unwrap());
    assert!(store.session_by_cookie([1; 32]).await.unwrap().is_none());
    let row = store.session_by_cookie([2; 32]).await.unwrap().unwrap();
    assert!(store.advance_session(step(&row, None)).await.unwrap());
    assert!(store.session_by_cookie([2; 32]).await.unwrap().is_some());
}

pub(crate) async fn an_agreement_counts_only_when_the_session_ends_well(store: &dyn Store) {
    let device = store.add_device(new_device(1)).await.unwrap();
    for (cookie, end) in [(1, None), (2, Some(End::Broken("why".into())))] {
        store.open_session(new_session(device.id, cookie, Vec::new())).await.unwrap();
        let row = store.session_by_cookie([cookie; 32]).await.unwrap().unwrap();
        store.advance_session(Step { agreed: true, ..step(&row, end) }).await.unwrap();
        assert_eq!(store.device(&dev_id(1)).await.unwrap().unwrap().state, DeviceState::Known);
    }
}

pub(crate) async fn a_job_is_sent_once_and_again_only_after_its_session_broke(store: &dyn Store) {
    let device = store.add_device(new_device(1)).await.unwrap();
    let job = store.add_job(new_job(device.id, JobKind::Operator)).await.unwrap();
    let ready = store.prepare_session(preparation(device.id, NOW)).await.unwrap();
    assert_eq!((ready.len(), ready[0].id, ready[0].state), (1, job, JobState::Waiting));
    let session = NewSession { items: vec![item(device.id, job, "t1", true)], ..new_session(device.id, 1, vec![job]) };
    assert!(store.open_session(session).await.unwrap());
    assert!(store.waiting_jobs(device.id, 9).await.unwrap().is_empty());
    assert!(!store.open_session(new_session(device.id, 2, vec![job])).await.unwrap(), "somebody else took it");
    assert!(store.session_by_cookie([2; 32]).await.unwrap().is_none());
    // A newer session of the account takes the place of the old one.
    let ready = store.prepare_session(preparation(device.id, NOW)).await.unwrap();
    assert_eq!((ready.len(), ready[0].tries), (1, 1));
    assert!(store.item("t1").await.unwrap().is_none(), "a token dies with its session");
    let old = store.session_by_cookie([1; 32]).await.unwrap().unwrap();
    assert!(old.ended_at.is_some());

    assert!(store.open_session(new_session(device.id, 3, vec![job])).await.unwrap());
    let row = store.session_by_cookie([3; 32]).await.unwrap().unwrap();
    let done = Step { done: vec![(job, json!([{"sc": 200}]))], ..step(&row, Some(End::Well)) };
    assert!(store.advance_session(done).await.unwrap());
    let (row, _) = store.job(device.id, job).await.unwrap().unwrap();
    assert_eq!((row.state, row.results), (JobState::Done, Some(json!([{"sc": 200}]))));
    assert!(store.job(device.id + 1, job).await.unwrap().is_none(), "another device's");
    assert!(store.prepare_session(preparation(device.id, NOW)).await.unwrap().is_empty());
}

pub(crate) async fn what_is_due_is_queued_once(store: &dyn Store) {
    let device = store.add_device(new_device(1)).await.unwrap();
    for _ in 0..3 {
        let due = Some(new_job(device.id, JobKind::ReadDevInfo));
        let ready = store.prepare_session(Preparation { due, ..preparation(device.id, NOW) }).await.unwrap();
        assert_eq!(ready.len(), 1);
    }
    assert_eq!(store.jobs(device.id, 9).await.unwrap().len(), 1);
}

pub(crate) async fn a_token_is_used_once(store: &dyn Store) {
    let device = store.add_device(new_device(1)).await.unwrap();
    let job = store.add_job(new_job(device.id, JobKind::Operator)).await.unwrap();
    let items = vec![item(device.id, job, "up", true), item(device.id, job, "down", false)];
    store.open_session(NewSession { items, ..new_session(device.id, 1, vec![job]) }).await.unwrap();
    assert_eq!(store.item("down").await.unwrap().unwrap().content, Some(b"[]".to_vec()));
    for (token, content) in [("up", Some(b"[1]".to_vec())), ("down", None)] {
        assert!(store.use_item(token, content.clone(), NOW).await.unwrap());
        assert!(!store.use_item(token, content, NOW).await.unwrap());
    }
    assert!(!store.use_item("none", None, NOW).await.unwrap());
    let (_, uploads) = store.job(device.id, job).await.unwrap().unwrap();
    assert_eq!(uploads, [Upload { name: "name".into(), content: b"[1]".to_vec() }]);
}

pub(crate) async fn records_of_a_device_are_its_last_ones(store: &dyn Store) {
    let device = store.add_device(new_device(1)).await.unwrap();
    let records = (0..9).map(|number| record(Some(device.id), number, NOW.plus(number.into()))).collect();
    keep(store, records).await;
    let kept = store.requests_of(Some(device.id), "IMEI:001", 100).await.unwrap();
    let codes: Vec<&str> = kept.iter().map(|record| record.code.as_str()).collect();
    assert_eq!(codes, ["code8", "code7", "code6", "code5", "code4"]);
    assert!(kept.iter().all(|record| record.authenticated));
    assert_eq!(store.requests_of(None, "IMEI:008", 100).await.unwrap().len(), 1, "by the DevID it named");
}

pub(crate) async fn strangers_share_a_ring_and_push_no_device_out(store: &dyn Store) {
    let device = store.add_device(new_device(1)).await.unwrap();
    keep(store, vec![record(Some(device.id), 1, NOW)]).await;
    for number in 0..20 {
        keep(store, vec![record(None, number, NOW.plus(number.into()))]).await;
    }
    let all = store.requests(100).await.unwrap();
    assert_eq!(all.iter().filter(|record| !record.authenticated).count(), 8);
    assert_eq!(all[0].code, "code19");
    assert_eq!(store.requests(3).await.unwrap().len(), 3);
    assert_eq!(store.requests_of(Some(device.id), "IMEI:001", 9).await.unwrap().len(), 1);
    assert_eq!(store.requests_of(None, "IMEI:019", 9).await.unwrap().len(), 1);
    assert!(store.requests_of(None, "IMEI:002", 9).await.unwrap().is_empty());
}

pub(crate) async fn what_others_claim_hides_nothing_of_the_device(store: &dyn Store) {
    let device = store.add_device(new_device(1)).await.unwrap();
    let other = store.add_device(new_device(2)).await.unwrap();
    let own = |number: u32| Record { dev_id: Some(dev_id(1).to_string()), ..record(Some(device.id), number, NOW) };
    keep(store, (0..3).map(own).collect()).await;
    let claims = |sender| Record { code: "claim".into(), ..record(sender, 1, NOW.plus(60)) };
    keep(store, vec![claims(None); 6]).await;
    keep(store, vec![claims(Some(other.id)); 4]).await;
    let shown = store.requests_of(Some(device.id), "IMEI:001", 3).await.unwrap();
    let codes: Vec<&str> = shown.iter().map(|record| record.code.as_str()).collect();
    assert_eq!(codes[..6], ["claim"; 6]);
    assert_eq!(codes[6..], ["code2", "code1", "code0"]);
    assert_eq!(store.requests_of(None, "IMEI:001", 9).await.unwrap().len(), 13);
}

pub(crate) async fn a_live_session_is_kept_however_many_follow(store: &dyn Store) {
    let device = store.add_device(new_device(1)).await.unwrap();
    let job = store.add_job(new_job(device.id, JobKind::Operator)).await.unwrap();
    store.open_session(new_session(device.id, 1, vec![job])).await.unwrap();
    for cookie in 2..40 {
        let other = NewSession { account: "other".into(), ended: true, ..new_session(device.id, cookie, Vec::new()) };
        assert!(store.open_session(other).await.unwrap());
    }
    assert!(store.sessions(device.id, 100).await.unwrap().len() <= 21);
    let row = store.session_by_cookie([1; 32]).await.unwrap().expect("its job would be out for ever");
    assert!(row.ended_at.is_none());
    store.sweep(NOW.plus(601)).await.unwrap();
    assert_eq!(store.waiting_jobs(device.id, 9).await.unwrap().len(), 1);
}

pub(crate) async fn long_texts_are_cut(store: &dyn Store) {
    let long = Record {
        dev_id: Some("é".repeat(5000)),
        code: "c".repeat(5000),
        detail: "é".repeat(5000),
        remote: "r".repeat(5000),
        ..record(None, 1, NOW)
    };
    keep(store, vec![long.clone()]).await;
    let kept = store.requests_of(None, long.dev_id.as_ref().unwrap(), 9).await.unwrap().remove(0);
    assert!(kept.detail.len() <= 128 && kept.code.len() <= 32 && kept.dev_id.unwrap().len() <= 64);
}

pub(crate) async fn sweeping_drops_the_old_the_surplus_and_idle_sessions(store: &dyn Store) {
    let mut devices = Vec::new();
    for number in 0..4 {
        devices.push(store.add_device(new_device(number)).await.unwrap().id);
    }
    for device in &devices {
        keep(store, (0..5).map(|number| record(Some(*device), number, NOW)).collect()).await;
    }
    store.open_session(new_session(devices[0], 1, Vec::new())).await.unwrap();
    store.sweep(NOW.plus(300)).await.unwrap();
    assert_eq!(store.requests(100).await.unwrap().len(), 12);
    assert!(store.session_by_cookie([1; 32]).await.unwrap().unwrap().ended_at.is_none());
    store.sweep(NOW.plus(601)).await.unwrap();
    assert!(store.session_by_cookie([1; 32]).await.unwrap().unwrap().ended_at.is_some());
    keep(store, vec![record(None, 1, NOW)]).await;
    store.sweep(NOW.plus(31 * 86_400)).await.unwrap();
    assert!(store.requests(100).await.unwrap().is_empty());
}

pub(crate) async fn numbers_and_texts_come_back_as_they_were(store: &dyn Store) {
    let device = store.add_device(new_device(1)).await.unwrap();
    let commands = json!([["HGET", "data:ä", "urn:x:1//"]]);
    let data = BTreeMap::from([("ä".to_owned(), json!([{"é": [1, -2.5, null, true]}]))]);
    let new = NewJob { commands: commands.clone(), data: data.clone(), ..new_job(device.id, JobKind::Operator) };
    let id = store.add_job(new).await.unwrap();
    let (row, uploads) = store.job(device.id, id).await.unwrap().unwrap();
    assert_eq!((row.commands, row.data, row.made_at), (commands, data, NOW));
    assert!(uploads.is_empty() && row.results.unwrap_or(Value::Null).is_null());
}
