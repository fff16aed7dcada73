//! Who sends a request: by HTTP Basic, or by what the TLS connection proves. It is looked up at each request, so that
//! what was withdrawn ends at once, on connections that are open and on resumed ones too. Comparing passwords takes the
//! same time for known and unknown users.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use omadm_core::ids::DevId;
use omadm_core::secret::Secret;
use omadm_core::web::{Basic, BasicError};
use omadm_tls::{Peer, PeerCertificate};
use sha2::{Digest, Sha256};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;
use subtle::ConstantTimeEq;

use crate::app::App;
use crate::clock;
use crate::keys::{KeyError, Place};
use crate::problem::Refusal;
use crate::store::{Credential, CredentialScheme, Device, StoreError};

/// Failures of one address, whatever the users, are this many times those of one user.
pub(crate) const USERS_OF_ADDRESS: u32 = 60;
/// Where the decoy is sealed.
pub(crate) const DECOY: Place<'static> = Place { table: "none", row: "decoy", column: "secret" };

/// Who tries to authenticate: from where, and the SHA-256 of the user, which may be long.
pub(crate) type Attempt = (IpAddr, [u8; 32]);

/// What a request shows of its sender. A header Authorization comes before what TLS proves.
pub(crate) enum Shown<'a> {
    /// No Authorization header, and TLS proves nothing.
    Nothing,
    /// Something that is not Basic, or not readable.
    Unusable(&'static str),
    /// A user and a password.
    Basic(Basic),
    /// The connection rests on the pre-shared key of this name; SHA-256 of it.
    Psk(&'a str, &'a [u8; 32]),
    /// The connection's client has the key of this certificate.
    Certificate(&'a PeerCertificate),
}

/// Whom a request proves to be.
pub(crate) struct Proven {
    /// The device. A credential of a card or file that was never used has none yet.
    pub(crate) device: Option<Device>,
    /// The credential given out; absent for the enrolment secret.
    pub(crate) credential: Option<Credential>,
    /// What a session is bound to: the user of Basic, or the scheme, a colon and the name; a user holds no colon.
    pub(crate) identity: String,
}

/// Where a device's enrolment secret is sealed.
pub(crate) fn enrolment_place(dev_id: &str) -> Place<'_> {
    Place { table: "device", row: dev_id, column: "enrolment" }
}

/// Where a given-out credential's password is sealed.
pub(crate) fn credential_place(user: &str) -> Place<'_> {
    Place { table: "credential", row: user, column: "secret" }
}

/// Where a device's pre-shared key is sealed.
pub(crate) fn psk_place(dev_id: &str) -> Place<'_> {
    Place { table: "device", row: dev_id, column: "psk" }
}

/// Reads the Authorization header; without one, what TLS proves.
pub(crate) fn shown<'a>(headers: &HeaderMap, peer: &'a Peer) -> Shown<'a> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, more) = (values.next(), values.next());
    match (value, more) {
        (None, _) => match peer {
            Peer::Anonymous => Shown::Nothing,
            Peer::Psk { identity, key_digest } => Shown::Psk(identity, key_digest),
            Peer::Certificate(certificate) => Shown::Certificate(certificate),
        },
        (Some(_), Some(_)) => Shown::Unusable("the header Authorization is given twice"),
        (Some(value), None) => match value.to_str().map(Basic::parse) {
            Err(_) => Shown::Unusable("the header Authorization is not ASCII text"),
            Ok(Ok(basic)) => Shown::Basic(basic),
            Ok(Err(BasicError::OtherScheme)) => Shown::Unusable("the scheme is not Basic"),
            Ok(Err(BasicError::Malformed | BasicError::Colon)) => Shown::Unusable("the credentials are not readable"),
        },
    }
}

/// The device that enrols by what a request shows; `None` if it proves none.
pub(crate) async fn enrolled(app: &App, remote: IpAddr, shown: &Shown<'_>) -> Result<Option<Device>, Refusal> {
    match shown {
        Shown::Nothing | Shown::Unusable(_) => Ok(None),
        Shown::Basic(basic) => by_secret(app, remote, basic).await,
        Shown::Psk(identity, digest) => by_psk(app, identity, digest).await,
        Shown::Certificate(certificate) => by_certificate(app, certificate).await,
    }
}

/// Whom a request proves in a session: the holder of a credential that was given out, or a device by what it enrols by,
/// for accounts that hold no credentials. `None` if it proves nobody.
pub(crate) async fn proven(app: &App, remote: IpAddr, shown: &Shown<'_>) -> Result<Option<Proven>, Refusal> {
    let (identity, given, enrolled) = match shown {
        Shown::Nothing | Shown::Unusable(_) => return Ok(None),
        Shown::Basic(basic) => return proven_by_basic(app, remote, basic).await,
        Shown::Psk(identity, digest) => {
            let given = given_out(app, CredentialScheme::Psk, identity).await?;
            let given = match given {
                Some(credential) if is_key(app, credential_place(identity), &credential.secret, digest)? => {
                    Some(credential)
                }
                Some(_) | None => None,
            };
            (format!("psk:{identity}"), given, by_psk(app, identity, digest).await?)
        }
        Shown::Certificate(certificate) => {
            let name = hex(&certificate.key_digest);
            let now = clock::now().0;
            // The row says whether it was withdrawn, its dates whether it has ended.
            let valid = (certificate.validity.from..=certificate.validity.until).contains(&now);
            let given = given_out(app, CredentialScheme::X509, &name).await?.filter(|_| valid);
            (format!("x509:{name}"), given, by_certificate(app, certificate).await?)
        }
    };
    Ok(match (given, enrolled) {
        (Some(credential), _) => {
            Some(Proven { device: credential.device.clone(), credential: Some(credential), identity })
        }
        (None, Some(device)) => Some(Proven { device: Some(device), credential: None, identity }),
        (None, None) => None,
    })
}

/// The valid credential of this scheme and name.
pub(crate) async fn given_out(
    app: &App,
    scheme: CredentialScheme,
    name: &str,
) -> Result<Option<Credential>, StoreError> {
    Ok(app.store.credential(name).await?.filter(|credential| credential.scheme == scheme))
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

async fn by_secret(app: &App, remote: IpAddr, basic: &Basic) -> Result<Option<Device>, Refusal> {
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

/// TLS proved a key when the connection came up; it counts as long as it is this device's key.
async fn by_psk(app: &App, identity: &str, digest: &[u8; 32]) -> Result<Option<Device>, Refusal> {
    let Some((device, sealed)) = app.store.enrolled_by_psk(identity).await? else { return Ok(None) };
    let right = is_key(app, psk_place(device.dev_id.as_str()), &sealed, digest)?;
    Ok(right.then_some(device))
}

/// A pinned key, whatever the dates of its certificate: a device whose certificate ended is not to be stranded. Else the
/// word of a device CA, for a device that is known here.
async fn by_certificate(app: &App, certificate: &PeerCertificate) -> Result<Option<Device>, Refusal> {
    if let Some(device) = app.store.enrolled_by_key(certificate.key_digest).await? {
        return Ok(Some(device));
    }
    let named = certificate.device.as_deref().and_then(|name| name.parse::<DevId>().ok());
    let valid = certificate.validity.until >= clock::now().0;
    match named.filter(|_| valid) {
        Some(dev_id) => Ok(app.store.device(&dev_id).await?),
        None => Ok(None),
    }
}

async fn proven_by_basic(app: &App, remote: IpAddr, basic: &Basic) -> Result<Option<Proven>, Refusal> {
    let attempt = begun(app, remote, basic.user())?;
    let credential = given_out(app, CredentialScheme::Basic, basic.user()).await?;
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
    Ok(Some(Proven { device, credential, identity: basic.user().to_owned() }))
}

/// Each attempt counts as a failure until it is known to be none.
fn begun(app: &App, remote: IpAddr, user: &str) -> Result<Attempt, Refusal> {
    let attempt = (block(remote), Sha256::digest(user).into());
    let now = Instant::now();
    let of_address = if behind_a_proxy(app, remote) { Ok(()) } else { app.failures_of_address.check(&attempt.0, now) };
    of_address.and_then(|()| app.failures.take(attempt, now)).map_err(|seconds| {
        Refusal::slow_down(seconds, format!("too many failed attempts from this address; {seconds} s to wait"))
    })?;
    Ok(attempt)
}

fn ended(app: &App, attempt: Attempt, right: bool) {
    if right {
        app.failures.give_back(&attempt, Instant::now());
    } else if !behind_a_proxy(app, attempt.0) {
        // None left is no reason to do anything now: the next attempt is refused.
        let _ = app.failures_of_address.take(attempt.0, Instant::now());
    }
}

/// Whether this may be a proxy's address, which is that of all devices behind it: what one of them does must not shut out
/// the others.
pub(crate) fn behind_a_proxy(app: &App, remote: IpAddr) -> bool {
    app.config.plain.is_some() && remote.is_loopback()
}

/// An IPv6 sender owns a whole /64.
pub(crate) fn block(remote: IpAddr) -> IpAddr {
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

/// Whether what is sealed is the key of this digest.
fn is_key(app: &App, place: Place<'_>, sealed: &[u8], digest: &[u8; 32]) -> Result<bool, KeyError> {
    let key = app.keys.open_sealed(place, sealed)?;
    Ok(bool::from(Sha256::digest(key.expose()).as_slice().ct_eq(digest)))
}

/// Digests are compared, so that not even the length of a secret shows.
fn same(app: &App, place: Place<'_>, sealed: &[u8], shown: &Secret) -> Result<bool, KeyError> {
    let secret = app.keys.open_sealed(place, sealed)?;
    Ok(bool::from(Sha256::digest(secret.expose()).as_slice().ct_eq(Sha256::digest(shown.expose()).as_slice())))
}
