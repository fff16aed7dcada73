//! Where the server's admin API is, and how to prove that we may use it.

use clap::Args;
use std::path::PathBuf;

/// How the admin API is reached.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct Reach {
    /// The admin API's address, such as http://127.0.0.1:8080
    #[arg(long, env = "OMADM_SERVER", value_name = "URL")]
    pub(crate) server: Option<String>,
    /// The file with the admin token
    #[arg(long, env = "OMADM_TOKEN_FILE", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// The certificates (PEM) to trust for an https address; without it the system's
    #[arg(long, env = "OMADM_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// The server's data folder, which tells address and token; for use on the server's machine
    #[arg(long, env = "OMADM_DATA", value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}
