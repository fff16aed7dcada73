//! What a factory run is given, and what its manifest tells.

use omadm_core::reason::Method;
use sqlx::{Row, SqliteConnection};

use super::credentials::made_for;
use super::devices::{by_dev_id, by_id};
use super::{Sqlite, seconds};
use crate::store::{
    CredentialScheme, FactoryDevice, FactoryIssue, FactoryOrder, Imported, NewCredential, NewDevice, StoreError,
};

/// A thing done, or a sentence why not.
type Done<T> = Result<Result<T, String>, StoreError>;

/// What is done about an enrolment.
enum Enrolling {
    /// The same run made one before.
    Again(String, Vec<u8>),
    /// The device is known, and has none.
    Known(i64, String),
    /// The device is not known.
    New,
}

impl Sqlite {
    pub(super) async fn issue_orders(
        &self,
        orders: Vec<FactoryOrder>,
    ) -> Result<Vec<Result<FactoryIssue, String>>, StoreError> {
        let mut tx = self.begin().await?;
        let (mut issued, mut changed) = (Vec::with_capacity(orders.len()), Vec::new());
        for order in orders {
            issued.push(issue(&mut tx, order, &mut changed).await?);
        }
        tx.commit().await?;
        changed.into_iter().for_each(|device| self.enrolled.forget(device));
        Ok(issued)
    }

    pub(super) async fn import_devices(
        &self,
        devices: Vec<FactoryDevice>,
    ) -> Result<Vec<Result<Imported, String>>, StoreError> {
        let mut tx = self.begin().await?;
        let (mut imported, mut changed) = (Vec::with_capacity(devices.len()), Vec::new());
        for device in devices {
            imported.push(import(&mut tx, device, &mut changed).await?);
        }
        tx.commit().await?;
        changed.into_iter().for_each(|device| self.enrolled.forget(device));
        Ok(imported)
    }
}

async fn issue(connection: &mut SqliteConnection, order: FactoryOrder, changed: &mut Vec<i64>) -> Done<FactoryIssue> {
    // What is to be written is known before anything is: a device gets all of it or nothing.
    let enrolling = match &order.enrolment {
        None => None,
        Some(new) => match enrolling(connection, new, &order.run).await? {
            Ok(enrolling) => Some(enrolling),
            Err(why) => return Ok(Err(why)),
        },
    };
    let credential = match order.credential {
        None => None,
        Some(new) => match give(connection, new, &format!("{}/{}", order.run, order.dev_id)).await? {
            Ok(credential) => Some(credential),
            Err(why) => return Ok(Err(why)),
        },
    };
    let enrolment = match (order.enrolment, enrolling) {
        (Some(new), Some(enrolling)) => Some(enrol(connection, new, enrolling, &order.run, changed).await?),
        (Some(_), None) | (None, _) => None,
    };
    Ok(Ok(FactoryIssue { credential, enrolment }))
}

async fn enrolling(connection: &mut SqliteConnection, new: &NewDevice, run: &str) -> Done<Enrolling> {
    let known = sqlx::query(
        "select id, user, enrolment, factory_run, psk is not null or key_digest is not null as other from device
         where dev_id = ?",
    )
    .bind(new.dev_id.as_str())
    .fetch_optional(&mut *connection)
    .await?;
    let Some(known) = known else {
        return Ok(if user_is_taken(connection, &new.user).await? {
            Err(format!("another device enrols by the user {}", new.user))
        } else {
            Ok(Enrolling::New)
        });
    };
    let user: String = known.try_get("user")?;
    let enrolment: Option<Vec<u8>> = known.try_get("enrolment")?;
    let made_by: Option<String> = known.try_get("factory_run")?;
    Ok(match (enrolment, known.try_get::<bool, _>("other")?) {
        (Some(sealed), _) if made_by.as_deref() == Some(run) => Ok(Enrolling::Again(user, sealed)),
        (None, false) => Ok(Enrolling::Known(known.try_get("id")?, user)),
        (Some(_), _) | (None, true) => {
            Err("it is known here and has what it enrols by, which a bundle with a new secret would take away"
                .to_owned())
        }
    })
}

async fn enrol(
    connection: &mut SqliteConnection,
    new: NewDevice,
    enrolling: Enrolling,
    run: &str,
    changed: &mut Vec<i64>,
) -> Result<(String, Vec<u8>), StoreError> {
    let sealed = new.enrolment.unwrap_or_default();
    match enrolling {
        Enrolling::Again(user, sealed) => Ok((user, sealed)),
        Enrolling::Known(id, user) => {
            sqlx::query("update device set enrolment = ?, factory_run = ? where id = ?")
                .bind(&sealed)
                .bind(run)
                .bind(id)
                .execute(connection)
                .await?;
            changed.push(id);
            Ok((user, sealed))
        }
        Enrolling::New => {
            sqlx::query(
                "insert into device (dev_id, user, enrolment, state, added_at, factory_run)
                 values (?, ?, ?, 'known', ?, ?)",
            )
            .bind(new.dev_id.as_str())
            .bind(&new.user)
            .bind(&sealed)
            .bind(seconds(new.at))
            .bind(run)
            .execute(connection)
            .await?;
            Ok((new.user, sealed))
        }
    }
}

/// Keeps a credential, unless the same was given before: then that one counts.
async fn give(connection: &mut SqliteConnection, new: NewCredential, issue: &str) -> Done<(String, Vec<u8>)> {
    let before = sqlx::query("select * from credential where issue = ?").bind(issue).fetch_optional(&mut *connection);
    if let Some(row) = before.await? {
        let is_bound = row.try_get::<Option<i64>, _>("device_id")?.is_some();
        if is_bound || row.try_get::<Option<i64>, _>("used_at")?.is_some() {
            return Ok(Err("this run made a credential for it before, which is in use by now".to_owned()));
        }
        let (scheme, profile): (&str, &str) = (row.try_get("scheme")?, row.try_get("profile")?);
        // A certificate's key is not kept here, so it cannot be given again.
        let again = scheme != CredentialScheme::X509.as_str()
            && (scheme, profile, row.try_get("srv_id")?) == (new.scheme.as_str(), &*new.profile, &*new.srv_id);
        if again {
            return Ok(Ok((row.try_get("user")?, row.try_get("secret")?)));
        }
        sqlx::query("delete from credential where issue = ?").bind(issue).execute(&mut *connection).await?;
    }
    sqlx::query(
        "insert into credential (scheme, user, secret, device_id, source, label, profile, srv_id, made_at, issue)
         values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(new.scheme.as_str())
    .bind(&new.user)
    .bind(&new.secret)
    .bind(new.device)
    .bind(new.source.as_str())
    .bind(&new.label)
    .bind(&new.profile)
    .bind(&new.srv_id)
    .bind(seconds(new.at))
    .bind(issue)
    .execute(connection)
    .await?;
    Ok(Ok((new.user, new.secret)))
}

async fn import(connection: &mut SqliteConnection, wanted: FactoryDevice, changed: &mut Vec<i64>) -> Done<Imported> {
    let FactoryDevice { device: new, credential } = wanted;
    let known = by_dev_id(connection, new.dev_id.as_str()).await?;
    let mut to_bind = None;
    if let Some(id) = credential {
        let row = sqlx::query("select device_id, srv_id, issue from credential where id = ?").bind(id);
        let Some(row) = row.fetch_optional(&mut *connection).await? else {
            return Ok(Err("its credential is no longer valid".to_owned()));
        };
        if let Some(other) = made_for(&row)?.filter(|made_for| *made_for != new.dev_id) {
            return Ok(Err(format!("its credential was made for {other}")));
        }
        match row.try_get::<Option<i64>, _>("device_id")? {
            None => to_bind = Some((id, row.try_get::<String, _>("srv_id")?)),
            Some(bound) if known.as_ref().is_some_and(|known| known.id == bound) => {}
            Some(bound) => {
                let other = by_id(connection, bound).await?.map(|other| other.dev_id.to_string()).unwrap_or_default();
                return Ok(Err(format!("its credential belongs to {other} already")));
            }
        }
    }
    let (id, added) = match known {
        Some(known) => (known.id, false),
        None if user_is_taken(connection, &new.user).await? => {
            return Ok(Err(format!("another device enrols by the user {}", new.user)));
        }
        None => {
            let row = sqlx::query(
                "insert into device (dev_id, user, state, added_at) values (?, ?, 'known', ?) returning id",
            )
            .bind(new.dev_id.as_str())
            .bind(&new.user)
            .bind(seconds(new.at))
            .fetch_one(&mut *connection)
            .await?;
            (row.try_get("id")?, true)
        }
    };
    let bound = to_bind.is_some();
    if let Some((credential, srv_id)) = to_bind {
        sqlx::query("update credential set device_id = ? where id = ?")
            .bind(id)
            .bind(credential)
            .execute(&mut *connection)
            .await?;
        // It is expected with this account, and has not come yet.
        sqlx::query("update device set source = ?, srv_id = ? where id = ? and state = 'known'")
            .bind(Method::Factory.as_str())
            .bind(srv_id)
            .bind(id)
            .execute(&mut *connection)
            .await?;
        changed.push(id);
    }
    Ok(Ok(match (added, bound) {
        (true, _) => Imported::Added,
        (false, true) => Imported::Bound,
        (false, false) => Imported::Unchanged,
    }))
}

async fn user_is_taken(connection: &mut SqliteConnection, user: &str) -> Result<bool, StoreError> {
    let found = sqlx::query("select 1 from device where user = ?").bind(user).fetch_optional(connection).await?;
    Ok(found.is_some())
}
