//! Jobs, and their places in the data repository.

use omadm_core::time::Timestamp;
use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{Sqlite, json, seconds, time, time_or_none, to_json};
use crate::store::{Item, JobKind, JobRow, JobState, NewJob, StoreError, Upload};

/// After so many sessions that broke while a job was out it is given up.
const TRIES: u32 = 5;
/// How many finished jobs of a device are kept.
const KEPT: u32 = 20;

impl Sqlite {
    pub(super) async fn insert_job(&self, new: NewJob) -> Result<i64, StoreError> {
        let mut tx = self.begin().await?;
        let id = insert(&mut tx, &new).await?;
        tx.commit().await?;
        Ok(id)
    }

    pub(super) async fn jobs_waiting(&self, device: i64, limit: u32) -> Result<Vec<JobRow>, StoreError> {
        let mut connection = self.read.acquire().await?;
        waiting(&mut connection, device, limit).await
    }

    pub(super) async fn jobs_of(&self, device: i64, limit: u32) -> Result<Vec<JobRow>, StoreError> {
        let rows = sqlx::query("select * from job where device_id = ? order by id desc limit ?")
            .bind(device)
            .bind(limit)
            .fetch_all(&self.read)
            .await?;
        rows.iter().map(job).collect()
    }

    pub(super) async fn job_of(&self, device: i64, id: i64) -> Result<Option<(JobRow, Vec<Upload>)>, StoreError> {
        let row = sqlx::query("select * from job where device_id = ? and id = ?")
            .bind(device)
            .bind(id)
            .fetch_optional(&self.read)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let rows = sqlx::query(
            "select name, content from item where job_id = ? and upload and content is not null order by used_at",
        )
        .bind(id)
        .fetch_all(&self.read)
        .await?;
        let uploads = rows
            .iter()
            .map(|row| Ok(Upload { name: row.try_get("name")?, content: row.try_get("content")? }))
            .collect::<Result<_, StoreError>>()?;
        Ok(Some((job(&row)?, uploads)))
    }

    pub(super) async fn item_of(&self, token: &str) -> Result<Option<Item>, StoreError> {
        let row = sqlx::query("select * from item where token = ?").bind(token).fetch_optional(&self.read).await?;
        row.map(|row| {
            Ok(Item {
                token: row.try_get("token")?,
                device: row.try_get("device_id")?,
                job: row.try_get("job_id")?,
                name: row.try_get("name")?,
                upload: row.try_get("upload")?,
                content: row.try_get("content")?,
                made_at: time(&row, "made_at")?,
                used_at: time_or_none(&row, "used_at")?,
            })
        })
        .transpose()
    }

    pub(super) async fn mark_item(
        &self,
        token: &str,
        content: Option<Vec<u8>>,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let done = sqlx::query(
            "update item set used_at = ?, content = coalesce(?, content) where token = ? and used_at is null",
        )
        .bind(seconds(at))
        .bind(content)
        .bind(token)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(done.rows_affected() == 1)
    }
}

pub(super) async fn insert(connection: &mut SqliteConnection, new: &NewJob) -> Result<i64, StoreError> {
    let id = sqlx::query_scalar(
        "insert into job (device_id, kind, commands, data, state, tries, made_at)
         values (?, ?, ?, ?, 'waiting', 0, ?) returning id",
    )
    .bind(new.device)
    .bind(new.kind.as_str())
    .bind(to_json(&new.commands)?)
    .bind(to_json(&new.data)?)
    .bind(seconds(new.at))
    .fetch_one(connection)
    .await?;
    Ok(id)
}

pub(super) async fn waiting(
    connection: &mut SqliteConnection,
    device: i64,
    limit: u32,
) -> Result<Vec<JobRow>, StoreError> {
    let rows = sqlx::query("select * from job where device_id = ? and state = 'waiting' order by id limit ?")
        .bind(device)
        .bind(limit)
        .fetch_all(connection)
        .await?;
    rows.iter().map(job).collect()
}

/// False if one of the jobs does not wait any more.
pub(super) async fn mark_sent(
    connection: &mut SqliteConnection,
    session: i64,
    jobs: &[i64],
) -> Result<bool, StoreError> {
    for id in jobs {
        let done = sqlx::query(
            "update job set state = 'sent', session_id = ?, tries = tries + 1 where id = ? and state = 'waiting'",
        )
        .bind(session)
        .bind(id)
        .execute(&mut *connection)
        .await?;
        if done.rows_affected() != 1 {
            return Ok(false);
        }
    }
    Ok(true)
}

pub(super) async fn mark_done(
    connection: &mut SqliteConnection,
    device: i64,
    job: i64,
    results: &Value,
    at: i64,
) -> Result<(), StoreError> {
    sqlx::query("update job set state = 'done', results = ?, done_at = ? where id = ? and device_id = ?")
        .bind(to_json(results)?)
        .bind(at)
        .bind(job)
        .bind(device)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "delete from job where device_id = ?1 and state in ('done', 'failed') and id not in
         (select id from job where device_id = ?1 and state in ('done', 'failed') order by id desc limit ?2)",
    )
    .bind(device)
    .bind(KEPT)
    .execute(connection)
    .await?;
    Ok(())
}

/// The session broke: what was out waits again, with new tokens, unless it was out too often.
pub(super) async fn hand_back(connection: &mut SqliteConnection, session: i64, at: i64) -> Result<(), StoreError> {
    sqlx::query("delete from item where job_id in (select id from job where session_id = ? and state = 'sent')")
        .bind(session)
        .execute(&mut *connection)
        .await?;
    sqlx::query(
        "update job set state = case when tries >= ?1 then 'failed' else 'waiting' end,
         done_at = case when tries >= ?1 then ?2 end, session_id = null where session_id = ?3 and state = 'sent'",
    )
    .bind(TRIES)
    .bind(at)
    .bind(session)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn insert_items(connection: &mut SqliteConnection, items: &[Item]) -> Result<(), StoreError> {
    for item in items {
        sqlx::query(
            "insert into item (token, device_id, job_id, name, upload, content, made_at) values (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(&item.token)
        .bind(item.device)
        .bind(item.job)
        .bind(&item.name)
        .bind(item.upload)
        .bind(&item.content)
        .bind(seconds(item.made_at))
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

fn job(row: &SqliteRow) -> Result<JobRow, StoreError> {
    let results: Option<String> = row.try_get("results")?;
    Ok(JobRow {
        id: row.try_get("id")?,
        kind: JobKind::from_word(row.try_get("kind")?)?,
        commands: json(row.try_get("commands")?)?,
        data: json(row.try_get("data")?)?,
        state: JobState::from_word(row.try_get("state")?)?,
        tries: row.try_get("tries")?,
        results: results.as_deref().map(json).transpose()?,
        made_at: time(row, "made_at")?,
        done_at: time_or_none(row, "done_at")?,
    })
}
