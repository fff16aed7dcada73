//! Sessions, each step one transaction.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::credentials::mark_used;
use super::jobs::{hand_back, insert, insert_items, mark_done, mark_sent, waiting};
use super::{Sqlite, json, seconds, time, time_or_none, to_json};
use crate::store::{DeviceState, End, JobRow, NewSession, Preparation, SessionRow, Step, StoreError};

/// How many sessions of a device are kept.
const KEPT: u32 = 20;
/// How many alerts and how many answered commands of a session are kept.
const PER_SESSION: usize = 256;

impl Sqlite {
    pub(super) async fn prepare(&self, preparation: Preparation) -> Result<Vec<JobRow>, StoreError> {
        let mut tx = self.begin().await?;
        let older: Vec<i64> = sqlx::query_scalar(
            "update session set ended_at = ?, outcome = 'a newer session of the account took its place'
             where device_id = ? and account = ? and ended_at is null returning id",
        )
        .bind(seconds(preparation.at))
        .bind(preparation.device)
        .bind(&preparation.account)
        .fetch_all(&mut *tx)
        .await?;
        for session in older {
            hand_back(&mut tx, session, seconds(preparation.at)).await?;
        }
        if let Some(job) = preparation.due {
            let queued: Option<i64> =
                sqlx::query_scalar("select id from job where device_id = ? and kind = ? and state = 'waiting' limit 1")
                    .bind(preparation.device)
                    .bind(job.kind.as_str())
                    .fetch_optional(&mut *tx)
                    .await?;
            if queued.is_none() {
                insert(&mut tx, &job).await?;
            }
        }
        let jobs = waiting(&mut tx, preparation.device, preparation.limit).await?;
        tx.commit().await?;
        Ok(jobs)
    }

    pub(super) async fn insert_session(&self, new: NewSession) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let at = seconds(new.at);
        let id: i64 = sqlx::query_scalar(
            "insert into session (device_id, user, account, cookie, version, state, alerts, commands, agreed,
             started_at, touched_at, ended_at, outcome)
             values (?, ?, ?, ?, 0, ?, ?, '[]', 0, ?, ?, ?, ?) returning id",
        )
        .bind(new.device)
        .bind(&new.user)
        .bind(&new.account)
        .bind(new.cookie.to_vec())
        .bind(&new.state)
        .bind(to_json(&new.alerts)?)
        .bind(at)
        .bind(at)
        .bind(new.ended.then_some(at))
        .bind(if new.ended { "ended" } else { "open" })
        .fetch_one(&mut *tx)
        .await?;
        if !mark_sent(&mut tx, id, &new.sent).await? {
            return Ok(false);
        }
        insert_items(&mut tx, &new.items).await?;
        if let Some(credential) = new.credential {
            mark_used(&mut tx, new.device, credential, at).await?;
        }
        sqlx::query(
            "delete from session where device_id = ?1 and ended_at is not null and id not in
             (select id from session where device_id = ?1 order by id desc limit ?2)",
        )
        .bind(new.device)
        .bind(KEPT)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        self.enrolled.forget(new.device);
        Ok(true)
    }

    pub(super) async fn session_of_cookie(&self, cookie: [u8; 32]) -> Result<Option<SessionRow>, StoreError> {
        let row = sqlx::query("select * from session where cookie = ?")
            .bind(cookie.to_vec())
            .fetch_optional(&self.read)
            .await?;
        row.as_ref().map(session).transpose()
    }

    pub(super) async fn session_of_user(&self, device: i64, user: &str) -> Result<Option<SessionRow>, StoreError> {
        let row = sqlx::query("select * from session where device_id = ? and user = ? order by id desc limit 1")
            .bind(device)
            .bind(user)
            .fetch_optional(&self.read)
            .await?;
        row.as_ref().map(session).transpose()
    }

    pub(super) async fn sessions_of(&self, device: i64, limit: u32) -> Result<Vec<SessionRow>, StoreError> {
        let rows = sqlx::query("select * from session where device_id = ? order by id desc limit ?")
            .bind(device)
            .bind(limit)
            .fetch_all(&self.read)
            .await?;
        rows.iter().map(session).collect()
    }

    pub(super) async fn advance(&self, step: Step) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let at = seconds(step.at);
        let row = sqlx::query("select * from session where id = ? and version = ? and ended_at is null")
            .bind(step.session)
            .bind(step.version)
            .fetch_optional(&mut *tx)
            .await?;
        let Some(row) = row else { return Ok(false) };
        let mut old = session(&row)?;
        old.alerts.extend(step.alerts);
        old.alerts.truncate(PER_SESSION);
        old.commands.extend(step.commands);
        old.commands.truncate(PER_SESSION);
        let agreed = old.agreed || step.agreed;
        let outcome = match &step.end {
            None => "open",
            Some(End::Well) => "ended",
            Some(End::Broken(why)) => why,
        };
        sqlx::query(
            "update session set version = version + 1, state = ?, alerts = ?, commands = ?, agreed = ?,
             touched_at = ?, ended_at = ?, outcome = ?, cookie = coalesce(?, cookie) where id = ?",
        )
        .bind(&step.state)
        .bind(to_json(&old.alerts)?)
        .bind(to_json(&old.commands)?)
        .bind(agreed)
        .bind(at)
        .bind(step.end.as_ref().map(|_| at))
        .bind(outcome)
        .bind(step.cookie.map(|digest| digest.to_vec()))
        .bind(old.id)
        .execute(&mut *tx)
        .await?;
        for (job, results) in &step.done {
            mark_done(&mut tx, old.device, *job, results, at).await?;
        }
        if !mark_sent(&mut tx, old.id, &step.sent).await? {
            return Ok(false);
        }
        insert_items(&mut tx, &step.items).await?;
        if let Some(devinfo) = &step.devinfo {
            sqlx::query("update device set devinfo = ? where id = ?")
                .bind(to_json(devinfo)?)
                .bind(old.device)
                .execute(&mut *tx)
                .await?;
        }
        match &step.end {
            None => {}
            Some(End::Well) if agreed => set_state(&mut tx, old.device, DeviceState::Managed).await?,
            Some(End::Well) => {}
            Some(End::Broken(_)) => hand_back(&mut tx, old.id, at).await?,
        }
        tx.commit().await?;
        self.enrolled.forget(old.device);
        Ok(true)
    }
}

/// Ends the sessions that nothing was heard of since; what was out waits again.
pub(super) async fn end_idle(connection: &mut SqliteConnection, at: i64, since: i64) -> Result<(), StoreError> {
    let idle: Vec<i64> = sqlx::query_scalar(
        "update session set ended_at = ?, outcome = 'nothing was heard for ten minutes'
         where ended_at is null and touched_at < ? returning id",
    )
    .bind(at)
    .bind(since)
    .fetch_all(&mut *connection)
    .await?;
    for session in idle {
        hand_back(connection, session, at).await?;
    }
    Ok(())
}

async fn set_state(connection: &mut SqliteConnection, device: i64, state: DeviceState) -> Result<(), StoreError> {
    sqlx::query("update device set state = ? where id = ?")
        .bind(state.as_str())
        .bind(device)
        .execute(connection)
        .await?;
    Ok(())
}

fn session(row: &SqliteRow) -> Result<SessionRow, StoreError> {
    Ok(SessionRow {
        id: row.try_get("id")?,
        device: row.try_get("device_id")?,
        user: row.try_get("user")?,
        version: row.try_get("version")?,
        state: row.try_get("state")?,
        alerts: json(row.try_get("alerts")?)?,
        commands: json(row.try_get("commands")?)?,
        agreed: row.try_get("agreed")?,
        started_at: time(row, "started_at")?,
        touched_at: time(row, "touched_at")?,
        ended_at: time_or_none(row, "ended_at")?,
        outcome: row.try_get("outcome")?,
    })
}
