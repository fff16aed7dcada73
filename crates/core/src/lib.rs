//! What OMA Device Management 2.0 says, as pure values and state machines.
//!
//! Nothing here opens a socket or a file, reads a clock, draws a random number or starts a thread: time, random
//! numbers and bytes come in as arguments, and what is to be done in the world comes out as values. So the same code
//! runs in a device, in a server and in a simulation.
//!
//! | module | what it holds |
//! | --- | --- |
//! | [`ids`] | MOID, MIID, SrvID, DevID, MCC, MNC |
//! | [`uri`] | the ClientURI, its grammar |
//! | [`mo`] | definitions (DDF), the MO tree, serialized MOs, what a server may do with the tree |
//! | [`account`] | the DM Account MO as a typed value |
//! | [`bootstrap`] | the Bootstrap Message, the order of methods, the request to a DM Bootstrap Server |
//! | [`factory`] | what a factory hands over: bundles for devices, a manifest for the server |
//! | [`order`] | putting a few things into order |
//! | [`package`] | Package#1, #2, #3 and alerts |
//! | [`session`] | both ends of a management session |
//! | [`access`] | who may do what with an instance |
//! | [`web`] | what HTTP needs: URLs, origins, media types, Basic, Retry-After |
//! | [`reason`] | methods, outcomes, reason codes and attempts |

pub mod access;
pub mod account;
pub mod backoff;
pub mod bootstrap;
pub mod factory;
pub mod ids;
pub mod json;
pub mod mo;
pub mod order;
pub mod package;
pub mod reason;
pub mod secret;
pub mod session;
pub mod status;
pub mod time;
pub mod uri;
pub mod web;

/// The name of this project's profile: the set of decisions taken where the standard is silent.
pub const PROFILE: &str = "omadm-1";
