//! Starting: configuration, certificates, keys, addresses; and that the manual's examples are true.

#![allow(clippy::unwrap_used)]

mod kit;

use kit::{Fleet, exchange};
use omadm_server::{Config, ServeOptions, Server, StartError};
use omadm_tls::ca::{self, Validity};
use omadm_tls::{Anchors, ClientContext, ClientIdentity};
use serde_json::Value;
use std::fs::{self, Permissions};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

const MANUAL: &str = include_str!("../../../docs/server.md");

/// The block of this language in the manual.
fn block(language: &str) -> &'static str {
    let start = MANUAL.split_once(&format!("```{language}\n")).unwrap().1;
    start.split_once("```").unwrap().0
}

fn start(folder: &Path, config: Config) -> Result<(), StartError> {
    let local: Option<SocketAddr> = Some("127.0.0.1:0".parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let options = ServeOptions { data: folder.to_owned(), config, device: local, admin: local };
    runtime.block_on(async {
        Server::start(options).await?.shutdown().await;
        Ok(())
    })
}

#[test]
fn the_manuals_profile_is_accepted() {
    let fleet = Fleet::start();
    fleet.add_profile(&serde_json::from_str::<Value>(block("json")).unwrap()).expect(201);
}

#[test]
fn the_manuals_configuration_holds_the_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("server.toml");
    fs::write(&file, block("toml")).unwrap();
    let config = Config::load(&file).unwrap();
    let tls = config.tls.clone().unwrap();
    assert_eq!(tls.cert, folder.path().join("chain.pem"), "relative to the file");
    assert!(config.plain.unwrap().ip().is_loopback());
    let aside = Config { tls: None, public_url: None, device_ca: None, plain: None, ..config };
    assert_eq!(aside, Config::default());
}

#[test]
fn a_wrong_configuration_names_file_line_and_what_was_expected() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("server.toml");
    fs::write(&file, "device = \"0.0.0.0:1\"\n[limits]\nbodies = 1\n").unwrap();
    let error = Config::load(&file).unwrap_err().to_string();
    for expected in ["server.toml", "line 3", "unknown field `bodies`", "expected one of"] {
        assert!(error.contains(expected), "{error}");
    }
    assert!(Config::load(&folder.path().join("none.toml")).unwrap_err().to_string().contains("no such file"));
}

#[test]
fn a_master_key_that_is_gone_wrong_or_open_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("master.key");
    start(folder.path(), Config::default()).unwrap();
    let good = fs::read(&key).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let error = start(folder.path(), Config::default()).unwrap_err().to_string();
    assert!(error.contains("master.key") && error.contains("chmod 600"), "{error}");
    fs::remove_file(&key).unwrap();
    let error = start(folder.path(), Config::default()).unwrap_err().to_string();
    assert!(error.contains("missing") && error.contains("backup"), "{error}");
    fs::write(&key, good).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    start(folder.path(), Config::default()).unwrap();
}

#[test]
fn a_folder_serves_one_server_only() {
    let fleet = Fleet::start();
    let error = start(&fleet.folder.path().join("data"), Config::default()).unwrap_err().to_string();
    assert!(error.contains("another `omadm serve` uses this folder"), "{error}");
}

#[test]
fn an_admin_token_that_protects_nothing_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("admin-token");
    for text in ["", "\n", "guessable"] {
        fs::write(&token, text).unwrap();
        fs::set_permissions(&token, Permissions::from_mode(0o600)).unwrap();
        let error = start(folder.path(), Config::default()).unwrap_err().to_string();
        assert!(error.contains("admin-token") && error.contains("at least 16 bytes"), "{error}");
    }
    fs::remove_file(&token).unwrap();
    start(folder.path(), Config::default()).unwrap();
}

#[test]
fn nobody_else_reads_the_database_even_in_an_open_folder() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::set_permissions(&data, Permissions::from_mode(0o755)).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let local: Option<SocketAddr> = Some("127.0.0.1:0".parse().unwrap());
    let options = ServeOptions { data: data.clone(), config: Config::default(), device: local, admin: local };
    let server = runtime.block_on(Server::start(options)).unwrap();
    for name in ["omadm.db", "omadm.db-wal", "omadm.db-shm"] {
        let mode = fs::metadata(data.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{name}");
    }
    runtime.block_on(server.shutdown());
}

fn with_certificates(folder: &TempDir) -> (Config, String) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let authority = ca::make("Operator", Validity::of_ca(now)).unwrap();
    let server = ca::issue_server(&authority, &["localhost".to_owned()], Validity::of_server(now)).unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("chain.pem"), &server.certificate).unwrap();
    fs::write(path("key.pem"), server.key.as_bytes()).unwrap();
    fs::set_permissions(path("key.pem"), Permissions::from_mode(0o600)).unwrap();
    fs::write(path("ca.pem"), &authority.certificate).unwrap();
    fs::write(path("server.toml"), "[tls]\ncert = \"chain.pem\"\nkey = \"key.pem\"\nca = \"ca.pem\"\n").unwrap();
    (Config::load(&path("server.toml")).unwrap(), authority.certificate)
}

#[test]
fn the_operators_certificate_takes_the_place_of_the_own_ca() {
    let folder = tempfile::tempdir().unwrap();
    let (config, anchors) = with_certificates(&folder);
    let fleet = Fleet::with(|default| *default = config);
    assert!(fleet.server().ca_file.is_none());
    assert_eq!(fleet.api("GET", "/ca", &Value::Null).expect(200).text(), anchors);
    let context = ClientContext::new(&Anchors::Pem(anchors), &ClientIdentity::nobody()).unwrap();
    let stream = context.connect("localhost", 0, TcpStream::connect(fleet.server().device_addr).unwrap()).unwrap();
    exchange(stream, "GET", "/bootstrap", &[], b"").problem(401);
}

#[test]
fn certificates_that_do_not_fit_stop_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let (config, _) = with_certificates(&folder);
    let key = folder.path().join("key.pem");
    fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap();
    assert!(start(&folder.path().join("data"), config.clone()).unwrap_err().to_string().contains("key.pem"));
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    fs::write(&key, fs::read(folder.path().join("ca.pem")).unwrap()).unwrap();
    assert!(matches!(start(&folder.path().join("data"), config.clone()), Err(StartError::Tls(_))));
    fs::remove_file(&key).unwrap();
    let error = start(&folder.path().join("data"), config).unwrap_err().to_string();
    assert!(error.contains("key.pem") && error.contains("no such file"), "{error}");
}

#[test]
fn beyond_loopback_the_admin_port_speaks_tls() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let options = ServeOptions {
        data: folder.path().to_owned(),
        config: Config::default(),
        device: Some("127.0.0.1:0".parse().unwrap()),
        admin: Some("0.0.0.0:0".parse().unwrap()),
    };
    let server = runtime.block_on(Server::start(options)).unwrap();
    assert!(server.admin_url.starts_with("https://"));
    let anchors = fs::read_to_string(server.ca_file.as_ref().unwrap()).unwrap();
    let stream = TcpStream::connect(("127.0.0.1", server.admin_addr.port())).unwrap();
    let stream = ClientContext::new(&Anchors::Pem(anchors), &ClientIdentity::nobody())
        .unwrap()
        .connect("localhost", 0, stream)
        .unwrap();
    exchange(stream, "GET", "/health", &[], b"").expect(200);
    runtime.block_on(server.shutdown());
}

#[test]
fn an_address_in_use_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let address = taken.local_addr().unwrap();
    let options = ServeOptions {
        data: folder.path().to_owned(),
        config: Config::default(),
        device: Some(address),
        admin: Some("127.0.0.1:0".parse().unwrap()),
    };
    let error = runtime.block_on(Server::start(options)).err().unwrap();
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}
