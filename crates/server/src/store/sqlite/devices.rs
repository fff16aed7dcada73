//! Devices.

use omadm_core::ids::DevId;
use omadm_core::reason::Method;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::{Sqlite, conflict, json, seconds, time, time_or_none};
use crate::store::{Device, DeviceState, NewDevice, StoreError};

impl Sqlite {
    pub(super) async fn upsert_device(&self, new: NewDevice) -> Result<Device, StoreError> {
        let (psk_identity, psk) = new.psk.unzip();
        let mut tx = self.begin().await?;
        sqlx::query(
            "insert into device (dev_id, user, enrolment, psk_identity, psk, key_digest, state, added_at)
             values (?, ?, ?, ?, ?, ?, 'known', ?)
             on conflict (dev_id) do update set user = excluded.user, enrolment = excluded.enrolment,
             psk_identity = excluded.psk_identity, psk = excluded.psk, key_digest = excluded.key_digest,
             factory_run = null",
        )
        .bind(new.dev_id.as_str())
        .bind(&new.user)
        .bind(new.enrolment)
        .bind(psk_identity)
        .bind(psk)
        .bind(new.key_digest.map(|digest| digest.to_vec()))
        .bind(seconds(new.at))
        .execute(&mut *tx)
        .await
        .map_err(|error| conflict(error, "another device enrols by this user, identity or certificate"))?;
        let device = by_dev_id(&mut tx, new.dev_id.as_str()).await?;
        tx.commit().await?;
        if let Some(device) = &device {
            self.enrolled.forget(device.id);
        }
        device.ok_or_else(|| StoreError::Corrupt("the device that was just added is gone".into()))
    }

    pub(super) async fn device_by_dev_id(&self, dev_id: &DevId) -> Result<Option<Device>, StoreError> {
        let mut connection = self.read.acquire().await?;
        by_dev_id(&mut connection, dev_id.as_str()).await
    }

    pub(super) async fn page_of_devices(&self, after: Option<&str>, limit: u32) -> Result<Vec<Device>, StoreError> {
        let rows = sqlx::query("select * from device where dev_id > ? order by dev_id limit ?")
            .bind(after.unwrap_or_default())
            .bind(limit)
            .fetch_all(&self.read)
            .await?;
        rows.iter().map(device).collect()
    }

    pub(super) async fn device_by_user(&self, user: &str) -> Result<Option<(Device, Vec<u8>)>, StoreError> {
        let before = self.enrolled.before();
        // Without DevInfo: reading it would take time by which a known user could be told from an unknown one.
        let row = sqlx::query(
            "select id, dev_id, user, enrolment, state, source, srv_id, null as devinfo, added_at, blocked_at
             from device where user = ? and enrolment is not null",
        )
        .bind(user)
        .fetch_optional(&self.read)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let found = (device(&row)?, row.try_get("enrolment")?);
        self.enrolled.remember(&before, &found);
        Ok(Some(found))
    }

    pub(super) async fn device_by_psk(&self, identity: &str) -> Result<Option<(Device, Vec<u8>)>, StoreError> {
        // Without DevInfo, as above.
        let row = sqlx::query(
            "select id, dev_id, user, psk, state, source, srv_id, null as devinfo, added_at, blocked_at
             from device where psk_identity = ? and psk is not null",
        )
        .bind(identity)
        .fetch_optional(&self.read)
        .await?;
        row.map(|row| Ok((device(&row)?, row.try_get("psk")?))).transpose()
    }

    pub(super) async fn device_by_key(&self, digest: [u8; 32]) -> Result<Option<Device>, StoreError> {
        let row = sqlx::query("select * from device where key_digest = ?")
            .bind(digest.to_vec())
            .fetch_optional(&self.read)
            .await?;
        row.as_ref().map(device).transpose()
    }

    pub(super) async fn devices_by_state(&self) -> Result<Vec<(DeviceState, u64)>, StoreError> {
        let rows = sqlx::query("select state, count(*) as n from device group by state").fetch_all(&self.read).await?;
        rows.iter()
            .map(|row| {
                let count = u64::try_from(row.try_get::<i64, _>("n")?).unwrap_or(0);
                Ok((DeviceState::from_word(row.try_get("state")?)?, count))
            })
            .collect()
    }
}

pub(super) async fn by_dev_id(connection: &mut SqliteConnection, dev_id: &str) -> Result<Option<Device>, StoreError> {
    let row = sqlx::query("select * from device where dev_id = ?").bind(dev_id).fetch_optional(connection).await?;
    row.as_ref().map(device).transpose()
}

pub(super) async fn by_id(connection: &mut SqliteConnection, id: i64) -> Result<Option<Device>, StoreError> {
    let row = sqlx::query("select * from device where id = ?").bind(id).fetch_optional(connection).await?;
    row.as_ref().map(device).transpose()
}

pub(super) fn method(word: &str) -> Result<Method, StoreError> {
    Method::ORDER
        .into_iter()
        .find(|method| method.as_str() == word)
        .ok_or_else(|| StoreError::Corrupt(format!("`{word}` is no method")))
}

fn device(row: &SqliteRow) -> Result<Device, StoreError> {
    let dev_id: String = row.try_get("dev_id")?;
    let source: Option<String> = row.try_get("source")?;
    let devinfo: Option<String> = row.try_get("devinfo")?;
    Ok(Device {
        id: row.try_get("id")?,
        dev_id: dev_id.parse().map_err(|error| StoreError::Corrupt(format!("{error}")))?,
        user: row.try_get("user")?,
        state: DeviceState::from_word(row.try_get("state")?)?,
        source: source.as_deref().map(method).transpose()?,
        srv_id: row.try_get("srv_id")?,
        devinfo: devinfo.as_deref().map(json).transpose()?,
        added_at: time(row, "added_at")?,
        blocked_at: time_or_none(row, "blocked_at")?,
    })
}
