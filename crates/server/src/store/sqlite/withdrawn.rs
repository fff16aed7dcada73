//! Devices that an operator removes or blocks.

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
        let Some(id) = id else { return Ok(false) };
        sqlx::query(
            "insert into removal (dev_id, at) values (?, ?) on conflict (dev_id) do update set at = excluded.at",
        )
        .bind(dev_id.as_str())
        .bind(seconds(at))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        self.enrolled.forget(id);
        Ok(true)
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
