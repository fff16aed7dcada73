//! The OMA DM 2.0 client: what `omadm-core` decides, carried out in the world. Blocking and small.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`config`] | reads the configuration file |
//! | [`client`] | holds configuration, state and what is going on |
//! | [`bootstrap`], [`card`] | go through the methods of bootstrap |
//! | [`session`], [`transport`] | open sessions |
//! | [`schedule`], [`daemon`], [`control`] | do both when they are due, and take orders meanwhile |
//! | [`state`] | remembers, in one file |
//! | [`watch`] | notices cards and factory files that come and go |
//! | [`status`], [`report`] | tell |
//! | [`secret_file`], [`regular_file`] | reads what others put into files |
//! | [`trace`] | records what goes over links and sockets |
//! | [`world`], [`host`] | all of the world that the client touches beside its storage; the real one |
//! | [`wait`], [`clock`] | wait so that a signal ends it; tell the time |

pub mod bootstrap;
pub mod card;
pub mod client;
pub mod clock;
pub mod config;
pub mod control;
mod credentials;
pub mod daemon;
pub mod device;
pub mod exit;
mod factory;
pub mod host;
pub mod orders;
pub mod regular_file;
pub mod report;
pub mod schedule;
pub mod secret_file;
pub mod session;
pub mod state;
pub mod status;
pub mod trace;
pub mod transport;
pub mod wait;
pub mod watch;
pub mod world;
