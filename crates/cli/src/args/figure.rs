//! `omadm figure`.

use clap::Args;
use std::path::PathBuf;

/// Options of `omadm figure`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  omadm-client --config client.toml run --trace trace.jsonl
  omadm figure trace.jsonl --title 'A meter starts' -o start.svg")]
pub(crate) struct Figure {
    /// The trace that `omadm-client run --trace` recorded
    pub(crate) trace: PathBuf,
    /// What stands above the picture
    #[arg(long, default_value = "A recorded run")]
    pub(crate) title: String,
    /// The SVG file to write; without it the picture goes to standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}
