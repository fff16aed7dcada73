//! The device port's certificate: the operator's, or one of an own CA that is made at the first start.

use omadm_core::secret::Secret;
use omadm_core::time::Timestamp;
use omadm_tls::ca::{self, Identity, Validity};
use omadm_tls::{ContextError, DeviceAuthorities, ServerContext, ServerOptions};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

use crate::config::{Config, TlsFiles};
use crate::files::{self, FileError};

/// An own certificate is renewed if it ends within this many seconds: 30 days. One of the operator's is told then.
const RENEW: u64 = 30 * 86_400;

/// A CA that ends within this many seconds is told: 180 days, since devices have to be given the next one before.
const CA_ENDS: u64 = 180 * 86_400;

/// Failed to get the device port's certificate.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file is missing that belongs to another one.
    #[error("{}: there is no such file; it belongs to {}", path.display(), other.display())]
    Missing {
        /// The missing one.
        path: PathBuf,
        /// The one that it belongs to.
        other: PathBuf,
    },
    /// A file is missing that the configuration names.
    #[error("{}: there is no such file; the configuration names it", path.display())]
    NotThere {
        /// The missing one.
        path: PathBuf,
    },
    /// A certificate or key cannot be used.
    #[error("{}: {source}", path.display())]
    Unusable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: ContextError,
    },
}

/// What the device port shows, and what devices shall trust.
pub(crate) struct Loaded {
    /// Certificate chain, leaf first, in PEM.
    pub(crate) chain: String,
    pub(crate) key: Zeroizing<String>,
    /// Anchors in PEM for the Bootstrap Message; absent: the device's trust store.
    pub(crate) anchors: Option<String>,
    /// The CAs that say which device a certificate is, in PEM.
    pub(crate) device_cas: Option<String>,
    /// The operator's files that were read.
    pub(crate) files: Vec<PathBuf>,
    /// Each certificate by its name for people, and its last second.
    ends: Vec<(String, u64)>,
    /// The server's certificate is its own CA's.
    own: bool,
}

impl Loaded {
    /// Whether a new certificate is to be issued.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.own && self.ends.first().is_some_and(|(_, until)| *until <= now.plus(RENEW).0)
    }

    /// What nears its end, in sentences.
    pub(crate) fn ends(&self, now: Timestamp) -> Vec<String> {
        let soon = |index: usize| match index {
            // The own server certificate is renewed before; only a failure to do so is news.
            0 if self.own => RENEW / 2,
            0 => RENEW,
            _ => CA_ENDS,
        };
        let near = self.ends.iter().enumerate().filter(|(index, (_, until))| *until <= now.plus(soon(*index)).0);
        near.map(|(_, (what, until))| match *until < now.0 {
            true => format!("{what} ended on {}: devices refuse what it signed", Timestamp(*until)),
            false => format!("{what} ends on {}", Timestamp(*until)),
        })
        .collect()
    }
}

/// Reads the certificates, or makes what is missing of an own CA's.
pub(crate) fn load(folder: &Path, config: &Config, now: Timestamp) -> Result<Loaded, PkiError> {
    let mut loaded = match &config.tls {
        Some(files) => of_operator(files)?,
        None => own(folder, config, now)?,
    };
    if let Some(path) = &config.device_ca {
        let pem = files::read(path)?.ok_or_else(|| PkiError::NotThere { path: path.clone() })?;
        DeviceAuthorities::from_pem(&pem).map_err(unusable(path))?;
        loaded.ends.push(("the device CA of the configuration".to_owned(), until(path, &pem)?));
        loaded.files.push(path.clone());
        loaded.device_cas = Some(pem.to_string());
    }
    Ok(loaded)
}

/// Signs the certificates that are given out to devices. What one of them is worth stands in the store: the CA's word
/// alone proves nothing to this server.
pub(crate) struct DeviceCa(Identity);

/// A certificate that was given out, in DER, and its PKCS#8 key.
pub(crate) struct Issued {
    pub(crate) chain: Secret,
    pub(crate) key: Secret,
    pub(crate) key_digest: [u8; 32],
}

impl DeviceCa {
    /// Reads the CA of the data folder, or makes it at the first start.
    pub(crate) fn open(folder: &Path, now: Timestamp) -> Result<Self, PkiError> {
        authority(folder, "device-ca", "omadm device CA", None, now).map(Self)
    }

    /// Issues a certificate to this subject. The CA's own is not part of the chain: whom it convinces knows it.
    pub(crate) fn issue(&self, subject: &str, now: Timestamp) -> Result<Issued, ContextError> {
        let issued = ca::issue_device(&self.0, subject, Validity::of_device(now.0))?;
        let (chain, key) = issued.to_der()?;
        let key_digest = ca::key_digest(&issued.certificate)?;
        Ok(Issued { chain: Secret::new(chain), key: Secret::new(key.to_vec()), key_digest })
    }
}

fn of_operator(paths: &TlsFiles) -> Result<Loaded, PkiError> {
    let missing = |path: &Path| PkiError::Missing { path: path.to_owned(), other: paths.cert.clone() };
    let chain = files::read(&paths.cert)?.ok_or_else(|| missing(&paths.cert))?;
    let key = files::read_secret(&paths.key)?.ok_or_else(|| missing(&paths.key))?;
    let mut ends = vec![("the server's certificate".to_owned(), until(&paths.cert, &chain)?)];
    let mut files = vec![paths.cert.clone(), paths.key.clone()];
    let anchors = match &paths.ca {
        Some(path) => {
            let pem = files::read(path)?.ok_or_else(|| missing(path))?;
            ends.push(("the CA of the server's certificate".to_owned(), until(path, &pem)?));
            files.push(path.clone());
            Some(pem.to_string())
        }
        None => None,
    };
    Ok(Loaded { chain: chain.to_string(), key, anchors, device_cas: None, files, ends, own: false })
}

fn own(folder: &Path, config: &Config, now: Timestamp) -> Result<Loaded, PkiError> {
    let (cert_path, key_path) = (folder.join("server.pem"), folder.join("server.key"));
    let authority = authority(folder, "ca", "omadm CA", Some(&cert_path), now)?;
    let ca_ends =
        ("the CA of the server's certificate".to_owned(), until(&folder.join("ca.pem"), &authority.certificate)?);
    let loaded = |chain: String, key, until| Loaded {
        chain,
        key,
        anchors: Some(authority.certificate.clone()),
        device_cas: None,
        files: Vec::new(),
        ends: vec![("the server's certificate".to_owned(), until), ca_ends],
        own: true,
    };
    let mut names = config.hosts.clone();
    names.extend(config.public_url.as_ref().map(|url| url.host().to_owned()));
    names.sort();
    names.dedup();
    if let (Some(chain), Some(key)) = (files::read(&cert_path)?, files::read_secret(&key_path)?) {
        // A power cut between the two files leaves a pair that does not match.
        let good = ServerContext::from_pem(&chain, &key, ServerOptions::plain()).is_ok()
            && ca::covers(&chain, &names).map_err(unusable(&cert_path))?
            && ca::signed_by(&chain, &authority.certificate).map_err(unusable(&cert_path))?
            && until(&cert_path, &chain)? > now.plus(RENEW).0;
        if good {
            let until = until(&cert_path, &chain)?;
            return Ok(loaded(chain.to_string(), key, until));
        }
    }
    let validity = Validity::of_server(now.0);
    let issued = ca::issue_server(&authority, &names, validity).map_err(unusable(&cert_path))?;
    files::write(&key_path, &issued.key, 0o600)?;
    files::write(&cert_path, &issued.certificate, 0o644)?;
    Ok(loaded(issued.certificate, issued.key, validity.until))
}

fn until(path: &Path, pem: &str) -> Result<u64, PkiError> {
    ca::valid_until(pem).map_err(unusable(path))
}

/// The CA of this file name; made if there is none, unless it was there before: `later` was made after it.
fn authority(
    folder: &Path,
    file: &str,
    name: &str,
    later: Option<&Path>,
    now: Timestamp,
) -> Result<Identity, PkiError> {
    let (cert_path, key_path) = (folder.join(format!("{file}.pem")), folder.join(format!("{file}.key")));
    match (files::read(&cert_path)?, files::read_secret(&key_path)?) {
        (Some(certificate), Some(key)) => Ok(Identity { certificate: certificate.to_string(), key }),
        (Some(_), None) => Err(PkiError::Missing { path: key_path, other: cert_path }),
        (None, _) if let Some(later) = later.filter(|later| later.exists()) => {
            Err(PkiError::Missing { path: cert_path, other: later.to_owned() })
        }
        // The key alone is what a power cut at the very first start leaves behind.
        (None, _) => {
            let made = ca::make(name, Validity::of_ca(now.0)).map_err(unusable(&cert_path))?;
            files::write(&key_path, &made.key, 0o600)?;
            files::write(&cert_path, &made.certificate, 0o644)?;
            Ok(made)
        }
    }
}

fn unusable(path: &Path) -> impl FnOnce(ContextError) -> PkiError {
    let path = path.to_owned();
    move |source| PkiError::Unusable { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    const NOW: Timestamp = Timestamp(1_800_000_000);

    #[test]
    fn made_once_and_renewed_when_names_or_time_demand_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        let first = load(folder.path(), &config, NOW).unwrap();
        let again = load(folder.path(), &config, NOW.plus(86_400)).unwrap();
        assert_eq!((&first.chain, &first.anchors), (&again.chain, &again.anchors));
        for name in ["ca.key", "server.key"] {
            let mode = std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        config.public_url = Some("https://dm.example".parse().unwrap());
        let renamed = load(folder.path(), &config, NOW).unwrap();
        assert!(renamed.chain != first.chain && renamed.anchors == first.anchors);
        let later = load(folder.path(), &config, NOW.plus(340 * 86_400)).unwrap();
        assert!(later.chain != renamed.chain && later.anchors == first.anchors);
    }

    #[test]
    fn what_nears_its_end_is_renewed_or_told() {
        let folder = tempfile::tempdir().unwrap();
        let loaded = load(folder.path(), &Config::default(), NOW).unwrap();
        let day = |days: u64| NOW.plus(days * 86_400);
        assert!(!loaded.is_due(day(334)) && loaded.is_due(day(336)));
        assert!(loaded.ends(day(349)).is_empty(), "it will be renewed");
        assert!(loaded.ends(day(351)).concat().starts_with("the server's certificate ends on 2028-01-15"));
        let told = loaded.ends(day(3500));
        assert!(told[0].contains("ended on") && told[1].starts_with("the CA of the server's certificate ends on"));
        let renewed = load(folder.path(), &Config::default(), day(336)).unwrap();
        assert!(renewed.chain != loaded.chain && !renewed.is_due(day(336)));
    }

    #[test]
    fn the_device_ca_is_made_once_and_issues_what_tls_takes() {
        let folder = tempfile::tempdir().unwrap();
        let first = DeviceCa::open(folder.path(), NOW).unwrap();
        let issued = first.issue("IMEI:1", NOW).unwrap();
        omadm_tls::ClientIdentity::x509(issued.chain.expose(), issued.key.expose()).unwrap();
        let again = DeviceCa::open(folder.path(), NOW).unwrap();
        assert_eq!(again.0.certificate, first.0.certificate);
        std::fs::remove_file(folder.path().join("device-ca.key")).unwrap();
        assert!(matches!(DeviceCa::open(folder.path(), NOW), Err(PkiError::Missing { .. })));
    }

    #[test]
    fn a_ca_without_its_key_is_not_replaced_in_silence() {
        let folder = tempfile::tempdir().unwrap();
        load(folder.path(), &Config::default(), NOW).unwrap();
        std::fs::remove_file(folder.path().join("ca.key")).unwrap();
        assert!(matches!(load(folder.path(), &Config::default(), NOW), Err(PkiError::Missing { .. })));
    }

    #[test]
    fn a_ca_key_without_its_certificate_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        load(folder.path(), &Config::default(), NOW).unwrap();
        let key = std::fs::read(folder.path().join("ca.key")).unwrap();
        std::fs::remove_file(folder.path().join("ca.pem")).unwrap();
        let error = load(folder.path(), &Config::default(), NOW).err().unwrap().to_string();
        assert!(error.contains("ca.pem: there is no such file"), "{error}");
        assert_eq!(std::fs::read(folder.path().join("ca.key")).unwrap(), key);
    }

    #[test]
    fn a_first_start_that_was_cut_short_is_begun_again() {
        let whole = tempfile::tempdir().unwrap();
        load(whole.path(), &Config::default(), NOW).unwrap();
        let order = ["ca.key", "ca.pem", "server.key", "server.pem"];
        for there in 1..order.len() {
            let folder = tempfile::tempdir().unwrap();
            for name in &order[..there] {
                std::fs::copy(whole.path().join(name), folder.path().join(name)).unwrap();
            }
            let made = load(folder.path(), &Config::default(), NOW).unwrap();
            assert!(ServerContext::from_pem(&made.chain, &made.key, ServerOptions::plain()).is_ok(), "{there}");
            assert!(ca::signed_by(&made.chain, made.anchors.as_deref().unwrap()).unwrap(), "{there}");
        }
    }
}
