//! The device port's certificate: the operator's, or one of an own CA that is made at the first start.

use omadm_core::time::Timestamp;
use omadm_tls::ca::{self, Identity, Validity};
use omadm_tls::{ContextError, DeviceAuthorities, Resumptions, ServerContext, ServerOptions};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

use crate::config::{Config, TlsFiles};
use crate::files::{self, FileError};

/// An own certificate is renewed at start if it ends within this many seconds: 30 days.
const RENEW: u64 = 30 * 86_400;

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
pub(crate) struct Certificates {
    /// Certificate chain, leaf first, in PEM.
    pub(crate) chain: String,
    pub(crate) key: Zeroizing<String>,
    /// Anchors in PEM for the Bootstrap Message; absent: the device's trust store.
    pub(crate) anchors: Option<String>,
}

/// Reads the certificates, or makes what is missing of an own CA's.
pub(crate) fn load(folder: &Path, config: &Config, now: Timestamp) -> Result<Certificates, PkiError> {
    match &config.tls {
        Some(files) => of_operator(files),
        None => own(folder, config, now),
    }
}

/// How many clients can come back without certificates.
const RESUMPTIONS: usize = 32_768;

/// A context for this chain and key.
pub(crate) fn context(chain: &str, key: &str) -> Result<ServerContext, ContextError> {
    let options = ServerOptions {
        authorities: DeviceAuthorities::none(),
        keys: None,
        resumptions: Resumptions::new(RESUMPTIONS),
    };
    ServerContext::from_pem(chain, key, options)
}

fn of_operator(paths: &TlsFiles) -> Result<Certificates, PkiError> {
    let missing = |path: &Path| PkiError::Missing { path: path.to_owned(), other: paths.cert.clone() };
    let chain = files::read(&paths.cert)?.ok_or_else(|| missing(&paths.cert))?;
    let key = files::read_secret(&paths.key)?.ok_or_else(|| missing(&paths.key))?;
    let anchors = match &paths.ca {
        Some(path) => {
            let pem = files::read(path)?.ok_or_else(|| missing(path))?;
            ca::valid_until(&pem).map_err(unusable(path))?;
            Some(pem.to_string())
        }
        None => None,
    };
    Ok(Certificates { chain: chain.to_string(), key, anchors })
}

fn own(folder: &Path, config: &Config, now: Timestamp) -> Result<Certificates, PkiError> {
    let authority = authority(folder, now)?;
    let (cert_path, key_path) = (folder.join("server.pem"), folder.join("server.key"));
    let mut names = config.hosts.clone();
    names.extend(config.public_url.as_ref().map(|url| url.host().to_owned()));
    names.sort();
    names.dedup();
    if let (Some(chain), Some(key)) = (files::read(&cert_path)?, files::read_secret(&key_path)?) {
        // A power cut between the two files leaves a pair that does not match.
        let good = context(&chain, &key).is_ok()
            && ca::covers(&chain, &names).map_err(unusable(&cert_path))?
            && ca::signed_by(&chain, &authority.certificate).map_err(unusable(&cert_path))?
            && ca::valid_until(&chain).map_err(unusable(&cert_path))? > now.plus(RENEW).0;
        if good {
            return Ok(Certificates { chain: chain.to_string(), key, anchors: Some(authority.certificate) });
        }
    }
    let issued = ca::issue_server(&authority, &names, Validity::of_server(now.0)).map_err(unusable(&cert_path))?;
    files::write(&key_path, &issued.key, 0o600)?;
    files::write(&cert_path, &issued.certificate, 0o644)?;
    Ok(Certificates { chain: issued.certificate, key: issued.key, anchors: Some(authority.certificate) })
}

fn authority(folder: &Path, now: Timestamp) -> Result<Identity, PkiError> {
    let (cert_path, key_path) = (folder.join("ca.pem"), folder.join("ca.key"));
    match (files::read(&cert_path)?, files::read_secret(&key_path)?) {
        (Some(certificate), Some(key)) => Ok(Identity { certificate: certificate.to_string(), key }),
        (Some(_), None) => Err(PkiError::Missing { path: key_path, other: cert_path }),
        // The key alone is what a power cut at the very first start leaves behind; the server's files come later.
        (None, _) if folder.join("server.pem").exists() => {
            Err(PkiError::Missing { path: cert_path, other: folder.join("server.pem") })
        }
        (None, _) => {
            let made = ca::make("omadm CA", Validity::of_ca(now.0)).map_err(unusable(&cert_path))?;
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
            assert!(context(&made.chain, &made.key).is_ok(), "{there}");
            assert!(ca::signed_by(&made.chain, made.anchors.as_deref().unwrap()).unwrap(), "{there}");
        }
    }
}
