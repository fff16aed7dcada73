//! `omadm serve`: the servers, until a signal.

use omadm_core::web::Url;
use omadm_server::{Config, RunningServer, ServeOptions, Server};
use serde_json::json;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::admin::URL_FILE;
use crate::args::Serve;
use crate::failure::Failure;
use crate::output::{self, Output, Style};

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// If the servers cannot start.
pub(crate) fn run(args: &Serve) -> Result<(), Failure> {
    let config = match &args.config {
        Some(path) => Config::load(path).map_err(|error| Failure::usage(error.to_string()))?,
        None => Config::default(),
    };
    log_to_stderr();
    let options = ServeOptions { data: args.data.clone(), config, device: args.device, admin: args.admin };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start threads: {error}")))?;
    runtime.block_on(serve(args, options))
}

async fn serve(args: &Serve, options: ServeOptions) -> Result<(), Failure> {
    // Before the start: a signal during it must not be lost.
    let no_signals = |error| Failure::failed(format!("cannot listen to signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(no_signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(no_signals)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(no_signals)?;
    let server = Server::start(options).await.map_err(|error| Failure::failed(error.to_string()))?;
    let address = AddressFile::write(&args.data, &local_url(&server))?;
    if args.listing.json { announce(&server) } else { welcome(&server, &args.data) }?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => server.reload().await,
        }
    }
    drop(address);
    server.shutdown().await;
    Ok(())
}

fn announce(server: &RunningServer) -> Result<(), Failure> {
    output::json(&json!({
        "device": server.device_addr,
        "plain": server.plain_addr,
        "admin": server.admin_addr,
        "public_url": server.public_url,
        "admin_url": local_url(server),
        "admin_token_file": server.admin_token_file,
        "ca_file": server.ca_file,
    }))
}

fn welcome(server: &RunningServer, data: &Path) -> Result<(), Failure> {
    let paint = Output::stdout();
    let title = |text| paint.paint(Style::Bold, format!("{text:<9}"));
    let command = |text: String| paint.paint(Style::Use, text);
    let mut text = format!(
        "{} {} for devices: {}/bootstrap\n{} {} for you: overview page and admin API\n",
        title("devices"),
        server.device_addr,
        server.public_url,
        title("admin"),
        command(local_url(server)),
    );
    text.push_str(&format!("{} {}, to sign in\n", title("token"), server.admin_token_file.display()));
    if let Some(ca) = &server.ca_file {
        text.push_str(&format!("{} {}, what devices have to trust\n", title("CA"), ca.display()));
    }
    if !server.device_addr.ip().is_loopback() && is_local(&server.public_url) {
        let note = "\nOther machines cannot reach that address: put `public_url = \"https://HOST:PORT\"` into a file and \
                    start with --config FILE, before messages are issued.\n";
        text.push_str(&paint.paint(Style::Note, note));
    }
    text.push_str(&format!(
        "\nWhat to do next:\n  {}\n  {}\n  {}\n\nCtrl-C ends it.",
        command(format!("export OMADM_DATA={}", data.display())),
        command("omadm profile add FILE".to_owned()),
        command("omadm device add DEVID".to_owned()),
    ));
    output::say(text)
}

fn is_local(url: &str) -> bool {
    url.parse::<Url>().is_ok_and(|url| url.origin().is_loopback())
}

/// How the admin port is reached on this machine.
fn local_url(server: &RunningServer) -> String {
    let port = server.admin_addr.port();
    if server.admin_addr.ip().is_unspecified() { format!("https://localhost:{port}") } else { server.admin_url.clone() }
}

/// The file by which `--data DIR` finds the admin API, as long as it is there.
#[derive(Debug)]
struct AddressFile(PathBuf);

impl AddressFile {
    fn write(data: &Path, url: &str) -> Result<Self, Failure> {
        let path = data.join(URL_FILE);
        let new = data.join(format!("{URL_FILE}.new"));
        let mut options = fs::OpenOptions::new();
        let opened = options.write(true).create(true).truncate(true).mode(0o600).open(&new);
        opened
            .and_then(|mut file| writeln!(file, "{url}"))
            .and_then(|()| fs::rename(&new, &path))
            .map_err(|error| Failure::unwritable(&path, &error))?;
        Ok(Self(path))
    }
}

impl Drop for AddressFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// What happens goes to standard error, as much as `RUST_LOG` says.
fn log_to_stderr() {
    let wish = std::env::var("RUST_LOG").ok().and_then(|filter| filter.parse().ok());
    let filter = wish.unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    let colour = Output::stderr().is_coloured();
    let lines = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(colour);
    tracing_subscriber::registry().with(lines).with(filter).init();
}
