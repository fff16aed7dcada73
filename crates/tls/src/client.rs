//! The client's end: blocking, over any stream, the server always verified.

use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::sha::Sha256;
use openssl::ssl::{Ssl, SslContext, SslMethod, SslRef, SslStream, SslVerifyMode};
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::{X509CheckFlags, X509VerifyFlags};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::ca::{self, Validity};
use crate::certificates;
use crate::error::{ContextError, TlsError, version};
use crate::identity::{ClientIdentity, Kind, PreShared};
use crate::psk;
use crate::resume::{self, Resumable, Sessions};
use crate::suites;

/// Whom the client trusts to sign a server's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Anchors {
    /// The device's trust store.
    System,
    /// These certificates in PEM, one after the other, and nobody else. A server's own certificate may be one.
    Pem(String),
}

/// What connections to servers have in common. Cheap to clone.
#[derive(Clone)]
pub struct ClientContext {
    context: SslContext,
    floor: u64,
    /// Whether only a pre-shared key will do.
    psk: bool,
    /// Digest of anchors and identity, by which `sessions` tells contexts apart.
    digest: [u8; 32],
    sessions: Option<Sessions>,
}

/// What is offered in one handshake besides the context's identity.
type Offer = Option<PreShared>;

impl ClientContext {
    /// A context with these anchors, of a client that proves this identity where a server asks for it.
    ///
    /// With a pre-shared key no connection comes up that does not rest on it: both ends prove it, and the anchors do
    /// not matter. A client with a certificate or nothing verifies the server's certificate.
    ///
    /// # Errors
    /// If the anchors cannot be read, or there is none.
    pub fn new(anchors: &Anchors, identity: &ClientIdentity) -> Result<Self, ContextError> {
        let psk = matches!(identity.0, Kind::Psk(_));
        let mut context = SslContext::builder(SslMethod::tls_client())?;
        let (tls12, tls13) =
            if psk { (suites::TLS12_PSK, suites::TLS13_SHA256) } else { (suites::TLS12, suites::TLS13) };
        suites::restrict(&mut context, tls12, tls13)?;
        // Also with a pre-shared key: in TLS 1.3 a server that does not know it falls back to certificates.
        context.set_verify(SslVerifyMode::PEER);
        let mut digest = Sha256::new();
        match anchors {
            Anchors::System => {
                digest.update(b"system");
                context.set_default_verify_paths()?;
            }
            Anchors::Pem(pem) => {
                digest.update(b"pem");
                digest.update(&(pem.len() as u64).to_be_bytes());
                digest.update(pem.as_bytes());
                let mut store = X509StoreBuilder::new()?;
                // An anchor need not be self-signed: an intermediate or the server's certificate will do.
                store.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
                for certificate in certificates::all(pem)? {
                    store.add_cert(certificate)?;
                }
                context.set_cert_store(store.build());
            }
        }
        identity.digest(&mut digest)?;
        let offers = offers()?;
        match identity.0.clone() {
            Kind::Nobody => context.set_psk_client_callback(move |ssl, _, identity, key| {
                offer(ssl.ex_data(offers).and_then(Option::as_ref), identity, key)
            }),
            Kind::Certificate { chain, key } => {
                let mut chain = chain.into_iter();
                let leaf = chain.next().ok_or(ContextError::NoCertificate)?;
                context.set_certificate(&leaf)?;
                for issuer in chain {
                    context.add_extra_chain_cert(issuer)?;
                }
                context.set_private_key(&key)?;
                context.set_psk_client_callback(move |ssl, _, identity, key| {
                    offer(ssl.ex_data(offers).and_then(Option::as_ref), identity, key)
                });
            }
            Kind::Psk(shared) => {
                context.set_psk_client_callback(move |_, _, identity, key| offer(Some(&shared), identity, key));
            }
        }
        Ok(Self { context: context.build(), floor: 0, psk, digest: digest.finish(), sessions: None })
    }

    /// Verifies certificates as if it were at least this time (seconds since 1970), for a device whose clock may be
    /// wrong (Profile P-27).
    #[must_use]
    pub fn not_before(mut self, floor: u64) -> Self {
        self.floor = floor;
        self
    }

    /// Takes up what earlier connections with the same anchors and identity left in `sessions`, and leaves more there.
    /// With a pre-shared key there is nothing to gain, and nothing is done.
    #[must_use]
    pub fn resuming(mut self, sessions: &Sessions) -> Self {
        self.sessions = (!self.psk).then(|| sessions.clone());
        self
    }

    /// Whether `other` trusts and proves the same.
    pub fn is_like(&self, other: &Self) -> bool {
        self.digest == other.digest
    }

    /// Makes a TLS connection to `host` over `stream`, which leads to `port` there. The certificate has to be for
    /// `host`, a name or an IP address (an IPv6 one with or without brackets). Time limits are those of the stream.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn connect<S: Read + Write>(&self, host: &str, port: u16, stream: S) -> Result<TlsStream<S>, TlsError> {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let failed = |why: String| TlsError::Handshake { host: host.to_owned(), why };
        let now = self.now();
        let key = (bare.to_ascii_lowercase(), port, self.digest);
        let earlier = self.sessions.as_ref().and_then(|sessions| sessions.take(&key, now));
        let ssl = self
            .session(bare, now, earlier.as_ref().map(|earlier| earlier.shared.clone()))
            .map_err(|error| failed(error.to_string()))?;
        let stream = ssl.connect(stream).map_err(|error| match self.psk {
            true => TlsError::from_psk_handshake(host, error),
            false => TlsError::from_handshake(host, error),
        })?;
        let by_key = psk::used(stream.ssl());
        if self.psk && !by_key {
            let why = "the server showed a certificate instead".to_owned();
            return Err(TlsError::Psk { host: host.to_owned(), why });
        }
        if self.psk {
            return Ok(TlsStream { stream, proof: Proof::Psk, resumed: false });
        }
        let resumed = earlier.filter(|_| by_key);
        let (since, validity) = match &resumed {
            // A resumed one does not live longer than the one it goes back to.
            Some(resumed) => (resumed.since, resumed.validity),
            None => (Instant::now(), shown(stream.ssl()).map_err(|error| failed(error.to_string()))?),
        };
        if let Some(sessions) = self.sessions.as_ref().filter(|_| psk::is_tls13(stream.ssl())) {
            let shared = resume::derive(stream.ssl()).map_err(|error| failed(error.to_string()))?;
            sessions.put(key, Resumable { shared, since, validity });
        }
        let proof = Proof::Certificate { since: validity.from };
        Ok(TlsStream { stream, proof, resumed: resumed.is_some() })
    }

    /// The time that certificates are verified for.
    fn now(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()).max(self.floor)
    }

    fn session(&self, host: &str, now: u64, offer: Offer) -> Result<Ssl, ContextError> {
        let mut ssl = Ssl::new(&self.context)?;
        match host.parse::<IpAddr>() {
            Ok(address) => ssl.param_mut().set_ip(address)?,
            Err(_) if host.is_empty() => return Err(ContextError::Certificate("the host has no name".into())),
            Err(_) => {
                ssl.set_hostname(host)?;
                ssl.param_mut().set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS);
                ssl.param_mut().set_host(host)?;
            }
        }
        ssl.param_mut().set_time(i64::try_from(now).unwrap_or(i64::MAX));
        ssl.set_ex_data(offers()?, offer);
        Ok(ssl)
    }
}

/// Where a connection keeps what it offers.
fn offers() -> Result<Index<Ssl, Offer>, ErrorStack> {
    static INDEX: OnceLock<Result<Index<Ssl, Offer>, ErrorStack>> = OnceLock::new();
    INDEX.get_or_init(Ssl::new_ex_index).clone()
}

/// Hands OpenSSL an identity, ended by a zero byte, and its key; the answer is the key's length, 0 for none.
fn offer(shared: Option<&PreShared>, identity: &mut [u8], key: &mut [u8]) -> Result<usize, ErrorStack> {
    let Some(shared) = shared else { return Ok(0) };
    let ended = [shared.identity.as_bytes(), &[0]].concat();
    if psk::put(&ended, identity)? == 0 {
        return Ok(0);
    }
    psk::put(&shared.key, key)
}

/// When all certificates are valid that the server showed and that vouch for it.
fn shown(ssl: &SslRef) -> Result<Validity, ErrorStack> {
    let mut all = Validity { from: 0, until: u64::MAX };
    for certificate in ssl.verified_chain().into_iter().flatten() {
        all.from = all.from.max(ca::unix_seconds(certificate.not_before())?);
        all.until = all.until.min(ca::unix_seconds(certificate.not_after())?);
    }
    Ok(all)
}

/// How the server of a connection proved itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// By the pre-shared key, and so did the client.
    Psk,
    /// By a certificate for its host that an anchor signed; a resumed connection goes back to such a one. Whether it
    /// asked for the client's certificate and took it shows above TLS only.
    Certificate {
        /// Since when all its certificates are valid, in seconds since 1970: it cannot be earlier now, whatever a clock
        /// says (Profile P-27).
        since: u64,
    },
}

/// An established connection to a server that proved itself.
pub struct TlsStream<S> {
    stream: SslStream<S>,
    proof: Proof,
    resumed: bool,
}

impl<S> TlsStream<S> {
    /// The protocol version, such as `TLSv1.3`.
    pub fn version(&self) -> &'static str {
        version(self.stream.ssl())
    }

    /// How the server proved itself.
    pub fn proved(&self) -> Proof {
        self.proof
    }

    /// Whether an earlier connection was taken up again, without certificates.
    pub fn resumed(&self) -> bool {
        self.resumed
    }

    /// The stream below.
    pub fn inner(&self) -> &S {
        self.stream.get_ref()
    }

    /// The stream below, to set its time limits. Reading or writing it breaks the connection.
    pub fn inner_mut(&mut self) -> &mut S {
        self.stream.get_mut()
    }

    /// Bytes that are decrypted and can be read without touching the stream below.
    pub fn buffered(&self) -> usize {
        self.stream.ssl().pending()
    }
}

impl<S: Read + Write> TlsStream<S> {
    /// Tells the peer that nothing more will be sent; failures do not matter any more.
    pub fn close(&mut self) {
        let _ = self.stream.shutdown();
    }
}

impl<S: Read + Write> Read for TlsStream<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl<S: Read + Write> Write for TlsStream<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl<S> std::fmt::Debug for TlsStream<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "TlsStream({})", self.version())
    }
}
