//! Who sends a request, by HTTP Basic. Comparing takes the same time for known and unknown users.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use omadm_core::secret::Secret;
use omadm_core::web::{Basic, BasicError};
use sha2::{Digest, Sha256};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;
use subtle::ConstantTimeEq;

use crate::app::App;
use crate::keys::{KeyError, Place};
use crate::problem::Refusal;
use crate::store::{Credential, Device};

/// Failures of one address, whatever the users, are this many times those of one user.
pub(crate) const USERS_OF_ADDRESS: u32 = 60;
/// Where the decoy is sealed.
pub(crate) const DECOY: Place<'static> = Place { table: "none", row: "decoy", column: "secret" };

/// Who tries to authenticate: from where, and the SHA-256 of the user, which may be long.
pub(crate) type Attempt = (IpAddr, [u8; 32]);

/// What a request shows of its sender.
pub(crate) enum Shown {
    /// No Authorization header.
    Nothing,
    /// Something that is not Basic, or not readable.
    Unusable(&'static str),
    /// A user and a password.
    Basic(Basic),
}

/// Whom a request proves to be.
pub(crate) struct Proven {
    /// The device. A credential of a card or file that was never used has none yet.
    pub(crate) device: Option<Device>,
    /// The credential given out; absent for the enrolment secret.
    pub(crate) credential: Option<Credential>,
    pub(crate) user: String,
}

/// Where a device's enrolment secret is sealed.
pub(crate) fn enrolment_place(dev_id: &str) -> Place<'_> {
    Place { table: "device", row: dev_id, column: "enrolment" }
}

/// Where a given-out credential's password is sealed.
pub(crate) fn credential_place(user: &str) -> Place<'_> {
    Place { table: "credential", row: user, column: "secret" }
}

/// Reads the Authorization header.
pub(crate) fn shown(headers: &HeaderMap) -> Shown {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, more) = (values.next(), values.next());
    match (value, more) {
        (None, _) => Shown::Nothing,
        (Some(_), Some(_)) => Shown::Unusable("the header Authorization is given twice"),
        (Some(value), None) => match value.to_str().map(Basic::parse) {
            Err(_) => Shown::Unusable("the header Authorization is not ASCII text"),
            Ok(Ok(basic)) => Shown::Basic(basic),
            Ok(Err(BasicError::OtherScheme)) => Shown::Unusable("the scheme is not Basic"),
            Ok(Err(BasicError::Malformed | BasicError::Colon)) => Shown::Unusable("the credentials are not readable"),
        },
    }
}

/// The device that enrols by these credentials; `None` if they are wrong.
pub(crate) async fn enrolled(app: &App, remote: IpAddr, basic: &Basic) -> Result<Option<Device>, Refusal> {
    let attempt = begun(app, remote, basic.user())?;
    // Whoever is wrong waits for one comparison, a look into the store and another comparison, whatever is remembered.
    let remembered = app.store.remembered(basic.user());
    let right = match &remembered {
        Some((device, sealed)) => same(app, enrolment_place(device.dev_id.as_str()), sealed, basic.password())?,
        None => as_if(app, basic)?,
    };
    if right {
        ended(app, attempt, right);
        return Ok(remembered.map(|(device, _)| device));
    }
    let found = app.store.enrolled(basic.user()).await?;
    let right = match &found {
        Some((device, sealed)) => same(app, enrolment_place(device.dev_id.as_str()), sealed, basic.password())?,
        None => as_if(app, basic)?,
    };
    ended(app, attempt, right);
    Ok(found.filter(|_| right).map(|(device, _)| device))
}

/// Whom these credentials prove in a session: the holder of a credential that was given out, or a device by its
/// enrolment secret, for accounts that hold no credentials. `None` if they are wrong.
pub(crate) async fn proven(app: &App, remote: IpAddr, basic: &Basic) -> Result<Option<Proven>, Refusal> {
    let attempt = begun(app, remote, basic.user())?;
    let credential = app.store.credential(basic.user()).await?;
    let enrolled = app.store.enrolled(basic.user()).await?;
    let (right, device) = match (&credential, enrolled) {
        (Some(credential), _) => {
            let place = credential_place(&credential.user);
            (same(app, place, &credential.secret, basic.password())?, credential.device.clone())
        }
        (None, Some((device, sealed))) => {
            let place = enrolment_place(device.dev_id.as_str());
            (same(app, place, &sealed, basic.password())?, Some(device))
        }
        (None, None) => (as_if(app, basic)?, None),
    };
    ended(app, attempt, right);
    if !right {
        return Ok(None);
    }
    Ok(Some(Proven { device, credential, user: basic.user().to_owned() }))
}

/// Each attempt counts as a failure until it is known to be none.
fn begun(app: &App, remote: IpAddr, user: &str) -> Result<Attempt, Refusal> {
    let attempt = (block(remote), Sha256::digest(user).into());
    let now = Instant::now();
    let limited = app.failures_of_address.check(&attempt.0, now).and_then(|()| app.failures.take(attempt, now));
    limited.map_err(|seconds| {
        Refusal::slow_down(seconds, format!("too many failed attempts from this address; {seconds} s to wait"))
    })?;
    Ok(attempt)
}

fn ended(app: &App, attempt: Attempt, right: bool) {
    if right {
        app.failures.give_back(&attempt, Instant::now());
    } else {
        // None left is no reason to do anything now: the next attempt is refused.
        let _ = app.failures_of_address.take(attempt.0, Instant::now());
    }
}

/// An IPv6 sender owns a whole /64.
fn block(remote: IpAddr) -> IpAddr {
    match remote {
        IpAddr::V4(_) => remote,
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
        },
    }
}

/// Takes the time of a comparison, for a user that is not known: never right.
fn as_if(app: &App, basic: &Basic) -> Result<bool, KeyError> {
    same(app, DECOY, &app.decoy, basic.password())?;
    Ok(false)
}

/// Digests are compared, so that not even the length of a secret shows.
fn same(app: &App, place: Place<'_>, sealed: &[u8], shown: &Secret) -> Result<bool, KeyError> {
    let secret = app.keys.open_sealed(place, sealed)?;
    Ok(bool::from(Sha256::digest(secret.expose()).as_slice().ct_eq(Sha256::digest(shown.expose()).as_slice())))
}
