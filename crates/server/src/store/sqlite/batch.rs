//! What requests leave behind, many in one transaction and one write to the disk. This is where the server spends its
//! time when a fleet bootstraps, so it has a connection of its own that is called directly, on a thread that may block.

use rusqlite::{CachedStatement, Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior, ffi, params};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::records::{CODE, DETAIL, DEV_ID, STRANGER_DETAIL, cut, dev_key};
use super::{BUSY, JOURNAL, Sqlite, seconds};
use crate::config::Retention;
use crate::store::{Entry, NewCredential, Record, StoreError};

/// After so many pages of 4 KiB the write-ahead log goes into the database: seldom enough that a page that many requests
/// change is written back once.
const CHECKPOINT: u32 = 1500;
/// The page cache, in KiB: enough for the pages that many devices change in turn.
const CACHE: i32 = 16_384;

/// How many credentials that were never used stay valid (spec 2.4, Profile P-4).
const UNUSED: u32 = 4;

/// The connection.
pub(super) struct Batches {
    connection: Mutex<Connection>,
    bounds: Retention,
}

/// The devices whose rows changed.
type Changed = Vec<i64>;

impl Sqlite {
    pub(super) async fn keep_all(&self, entries: Vec<Entry>) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        let (results, changed) = self.in_turn(move |batches| batches.keep(&entries)).await?;
        changed.into_iter().for_each(|device| self.enrolled.forget(device));
        Ok(results)
    }

    pub(super) async fn insert_credential(&self, new: NewCredential) -> Result<(), StoreError> {
        let changed = self.in_turn(move |batches| batches.give_out(&new)).await??;
        changed.into_iter().for_each(|device| self.enrolled.forget(device));
        Ok(())
    }

    async fn in_turn<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Batches) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let (batches, turn) = (Arc::clone(&self.batches), Arc::clone(&self.turn).lock_owned().await);
        let work = move || {
            let _turn = turn;
            work(&batches)
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| StoreError::Broken)
    }
}

impl Batches {
    /// Opens the file, which is there and of this version.
    pub(super) fn open(path: &Path, bounds: Retention) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        // What was given out has to outlive a power cut: each commit waits for the disk.
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT)?;
        connection.pragma_update(None, "journal_size_limit", JOURNAL)?;
        connection.pragma_update(None, "cache_size", -CACHE)?;
        Ok(Self { connection: Mutex::new(connection), bounds })
    }

    fn keep(&self, entries: &[Entry]) -> (Vec<Result<(), StoreError>>, Changed) {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let mut locked = match self.together(&mut connection, entries) {
            Ok(changed) => return (entries.iter().map(|_| Ok(())).collect(), changed),
            Err(error) => is_locked(&error),
        };
        // One of them cannot be kept, or none: each on its own shows which. If somebody else holds the database, that
        // was waited for, and all know now.
        let mut changed = Vec::new();
        let results = entries.iter().map(|entry| {
            if locked {
                return Err(StoreError::Locked);
            }
            let kept = self.together(&mut connection, std::slice::from_ref(entry));
            locked = kept.as_ref().is_err_and(is_locked);
            kept.map(|device| changed.extend(device))
        });
        (results.collect(), changed)
    }

    fn give_out(&self, new: &NewCredential) -> Result<Changed, StoreError> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = begin(&mut connection)?;
        let changed = Statements::of(&transaction)?.give_out(new).map_err(conflict)?;
        transaction.commit()?;
        Ok(changed.into_iter().collect())
    }

    fn together(&self, connection: &mut Connection, entries: &[Entry]) -> Result<Changed, StoreError> {
        let transaction = begin(connection)?;
        let mut changed = Vec::new();
        {
            let mut statements = Statements::of(&transaction)?;
            let start: i64 = statements.next_slot.query_row([], |row| row.get(0))?;
            let mut next = start;
            for Entry { record, gives } in entries {
                if let Some(credential) = gives {
                    changed.extend(statements.give_out(credential).map_err(conflict)?);
                }
                match record.device {
                    Some(device) => statements.record_known(device, record, self.bounds.per_device)?,
                    None => {
                        statements.record_stranger(next, record, self.bounds.strangers)?;
                        next = next.wrapping_add(1).max(0);
                    }
                }
            }
            if next != start {
                statements.move_ring.execute([next])?;
            }
        }
        transaction.commit()?;
        Ok(changed)
    }
}

/// Statements that are prepared once for the connection.
struct Statements<'a> {
    insert_credential: CachedStatement<'a>,
    drop_unused: CachedStatement<'a>,
    bootstrapped: CachedStatement<'a>,
    insert_request: CachedStatement<'a>,
    drop_requests: CachedStatement<'a>,
    insert_stranger: CachedStatement<'a>,
    next_slot: CachedStatement<'a>,
    move_ring: CachedStatement<'a>,
}

impl<'a> Statements<'a> {
    fn of(transaction: &'a Transaction<'_>) -> rusqlite::Result<Self> {
        let prepared = |sql| transaction.prepare_cached(sql);
        Ok(Self {
            insert_credential: prepared(
                "insert into credential (scheme, user, secret, device_id, source, label, profile, srv_id, made_at)
                 values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?,
            // Keeps the newest unused ones, and all that were used. Those of cards and files are each on their own.
            drop_unused: prepared(
                "delete from credential where device_id = ?1 and srv_id = ?2 and source = 'bootstrap-server'
                 and used_at is null and id <= (
                     select id from credential where device_id = ?1 and srv_id = ?2 and source = 'bootstrap-server'
                     and used_at is null order by id desc limit 1 offset ?3)",
            )?,
            // A device that was only known is bootstrapped now; one that is managed stays so.
            bootstrapped: prepared(
                "update device set state = 'bootstrapped', source = ?1, srv_id = ?2 where id = ?3
                 and state <> 'managed' and (state <> 'bootstrapped' or source is not ?1 or srv_id is not ?2)",
            )?,
            insert_request: prepared(
                "insert into request (device_id, dev_key, at, endpoint, status, code, dev_id, remote, detail)
                 values (?1, (select ?2 from device where id = ?1 and dev_id is not ?10), ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?,
            drop_requests: prepared(
                "delete from request where device_id = ?1 and id <=
                 (select id from request where device_id = ?1 order by id desc limit 1 offset ?2)",
            )?,
            insert_stranger: prepared(
                "insert or replace into stranger
                 (slot, dev_key, number, at, endpoint, status, code, dev_id, remote, detail)
                 values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?,
            next_slot: prepared("select next from ring")?,
            move_ring: prepared("update ring set next = ?1")?,
        })
    }

    /// Keeps a credential; gives the device whose row changed.
    fn give_out(&mut self, new: &NewCredential) -> rusqlite::Result<Option<i64>> {
        self.insert_credential.execute(params![
            new.scheme.as_str(),
            new.user,
            new.secret,
            new.device,
            new.source.as_str(),
            new.label,
            new.profile,
            new.srv_id,
            seconds(new.at),
        ])?;
        let Some(device) = new.device else { return Ok(None) };
        self.drop_unused.execute(params![device, new.srv_id, UNUSED])?;
        let changed = self.bootstrapped.execute(params![new.source.as_str(), new.srv_id, device])?;
        Ok((changed > 0).then_some(device))
    }

    fn record_known(&mut self, device: i64, record: &Record, kept: u32) -> rusqlite::Result<()> {
        self.insert_request.execute(params![
            device,
            record.dev_id.as_deref().map(dev_key),
            seconds(record.at),
            record.endpoint.as_str(),
            record.status,
            cut(&record.code, CODE),
            record.dev_id.as_deref().map(|dev_id| cut(dev_id, 2 * DEV_ID)),
            record.remote,
            cut(&record.detail, DETAIL),
            record.dev_id,
        ])?;
        self.drop_requests.execute(params![device, kept])?;
        Ok(())
    }

    fn record_stranger(&mut self, number: i64, record: &Record, size: u32) -> rusqlite::Result<()> {
        self.insert_stranger.execute(params![
            number % i64::from(size.max(1)),
            record.dev_id.as_deref().map(dev_key),
            number,
            seconds(record.at),
            record.endpoint.as_str(),
            record.status,
            cut(&record.code, CODE),
            record.dev_id.as_deref().map(|dev_id| cut(dev_id, DEV_ID)),
            cut(&record.remote, DEV_ID),
            cut(&record.detail, STRANGER_DETAIL),
        ])?;
        Ok(())
    }
}

fn begin(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

fn is_locked(error: &StoreError) -> bool {
    matches!(error, StoreError::Batch(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy))
}

fn conflict(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error() {
        Some(ffi::Error { code: ErrorCode::ConstraintViolation, extended_code: ffi::SQLITE_CONSTRAINT_UNIQUE }) => {
            StoreError::Conflict("this user was given out before".to_owned())
        }
        Some(_) | None => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Endpoint;
    use crate::store::contract::BOUNDS;
    use omadm_core::time::Timestamp;
    use std::time::{Duration, Instant};

    #[tokio::test]
    async fn a_locked_database_is_waited_for_once_and_not_for_each_request() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("omadm.db");
        Sqlite::open(&path, BOUNDS).await.unwrap();
        let (batches, other) = (Batches::open(&path, BOUNDS).unwrap(), Connection::open(&path).unwrap());
        batches.connection.lock().unwrap().busy_timeout(Duration::from_millis(200)).unwrap();
        let record = Record {
            at: Timestamp(1_800_000_000),
            endpoint: Endpoint::Bootstrap,
            device: None,
            dev_id: None,
            remote: "192.0.2.1".to_owned(),
            status: Some(401),
            code: "no-credentials".to_owned(),
            detail: "it shows no credentials".to_owned(),
        };
        let entries: Vec<Entry> = (0..100).map(|_| record.clone().into()).collect();
        other.execute_batch("begin immediate").unwrap();
        let start = Instant::now();
        let (results, _) = batches.keep(&entries);
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        assert!(results.len() == 100 && results.iter().all(|kept| matches!(kept, Err(StoreError::Locked))));
        other.execute_batch("rollback").unwrap();
        assert!(batches.keep(&entries).0.iter().all(Result::is_ok));
    }
}
