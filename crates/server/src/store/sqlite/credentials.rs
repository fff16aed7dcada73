//! Credentials that were given out, and which of them are valid.

use omadm_core::ids::DevId;
use omadm_core::reason::Method;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::devices::{by_dev_id, by_id, method};
use super::{Sqlite, conflict, seconds, time, time_or_none};
use crate::store::{Binding, Credential, CredentialScheme, NewDevice, StoreError};

impl Sqlite {
    pub(super) async fn credential_by_user(&self, user: &str) -> Result<Option<Credential>, StoreError> {
        let mut connection = self.read.acquire().await?;
        let row =
            sqlx::query("select * from credential where user = ?").bind(user).fetch_optional(&mut *connection).await?;
        let Some(row) = row else { return Ok(None) };
        credential(&mut connection, &row).await.map(Some)
    }

    pub(super) async fn credentials_of_cards_and_files(&self, limit: u32) -> Result<Vec<Credential>, StoreError> {
        let mut connection = self.read.acquire().await?;
        let rows = sqlx::query("select * from credential where source <> 'bootstrap-server' order by id desc limit ?")
            .bind(limit)
            .fetch_all(&mut *connection)
            .await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            found.push(credential(&mut connection, row).await?);
        }
        Ok(found)
    }

    pub(super) async fn credentials_of_device(&self, device: i64, limit: u32) -> Result<Vec<Credential>, StoreError> {
        let mut connection = self.read.acquire().await?;
        let rows = sqlx::query("select * from credential where device_id = ? order by id desc limit ?")
            .bind(device)
            .bind(limit)
            .fetch_all(&mut *connection)
            .await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            found.push(credential(&mut connection, row).await?);
        }
        Ok(found)
    }

    pub(super) async fn bind_credential(&self, id: i64, new: NewDevice) -> Result<Binding, StoreError> {
        let gone = || StoreError::Conflict("the credential is no longer valid".into());
        let mut tx = self.begin().await?;
        let row = sqlx::query("select device_id, source, srv_id, issue from credential where id = ?")
            .bind(id)
            .fetch_optional(&mut *tx)
            .await?
            .ok_or_else(gone)?;
        if let Some(bound) = row.try_get::<Option<i64>, _>("device_id")? {
            return by_id(&mut tx, bound).await?.map(Binding::To).ok_or_else(gone);
        }
        if let Some(other) = made_for(&row)?.filter(|made_for| *made_for != new.dev_id) {
            return Ok(Binding::MadeFor(other));
        }
        let known = by_dev_id(&mut tx, new.dev_id.as_str()).await?;
        if let Some(since) = known.and_then(|known| known.blocked_at) {
            return Ok(Binding::Blocked(since));
        }
        sqlx::query(
            "insert into device (dev_id, user, enrolment, state, added_at) values (?, ?, ?, 'known', ?)
             on conflict (dev_id) do nothing",
        )
        .bind(new.dev_id.as_str())
        .bind(&new.user)
        .bind(new.enrolment)
        .bind(seconds(new.at))
        .execute(&mut *tx)
        .await
        .map_err(|error| conflict(error, "another device enrols by this user"))?;
        let device = by_dev_id(&mut tx, new.dev_id.as_str()).await?.ok_or_else(gone)?;
        sqlx::query("update credential set device_id = ? where id = ?")
            .bind(device.id)
            .bind(id)
            .execute(&mut *tx)
            .await?;
        bootstrapped(&mut tx, device.id, method(row.try_get("source")?)?, row.try_get("srv_id")?).await?;
        let device = by_id(&mut tx, device.id).await?.ok_or_else(gone)?;
        tx.commit().await?;
        self.enrolled.forget(device.id);
        Ok(Binding::To(device))
    }
}

/// The device that a factory run made a credential for, from its row.
pub(super) fn made_for(row: &SqliteRow) -> Result<Option<DevId>, StoreError> {
    let issue: Option<String> = row.try_get("issue")?;
    let dev_id = issue.as_deref().and_then(|issue| issue.split_once('/')).map(|(_, dev_id)| dev_id.parse());
    dev_id.transpose().map_err(|error| StoreError::Corrupt(format!("{error}")))
}

/// The credential was used in a session: the one used before it is no longer valid (spec 2.4, Profile P-4).
pub(super) async fn mark_used(
    connection: &mut SqliteConnection,
    device: i64,
    id: i64,
    at: i64,
) -> Result<(), StoreError> {
    let row = sqlx::query("update credential set used_at = ? where id = ? returning source, srv_id")
        .bind(at)
        .bind(id)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else { return Ok(()) };
    let (source, srv_id): (String, String) = (row.try_get("source")?, row.try_get("srv_id")?);
    if source == Method::BootstrapServer.as_str() {
        sqlx::query(
            "delete from credential where device_id = ? and srv_id = ? and source = 'bootstrap-server'
             and used_at is not null and id <> ?",
        )
        .bind(device)
        .bind(&srv_id)
        .bind(id)
        .execute(&mut *connection)
        .await?;
    }
    // One that was imported is only known until it comes.
    sqlx::query(
        "update device set source = ?, srv_id = ?, state = case state when 'known' then 'bootstrapped' else state end
         where id = ?",
    )
    .bind(source)
    .bind(srv_id)
    .bind(device)
    .execute(&mut *connection)
    .await?;
    Ok(())
}

/// A device that was only known is bootstrapped now; one that is managed stays so.
async fn bootstrapped(
    connection: &mut SqliteConnection,
    device: i64,
    source: Method,
    srv_id: &str,
) -> Result<(), StoreError> {
    sqlx::query("update device set state = 'bootstrapped', source = ?, srv_id = ? where id = ? and state <> 'managed'")
        .bind(source.as_str())
        .bind(srv_id)
        .bind(device)
        .execute(connection)
        .await?;
    Ok(())
}

async fn credential(connection: &mut SqliteConnection, row: &SqliteRow) -> Result<Credential, StoreError> {
    let device = match row.try_get::<Option<i64>, _>("device_id")? {
        Some(id) => by_id(connection, id).await?,
        None => None,
    };
    Ok(Credential {
        id: row.try_get("id")?,
        scheme: CredentialScheme::from_word(row.try_get("scheme")?)?,
        user: row.try_get("user")?,
        secret: row.try_get("secret")?,
        device,
        source: method(row.try_get("source")?)?,
        made_for: made_for(row)?,
        label: row.try_get("label")?,
        profile: row.try_get("profile")?,
        srv_id: row.try_get("srv_id")?,
        made_at: time(row, "made_at")?,
        used_at: time_or_none(row, "used_at")?,
    })
}
