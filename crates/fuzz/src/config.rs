//! The client's configuration: what is wrong is told with its line, what is accepted is within its bounds.

use std::path::Path;
use std::time::Duration;

use omadm_client::config::{Config, ConfigError, Login, Means};

pub(crate) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Config::parse(text, Path::new("/etc/omadm/client.toml")) {
        Ok(config) => {
            assert!(config.state.is_absolute());
            for time in [config.card.timeout, config.http.connect_timeout, config.http.timeout, config.session.every] {
                assert!(time > Duration::ZERO);
            }
            if let Some(bootstrap) = &config.bootstrap {
                assert!(bootstrap.url.clone().require_secure().is_ok());
            }
            if let Some(Login { user: Some(user), means: Means::Password { .. } }) = &config.login {
                assert!(!user.contains(':'));
            }
            let _ = format!("{config:?}");
        }
        Err(error) => {
            let ConfigError::Content { line, message, .. } = &error else { panic!("nothing was read: {error}") };
            assert!((1..=text.split('\n').count()).contains(line), "line {line}");
            assert!(!message.is_empty());
        }
    }
}
