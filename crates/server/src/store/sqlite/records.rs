//! Records of requests, within bounds: the last of each device, and one ring for everybody else.

use omadm_core::time::Timestamp;
use sha2::{Digest, Sha256};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::sessions::end_idle;
use super::{Sqlite, seconds, time};
use crate::dm::IDLE;
use crate::store::{Endpoint, Recorded, StoreError};

/// How many bytes of a claimed DevID are kept.
pub(super) const DEV_ID: usize = 64;
/// How many bytes of a sentence about a stranger are kept; the ring's size depends on it.
pub(super) const STRANGER_DETAIL: usize = 128;
/// How many bytes of a sentence about a device are kept.
pub(super) const DETAIL: usize = 400;
/// How many bytes of a reason code are kept.
pub(super) const CODE: usize = 32;
/// Seconds of a day.
const DAY: u64 = 86_400;

impl Sqlite {
    pub(super) async fn records_of(
        &self,
        device: Option<i64>,
        dev_id: &str,
        limit: u32,
    ) -> Result<Vec<Recorded>, StoreError> {
        // Each kind has its own limit: what others claim pushes nothing of the device's own out of sight.
        let mut known = sqlx::query(
            "select *, true as known from request
                 where device_id = coalesce(?, (select id from device where dev_id = ?)) order by id desc limit ?",
        )
        .bind(device)
        .bind(dev_id)
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
        let _turn = self.turn.lock().await;
        sqlx::query("pragma incremental_vacuum(1000)").execute(&self.write).await?;
        Ok(())
    }
}

/// Eight bytes stand for a DevID in the indexes, however long it is.
pub(super) fn dev_key(dev_id: &str) -> i64 {
    let digest = Sha256::digest(dev_id.as_bytes());
    digest.iter().take(8).fold(0, |key, byte| (key << 8) | i64::from(*byte))
}

/// The text, or as much of it as fits, at a character's boundary.
pub(super) fn cut(text: &str, most: usize) -> &str {
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
