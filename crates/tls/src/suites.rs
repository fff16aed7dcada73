//! The protocol versions and cipher suites of both ends (Profile P-7).

use openssl::error::ErrorStack;
use openssl::ssl::{SslContextBuilder, SslOptions, SslVersion};

/// TLS 1.2: ephemeral keys and authenticated encryption only.
const TLS12: &str = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:\
                     ECDHE-RSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384";

/// What the client offers in TLS 1.3.
pub(crate) const TLS13_CLIENT: &str = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384";

/// What the server takes in TLS 1.3: SHA-256 only, else OpenSSL drops a pre-shared key.
#[cfg(feature = "server")]
pub(crate) const TLS13_SERVER: &str = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256";

/// Profile P-7: nothing below TLS 1.2, no CBC, no compression, no renegotiation.
pub(crate) fn restrict(context: &mut SslContextBuilder, tls13: &str) -> Result<(), ErrorStack> {
    context.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    context.set_cipher_list(TLS12)?;
    context.set_ciphersuites(tls13)?;
    context.set_options(SslOptions::NO_COMPRESSION | SslOptions::NO_RENEGOTIATION);
    Ok(())
}
