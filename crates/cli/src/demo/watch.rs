//! Looking at the devices, from both ends.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::facts::{ClientStatus, Seen, ServerDevice};
use crate::admin::Admin;
use crate::args::Cast;

/// Looks at devices through the program omadm-client and the server's admin API.
#[derive(Debug)]
pub(super) struct Watch<'a> {
    pub(super) client: &'a Path,
    pub(super) folder: &'a Path,
    pub(super) admin: &'a Admin,
}

impl Watch<'_> {
    /// What both ends tell about a device now; what cannot be asked yet is not there.
    pub(super) fn look(&self, cast: Cast) -> Seen {
        Seen { client: self.client_status(cast), server: self.server_device(cast) }
    }

    fn client_status(&self, cast: Cast) -> Option<ClientStatus> {
        let output = Command::new(self.client)
            .arg("--config")
            .arg(configuration(self.folder, cast))
            .args(["status", "--json"])
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .ok()?;
        // The exit code says whether it is bootstrapped, so it is no sign of failure here.
        serde_json::from_slice(&output.stdout).ok()
    }

    fn server_device(&self, cast: Cast) -> Option<ServerDevice> {
        self.admin.device(cast.facts().dev_id).ok()
    }
}

/// The folder of a device.
pub(super) fn home(folder: &Path, cast: Cast) -> PathBuf {
    folder.join(cast.name())
}

/// The configuration file of a device.
pub(super) fn configuration(folder: &Path, cast: Cast) -> PathBuf {
    home(folder, cast).join("client.toml")
}
