//! The OMA DM 2.0 client: what `omadm-core` decides, carried out in the world. Blocking and small.

pub mod clock;
pub mod config;
pub mod control;
pub mod exit;
pub mod secret_file;
pub mod state;
pub mod transport;
pub mod wait;
