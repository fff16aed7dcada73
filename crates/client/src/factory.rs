//! The factory file: a Bootstrap Message as it is, or a bundle with one that its maker signed for this device. It is only
//! ever read, so a reset finds it as the factory left it.

use crate::bootstrap::FILE_READ;
use crate::config::FactoryConfig;
use crate::world::World;
use omadm_core::factory::bundle::{Enrolment, FactoryBundle};
use omadm_core::ids::DevId;
use omadm_core::reason::Reason;
use omadm_core::secret::Secret;
use omadm_tls::cms::{self, CmsError};
use std::io;

/// What the factory gave.
pub(crate) struct Factory {
    /// The Bootstrap Message.
    pub(crate) message: Secret,
    /// What the device proves itself by to its DM Bootstrap Server.
    pub(crate) enrolment: Option<Enrolment>,
}

/// Reads the factory file; `None` if there is none. An error says why it gives nothing to this device, without the file's
/// name.
pub(crate) fn read(
    world: &dyn World,
    config: &FactoryConfig,
    dev_id: &DevId,
) -> Result<Option<Factory>, (Reason, String)> {
    // Not encrypted it holds what the message does.
    let file = match world.read_file(&config.file, FILE_READ) {
        Ok(bytes) => Secret::new(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err((Reason::Storage, format!("cannot be read: {error}"))),
    };
    if !cms::is_cms(file.expose()) {
        return match &config.signer {
            None => Ok(Some(Factory { message: file, enrolment: None })),
            Some(_) => Err((
                Reason::InvalidMessage,
                "nobody signed it, and only a signed bundle counts (factory.signer)".into(),
            )),
        };
    }
    let unusable = |key: &str, why: &dyn std::fmt::Display| (Reason::NotConfigured, format!("factory.{key}: {why}"));
    let signer = match &config.signer {
        None => None,
        Some(path) => {
            let pem = world.read_file(path, FILE_READ).map_err(|error| unusable("signer", &error))?;
            Some(String::from_utf8(pem).map_err(|error| unusable("signer", &error))?)
        }
    };
    let key = match &config.key {
        None => None,
        Some(path) => Some(world.read_secret(path).map_err(|error| unusable("key", &error))?),
    };
    let content = cms::open(file.expose(), signer.as_deref(), key.as_ref().map(|key| key.expose()));
    let content = content.map_err(|error| (reason(&error), error.to_string()))?;
    let bundle = FactoryBundle::parse(&content).map_err(|error| (error.reason(), error.to_string()))?;
    if bundle.dev_id != *dev_id {
        let why = format!("the bundle is for {}, and this device is {dev_id}", bundle.dev_id);
        return Err((Reason::InvalidMessage, why));
    }
    Ok(Some(Factory { message: bundle.message, enrolment: bundle.enrolment }))
}

fn reason(error: &CmsError) -> Reason {
    match error {
        CmsError::Malformed(_) => Reason::MalformedMessage,
        CmsError::Signature(_) | CmsError::OtherKey => Reason::InvalidMessage,
        CmsError::NoKey | CmsError::Material(_) => Reason::NotConfigured,
    }
}
