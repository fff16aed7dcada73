//! The server's end: asynchronous, asks for a client's certificate or pre-shared key and does not demand them.

use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::sha::{Sha256, sha256};
use openssl::ssl::{Ssl, SslContext, SslMethod, SslOptions, SslRef, SslSessionCacheMode, SslVerifyMode};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_openssl::SslStream;
use zeroize::Zeroizing;

use crate::certificates;
use crate::error::{ContextError, TlsError};
use crate::key;
use crate::peer::{DeviceAuthorities, Peer, PeerCertificate};
use crate::psk;
use crate::resumable::{Remembered, Resumptions};
use crate::suites;

/// An established connection of a client.
pub type ServerStream = SslStream<TcpStream>;

/// Knows the pre-shared keys of clients.
pub trait PskKeys: Send + Sync {
    /// The key of this identity, if there is one and it can be had. Called on the thread that does the handshake; an
    /// implementation that has to wait must leave the runtime able to go on, and be bounded in time.
    fn key_of(&self, identity: &str) -> Option<Zeroizing<Vec<u8>>>;
}

/// What a server needs besides its certificate.
pub struct ServerOptions {
    /// Whether clients are asked for a certificate; they need not have one.
    pub asks: bool,
    /// The CAs whose certificates say which device it is.
    pub authorities: DeviceAuthorities,
    /// The pre-shared keys; without them none is taken.
    pub keys: Option<Arc<dyn PskKeys>>,
    /// What is remembered of clients.
    pub resumptions: Resumptions,
}

impl ServerOptions {
    /// All clients are anonymous, and none is remembered.
    pub fn plain() -> Self {
        Self { asks: false, authorities: DeviceAuthorities::none(), keys: None, resumptions: Resumptions::new(0) }
    }
}

/// What connections of clients have in common. Cheap to clone.
#[derive(Clone)]
pub struct ServerContext {
    context: SslContext,
    authorities: Arc<DeviceAuthorities>,
    resumptions: Resumptions,
}

/// What the client claimed by the name of a pre-shared key; true if the connection rests on that key.
enum Claim {
    Nothing,
    Psk(String, [u8; 32]),
    Resumption(String, Remembered),
}

impl ServerContext {
    /// A context with this certificate chain (leaf first) and the leaf's private key, both in PEM.
    ///
    /// # Errors
    /// If one of them cannot be read, or they do not belong together.
    pub fn from_pem(chain: &str, key: &str, options: ServerOptions) -> Result<Self, ContextError> {
        let mut certificates = certificates::all(chain)?.into_iter();
        let leaf = certificates.next().ok_or(ContextError::NoCertificate)?;
        let key = key::from_pem(key.as_bytes())?;
        if !leaf.public_key()?.public_eq(&key) {
            return Err(ContextError::Mismatch);
        }
        let mut context = SslContext::builder(SslMethod::tls_server())?;
        let tls12 = if options.keys.is_some() { suites::TLS12_SERVER_PSK } else { suites::TLS12 };
        suites::restrict(&mut context, tls12, suites::TLS13_SHA256)?;
        // A record in one read, not its head and its rest.
        context.set_read_ahead(true);
        // OpenSSL's own resumption is off: it would carry an identity that cannot be withdrawn (see `Resumptions`).
        context.set_options(SslOptions::CIPHER_SERVER_PREFERENCE | SslOptions::NO_TICKET);
        context.set_session_cache_mode(SslSessionCacheMode::OFF);
        context.set_num_tickets(0)?;
        context.set_session_id_context(b"omadm-device")?;
        if options.asks {
            // Taken as it is: whom to trust is decided where the device is known.
            context.set_verify_callback(SslVerifyMode::PEER, |_, _| true);
        }
        context.set_certificate(&leaf)?;
        for certificate in certificates {
            context.add_extra_chain_cert(certificate)?;
        }
        context.set_private_key(&key)?;
        let known =
            Known { claims: claims()?, keys: options.keys, resumptions: options.resumptions.clone(), decoy: decoy()? };
        context.set_psk_server_callback(move |ssl, identity, key| known.answer(ssl, identity, key));
        let authorities = Arc::new(options.authorities);
        Ok(Self { context: context.build(), authorities, resumptions: options.resumptions })
    }

    /// Does the handshake on an accepted connection within `limit`.
    ///
    /// # Errors
    /// See [`TlsError`]; the host named there is the client's address.
    pub async fn accept(&self, stream: TcpStream, limit: Duration) -> Result<(ServerStream, Peer), TlsError> {
        let host = stream.peer_addr().map_or_else(|_| "a client".to_owned(), |address| address.ip().to_string());
        let setup = |error: ErrorStack| TlsError::Handshake { host: host.clone(), why: error.to_string() };
        let mut ssl = Ssl::new(&self.context).map_err(setup)?;
        let claims = claims().map_err(setup)?;
        ssl.set_ex_data(claims, Claim::Nothing);
        let mut stream = SslStream::new(ssl, stream).map_err(setup)?;
        match tokio::time::timeout(limit, Pin::new(&mut stream).accept()).await {
            Err(_) => Err(TlsError::Timeout { host }),
            // What the client's certificate is worth is not decided here, so it is never the reason.
            Ok(Err(error)) => Err(TlsError::from_ssl(&host, openssl::x509::X509VerifyResult::OK, error)),
            Ok(Ok(())) => {
                let why = "what it goes on from was used by another connection".to_owned();
                let peer = self.peer(stream.ssl(), claims).map_err(setup)?;
                Ok((stream, peer.ok_or(TlsError::Handshake { host, why })?))
            }
        }
    }

    /// Who is there; `None` if it goes on from what another connection used first.
    fn peer(&self, ssl: &SslRef, claims: Index<Ssl, Claim>) -> Result<Option<Peer>, ErrorStack> {
        let claim = if psk::used(ssl) { ssl.ex_data(claims) } else { None };
        let (peer, resumed) = match claim {
            Some(Claim::Psk(identity, key_digest)) => {
                return Ok(Some(Peer::Psk { identity: identity.clone(), key_digest: *key_digest }));
            }
            Some(Claim::Resumption(name, remembered)) => (remembered.peer.clone(), Some((name.as_str(), remembered))),
            Some(Claim::Nothing) | None => {
                let certificate = PeerCertificate::of(ssl, &self.authorities)?;
                (certificate.map_or(Peer::Anonymous, Peer::Certificate), None)
            }
        };
        let first = !psk::is_tls13(ssl) || self.resumptions.put(ssl, &peer, resumed)?;
        Ok(first.then_some(peer))
    }
}

/// Where a connection keeps what the client claims.
fn claims() -> Result<Index<Ssl, Claim>, ErrorStack> {
    static INDEX: OnceLock<Result<Index<Ssl, Claim>, ErrorStack>> = OnceLock::new();
    INDEX.get_or_init(Ssl::new_ex_index).clone()
}

fn decoy() -> Result<Zeroizing<[u8; 32]>, ErrorStack> {
    let mut secret = Zeroizing::new([0; 32]);
    openssl::rand::rand_bytes(secret.as_mut())?;
    Ok(secret)
}

/// All the keys that a client can name.
struct Known {
    claims: Index<Ssl, Claim>,
    keys: Option<Arc<dyn PskKeys>>,
    resumptions: Resumptions,
    /// Makes keys for identities that are not known, so that nobody can find out which ones are: for each of both the
    /// handshake fails in the same way.
    decoy: Zeroizing<[u8; 32]>,
}

impl Known {
    /// Hands OpenSSL the key of an identity; the answer is its length, 0 if it is unknown.
    fn answer(&self, ssl: &mut SslRef, identity: Option<&[u8]>, place: &mut [u8]) -> Result<usize, ErrorStack> {
        let Some(identity) = identity.and_then(|bytes| std::str::from_utf8(bytes).ok()) else { return Ok(0) };
        if identity.starts_with(psk::RESUMPTION) {
            let Some(remembered) = self.resumptions.find(identity).filter(|_| psk::is_tls13(ssl)) else { return Ok(0) };
            let length = psk::put(&remembered.key, place)?;
            ssl.set_ex_data(self.claims, Claim::Resumption(identity.to_owned(), remembered));
            return Ok(length);
        }
        let Some(keys) = &self.keys else { return Ok(0) };
        let key = keys.key_of(identity).unwrap_or_else(|| self.decoy_of(identity));
        ssl.set_ex_data(self.claims, Claim::Psk(identity.to_owned(), sha256(&key)));
        psk::put(&key, place)
    }

    fn decoy_of(&self, identity: &str) -> Zeroizing<Vec<u8>> {
        let mut hash = Sha256::new();
        hash.update(self.decoy.as_ref());
        hash.update(identity.as_bytes());
        Zeroizing::new(hash.finish().to_vec())
    }
}
