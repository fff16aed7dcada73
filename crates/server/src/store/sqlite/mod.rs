//! The store in an SQLite file: write-ahead log, one writer, several readers.

mod batch;
mod credentials;
mod devices;
mod enrolled;
mod factory;
mod jobs;
mod records;
mod sessions;
mod withdrawn;

use omadm_core::ids::DevId;
use omadm_core::time::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{Row, Sqlite as Engine, SqliteConnection, Transaction};
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, OwnedMutexGuard};

use batch::Batches;
use enrolled::EnrolledDevices;

use super::{
    Answer, Binding, Credential, Device, DeviceState, Entry, FactoryDevice, FactoryIssue, FactoryOrder, Imported, Item,
    JobRow, NewCredential, NewDevice, NewJob, NewSession, Preparation, ProfileRow, Recorded, SessionRow, Step, Store,
    StoreError, Upload,
};
use crate::config::Retention;

/// How many connections read at the same time.
const READERS: u32 = 4;

/// The size in bytes that the write-ahead log keeps: more than what stands in it between two checkpoints, so that it is
/// written over and not grown each time.
const JOURNAL: i64 = 8_388_608;
/// How long a connection waits for another one that writes.
const BUSY: Duration = Duration::from_secs(5);

/// The store in an SQLite file. What it remembers in memory is right as long as no other process writes to the file,
/// which the lock on the data folder sees to.
pub(crate) struct Sqlite {
    write: SqlitePool,
    read: SqlitePool,
    batches: Arc<Batches>,
    /// Held by whoever writes, so that writers wait in line here and not in the database.
    turn: Arc<Mutex<()>>,
    enrolled: EnrolledDevices,
    profiles_version: AtomicI64,
    bounds: Retention,
}

/// A transaction that writes.
struct Writing {
    transaction: Transaction<'static, Engine>,
    _turn: OwnedMutexGuard<()>,
}

impl Writing {
    async fn commit(self) -> Result<(), StoreError> {
        Ok(self.transaction.commit().await?)
    }
}

impl Deref for Writing {
    type Target = SqliteConnection;
    fn deref(&self) -> &SqliteConnection {
        &self.transaction
    }
}

impl DerefMut for Writing {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.transaction
    }
}

impl Sqlite {
    /// Opens the file, made if need be, and brings it to this version.
    pub(crate) async fn open(path: &Path, bounds: Retention) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new().filename(path).busy_timeout(BUSY).foreign_keys(true);
        let writer = options
            .clone()
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A credential that was given out has to outlive a power cut.
            .synchronous(SqliteSynchronous::Full)
            .auto_vacuum(SqliteAutoVacuum::Incremental)
            .pragma("journal_size_limit", JOURNAL.to_string());
        let write = SqlitePoolOptions::new().max_connections(1).connect_with(writer).await?;
        sqlx::migrate!("migrations/sqlite").run(&write).await?;
        let read = SqlitePoolOptions::new().max_connections(READERS).connect_with(options.read_only(true)).await?;
        let store = Self {
            write,
            read,
            batches: Arc::new(Batches::open(path, bounds)?),
            turn: Arc::default(),
            enrolled: EnrolledDevices::default(),
            profiles_version: AtomicI64::new(0),
            bounds,
        };
        let version: Option<Vec<u8>> = store.meta_of("profiles-version").await?;
        store.profiles_version.store(number(version), Ordering::Release);
        Ok(store)
    }

    async fn begin(&self) -> Result<Writing, StoreError> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        Ok(Writing { transaction: self.write.begin_with("begin immediate").await?, _turn: turn })
    }

    async fn meta_of(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(sqlx::query_scalar("select value from meta where key = ?").bind(key).fetch_optional(&self.read).await?)
    }

    async fn store_meta(&self, key: &str, value: Vec<u8>) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "insert into meta (key, value) values (?, ?) on conflict (key) do update set value = excluded.value",
        )
        .bind(key)
        .bind(value)
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }

    async fn all_profiles(&self) -> Result<Vec<ProfileRow>, StoreError> {
        let rows =
            sqlx::query("select name, content, changed_at from profile order by name").fetch_all(&self.read).await?;
        rows.iter()
            .map(|row| {
                Ok(ProfileRow {
                    name: row.try_get("name")?,
                    content: row.try_get("content")?,
                    changed_at: time(row, "changed_at")?,
                })
            })
            .collect()
    }

    async fn change_profile(&self, name: &str, new: Option<ProfileRow>) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let removed = sqlx::query("delete from profile where name = ?").bind(name).execute(&mut *tx).await?;
        if let Some(row) = new {
            sqlx::query("insert into profile (name, content, changed_at) values (?, ?, ?)")
                .bind(row.name)
                .bind(row.content)
                .bind(seconds(row.changed_at))
                .execute(&mut *tx)
                .await?;
        }
        let old: Option<Vec<u8>> = sqlx::query_scalar("select value from meta where key = 'profiles-version'")
            .fetch_optional(&mut *tx)
            .await?;
        let version = number(old) + 1;
        sqlx::query(
            "insert into meta (key, value) values ('profiles-version', ?)
             on conflict (key) do update set value = excluded.value",
        )
        .bind(version.to_be_bytes().to_vec())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        self.profiles_version.fetch_max(version, Ordering::AcqRel);
        Ok(removed.rows_affected() > 0)
    }
}

impl Store for Sqlite {
    fn meta<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Vec<u8>>> {
        Box::pin(self.meta_of(key))
    }
    fn set_meta<'a>(&'a self, key: &'a str, value: Vec<u8>) -> Answer<'a, ()> {
        Box::pin(self.store_meta(key, value))
    }
    fn profiles_version(&self) -> Answer<'_, i64> {
        Box::pin(async { Ok(self.profiles_version.load(Ordering::Acquire)) })
    }
    fn profiles(&self) -> Answer<'_, Vec<ProfileRow>> {
        Box::pin(self.all_profiles())
    }
    fn put_profile(&self, profile: ProfileRow) -> Answer<'_, ()> {
        Box::pin(async move {
            let name = profile.name.clone();
            self.change_profile(&name, Some(profile)).await.map(|_| ())
        })
    }
    fn remove_profile<'a>(&'a self, name: &'a str) -> Answer<'a, bool> {
        Box::pin(self.change_profile(name, None))
    }
    fn add_device(&self, device: NewDevice) -> Answer<'_, Device> {
        Box::pin(self.upsert_device(device))
    }
    fn device<'a>(&'a self, dev_id: &'a DevId) -> Answer<'a, Option<Device>> {
        Box::pin(self.device_by_dev_id(dev_id))
    }
    fn remove_device<'a>(&'a self, dev_id: &'a DevId, at: Timestamp) -> Answer<'a, bool> {
        Box::pin(self.delete_device(dev_id, at))
    }
    fn removed_at<'a>(&'a self, dev_id: &'a DevId) -> Answer<'a, Option<Timestamp>> {
        Box::pin(self.removal_of(dev_id))
    }
    fn block_device<'a>(&'a self, dev_id: &'a DevId, since: Option<Timestamp>) -> Answer<'a, Option<Device>> {
        Box::pin(self.set_blocked(dev_id, since))
    }
    fn devices<'a>(&'a self, after: Option<&'a str>, limit: u32) -> Answer<'a, Vec<Device>> {
        Box::pin(self.page_of_devices(after, limit))
    }
    fn enrolled<'a>(&'a self, user: &'a str) -> Answer<'a, Option<(Device, Vec<u8>)>> {
        Box::pin(self.device_by_user(user))
    }
    fn remembered(&self, user: &str) -> Option<(Device, Vec<u8>)> {
        self.enrolled.find(user)
    }
    fn enrolled_by_psk<'a>(&'a self, identity: &'a str) -> Answer<'a, Option<(Device, Vec<u8>)>> {
        Box::pin(self.device_by_psk(identity))
    }
    fn enrolled_by_key(&self, digest: [u8; 32]) -> Answer<'_, Option<Device>> {
        Box::pin(self.device_by_key(digest))
    }
    fn give_out(&self, credential: NewCredential) -> Answer<'_, ()> {
        Box::pin(self.insert_credential(credential))
    }
    fn credential<'a>(&'a self, user: &'a str) -> Answer<'a, Option<Credential>> {
        Box::pin(self.credential_by_user(user))
    }
    fn loose_credentials(&self, limit: u32) -> Answer<'_, Vec<Credential>> {
        Box::pin(self.credentials_of_cards_and_files(limit))
    }
    fn withdraw<'a>(&'a self, user: &'a str) -> Answer<'a, bool> {
        Box::pin(self.withdraw_credential(user))
    }
    fn bind(&self, credential: i64, new: NewDevice) -> Answer<'_, Binding> {
        Box::pin(self.bind_credential(credential, new))
    }
    fn credentials_of(&self, device: i64, limit: u32) -> Answer<'_, Vec<Credential>> {
        Box::pin(self.credentials_of_device(device, limit))
    }
    fn issue_in_factory(&self, orders: Vec<FactoryOrder>) -> Answer<'_, Vec<Result<FactoryIssue, String>>> {
        Box::pin(self.issue_orders(orders))
    }
    fn import(&self, devices: Vec<FactoryDevice>) -> Answer<'_, Vec<Result<Imported, String>>> {
        Box::pin(self.import_devices(devices))
    }
    fn prepare_session(&self, preparation: Preparation) -> Answer<'_, Vec<JobRow>> {
        Box::pin(self.prepare(preparation))
    }
    fn open_session(&self, session: NewSession) -> Answer<'_, bool> {
        Box::pin(self.insert_session(session))
    }
    fn session_by_cookie(&self, cookie: [u8; 32]) -> Answer<'_, Option<SessionRow>> {
        Box::pin(self.session_of_cookie(cookie))
    }
    fn newest_session<'a>(&'a self, device: i64, user: &'a str) -> Answer<'a, Option<SessionRow>> {
        Box::pin(self.session_of_user(device, user))
    }
    fn advance_session(&self, step: Step) -> Answer<'_, bool> {
        Box::pin(self.advance(step))
    }
    fn sessions(&self, device: i64, limit: u32) -> Answer<'_, Vec<SessionRow>> {
        Box::pin(self.sessions_of(device, limit))
    }
    fn add_job(&self, job: NewJob) -> Answer<'_, i64> {
        Box::pin(self.insert_job(job))
    }
    fn waiting_jobs(&self, device: i64, limit: u32) -> Answer<'_, Vec<JobRow>> {
        Box::pin(self.jobs_waiting(device, limit))
    }
    fn jobs(&self, device: i64, limit: u32) -> Answer<'_, Vec<JobRow>> {
        Box::pin(self.jobs_of(device, limit))
    }
    fn job(&self, device: i64, id: i64) -> Answer<'_, Option<(JobRow, Vec<Upload>)>> {
        Box::pin(self.job_of(device, id))
    }
    fn item<'a>(&'a self, token: &'a str) -> Answer<'a, Option<Item>> {
        Box::pin(self.item_of(token))
    }
    fn use_item<'a>(&'a self, token: &'a str, content: Option<Vec<u8>>, at: Timestamp) -> Answer<'a, bool> {
        Box::pin(self.mark_item(token, content, at))
    }
    fn keep(&self, entries: Vec<Entry>) -> Answer<'_, Vec<Result<(), StoreError>>> {
        Box::pin(self.keep_all(entries))
    }
    fn requests_of<'a>(&'a self, device: Option<i64>, dev_id: &'a str, limit: u32) -> Answer<'a, Vec<Recorded>> {
        Box::pin(self.records_of(device, dev_id, limit))
    }
    fn requests(&self, limit: u32) -> Answer<'_, Vec<Recorded>> {
        Box::pin(self.newest_records(limit))
    }
    fn sweep(&self, now: Timestamp) -> Answer<'_, ()> {
        Box::pin(self.drop_old(now))
    }
    fn counts(&self) -> Answer<'_, Vec<(DeviceState, u64)>> {
        Box::pin(self.devices_by_state())
    }
}

/// A number as `meta` keeps it.
fn number(bytes: Option<Vec<u8>>) -> i64 {
    bytes.and_then(|bytes| bytes.try_into().ok()).map_or(0, i64::from_be_bytes)
}

/// Seconds as the database keeps them.
fn seconds(time: Timestamp) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

fn time(row: &SqliteRow, column: &str) -> Result<Timestamp, StoreError> {
    Ok(Timestamp(u64::try_from(row.try_get::<i64, _>(column)?).unwrap_or(0)))
}

fn time_or_none(row: &SqliteRow, column: &str) -> Result<Option<Timestamp>, StoreError> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(|seconds| Timestamp(u64::try_from(seconds).unwrap_or(0))))
}

fn json<T: DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|error| StoreError::Corrupt(error.to_string()))
}

fn to_json<T: Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Corrupt(error.to_string()))
}

/// Turns a unique constraint into a conflict with a sentence.
fn conflict(error: sqlx::Error, sentence: &str) -> StoreError {
    match &error {
        sqlx::Error::Database(database) if database.is_unique_violation() => StoreError::Conflict(sentence.to_owned()),
        _ => StoreError::Database(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::{BOUNDS, contract};
    use crate::store::{Endpoint, Record};
    use omadm_core::reason::Method;
    use tempfile::TempDir;

    async fn fresh() -> (Sqlite, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        (Sqlite::open(&folder.path().join("omadm.db"), BOUNDS).await.unwrap(), folder)
    }

    contract!(fresh:
        values_of_the_server_are_kept,
        every_change_of_a_profile_shows_in_the_version,
        devices_are_found_by_dev_id_and_user,
        devices_come_in_pages,
        a_removed_device_leaves_nothing_but_the_record_of_it,
        a_block_holds_until_it_is_ended,
        devices_are_found_by_what_tls_proves,
        valid_are_the_last_used_credential_and_the_four_newest_unused,
        a_loose_credential_is_bound_once,
        a_factory_run_is_given_each_credential_once,
        a_factory_run_takes_no_way_to_enrol_away,
        an_import_binds_in_advance_and_a_second_one_changes_nothing,
        what_a_run_made_for_a_device_is_no_other_ones,
        a_blocked_device_binds_nothing,
        removing_a_device_ends_what_runs_made_for_it,
        a_session_goes_on_from_its_last_version_only,
        a_cookie_may_take_the_place_of_another,
        an_agreement_counts_only_when_the_session_ends_well,
        a_job_is_sent_once_and_again_only_after_its_session_broke,
        what_is_due_is_queued_once,
        a_token_is_used_once,
        records_of_a_device_are_its_last_ones,
        strangers_share_a_ring_and_push_no_device_out,
        what_others_claim_hides_nothing_of_the_device,
        a_live_session_is_kept_however_many_follow,
        long_texts_are_cut,
        sweeping_drops_the_old_the_surplus_and_idle_sessions,
        numbers_and_texts_come_back_as_they_were,
    );

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn two_nodes_on_one_database_do_each_thing_once() {
        let (one, folder) = fresh().await;
        let other = Sqlite::open(&folder.path().join("omadm.db"), BOUNDS).await.unwrap();
        let new = |name: &str| NewDevice {
            dev_id: name.parse().unwrap(),
            user: name.to_owned(),
            enrolment: None,
            psk: None,
            key_digest: None,
            at: Timestamp(1_800_000_000),
        };
        for round in 0..20 {
            let credential = NewCredential {
                scheme: crate::store::CredentialScheme::Basic,
                user: format!("card{round}"),
                secret: vec![1],
                device: None,
                source: Method::Smartcard,
                label: String::new(),
                profile: "p".into(),
                srv_id: "acme".into(),
                at: Timestamp(1_800_000_000),
            };
            one.insert_credential(credential).await.unwrap();
            let id = other.credential_by_user(&format!("card{round}")).await.unwrap().unwrap().id;
            let (left, right) = (format!("left{round}"), format!("right{round}"));
            let (first, second) =
                tokio::join!(one.bind_credential(id, new(&left)), other.bind_credential(id, new(&right)));
            let (Binding::To(first), Binding::To(second)) = (first.unwrap(), second.unwrap()) else {
                panic!("refused")
            };
            assert_eq!(first.dev_id, second.dev_id, "bound once");

            let job = NewJob {
                device: first.id,
                kind: crate::store::JobKind::Operator,
                commands: serde_json::json!([["GET", "urn:x:1//"]]),
                data: std::collections::BTreeMap::new(),
                at: Timestamp(1_800_000_000),
            };
            let job = other.insert_job(job).await.unwrap();
            let session = |cookie: u8| NewSession {
                device: first.id,
                credential: Some(id),
                user: format!("card{round}"),
                account: "acme".into(),
                cookie: [cookie; 32],
                state: "{}".into(),
                alerts: Vec::new(),
                sent: vec![job],
                items: Vec::new(),
                ended: false,
                at: Timestamp(1_800_000_000),
            };
            let (first, second) =
                tokio::join!(one.insert_session(session(2 * round)), other.insert_session(session(2 * round + 1)));
            assert!(first.unwrap() != second.unwrap(), "a job goes out once");
            let (first, second) =
                tokio::join!(one.keep_all(vec![junk(1, 9).into()]), other.keep_all(vec![junk(2, 9).into()]));
            assert!(first.unwrap().into_iter().chain(second.unwrap()).all(|kept| kept.is_ok()));
        }
    }

    /// Made by the migrations of the walk, with a device that holds a credential and sent requests.
    #[tokio::test]
    async fn a_database_of_the_previous_version_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("omadm.db");
        let old = rusqlite::Connection::open(&path).unwrap();
        old.execute_batch(include_str!("../../../migrations/sqlite/0001_start.sql")).unwrap();
        old.execute_batch(include_str!("../../../migrations/sqlite/0002_open_sessions.sql")).unwrap();
        old.execute_batch(
            "create table _sqlx_migrations (version bigint primary key, description text not null, installed_on
             timestamp not null default current_timestamp, success boolean not null, checksum blob not null,
             execution_time bigint not null);
             insert into device (id, dev_id, user, enrolment, state, added_at)
             values (1, 'IMEI:1', 'one', x'01', 'bootstrapped', 1), (2, 'IMEI:2', 'two', x'02', 'known', 1);
             insert into credential (user, secret, device_id, source, label, profile, srv_id, made_at)
             values ('given', x'03', 1, 'bootstrap-server', '', 'p', 'acme', 1);
             insert into request (device_id, dev_key, at, endpoint, status, code, dev_id, remote, detail)
             values (1, 7, 1, 'bootstrap', 200, 'message', 'IMEI:1', '192.0.2.1', 'own'),
             (2, 7, 1, 'bootstrap', 403, 'other-device', 'IMEI:1', '192.0.2.1', 'claimed')",
        )
        .unwrap();
        for migration in sqlx::migrate!("migrations/sqlite").iter().filter(|migration| migration.version <= 2) {
            old.execute(
                "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
                 values (?, ?, true, ?, 0)",
                rusqlite::params![migration.version, &*migration.description, &*migration.checksum],
            )
            .unwrap();
        }
        drop(old);
        let store = Sqlite::open(&path, BOUNDS).await.unwrap();
        let credential = store.credential_by_user("given").await.unwrap().unwrap();
        assert_eq!(credential.scheme, crate::store::CredentialScheme::Basic);
        assert_eq!(credential.device.unwrap().dev_id.as_str(), "IMEI:1");
        assert_eq!(store.device_by_user("two").await.unwrap().unwrap().1, [2]);
        let own = store.records_of(Some(1), "IMEI:1", 9).await.unwrap();
        assert!(own.iter().any(|record| record.detail == "own"), "{own:?}");
        let keys: Vec<Option<i64>> =
            sqlx::query_scalar("select dev_key from request order by id").fetch_all(&store.read).await.unwrap();
        assert_eq!(keys, [None, Some(7)], "a device's own requests are found by the device");
    }

    /// What ten million junk requests may cost, in bytes.
    const JUNK: u64 = 50_000_000;

    fn junk(number: u64, length: usize) -> Record {
        Record {
            at: Timestamp(1_800_000_000 + number),
            endpoint: Endpoint::Bootstrap,
            device: None,
            dev_id: Some(format!("{number:020}{}", "d".repeat(length))),
            remote: "2001:db8:1234:5678:9abc:def0:1234:5678".to_owned(),
            status: Some(401),
            code: "c".repeat(length),
            detail: "x".repeat(length),
        }
    }

    fn size(folder: &TempDir) -> u64 {
        std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum()
    }

    /// The ring is filled with short rows and then overwritten with the longest ones, which is what costs most. Its size
    /// depends on its slots alone, so what some of them cost tells what all of them cost, however long junk comes.
    #[tokio::test]
    async fn ten_million_junk_requests_cost_at_most_50_mb() {
        const SLOTS: u32 = 4000;
        let folder = tempfile::tempdir().unwrap();
        let bounds = Retention { strangers: SLOTS, ..Retention::default() };
        let store = Sqlite::open(&folder.path().join("omadm.db"), bounds).await.unwrap();
        let empty = size(&folder);
        let mut sizes = Vec::new();
        for (round, length) in [3, 1000, 40, 1000, 1000].into_iter().enumerate() {
            let first = round as u64 * u64::from(SLOTS);
            let numbers: Vec<u64> = (first..first + u64::from(SLOTS)).collect();
            for batch in numbers.chunks(256) {
                let junk = batch.iter().map(|number| junk(*number, length).into()).collect();
                assert!(store.keep_all(junk).await.unwrap().iter().all(Result::is_ok));
            }
            sqlx::query("pragma wal_checkpoint(truncate)").execute(&store.write).await.unwrap();
            sizes.push(size(&folder) - empty);
        }
        let rows: i64 = sqlx::query_scalar("select count(*) from stranger").fetch_one(&store.read).await.unwrap();
        assert_eq!(rows, i64::from(SLOTS));
        let worst = sizes.iter().max().unwrap();
        let full = worst * u64::from(Retention::default().strangers) / u64::from(SLOTS);
        // The write-ahead log comes on top.
        assert!(full + (JOURNAL as u64) < JUNK, "{} bytes a row, {full} in all; {sizes:?}", worst / u64::from(SLOTS));
        assert_eq!(sizes[3], sizes[4], "it does not grow any more");
    }
}
