//! nginx, serving a file: the reference for the server.

use anyhow::{Context, Result};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::programs::Running;

/// A running nginx.
#[derive(Debug)]
pub(super) struct Nginx {
    running: Running,
    /// Where it speaks HTTP.
    pub(super) plain: SocketAddr,
    /// Where it speaks HTTPS.
    pub(super) tls: SocketAddr,
}

impl Nginx {
    /// Serves `body` at `/bootstrap` with this certificate and key, in as many processes as there are cores.
    ///
    /// # Errors
    /// If it does not start.
    pub(super) fn start(folder: &Path, body: &[u8], certificate: &Path, key: &Path) -> Result<Self> {
        fs::create_dir_all(folder.join("root"))?;
        fs::write(folder.join("root/bootstrap"), body)?;
        let (plain, tls) = (free_port()?, free_port()?);
        let workers = thread::available_parallelism()?;
        let (folder_path, certificate, key) = (folder.display(), certificate.display(), key.display());
        // The suites, versions and the request for a certificate are those of the server under test. Its log of
        // requests is off: it keeps no record.
        let config = format!(
            "daemon off; pid {folder_path}/pid; error_log {folder_path}/error.log warn; worker_processes {workers};
events {{ worker_connections 4096; }}
http {{
    access_log off; sendfile on; tcp_nodelay on; keepalive_requests 1000000000; root {folder_path}/root;
    client_body_temp_path {folder_path}/body; proxy_temp_path {folder_path}/proxy;
    fastcgi_temp_path {folder_path}/fastcgi; uwsgi_temp_path {folder_path}/uwsgi; scgi_temp_path {folder_path}/scgi;
    default_type application/vnd.oma.dm.bootstrap+json;
    server {{
        listen {plain}; listen {tls} ssl;
        ssl_certificate {certificate}; ssl_certificate_key {key};
        ssl_protocols TLSv1.2 TLSv1.3; ssl_verify_client optional_no_ca;
        ssl_conf_command Ciphersuites TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256;
        ssl_prefer_server_ciphers on; ssl_session_cache off; ssl_session_tickets off;
        add_header Cache-Control no-store;
    }}
}}
"
        );
        let path = folder.join("nginx.conf");
        // As root, nginx would give its rights up and could not read the folder.
        let user = if rustix::process::geteuid().is_root() { "user root; " } else { "" };
        fs::write(&path, format!("{user}{config}"))?;
        let mut command = Command::new("nginx");
        command.arg("-e").arg(folder.join("error.log")).arg("-p").arg(folder).arg("-c").arg(&path);
        let running = Running::start(&mut command, &folder.join("nginx.log"))?;
        let start = Instant::now();
        while TcpStream::connect(tls).is_err() {
            anyhow::ensure!(start.elapsed() < Duration::from_secs(10), "nginx does not start: {}", running.log());
            thread::sleep(Duration::from_millis(10));
        }
        Ok(Self { running, plain, tls })
    }

    /// The process.
    pub(super) fn process(&self) -> &Running {
        &self.running
    }

    /// Ends it.
    ///
    /// # Errors
    /// If it does not end well.
    pub(super) fn stop(self) -> Result<()> {
        self.running.stop()
    }
}

fn free_port() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no free port")?;
    Ok(listener.local_addr()?)
}
