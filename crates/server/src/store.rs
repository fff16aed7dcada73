//! What the server remembers. One trait; SQLite is its first implementation, and `contract` the tests that every
//! implementation has to pass.

#[cfg(test)]
pub(crate) mod contract;
mod rows;
pub(crate) mod sqlite;

use std::future::Future;
use std::pin::Pin;

use omadm_core::ids::DevId;
use omadm_core::time::Timestamp;

pub(crate) use rows::*;

/// Failed to read or write the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Something else has this name already.
    #[error("{0}")]
    Conflict(String),
    /// A row cannot be understood.
    #[error("the database holds a row that cannot be read: {0}")]
    Corrupt(String),
    /// The database failed.
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    /// The same, where many requests are written at once.
    #[error("the database failed: {0}")]
    Batch(#[from] rusqlite::Error),
    /// Another program writes to the database, and goes on.
    #[error("another program holds the database locked")]
    Locked,
    /// The thread that writes broke.
    #[error("writing to the database broke off")]
    Broken,
    /// The database was written by another version, or cannot be brought to this one.
    #[error("the database cannot be brought to this version: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
}

/// The answer of a store, later.
pub(crate) type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// What the server remembers. Each call is one transaction.
pub(crate) trait Store: Send + Sync + 'static {
    /// A value of the server itself.
    fn meta<'a>(&'a self, key: &'a str) -> Answer<'a, Option<Vec<u8>>>;
    /// Sets a value of the server itself.
    fn set_meta<'a>(&'a self, key: &'a str, value: Vec<u8>) -> Answer<'a, ()>;

    /// A number that changes whenever a profile does.
    fn profiles_version(&self) -> Answer<'_, i64>;
    /// All profiles by name.
    fn profiles(&self) -> Answer<'_, Vec<ProfileRow>>;
    /// Adds or replaces a profile.
    fn put_profile(&self, profile: ProfileRow) -> Answer<'_, ()>;
    /// Removes a profile; false if there is none.
    fn remove_profile<'a>(&'a self, name: &'a str) -> Answer<'a, bool>;

    /// Adds a device, or has a device that is known already enrol by these means and no others.
    fn add_device(&self, device: NewDevice) -> Answer<'_, Device>;
    /// A device by its DevID.
    fn device<'a>(&'a self, dev_id: &'a DevId) -> Answer<'a, Option<Device>>;
    /// Removes a device with its credentials, jobs, sessions and requests, those that factory runs made for it included, and
    /// remembers that it was removed; false if there is nothing of it.
    fn remove_device<'a>(&'a self, dev_id: &'a DevId, at: Timestamp) -> Answer<'a, bool>;
    /// When the device of this DevID was last removed.
    fn removed_at<'a>(&'a self, dev_id: &'a DevId) -> Answer<'a, Option<Timestamp>>;
    /// Blocks a device from this time on, one that is blocked already from its own, or ends that. `None`: there is none.
    fn block_device<'a>(&'a self, dev_id: &'a DevId, since: Option<Timestamp>) -> Answer<'a, Option<Device>>;
    /// Devices ordered by DevID, behind `after`, at most `limit`.
    fn devices<'a>(&'a self, after: Option<&'a str>, limit: u32) -> Answer<'a, Vec<Device>>;
    /// The device that enrols by this user, without its DevInfo, and its sealed secret.
    fn enrolled<'a>(&'a self, user: &'a str) -> Answer<'a, Option<(Device, Vec<u8>)>>;

    /// The same, if it is known without looking; `None` says nothing.
    fn remembered(&self, user: &str) -> Option<(Device, Vec<u8>)>;
    /// The device that enrols by the pre-shared key of this identity, without its DevInfo, and the sealed key.
    fn enrolled_by_psk<'a>(&'a self, identity: &'a str) -> Answer<'a, Option<(Device, Vec<u8>)>>;
    /// The device that enrols by a certificate whose public key has this SHA-256.
    fn enrolled_by_key(&self, digest: [u8; 32]) -> Answer<'_, Option<Device>>;

    /// Keeps a credential that is given out. If it is for a device, those that are no longer valid are dropped.
    fn give_out(&self, credential: NewCredential) -> Answer<'_, ()>;
    /// The credential of this user, if it is valid.
    fn credential<'a>(&'a self, user: &'a str) -> Answer<'a, Option<Credential>>;
    /// Credentials for cards and factory files, newest first.
    fn loose_credentials(&self, limit: u32) -> Answer<'_, Vec<Credential>>;
    /// Withdraws the credential of this user, whosever it is; false if it is none of a card or factory file.
    fn withdraw<'a>(&'a self, user: &'a str) -> Answer<'a, bool>;
    /// Binds a credential to the device of this DevID, which is added if need be. Gives the device that it is bound
    /// to, which is another one if that came first.
    fn bind(&self, credential: i64, new: NewDevice) -> Answer<'_, Binding>;

    /// The credentials of a device, newest first.
    fn credentials_of(&self, device: i64, limit: u32) -> Answer<'_, Vec<Credential>>;

    /// Keeps what a factory run wants for its devices, in one transaction; gives in their order what counts from now on, or
    /// a sentence why a device gets nothing. A credential that nobody can have used and that is not given again is dropped.
    fn issue_in_factory(&self, orders: Vec<FactoryOrder>) -> Answer<'_, Vec<Result<FactoryIssue, String>>>;
    /// Makes devices known and binds their credentials, in one transaction; gives in their order what changed, or a
    /// sentence why nothing did.
    fn import(&self, devices: Vec<FactoryDevice>) -> Answer<'_, Vec<Result<Imported, String>>>;

    /// Ends the live sessions of this account, queues what is due, and gives what waits to be sent.
    fn prepare_session(&self, preparation: Preparation) -> Answer<'_, Vec<JobRow>>;
    /// Opens a session. False if somebody else took one of its jobs meanwhile.
    fn open_session(&self, session: NewSession) -> Answer<'_, bool>;
    /// The session of this cookie (its SHA-256), ended ones included.
    fn session_by_cookie(&self, cookie: [u8; 32]) -> Answer<'_, Option<SessionRow>>;
    /// The newest session of this device and user, ended ones included.
    fn newest_session<'a>(&'a self, device: i64, user: &'a str) -> Answer<'a, Option<SessionRow>>;
    /// Records a step of a session. False if it was changed meanwhile.
    fn advance_session(&self, step: Step) -> Answer<'_, bool>;
    /// The last sessions of a device, newest first.
    fn sessions(&self, device: i64, limit: u32) -> Answer<'_, Vec<SessionRow>>;

    /// Queues a job; gives its number.
    fn add_job(&self, job: NewJob) -> Answer<'_, i64>;
    /// The jobs of a device that wait to be sent, oldest first.
    fn waiting_jobs(&self, device: i64, limit: u32) -> Answer<'_, Vec<JobRow>>;
    /// The jobs of a device, newest first.
    fn jobs(&self, device: i64, limit: u32) -> Answer<'_, Vec<JobRow>>;
    /// One job of a device, and what the device sent to the data repository for it.
    fn job(&self, device: i64, id: i64) -> Answer<'_, Option<(JobRow, Vec<Upload>)>>;

    /// What a token of the data repository stands for.
    fn item<'a>(&'a self, token: &'a str) -> Answer<'a, Option<Item>>;
    /// Uses a token once, with the content if the device sent one. False if it was used already.
    fn use_item<'a>(&'a self, token: &'a str, content: Option<Vec<u8>>, at: Timestamp) -> Answer<'a, bool>;

    /// Keeps records of requests and what their answers give out, and drops those that are over the bounds. Of each entry
    /// everything is kept or nothing; says in their order how that went. One that fails harms no other.
    fn keep(&self, entries: Vec<Entry>) -> Answer<'_, Vec<Result<(), StoreError>>>;
    /// The last requests of a device, those by which other devices claimed its DevID, and those by which anybody else
    /// did, at most `limit` of each; newest first.
    fn requests_of<'a>(&'a self, device: Option<i64>, dev_id: &'a str, limit: u32) -> Answer<'a, Vec<Recorded>>;
    /// The last requests of all; newest first.
    fn requests(&self, limit: u32) -> Answer<'_, Vec<Recorded>>;
    /// Drops what is too old or too much.
    fn sweep(&self, now: Timestamp) -> Answer<'_, ()>;
    /// How many devices are in each state.
    fn counts(&self) -> Answer<'_, Vec<(DeviceState, u64)>>;
}
