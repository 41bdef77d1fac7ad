//! L1: what a bundle is, byte by byte: the outer archive, its list of digests and its manifest.
//!
//! `docs/FORMAT.md` is the normative text; rule numbers (`C7`) in comments and errors are its numbers.
//! Nothing here knows of keys: the seal is a member like the others, and the streams are parts of bytes.

mod check_rules;
mod checks;
mod error;
mod header;
mod hooks;
mod id;
mod manifest;
mod member;
mod order;
mod reader;
mod readme;
mod sums;
pub mod template;
#[cfg(test)]
mod tests;
mod todos;
mod validate;
mod writer;

pub use check_rules::{flaw, Author, Flaw};
pub use checks::{
    Absent, Check, CheckSeverity, CommandProbe, EnvProbe, FileProbe, FileType, HttpProbe, JsonProbe, Method,
    Probe, SqlProbe, TcpProbe, VersionProbe,
};
pub use error::FormatError;
pub use hooks::{hook_flaw, Hook, HookFlaw, Stage, Where};
pub use id::{BundleId, FORMAT_VERSION};
pub use manifest::{ComponentEntry, Manifest, Origin, StreamEntry, Target};
pub use member::MemberName;
pub use reader::{Container, Member};
pub use readme::README;
pub use sums::Sums;
pub use todos::{todo_flaw, Done, Todo, TodoFlaw};
pub use validate::{is_fingerprint, is_text, MAX_INTEGER, MAX_TIME};
pub use writer::ContainerWriter;
