//! What a machine has that would be worth packing, for a first profile.

use serde_json::Value;
use std::path::PathBuf;

/// What stands where a first profile looks, within its limits: no links followed, nothing inside of what only programs use.
#[derive(Debug, Default)]
pub struct Near {
    /// Folders, a parent before what is in it.
    pub folders: Vec<PathBuf>,
    /// Plain files.
    pub files: Vec<PathBuf>,
}

/// Something that a kind would pack.
#[derive(Debug, Clone, PartialEq)]
pub struct Suggestion {
    /// What its component could be called, in words of the machine's.
    pub name: String,
    /// What it is, in one line for people; never a secret.
    pub about: String,
    /// The options of the component, in the order in which people write them.
    pub options: Vec<(&'static str, Value)>,
}
