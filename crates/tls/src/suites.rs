//! The protocol versions and cipher suites of both ends (Profile P-7).

use openssl::error::ErrorStack;
use openssl::ssl::{SslContextBuilder, SslOptions, SslVersion};

/// TLS 1.2 with certificates: ephemeral keys and authenticated encryption only.
pub(crate) const TLS12: &str = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:\
    ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";

/// TLS 1.2 of a client with a pre-shared key: nothing that would do without the key. OpenSSL has no ECDHE-PSK with GCM.
pub(crate) const TLS12_PSK: &str =
    "ECDHE-PSK-CHACHA20-POLY1305:DHE-PSK-AES128-GCM-SHA256:DHE-PSK-CHACHA20-POLY1305:DHE-PSK-AES256-GCM-SHA384";

/// TLS 1.2 of a server that knows pre-shared keys: those first, then certificates.
#[cfg(feature = "server")]
pub(crate) const TLS12_SERVER_PSK: &str = "ECDHE-PSK-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-GCM-SHA256:\
    ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:\
    ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";

/// What a client offers in TLS 1.3.
pub(crate) const TLS13: &str = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384";

/// TLS 1.3 where pre-shared keys are at stake: SHA-256 only, else OpenSSL drops the key.
pub(crate) const TLS13_SHA256: &str = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256";

/// Profile P-7: nothing below TLS 1.2, no CBC, no compression, no renegotiation.
pub(crate) fn restrict(context: &mut SslContextBuilder, tls12: &str, tls13: &str) -> Result<(), ErrorStack> {
    context.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    context.set_cipher_list(tls12)?;
    context.set_ciphersuites(tls13)?;
    context.set_options(SslOptions::NO_COMPRESSION | SslOptions::NO_RENEGOTIATION);
    Ok(())
}
