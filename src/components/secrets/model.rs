//! What a component of this kind consists of. Serialised, it is the component's facts: names and places, never a value.

use super::item::{Item, What};
use super::pgpass::Key;
use super::policy::{How, Policy};
use super::shell_words::is_name;
use crate::base::key_path::KeyPath;
use crate::component::Listed;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Bytes of a whole file.
pub(super) const MAX_FILE: u64 = 1024 * 1024;
/// Bytes of a file of which keys stay, and so of any file that may be there.
pub(super) const MAX_JSON: u64 = 8 * 1024 * 1024;
/// Keys of one file that stay; and those at which commands stand.
const MAX_KEYS: usize = 64;
/// Bytes of one variable's value: Linux gives a string of the environment 128 KiB, with its name.
pub(super) const MAX_ENV_VALUE: usize = 128 * 1024 - 256;
/// Things one component may hold.
const MAX_ITEMS: usize = 1000;

/// An environment variable's name: letters, digits and `_`, at most 200, none of those that bash forbids to set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct VarName(String);

impl TryFrom<String> for VarName {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        const READ_ONLY: [&str; 7] = ["BASHOPTS", "BASH_VERSINFO", "EUID", "PPID", "SHELLOPTS", "UID", "_"];
        if !is_name(text.as_bytes()) || text.len() > 200 {
            return Err("a variable's name is made of letters, digits and '_', and begins with no digit");
        }
        if READ_ONLY.contains(&text.as_str()) {
            return Err("a variable that the shell keeps for itself cannot be moved");
        }
        Ok(VarName(text))
    }
}

impl From<VarName> for String {
    fn from(name: VarName) -> String {
        name.0
    }
}

impl VarName {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether setting it makes shells or programs run or load something.
    pub(super) fn executes(&self) -> bool {
        const ACTED_ON: [&str; 16] = [
            "PATH",
            "BASH_ENV",
            "ENV",
            "PROMPT_COMMAND",
            "PS0",
            "PS1",
            "PS2",
            "PS4",
            "IFS",
            "EDITOR",
            "VISUAL",
            "PAGER",
            "SHELL",
            "BROWSER",
            "LESSOPEN",
            "HOME",
        ];
        const PREFIXES: [&str; 9] =
            ["LD_", "GIT_", "PYTHON", "PERL", "RUBY", "NODE_OPTIONS", "JAVA_TOOL_OPTIONS", "GCONV_", "SSH_"];
        ACTED_ON.contains(&self.as_str()) || PREFIXES.iter().any(|p| self.0.starts_with(p))
    }
}

impl fmt::Display for VarName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${}", self.0)
    }
}

/// A file's permissions: three octal digits, readable by the owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Mode(pub(super) u32);

impl TryFrom<String> for Mode {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        match u32::from_str_radix(&text, 8) {
            Ok(mode) if text.len() == 3 && text.bytes().all(|c| c.is_ascii_digit()) && mode & 0o400 != 0 => {
                Ok(Mode(mode))
            }
            _ => Err("a mode is three octal digits, such as \"600\", and lets the owner read"),
        }
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> String {
        format!("{:03o}", mode.0)
    }
}

/// How a file of variables is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Format {
    /// A shell reads it.
    Shell,
    /// `KEY=value` lines.
    Dotenv,
}

/// Variables of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EnvEntry {
    pub(super) file: String,
    pub(super) format: Format,
    pub(super) names: Vec<VarName>,
    pub(super) policy: Policy,
    /// What to do on the target, beside `reissue`.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub(super) how: Option<How>,
    /// Whether this machine's own profile has a say in the policy.
    #[serde(skip)]
    pub(super) own: bool,
    /// Whether an export leaves out what of it is not there.
    #[serde(skip)]
    pub(super) optional: bool,
}

impl EnvEntry {
    /// One of its variables.
    pub(super) fn item<'m>(&'m self, name: &'m VarName) -> Item<'m> {
        let what = What::Variable { file: &self.file, name };
        Item { what, policy: &self.policy, how: self.how.as_ref(), own: self.own }
    }
}

/// Lines of a `.pgpass`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PgpassEntry {
    pub(super) file: String,
    pub(super) lines: Vec<Key>,
    pub(super) policy: Policy,
    /// What to do on the target, beside `reissue`.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub(super) how: Option<How>,
    /// Whether this machine's own profile has a say in the policy.
    #[serde(skip)]
    pub(super) own: bool,
    /// Whether an export leaves out what of it is not there.
    #[serde(skip)]
    pub(super) optional: bool,
}

impl PgpassEntry {
    /// One of its passwords.
    pub(super) fn item<'m>(&'m self, line: &'m Key) -> Item<'m> {
        let what = What::Password { file: &self.file, line };
        Item { what, policy: &self.policy, how: self.how.as_ref(), own: self.own }
    }
}

/// A file that is secret as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileEntry {
    pub(super) path: String,
    /// Without it: on the source the file's own, but never more than 600; where it is not copied, 600.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mode: Option<Mode>,
    pub(super) policy: Policy,
    /// What to do on the target, beside `reissue`, and where what stays is not there yet.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub(super) how: Option<How>,
    /// Keys of a JSON document that are not packed, and on the target stay what they are there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) keep: Vec<KeyPath>,
    /// Which of them the source has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) had: Vec<KeyPath>,
    /// Keys of a JSON document at which commands stand that some program runs, `*` for any key: a plan names those that are new
    /// or changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) runs: Vec<KeyPath>,
    /// Whether this machine's own profile has a say in the policy.
    #[serde(skip)]
    pub(super) own: bool,
    /// Whether an export leaves out what of it is not there.
    #[serde(skip)]
    pub(super) optional: bool,
}

impl FileEntry {
    /// Its content.
    pub(super) fn item(&self) -> Item<'_> {
        let what = What::File(&self.path);
        Item { what, policy: &self.policy, how: self.how.as_ref(), own: self.own }
    }

    /// Bytes that it may have.
    pub(super) fn max(&self) -> u64 {
        if self.keep.is_empty() {
            MAX_FILE
        } else {
            MAX_JSON
        }
    }

    /// The rule that its keys break.
    fn flaw_of_keys(&self) -> Option<String> {
        let path = &self.path;
        if !self.keep.is_empty() && self.policy != Policy::Copy {
            return Some(format!("{path} has keys that stay, and is not copied"));
        }
        if self.keep.len() > MAX_KEYS {
            return Some(format!("{path} has more than {MAX_KEYS} keys that stay"));
        }
        if self.runs.len() > MAX_KEYS {
            return Some(format!("{path} has more than {MAX_KEYS} keys at which commands stand"));
        }
        let mut keys: Vec<_> = self.keep.iter().map(KeyPath::keys).collect();
        keys.sort_unstable();
        if let Some(twice) = keys.windows(2).find(|pair| pair[1].starts_with(pair[0])) {
            return Some(format!("{path}: what stays at '{}' is named twice", twice[0].join(".")));
        }
        let mut had = BTreeSet::new();
        let stranger = self.had.iter().find(|key| !self.keep.contains(key) || !had.insert(*key))?;
        Some(format!("{path}: '{stranger}' is not among the keys that stay, or there twice"))
    }
}

/// The component. Its JSON form is that of the facts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Model {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) env: Vec<EnvEntry>,
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub(super) pgpass: Option<PgpassEntry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) files: Vec<FileEntry>,
    /// Which file of the target's sources the variables; without it, the file they came from.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub(super) shell_file: Option<String>,
    /// What only a backup has.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub(super) backup: Option<Backup>,
}

/// What a backup says besides the files that an import replaces.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Backup {
    /// Files that are to be gone: they did not exist.
    pub(super) absent: Vec<String>,
    /// When each file was last modified: seconds since 1970, nanoseconds.
    pub(super) times: BTreeMap<String, (i64, u32)>,
    /// Folders that the import makes, parents first.
    pub(super) folders: Vec<String>,
}

impl Model {
    /// Files that are to be gone.
    pub(super) fn absent(&self) -> &[String] {
        self.backup.as_ref().map_or(&[], |backup| &backup.absent)
    }

    /// The files with variables in shell form.
    pub(super) fn shell_env(&self) -> impl Iterator<Item = &EnvEntry> {
        self.env.iter().filter(|e| e.format == Format::Shell)
    }

    /// The names that go to `env.sh`.
    pub(super) fn shell_names(&self) -> Vec<&VarName> {
        self.shell_env().filter(|e| e.policy.brings()).flat_map(|e| &e.names).collect()
    }

    /// The other names in shell form: what is there of them stays.
    pub(super) fn shell_names_that_stay(&self) -> Vec<&VarName> {
        self.shell_env().filter(|e| !e.policy.brings()).flat_map(|e| &e.names).collect()
    }

    /// The shell file that loads the variables of `entry` on the target.
    pub(super) fn shell_file_of<'m>(&'m self, entry: &'m EnvEntry) -> &'m str {
        self.shell_file.as_deref().unwrap_or(&entry.file)
    }

    /// The shell files that load `env.sh` on the target.
    pub(super) fn shell_files(&self) -> Vec<&str> {
        let brought = self.shell_env().filter(|e| e.policy.brings());
        let mut files: Vec<&str> = brought.map(|e| self.shell_file_of(e)).collect();
        files.sort_unstable();
        files.dedup();
        files
    }

    /// How many secrets it declares.
    pub(super) fn count(&self) -> usize {
        let names: usize = self.env.iter().map(|e| e.names.len()).sum();
        names + self.pgpass.iter().map(|p| p.lines.len()).sum::<usize>() + self.files.len()
    }

    /// A row for each secret: what it is and its name, never its value.
    pub(super) fn listed(&self) -> impl Iterator<Item = Listed> + '_ {
        self.items().map(|item| {
            let (what, name) = match item.what {
                What::Variable { .. } => ("variable", item.what.to_string()),
                What::Password { line, .. } => ("pgpass", line.to_string()),
                What::File(path) => ("file", path.to_owned()),
            };
            let file =
                self.files.iter().find(|file| matches!(item.what, What::File(path) if path == file.path));
            let mode = file.and_then(|file| file.mode).map(|mode| mode.0);
            let name = match item.policy {
                Policy::Copy => name,
                other => format!("{name} ({}: not in the bundle)", other.word()),
            };
            Listed { name, what, size: None, mode }
        })
    }

    /// The rule that the model breaks, if it breaks one: something is declared twice, empty, or too much.
    pub(super) fn flaw(&self) -> Option<String> {
        if self.count() + self.absent().len() > MAX_ITEMS {
            return Some(format!("more than {MAX_ITEMS} secrets in one component"));
        }
        if self.count() + self.absent().len() == 0 {
            return Some("no secret is declared".to_owned());
        }
        if let Some(flaw) = self.flaw_of_a_policy() {
            return Some(flaw);
        }
        let mut variables = BTreeSet::new();
        for entry in &self.env {
            for name in &entry.names {
                let place = if entry.format == Format::Shell { "" } else { entry.file.as_str() };
                if !variables.insert((place, name)) {
                    return Some(format!("{name} is declared twice"));
                }
            }
        }
        let mut lines = BTreeSet::new();
        if let Some(key) = self.pgpass.iter().flat_map(|p| &p.lines).find(|k| !lines.insert(k.to_string())) {
            return Some(format!("the line {key} of .pgpass is declared twice"));
        }
        let mut paths: BTreeSet<&str> = self.env.iter().map(|e| e.file.as_str()).collect();
        paths.extend(self.shell_file.as_deref());
        let edited = self.pgpass.iter().map(|p| &p.file);
        let whole = self.files.iter().map(|f| &f.path).chain(self.absent());
        let twice = edited.chain(whole).find(|path| !paths.insert(path))?;
        Some(format!("{twice} is declared twice"))
    }

    /// A command gives one value, keys stay in what is copied, and only where something is made anew there is something to say
    /// of how.
    fn flaw_of_a_policy(&self) -> Option<String> {
        let several = |policy: &Policy, count| matches!(policy, Policy::Command(_)) && count != 1;
        if let Some(entry) = self.env.iter().find(|e| several(&e.policy, e.names.len())) {
            return Some(format!("a command gives one value: each name of {} needs its own", entry.file));
        }
        if let Some(entry) = self.pgpass.iter().find(|p| several(&p.policy, p.lines.len())) {
            return Some(format!("a command gives one value, and there are several lines of {}", entry.file));
        }
        if let Some(flaw) = self.files.iter().find_map(FileEntry::flaw_of_keys) {
            return Some(flaw);
        }
        let stays = |what: What<'_>| self.files.iter().any(|f| !f.keep.is_empty() && f.item().what.is(what));
        let odd =
            |item: &Item<'_>| item.how.is_some() && *item.policy != Policy::Reissue && !stays(item.what);
        let odd = self.items().find(odd)?;
        Some(format!("{} has a 'how', and its policy is not reissue", odd.what))
    }
}
