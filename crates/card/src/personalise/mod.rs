//! Writing a Bootstrap Message, and other objects, to a card that is there already (docs/making-cards.md).
//!
//! [`survey`] looks at the card and changes nothing; [`plan`] says, command by command, how it comes to hold what is
//! wanted; [`carry_out`] does that and reads it back. [`script`] has the same commands for a card that is elsewhere.

mod access;
mod directory;
mod error;
mod execute;
mod files;
mod key;
mod pin;
mod plan;
mod region;
pub mod script;
mod step;
mod survey;

pub use error::PersonaliseError;
pub use execute::{Written, carry_out};
pub use key::{AdmKey, InvalidKey};
pub use plan::{Plan, Wanted, plan};
pub use step::{Action, NewFile, RuleRef, Step};
pub use survey::{Looking, Survey, survey};
