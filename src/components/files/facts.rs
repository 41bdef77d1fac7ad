//! The options of a files component, as a profile has them, and its facts, as a manifest has them.

use super::home::is_name;
use super::meta::Meta;
use super::modes::Modes;
use crate::base::path::BundlePath;
use crate::component::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What an import does to what is on the target and not in the bundle.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// It stays.
    #[default]
    Overlay,
    /// It goes, unless it is excluded or belongs to another component.
    Mirror,
}

/// What an import does to a symlink inside the root where the bundle has a file or a directory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Symlinks {
    /// The link stays; what the bundle has there is not restored.
    #[default]
    Keep,
    /// What the bundle has takes its place.
    Replace,
    /// The link stays and what it points to, inside the root, is restored.
    WriteThrough,
}

/// What becomes of a root that is not there on the source. A machine decides it for itself: no bundle brings it along.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Absent {
    /// An export is refused, and so is an import that would remove something.
    #[default]
    Refuse,
    /// An export says that nothing was there; an import still removes nothing.
    Ok,
    /// An export says that nothing was there; an import removes what is there, whatever its mode. For rollbacks.
    Remove,
}

/// What can be chosen. The same words in a profile and in the facts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Options {
    /// gitignore patterns, as in a `.gitignore` at the root.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
    /// See [`Mode`].
    pub mode: Mode,
    /// See [`Symlinks`].
    pub symlinks: Symlinks,
    /// Whether what is mounted inside the root is left out.
    pub one_filesystem: bool,
    /// gitignore patterns of files in which commands stand that some program runs: a plan names those that are new or changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<String>,
    /// gitignore patterns of files in which paths of the source's home become paths of the target's: see [`super::home`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rewrite_home: Vec<String>,
}

/// A component in a profile. In the target's own profile every word overrides the bundle's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Profile {
    /// `~/...` or absolute; a directory or a single file.
    pub path: Option<String>,
    exclude: Option<Vec<String>>,
    mode: Option<Mode>,
    symlinks: Option<Symlinks>,
    one_filesystem: Option<bool>,
    #[serde(default)]
    runs: Vec<String>,
    /// See [`Options::rewrite_home`].
    pub rewrite_home: Option<Vec<String>>,
    /// Read by [`Profile::modes`], which knows where one is wrong.
    #[serde(default)]
    modes: Value,
    /// See [`Absent`].
    #[serde(default)]
    pub absent: Absent,
    /// The text of the file that is packed where nothing is at the root. It is the source's: no bundle brings it along.
    pub content: Option<String>,
}

impl Profile {
    /// Reads the options of a component's table.
    pub fn read(options: &Value) -> Result<Profile> {
        Profile::deserialize(options).map_err(Error::usage)
    }

    /// The modes that files get here: at an export, and once more at an import.
    pub fn modes(&self) -> Result<Modes> {
        Modes::read(&self.modes)
    }

    /// These options, and `base` where they say nothing. What runs is what either says.
    pub fn over(self, base: Options) -> Options {
        let mut runs = base.runs;
        runs.extend(self.runs);
        Options {
            exclude: self.exclude.unwrap_or(base.exclude),
            mode: self.mode.unwrap_or(base.mode),
            symlinks: self.symlinks.unwrap_or(base.symlinks),
            one_filesystem: self.one_filesystem.unwrap_or(base.one_filesystem),
            runs,
            rewrite_home: self.rewrite_home.unwrap_or(base.rewrite_home),
        }
    }
}

/// What was at the root.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nothing.
    #[default]
    Absent,
    /// One regular file: the tree's only entry, without a directory.
    File,
    /// A directory: the entries are what is in it.
    Directory,
}

/// The component's part of the manifest.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Facts {
    /// Where it came from: `~/...` or absolute.
    pub root: String,
    /// What was there.
    pub state: State,
    /// How it is to be restored.
    pub options: Options,
    /// The part of the tree that was captured, if not all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<BundlePath>,
    /// The root directory's own metadata, if it belongs to what was captured.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub top: Option<Meta>,
    /// What the source's home is called there: absent unless files are to be rewritten.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub homes: Vec<String>,
    /// Entries of the index.
    pub entries: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// It is a backup: the stream `touched` names the paths that are meant, and no others are.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub touched: bool,
    /// In a backup of a directory that goes as a whole: everything in it is meant, whatever `touched` names.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all: bool,
    /// In a backup of a root that did not exist: how many folders above it did not either.
    #[serde(default, skip_serializing_if = "crate::base::json::is_zero")]
    pub above: u32,
}

impl Facts {
    /// From a manifest, held to the rules.
    pub fn read(component: &str, facts: &Value) -> Result<Facts> {
        let bad = |why: &dyn std::fmt::Display| {
            Error::rule("F1", format_args!("facts of component {component}: {why}"))
        };
        let facts = Facts::deserialize(facts).map_err(|e| bad(&e))?;
        if facts.top.is_some() && (facts.state != State::Directory || !facts.only.is_empty()) {
            return Err(bad(&"metadata of a root that was not captured"));
        }
        if facts.all && !(facts.touched && facts.state == State::Directory) {
            return Err(bad(&"only a backup of a directory can be one of all that is in it"));
        }
        if facts.above > 0 && !(facts.touched && facts.state == State::Absent) {
            return Err(bad(&"folders above the root that only a backup of what did not exist can tell of"));
        }
        if facts.top.as_ref().is_some_and(|top| top.mode.0 & 0o4000 != 0) {
            return Err(bad(&"the root has the setuid bit"));
        }
        if facts.homes.len() > MAX_HOMES || !facts.homes.iter().all(|home| is_name(home)) {
            return Err(bad(&"what the home is called is no path of letters, digits and ._-+@"));
        }
        if facts.homes.is_empty() != facts.options.rewrite_home.is_empty() {
            return Err(bad(
                &"what the home is called stands there if and only if files are to be rewritten",
            ));
        }
        Ok(facts)
    }
}

/// Names of one home: as it is, as the user database has it, and as `HOME` says, with one to spare.
const MAX_HOMES: usize = 4;
