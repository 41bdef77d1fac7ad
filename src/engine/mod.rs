//! L4: what the commands do, told to [`events::Events`] and never to the terminal.
//!
//! [`export`] and [`import`] are the two pipelines; [`gate`] is the way every command opens a bundle;
//! [`claims`] settles who owns what; [`state`] is what this machine remembers between runs.

mod apply;
mod authorities;
pub mod backup;
pub mod check;
pub mod checks;
pub mod claims;
pub mod completeness;
pub mod diff;
pub mod error;
pub mod events;
pub mod export;
pub mod exports;
pub mod extract;
pub mod gate;
pub mod history;
pub mod hooks;
pub mod import;
pub mod init;
pub mod inspect;
pub mod journal;
mod log;
pub mod machine;
mod participants;
pub mod plan;
pub mod presets;
pub mod profile;
pub mod prune;
pub mod receipt;
pub mod recover;
pub mod rekey;
mod remedy;
pub mod retention;
pub mod rollback;
pub mod sealed;
pub mod selection;
pub mod state;
pub mod status;
pub mod ticket;
pub mod todos;
pub mod unattended;
pub mod verify;
