//! `omadm serve`.

use clap::Args;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::Listing;

/// Options of `omadm serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  omadm serve --data /var/lib/omadm --device 0.0.0.0:8443 --admin 127.0.0.1:8080

At first start the folder gets a database, a key file, a CA with a certificate, and an admin token.
It stops at SIGTERM or Ctrl-C, after the answers under way.
At SIGHUP it reads its certificates anew.")]
pub(crate) struct Serve {
    /// The folder for database, keys, certificates and admin token; made if it is not there
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// The configuration file (TOML)
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Where devices connect, with TLS; port 0 takes any free port
    #[arg(long, value_name = "ADDR")]
    pub(crate) device: Option<SocketAddr>,
    /// Where the admin API and the overview page are; port 0 takes any free port
    #[arg(long, value_name = "ADDR")]
    pub(crate) admin: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) listing: Listing,
}
