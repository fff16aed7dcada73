//! Records of requests, within bounds: the last of each device, and one ring for everybody else.

use omadm_core::time::Timestamp;
use sha2::{Digest, Sha256};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::sessions::end_idle;
use super::{Sqlite, seconds, time};
use crate::dm::IDLE;
use crate::store::{Endpoint, Record, Recorded, StoreError};

/// How many bytes of a claimed DevID are kept.
const DEV_ID: usize = 64;
/// How many bytes of a sentence about a stranger are kept; the ring's size depends on it.
const STRANGER_DETAIL: usize = 128;
/// How many bytes of a sentence about a device are kept.
const DETAIL: usize = 400;
/// How many bytes of a reason code are kept.
const CODE: usize = 32;
/// Seconds of a day.
const DAY: u64 = 86_400;

impl Sqlite {
    pub(super) async fn insert_records(&self, records: Vec<Record>) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let start: i64 = sqlx::query_scalar("select next from ring").fetch_one(&mut *tx).await?;
        let mut next = start;
        for record in &records {
            match record.device {
                Some(device) => insert_known(&mut tx, device, record, self.bounds.per_device).await?,
                None => {
                    insert_stranger(&mut tx, next, record, self.bounds.strangers).await?;
                    next = next.wrapping_add(1).max(0);
                }
            }
        }
        if next != start {
            sqlx::query("update ring set next = ?").bind(next).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    pub(super) async fn records_of(
        &self,
        device: Option<i64>,
        dev_id: &str,
        limit: u32,
    ) -> Result<Vec<Recorded>, StoreError> {
        // Each kind has its own limit: what others claim pushes nothing of the device's own out of sight.
        let mut known =
            sqlx::query("select *, true as known from request where device_id = ? order by id desc limit ?")
                .bind(device)
                .bind(limit)
                .fetch_all(&self.read)
                .await?;
        let others = sqlx::query(
            "select *, true as known from request where dev_key = ? and device_id is not ? order by id desc limit ?",
        )
        .bind(dev_key(dev_id))
        .bind(device)
        .bind(limit)
        .fetch_all(&self.read)
        .await?;
        known.extend(others);
        let claimed =
            sqlx::query("select *, false as known from stranger where dev_key = ? order by number desc limit ?")
                .bind(dev_key(dev_id))
                .bind(limit)
                .fetch_all(&self.read)
                .await?;
        merge(&known, &claimed, limit.saturating_mul(3))
    }

    pub(super) async fn newest_records(&self, limit: u32) -> Result<Vec<Recorded>, StoreError> {
        let known = sqlx::query("select *, true as known from request order by id desc limit ?")
            .bind(limit)
            .fetch_all(&self.read)
            .await?;
        // The ring's last rows stand before its next slot and, once it has gone round, at its end.
        let next: i64 = sqlx::query_scalar("select next from ring").fetch_one(&self.read).await?;
        let slot = next % i64::from(self.bounds.strangers.max(1));
        let mut strangers =
            sqlx::query("select *, false as known from stranger where slot < ? order by slot desc limit ?")
                .bind(slot)
                .bind(limit)
                .fetch_all(&self.read)
                .await?;
        let older = sqlx::query("select *, false as known from stranger where slot >= ? order by slot desc limit ?")
            .bind(slot)
            .bind(limit)
            .fetch_all(&self.read)
            .await?;
        strangers.extend(older);
        merge(&known, &strangers, limit)
    }

    pub(super) async fn drop_old(&self, now: Timestamp) -> Result<(), StoreError> {
        let oldest = seconds(Timestamp(now.0.saturating_sub(u64::from(self.bounds.days) * DAY)));
        let mut tx = self.begin().await?;
        sqlx::query("delete from request where at < ?").bind(oldest).execute(&mut *tx).await?;
        sqlx::query("delete from stranger where at < ?").bind(oldest).execute(&mut *tx).await?;
        // After a smaller ring was configured.
        sqlx::query("delete from stranger where slot >= ?").bind(self.bounds.strangers).execute(&mut *tx).await?;
        let count: i64 = sqlx::query_scalar("select count(*) from request").fetch_one(&mut *tx).await?;
        let surplus = count - i64::try_from(self.bounds.total).unwrap_or(i64::MAX);
        if surplus > 0 {
            sqlx::query("delete from request where id in (select id from request order by id limit ?)")
                .bind(surplus)
                .execute(&mut *tx)
                .await?;
        }
        end_idle(&mut tx, seconds(now), seconds(Timestamp(now.0.saturating_sub(IDLE)))).await?;
        tx.commit().await?;
        sqlx::query("pragma incremental_vacuum(1000)").execute(&self.write).await?;
        Ok(())
    }
}

async fn insert_known(
    connection: &mut SqliteConnection,
    device: i64,
    record: &Record,
    kept: u32,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert into request (device_id, dev_key, at, endpoint, status, code, dev_id, remote, detail)
         values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(device)
    .bind(record.dev_id.as_deref().map(dev_key))
    .bind(seconds(record.at))
    .bind(record.endpoint.as_str())
    .bind(record.status)
    .bind(cut(&record.code, CODE))
    .bind(record.dev_id.as_deref().map(|dev_id| cut(dev_id, 2 * DEV_ID)))
    .bind(&record.remote)
    .bind(cut(&record.detail, DETAIL))
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "delete from request where device_id = ?1 and id <=
         (select id from request where device_id = ?1 order by id desc limit 1 offset ?2)",
    )
    .bind(device)
    .bind(kept)
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert_stranger(
    connection: &mut SqliteConnection,
    number: i64,
    record: &Record,
    size: u32,
) -> Result<(), StoreError> {
    sqlx::query(
        "insert or replace into stranger (slot, dev_key, number, at, endpoint, status, code, dev_id, remote, detail)
         values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(number % i64::from(size.max(1)))
    .bind(record.dev_id.as_deref().map(dev_key))
    .bind(number)
    .bind(seconds(record.at))
    .bind(record.endpoint.as_str())
    .bind(record.status)
    .bind(cut(&record.code, CODE))
    .bind(record.dev_id.as_deref().map(|dev_id| cut(dev_id, DEV_ID)))
    .bind(cut(&record.remote, DEV_ID))
    .bind(cut(&record.detail, STRANGER_DETAIL))
    .execute(connection)
    .await?;
    Ok(())
}

/// Eight bytes stand for a DevID in the indexes, however long it is.
fn dev_key(dev_id: &str) -> i64 {
    let digest = Sha256::digest(dev_id.as_bytes());
    digest.iter().take(8).fold(0, |key, byte| (key << 8) | i64::from(*byte))
}

/// The text, or as much of it as fits, at a character's boundary.
fn cut(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}

fn merge(one: &[SqliteRow], other: &[SqliteRow], limit: u32) -> Result<Vec<Recorded>, StoreError> {
    let mut all = one.iter().chain(other).map(recorded).collect::<Result<Vec<_>, _>>()?;
    all.sort_by_key(|record| std::cmp::Reverse(record.at));
    all.truncate(limit as usize);
    Ok(all)
}

fn recorded(row: &SqliteRow) -> Result<Recorded, StoreError> {
    Ok(Recorded {
        at: time(row, "at")?,
        endpoint: Endpoint::from_word(row.try_get("endpoint")?)?,
        authenticated: row.try_get("known")?,
        dev_id: row.try_get("dev_id")?,
        remote: row.try_get("remote")?,
        status: row.try_get("status")?,
        code: row.try_get("code")?,
        detail: row.try_get("detail")?,
    })
}
