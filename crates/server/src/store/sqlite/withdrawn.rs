//! Devices that an operator removes or blocks, and credentials that are withdrawn.

use omadm_core::ids::DevId;
use omadm_core::time::Timestamp;

use super::devices::by_dev_id;
use super::{Sqlite, seconds, time};
use crate::store::{Device, StoreError};

impl Sqlite {
    pub(super) async fn delete_device(&self, dev_id: &DevId, at: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        // Everything else refers to the device and goes with it, so that nothing it was given is left to nobody.
        let id: Option<i64> = sqlx::query_scalar("delete from device where dev_id = ? returning id")
            .bind(dev_id.as_str())
            .fetch_optional(&mut *tx)
            .await?;
        // What a factory run made for it, and it has not come with yet, would make it known again.
        let loose = sqlx::query(
            "delete from credential
             where issue is not null and substr(issue, instr(issue, '/') + 1) = ? and device_id is null",
        )
        .bind(dev_id.as_str())
        .execute(&mut *tx)
        .await?;
        if id.is_none() && loose.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query(
            "insert into removal (dev_id, at) values (?, ?) on conflict (dev_id) do update set at = excluded.at",
        )
        .bind(dev_id.as_str())
        .bind(seconds(at))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        id.into_iter().for_each(|id| self.enrolled.forget(id));
        Ok(true)
    }

    pub(super) async fn withdraw_credential(&self, user: &str) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let withdrawn = sqlx::query("delete from credential where user = ? and source <> 'bootstrap-server'")
            .bind(user)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(withdrawn.rows_affected() > 0)
    }

    pub(super) async fn removal_of(&self, dev_id: &DevId) -> Result<Option<Timestamp>, StoreError> {
        let row = sqlx::query("select at from removal where dev_id = ?")
            .bind(dev_id.as_str())
            .fetch_optional(&self.read)
            .await?;
        row.as_ref().map(|row| time(row, "at")).transpose()
    }

    pub(super) async fn set_blocked(
        &self,
        dev_id: &DevId,
        since: Option<Timestamp>,
    ) -> Result<Option<Device>, StoreError> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "update device set blocked_at = case when ?1 is null then null else coalesce(blocked_at, ?1) end
             where dev_id = ?2",
        )
        .bind(since.map(seconds))
        .bind(dev_id.as_str())
        .execute(&mut *tx)
        .await?;
        let device = by_dev_id(&mut tx, dev_id.as_str()).await?;
        tx.commit().await?;
        if let Some(device) = &device {
            self.enrolled.forget(device.id);
        }
        Ok(device)
    }
}
