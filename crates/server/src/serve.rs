//! Starting and stopping the server.

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use http::Request;
use omadm_tls::{ContextError, Peer};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tower::ServiceExt;

use crate::app::App;
use crate::auth::{DECOY, USERS_OF_ADDRESS};
use crate::certificates::{self, Certificates, Renewal, Wish};
use crate::config::{Config, Limits};
use crate::files::{self, FileError, Folder};
use crate::keys::{KeyError, Keys};
use crate::limiter::Limiter;
use crate::listen::{Port, Site};
use crate::load::Load;
use crate::pki::{self, DeviceCa, PkiError};
use crate::profile::Profiles;
use crate::random::{self, NoRandomness};
use crate::recorder::Recorder;
use crate::seats::Seats;
use crate::store::sqlite::Sqlite;
use crate::store::{Store, StoreError};
use crate::{admin, clock, descriptors, device_port};

/// The database's name in the data folder.
const DATABASE: &str = "omadm.db";
/// The admin token's name in the data folder.
const TOKEN: &str = "admin-token";
/// The file in the data folder that says where the admin port is.
const ADMIN_URL: &str = "admin-url";
/// The least length of an admin token, in bytes: with an empty file anybody would be let in.
const SHORTEST_TOKEN: usize = 16;
/// How often what is too old is dropped.
const SWEEP: Duration = Duration::from_secs(600);

/// What to serve, and where from.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// The folder of everything that is kept: database, keys, certificates, admin token. Made if need be, mode 0700.
    pub data: PathBuf,
    /// How to run.
    pub config: Config,
    /// Takes the place of the configuration's device port; port 0 lets the system choose.
    pub device: Option<SocketAddr>,
    /// Takes the place of the configuration's admin port; port 0 lets the system choose.
    pub admin: Option<SocketAddr>,
}

/// Failed to start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file or folder.
    #[error(transparent)]
    File(#[from] FileError),
    /// The database.
    #[error("{}: {source}", path.display())]
    Store {
        /// Its file.
        path: PathBuf,
        /// Why.
        source: StoreError,
    },
    /// The master key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The admin token.
    #[error("{}: an admin token of at least {SHORTEST_TOKEN} bytes is expected; remove the file, and a new one is made", path.display())]
    Token {
        /// Its file.
        path: PathBuf,
    },
    /// The certificates.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The certificate cannot be used for TLS.
    #[error("the server's certificate: {0}")]
    Tls(#[from] ContextError),
    /// A runtime of one thread: waiting for a pre-shared key would stop everything.
    #[error("the server needs a runtime of several threads")]
    Runtime,
    /// No random bytes.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// An address cannot be listened at.
    #[error("cannot listen at {address}: {source}")]
    Listen {
        /// Which one.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}

/// The server.
pub struct Server;

/// A server that runs until it is shut down or dropped.
pub struct RunningServer {
    /// Where devices come in.
    pub device_addr: SocketAddr,
    /// Where devices come in over plain HTTP, by a proxy on this machine.
    pub plain_addr: Option<SocketAddr>,
    /// Where people and programs of the fleet come in.
    pub admin_addr: SocketAddr,
    /// Scheme, host and port by which devices reach the device port.
    pub public_url: String,
    /// Scheme, address and port of the admin port.
    pub admin_url: String,
    /// The file of the admin token, mode 0600.
    pub admin_token_file: PathBuf,
    /// The certificate of the own CA; absent with the operator's certificate.
    pub ca_file: Option<PathBuf>,
    stop: watch::Sender<bool>,
    reload: mpsc::Sender<Wish>,
    tasks: Vec<JoinHandle<()>>,
    _folder: Folder,
}

impl Server {
    /// Starts the server; it is ready when this returns.
    ///
    /// # Errors
    /// See [`StartError`]; nothing runs then.
    pub async fn start(options: ServeOptions) -> Result<RunningServer, StartError> {
        let ServeOptions { data, config, device, admin } = options;
        if Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
            return Err(StartError::Runtime);
        }
        let folder = Folder::take(&data)?;
        let database = data.join(DATABASE);
        // The files beside it take over its mode.
        files::make_private(&database)?;
        let store: Arc<dyn Store> = Arc::new(
            Sqlite::open(&database, config.retention)
                .await
                .map_err(|source| StartError::Store { path: database, source })?,
        );
        let keys = Keys::open(&data, store.as_ref()).await?;
        let token = admin_token(&data)?;
        let loaded = pki::load(&data, &config, clock::now())?;
        let device_ca = DeviceCa::open(&data, clock::now())?;
        let (device_listener, device_addr) = listen(device.unwrap_or(config.device)).await?;
        let plain = match config.plain {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let (admin_listener, admin_addr) = listen(admin.unwrap_or(config.admin)).await?;
        let public = match &config.public_url {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None => format!("https://localhost:{}", device_addr.port()),
        };
        let limits = config.limits.clone();
        let shares = descriptors::share(limits.connections);
        let app = Arc::new(App {
            decoy: keys.seal(DECOY, random::token()?.as_bytes())?,
            keys,
            profiles: Profiles::default(),
            recorder: Recorder::start(Arc::clone(&store)),
            public: public.clone(),
            certificates: Certificates::new(&loaded, clock::now()),
            device_ca,
            failures: Limiter::new(limits.failures_per_minute),
            failures_of_address: Limiter::new(limits.failures_per_minute.saturating_mul(USERS_OF_ADDRESS)),
            messages: Limiter::new(limits.messages_per_minute),
            strangers: Limiter::new(limits.anonymous_per_minute),
            load: Load::new(),
            store,
            config,
        });
        let (stop, stopped) = watch::channel(false);
        let resumptions = certificates::resumptions();
        let (device_context, device_tls) = watch::channel(certificates::device_context(&loaded, &app, &resumptions)?);
        let (admin_context, admin_tls) = watch::channel(certificates::admin_context(&loaded)?);
        // Plain HTTP never leaves the machine.
        let admin_tls = (!admin_addr.ip().is_loopback()).then_some(admin_tls);
        let scheme = if admin_tls.is_some() { "https" } else { "http" };
        let admin_site = AdminSite(admin::router(Arc::clone(&app), &token, admin_tls.is_some()));
        let device_site = Arc::new(DeviceSite(Arc::clone(&app)));
        // A proxy has its own bound; both together stay within the descriptors that there are.
        let of_devices = if plain.is_some() { (shares.device / 2).max(1) } else { shares.device };
        // Behind a proxy all have its address.
        let of_address = |tls: bool| if tls { limits.connections_per_address } else { of_devices };
        let device_port = |listener, tls: Option<_>| Port {
            listener,
            addresses: Seats::new(of_address(tls.is_some())),
            tls,
            limits: Limits { connections: of_devices, ..limits.clone() },
            site: Arc::clone(&device_site),
            stop: stopped.clone(),
        };
        let plain_addr = plain.as_ref().map(|(_, address)| *address);
        let device_ports: Vec<_> = std::iter::once(device_port(device_listener, Some(device_tls)))
            .chain(plain.map(|(listener, _)| device_port(listener, None)))
            .collect();
        let admin_port = Port {
            listener: admin_listener,
            tls: admin_tls,
            addresses: Seats::new(shares.admin),
            limits: Limits { connections: shares.admin, ..limits.clone() },
            site: Arc::new(admin_site),
            stop: stopped.clone(),
        };
        let admin_url = format!("{scheme}://{admin_addr}");
        files::write(&data.join(ADMIN_URL), &format!("{admin_url}\n"), 0o644)?;
        let own_ca = app.config.tls.is_none();
        let read = certificates::stamps(&loaded.files);
        let renewal = Renewal {
            folder: data.clone(),
            config: app.config.clone(),
            app: Arc::clone(&app),
            device: device_context,
            admin: admin_context,
            resumptions,
            seen: read.clone(),
            read,
            loaded,
        };
        let (reload, wishes) = mpsc::channel(1);
        let mut tasks = vec![
            tokio::spawn(admin_port.serve()),
            tokio::spawn(renewal.run(wishes, stopped.clone())),
            tokio::spawn(sweep(app, stopped)),
        ];
        tasks.extend(device_ports.into_iter().map(|port| tokio::spawn(port.serve())));
        tracing::info!(device = %device_addr, admin = %admin_addr, "serving");
        Ok(RunningServer {
            device_addr,
            plain_addr,
            admin_addr,
            public_url: public,
            admin_url,
            admin_token_file: data.join(TOKEN),
            ca_file: own_ca.then(|| data.join("ca.pem")),
            stop,
            reload,
            tasks,
            _folder: folder,
        })
    }
}

impl RunningServer {
    /// Reads the files of certificates and keys anew at once, which else happens within seconds of a change. What cannot
    /// be used changes nothing, and is told in the log and on the overview page.
    pub async fn reload(&self) {
        let (done, finished) = oneshot::channel();
        if self.reload.send(done).await.is_ok() {
            let _ = finished.await;
        }
    }

    /// Takes no further connection, lets requests under way end, and returns when all is done.
    pub async fn shutdown(mut self) {
        let _ = self.stop.send(true);
        for task in self.tasks.drain(..) {
            let _ = task.await;
        }
    }
}

struct DeviceSite(Arc<App>);

impl Site for DeviceSite {
    fn answer(
        self: Arc<Self>,
        remote: IpAddr,
        peer: Arc<Peer>,
        request: Request<Body>,
    ) -> impl Future<Output = Response> + Send {
        device_port::answer(Arc::clone(&self.0), remote, peer, request)
    }

    async fn broken(&self, remote: IpAddr, code: &'static str, why: String) {
        device_port::broken(&self.0, remote, code, why).await;
    }
}

struct AdminSite(Router);

impl Site for AdminSite {
    async fn answer(self: Arc<Self>, _remote: IpAddr, _peer: Arc<Peer>, request: Request<Body>) -> Response {
        match self.0.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }

    async fn broken(&self, remote: IpAddr, code: &'static str, _why: String) {
        tracing::debug!(%remote, code, "a connection to the admin port broke");
    }
}

fn admin_token(data: &Path) -> Result<String, StartError> {
    let path = data.join(TOKEN);
    if let Some(text) = files::read_secret(&path)? {
        let token = text.trim();
        if token.len() < SHORTEST_TOKEN {
            return Err(StartError::Token { path });
        }
        return Ok(token.to_owned());
    }
    let token = random::token()?;
    files::write(&path, &format!("{token}\n"), 0o600)?;
    Ok(token)
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let error = |source| StartError::Listen { address, source };
    let listener = TcpListener::bind(address).await.map_err(error)?;
    let address = listener.local_addr().map_err(error)?;
    Ok((listener, address))
}

async fn sweep(app: Arc<App>, mut stop: watch::Receiver<bool>) {
    loop {
        if let Err(error) = app.store.sweep(clock::now()).await {
            tracing::error!(%error, "what is too old could not be dropped");
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(SWEEP) => {}
        }
    }
}
