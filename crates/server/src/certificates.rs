//! The device port's certificates while the server runs: read anew when their files change, issued anew before they run
//! out. Connections under way go on with what they began with; a file that cannot be used changes nothing but what
//! people are told.

use omadm_core::time::Timestamp;
use omadm_tls::{ContextError, DeviceAuthorities, Resumptions, ServerContext, ServerOptions};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

use crate::app::App;
use crate::clock;
use crate::config::Config;
use crate::pki::{self, Loaded, PkiError};
use crate::psk::StoredKeys;

/// How often files and dates are looked at. A change is taken up at the second look, when all its files are written.
const EVERY: Duration = Duration::from_secs(2);
/// How many clients can come back without certificates.
const RESUMPTIONS: usize = 32_768;

/// What there is to know of the certificates in use.
pub(crate) struct Certificates(RwLock<Known>);

struct Known {
    anchors: Option<String>,
    /// What nears its end.
    ends: Vec<String>,
    /// Why the files as they are now are not in use.
    trouble: Option<String>,
}

impl Certificates {
    pub(crate) fn new(loaded: &Loaded, now: Timestamp) -> Self {
        let ends = loaded.ends(now);
        for notice in &ends {
            tracing::warn!("{notice}");
        }
        Self(RwLock::new(Known { anchors: loaded.anchors.clone(), ends, trouble: None }))
    }

    /// Anchors in PEM that Bootstrap Messages carry.
    pub(crate) fn anchors(&self) -> Option<String> {
        self.known().anchors.clone()
    }

    /// What an operator has to see to, in sentences.
    pub(crate) fn notices(&self) -> Vec<String> {
        let known = self.known();
        known.trouble.iter().chain(&known.ends).cloned().collect()
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of what nears its end; logs what is new.
    fn ends(&self, ends: Vec<String>) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for notice in ends.iter().filter(|notice| !known.ends.contains(notice)) {
            tracing::warn!("{notice}");
        }
        known.ends = ends;
    }

    fn renewed(&self, anchors: Option<String>) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.anchors = anchors;
        known.trouble = None;
    }

    fn failed(&self, error: &RenewError) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let sentence = format!("new certificates are not used, the old ones are: {error}");
        if known.trouble.as_ref() != Some(&sentence) {
            tracing::error!("{sentence}");
        }
        known.trouble = Some(sentence);
    }
}

/// Failed to take up certificates.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RenewError {
    #[error(transparent)]
    Pki(#[from] PkiError),
    #[error("the server's certificate: {0}")]
    Context(#[from] ContextError),
}

/// A file's identity and age; two of the same are the same content.
type Stamp = Option<(u64, i64, i64, u64)>;

/// Keeps the certificates of both ports fresh.
pub(crate) struct Renewal {
    pub(crate) folder: PathBuf,
    pub(crate) config: Config,
    pub(crate) app: Arc<App>,
    /// What the device port shows, to connections that come from now on.
    pub(crate) device: watch::Sender<ServerContext>,
    /// What the admin port shows.
    pub(crate) admin: watch::Sender<ServerContext>,
    pub(crate) resumptions: Resumptions,
    pub(crate) loaded: Loaded,
    /// The files as they were when they were read, and at the last look.
    pub(crate) read: Vec<Stamp>,
    pub(crate) seen: Vec<Stamp>,
}

/// A wish to look at once, answered when that is done.
pub(crate) type Wish = oneshot::Sender<()>;

impl Renewal {
    /// Looks from time to time, and at once when wished, until the server is to stop.
    pub(crate) async fn run(mut self, mut wishes: mpsc::Receiver<Wish>, mut stop: watch::Receiver<bool>) {
        loop {
            let wish = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                wish = wishes.recv() => wish,
                () = tokio::time::sleep(EVERY) => None,
            };
            self.look(clock::now(), wish.is_some());
            if let Some(done) = wish {
                let _ = done.send(());
            }
        }
    }

    fn look(&mut self, now: Timestamp, at_once: bool) {
        let stamps = stamps(&self.loaded.files);
        let settled = stamps == self.seen;
        self.seen.clone_from(&stamps);
        let changed = stamps != self.read && settled;
        if at_once || changed || self.loaded.is_due(now) {
            self.read = stamps;
            match self.renew(now) {
                Ok(()) => tracing::info!("the certificates were read anew"),
                Err(error) => self.app.certificates.failed(&error),
            }
        }
        self.app.certificates.ends(self.loaded.ends(now));
    }

    fn renew(&mut self, now: Timestamp) -> Result<(), RenewError> {
        let loaded = pki::load(&self.folder, &self.config, now)?;
        // Where others say now which device a certificate is, nothing is taken over: neither what there is, nor what
        // handshakes leave that began before.
        let same = loaded.device_cas == self.loaded.device_cas;
        let resumptions = if same { self.resumptions.clone() } else { resumptions() };
        let device = device_context(&loaded, &self.app, &resumptions)?;
        let admin = admin_context(&loaded)?;
        self.resumptions = resumptions;
        self.device.send_replace(device);
        self.admin.send_replace(admin);
        self.app.certificates.renewed(loaded.anchors.clone());
        self.loaded = loaded;
        Ok(())
    }
}

/// Files as they are now.
pub(crate) fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let about = fs::metadata(path).ok()?;
        Some((about.ino(), about.mtime(), about.mtime_nsec(), about.len()))
    };
    files.iter().map(stamp).collect()
}

/// Room for clients that come back.
pub(crate) fn resumptions() -> Resumptions {
    Resumptions::new(RESUMPTIONS)
}

/// What the device port shows, and whom it asks for.
pub(crate) fn device_context(
    loaded: &Loaded,
    app: &Arc<App>,
    resumptions: &Resumptions,
) -> Result<ServerContext, ContextError> {
    let authorities = match &loaded.device_cas {
        Some(pem) => DeviceAuthorities::from_pem(pem)?,
        None => DeviceAuthorities::none(),
    };
    let options = ServerOptions {
        asks: true,
        authorities,
        keys: Some(Arc::new(StoredKeys::new(Arc::clone(app)))),
        resumptions: resumptions.clone(),
    };
    ServerContext::from_pem(&loaded.chain, &loaded.key, options)
}

/// The admin port shows the same certificate and asks for none: people come with browsers and tokens.
pub(crate) fn admin_context(loaded: &Loaded) -> Result<ServerContext, ContextError> {
    ServerContext::from_pem(&loaded.chain, &loaded.key, ServerOptions::plain())
}
