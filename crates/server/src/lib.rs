//! The fleet's side of omadm: the DM Bootstrap Server, the DM Server and the data repository behind one port, and an
//! admin API behind another.
//!
//! | module | what it does |
//! | --- | --- |
//! | `bootstrap` | `GET /bootstrap`: facts (who asks) -> decision (which profile, which credentials, why) -> rendering |
//! | `dm` | `POST /dm`: sessions by the credentials given out |
//! | `data` | `/data`: what HGET, HPUT and HPOST address |
//! | `admin` | the REST API under `/api/v1` and the overview page |
//! | `profile` | what a device is given: when it matches, and the message's template |
//! | `store` | what is remembered: one trait, SQLite behind it |
//!
//! Nodes hold nothing that matters: sessions, jobs and credentials live in the store. Only `bootstrap::rendering`
//! knows the DM Account MO.

mod admin;
mod app;
mod auth;
mod body;
mod bootstrap;
mod certificates;
mod clock;
mod config;
mod data;
mod descriptors;
mod device_port;
mod dm;
mod files;
mod keys;
mod limiter;
mod listen;
mod load;
mod pki;
mod problem;
mod profile;
mod psk;
mod random;
mod recorder;
mod seats;
mod serve;
mod stall;
mod store;

pub use config::{BootstrapConfig, Config, ConfigError, Limits, Retention, TlsFiles};
pub use files::FileError;
pub use keys::KeyError;
pub use pki::PkiError;
pub use serve::{RunningServer, ServeOptions, Server, StartError};
pub use store::StoreError;
