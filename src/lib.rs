//! kbpack: a server's state as one signed, encrypted file.
//!
//! ```text
//! L5 cli/          one file a command      report/      what a person or a script sees
//! L4 engine/       profile, export, import, plan, state
//! L3 components/   files, secrets, postgres, sqlite, git: one folder a kind, one row in KINDS
//! L2 component.rs  the door for kinds      pipeline/    pack and unpack: zstd, age, parts
//! L1 format/       container, sums, manifest            crypto/  envelope, keys, sign, trust
//! L0 base/         digest, json, limits, name, path, secret, fault
//! ```
//!
//! Each layer uses only those below it; `tests/architecture.rs` reads the `use crate::` paths and holds them to it.

pub mod base;
pub mod cli;
pub mod component;
pub mod components;
pub mod crypto;
pub mod engine;
pub mod format;
pub mod pipeline;
pub mod report;
