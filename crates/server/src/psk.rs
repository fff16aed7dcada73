//! Pre-shared keys as the TLS handshake asks for them: those that were given out, and those that devices enrol by.

use omadm_tls::PskKeys;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::block_in_place;
use zeroize::Zeroizing;

use crate::app::App;
use crate::auth::{DECOY, credential_place, given_out, psk_place};
use crate::problem::Refusal;
use crate::store::CredentialScheme;

/// The longest that a handshake waits for the store.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks keys up in the store, each when it is needed: a fleet of any size costs no memory, and a key that was changed
/// counts at once. Needs a runtime of several threads, since OpenSSL waits for the answer on one of them.
pub(crate) struct StoredKeys {
    app: Arc<App>,
    runtime: Handle,
}

impl StoredKeys {
    /// Within a runtime of several threads.
    pub(crate) fn new(app: Arc<App>) -> Self {
        Self { app, runtime: Handle::current() }
    }

    async fn find(&self, identity: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Refusal> {
        let app = &self.app;
        let given = given_out(app, CredentialScheme::Psk, identity).await?;
        let enrolled = app.store.enrolled_by_psk(identity).await?;
        let key = match (&given, &enrolled) {
            (Some(credential), _) => Some(app.keys.open_sealed(credential_place(identity), &credential.secret)?),
            (None, Some((device, sealed))) => Some(app.keys.open_sealed(psk_place(device.dev_id.as_str()), sealed)?),
            (None, None) => {
                // As much work as for one that is known.
                app.keys.open_sealed(DECOY, &app.decoy)?;
                None
            }
        };
        Ok(key.map(|key| Zeroizing::new(key.expose().to_vec())))
    }
}

impl PskKeys for StoredKeys {
    fn key_of(&self, identity: &str) -> Option<Zeroizing<Vec<u8>>> {
        let looked_up = tokio::time::timeout(PATIENCE, self.find(identity));
        match block_in_place(|| self.runtime.block_on(looked_up)) {
            Ok(Ok(key)) => key,
            Ok(Err(refusal)) => {
                tracing::error!(why = refusal.sentence(), "a pre-shared key could not be looked up");
                None
            }
            Err(_) => {
                tracing::error!("the store did not answer in time; a pre-shared key could not be looked up");
                None
            }
        }
    }
}
