//! Both ends of a connection over loopback, of ours and of plain OpenSSL.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::indexing_slicing)]

use omadm_tls::ca::{self, Identity, Validity};
use omadm_tls::{
    Anchors, ClientContext, ClientIdentity, DeviceAuthorities, Peer, PskKeys, Resumptions, ServerContext,
    ServerOptions, TlsError, TlsStream,
};
use openssl::ssl::{SslContext, SslContextBuilder, SslMethod, SslVersion};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zeroize::Zeroizing;

pub const LIMIT: Duration = Duration::from_millis(500);
pub const KEY: &[u8; 16] = b"0123456789abcdef";

pub fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

pub fn authority() -> Identity {
    ca::make("Test CA", Validity::of_ca(now())).unwrap()
}

pub fn server_of(ca: &Identity, validity: Validity) -> Identity {
    ca::issue_server(ca, &["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()], validity).unwrap()
}

pub fn plain_options() -> ServerOptions {
    ServerOptions { asks: true, authorities: DeviceAuthorities::none(), keys: None, resumptions: Resumptions::new(8) }
}

/// Knows one identity, `device`, whose key is [`KEY`].
pub struct OneKey;

impl PskKeys for OneKey {
    fn key_of(&self, identity: &str) -> Option<Zeroizing<Vec<u8>>> {
        (identity == "device").then(|| Zeroizing::new(KEY.to_vec()))
    }
}

pub fn psk_options() -> ServerOptions {
    ServerOptions { keys: Some(Arc::new(OneKey)), ..plain_options() }
}

pub fn context(identity: &Identity, options: ServerOptions) -> ServerContext {
    ServerContext::from_pem(&identity.certificate, &identity.key, options).unwrap()
}

/// What a server saw in each of its connections.
pub type Seen = JoinHandle<Vec<Result<Peer, TlsError>>>;

/// A server for so many connections, one after the other, that sends back four bytes and says who came.
pub fn serve(context: ServerContext, times: usize) -> (SocketAddr, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        (0..times).map(|_| runtime.block_on(one(&context, &listener))).collect()
    });
    (address, thread)
}

async fn one(context: &ServerContext, listener: &TcpListener) -> Result<Peer, TlsError> {
    let (stream, _) = listener.accept().unwrap();
    stream.set_nonblocking(true).unwrap();
    let stream = tokio::net::TcpStream::from_std(stream).unwrap();
    let (mut stream, peer) = context.accept(stream, LIMIT).await?;
    let mut word = [0; 4];
    if stream.read_exact(&mut word).await.is_ok() {
        stream.write_all(&word).await.unwrap();
        let _ = stream.shutdown().await;
    }
    Ok(peer)
}

pub fn client(anchors: &str, identity: &ClientIdentity) -> ClientContext {
    ClientContext::new(&Anchors::Pem(anchors.to_owned()), identity).unwrap()
}

/// Connects to `localhost`, which is there, and has four bytes sent back.
pub fn reach(context: &ClientContext, address: SocketAddr) -> Result<TlsStream<TcpStream>, TlsError> {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut stream = context.connect("localhost", address.port(), stream)?;
    exchange(&mut stream);
    Ok(stream)
}

pub fn exchange(stream: &mut (impl Read + Write)) {
    stream.write_all(b"ping").unwrap();
    let mut word = [0; 4];
    stream.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"ping");
}

/// A server of plain OpenSSL for one connection, set up by `with`.
pub fn plain_server(
    identity: &Identity,
    version: SslVersion,
    with: impl FnOnce(&mut SslContextBuilder),
) -> (SocketAddr, JoinHandle<Result<(), String>>) {
    let mut builder = SslContext::builder(SslMethod::tls_server()).unwrap();
    builder.set_min_proto_version(Some(version)).unwrap();
    builder.set_max_proto_version(Some(version)).unwrap();
    let certificate = openssl::x509::X509::from_pem(identity.certificate.as_bytes()).unwrap();
    builder.set_certificate(&certificate).unwrap();
    builder.set_private_key(&openssl::pkey::PKey::private_key_from_pem(identity.key.as_bytes()).unwrap()).unwrap();
    with(&mut builder);
    let context = builder.build();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        let ssl = openssl::ssl::Ssl::new(&context).unwrap();
        let mut stream = ssl.accept(stream).map_err(|error| error.to_string())?;
        let mut word = [0; 4];
        if stream.read_exact(&mut word).is_ok() {
            stream.write_all(&word).unwrap();
        }
        Ok(())
    });
    (address, thread)
}

/// A client of plain OpenSSL that asks nothing of the server, set up by `with`.
pub fn plain_client(
    address: SocketAddr,
    version: SslVersion,
    with: impl FnOnce(&mut SslContextBuilder),
) -> Result<openssl::ssl::SslStream<TcpStream>, String> {
    let mut builder = SslContext::builder(SslMethod::tls_client()).unwrap();
    builder.set_min_proto_version(Some(version)).unwrap();
    builder.set_max_proto_version(Some(version)).unwrap();
    with(&mut builder);
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut stream =
        openssl::ssl::Ssl::new(&builder.build()).unwrap().connect(stream).map_err(|error| error.to_string())?;
    exchange(&mut stream);
    Ok(stream)
}

/// Has plain OpenSSL offer this key.
pub fn offer(builder: &mut SslContextBuilder, identity: &'static str, key: &'static [u8]) {
    builder.set_psk_client_callback(move |_, _, name, place| {
        name[..identity.len()].copy_from_slice(identity.as_bytes());
        name[identity.len()] = 0;
        place[..key.len()].copy_from_slice(key);
        Ok(key.len())
    });
}

/// Has plain OpenSSL know this key.
pub fn know(builder: &mut SslContextBuilder, identity: &'static str, key: &'static [u8]) {
    builder.set_psk_server_callback(move |_, name, place| {
        if name != Some(identity.as_bytes()) {
            return Ok(0);
        }
        place[..key.len()].copy_from_slice(key);
        Ok(key.len())
    });
}
