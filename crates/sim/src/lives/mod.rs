//! Device lives: 10 years on a virtual clock, with the real client on models of its world.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`plan`] | what a life is going to be, drawn from a seed |
//! | [`world`], [`slot`], [`net`], [`servers`], [`truth`], [`disk`], [`watched`] | the models |
//! | [`previous`] | the client's previous version |
//! | [`device`] | living it, and what must hold ([`broken`]) |
//! | [`shrink`], [`crowd`] | making a failing life small; living many |

pub mod broken;
pub mod crowd;
pub mod device;
pub mod disk;
pub mod net;
pub mod plan;
pub mod previous;
pub mod servers;
pub mod shrink;
pub mod slot;
pub mod truth;
pub mod watched;
pub mod world;
