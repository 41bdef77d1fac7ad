//! Each declared secret by itself: how to speak of it, under which name it can be given, and how it comes to the target.

use super::model::{FileEntry, Model, VarName};
use super::pgpass::Key;
use super::policy::{How, Policy};
use crate::base::key_path::KeyPath;
use crate::component::NotPacked;
use std::fmt;

/// Which secret.
#[derive(Clone, Copy)]
pub(super) enum What<'m> {
    Variable { file: &'m str, name: &'m VarName },
    Password { file: &'m str, line: &'m Key },
    File(&'m str),
}

/// For people.
impl fmt::Display for What<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Variable { file, name } => write!(f, "{name} in {file}"),
            What::Password { file, line } => write!(f, "the password of {line} in {file}"),
            What::File(path) => f.write_str(path),
        }
    }
}

impl What<'_> {
    /// Whether it is the same secret. A machine may say in which file it keeps a password.
    pub(super) fn is(&self, other: What<'_>) -> bool {
        match (*self, other) {
            (What::Variable { file, name }, What::Variable { file: file_too, name: name_too }) => {
                (file, name) == (file_too, name_too)
            }
            (What::Password { line, .. }, What::Password { line: line_too, .. }) => line == line_too,
            (What::File(path), What::File(path_too)) => path == path_too,
            _ => false,
        }
    }

    /// The name under which its value can be given beforehand: a variable's own, else one made of letters, digits and `_`.
    pub(super) fn key(&self) -> String {
        match self {
            What::Variable { name, .. } => name.as_str().to_owned(),
            What::Password { line, .. } => format!("PGPASS{}", plain(&line.to_string())),
            What::File(path) => format!("FILE{}", plain(path)),
        }
    }
}

/// `text` with one `_` before each run of letters and digits, and nothing else: `_claude_credentials_json`.
fn plain(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| format!("_{word}")).collect()
}

/// A secret and how it comes to the target.
#[derive(Clone, Copy)]
pub(super) struct Item<'m> {
    pub(super) what: What<'m>,
    pub(super) policy: &'m Policy,
    pub(super) how: Option<&'m How>,
    /// Whether this machine's own profile has a say in that, and not the bundle alone.
    pub(super) own: bool,
}

impl Item<'_> {
    /// What there is to say of it, if the bundle does not bring it; `outcome` completes "it ...".
    pub(super) fn not_packed(&self, outcome: impl Into<String>) -> Option<NotPacked> {
        (*self.policy != Policy::Copy).then(|| NotPacked {
            name: self.what.to_string(),
            policy: self.policy.word(),
            outcome: outcome.into(),
            key: (*self.policy == Policy::Prompt).then(|| self.what.key()),
            todo: None,
        })
    }

    /// The same, for whoever looks into a bundle.
    pub(super) fn in_general(&self) -> Option<NotPacked> {
        self.not_packed(match self.policy {
            Policy::Copy => String::new(),
            Policy::Prompt => "is asked for on the target".to_owned(),
            Policy::Command(argv) => format!("is what this prints on the target: {argv}"),
            Policy::Reissue => match self.how {
                Some(how) => format!("is made anew on the target: {}", String::from(how.clone())),
                None => "is made anew on the target".to_owned(),
            },
            Policy::HostBound => "stays on its machine".to_owned(),
        })
    }
}

impl FileEntry {
    /// What there is to say of a key that stays; `outcome` completes "it ...".
    pub(super) fn kept(&self, key: &KeyPath, outcome: &str) -> NotPacked {
        let name = format!("{key} in {}", self.path);
        NotPacked { name, policy: "keep", outcome: outcome.to_owned(), key: None, todo: None }
    }
}

impl Model {
    /// What the keys that stay are, for whoever looks into a bundle.
    pub(super) fn kept_in_general(&self) -> impl Iterator<Item = NotPacked> + '_ {
        let keys = self.files.iter().flat_map(|entry| entry.keep.iter().map(move |key| (entry, key)));
        keys.map(|(entry, key)| entry.kept(key, "stays on each machine as it is there"))
    }

    /// Every secret that it declares, in the order of the facts.
    pub(super) fn items(&self) -> impl Iterator<Item = Item<'_>> {
        let variables = self.env.iter().flat_map(|entry| entry.names.iter().map(|name| entry.item(name)));
        let lines = self.pgpass.iter().flat_map(|entry| entry.lines.iter().map(|line| entry.item(line)));
        variables.chain(lines).chain(self.files.iter().map(super::model::FileEntry::item))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_under_which_secrets_can_be_given() {
        let line = Key::try_from("127.0.0.1:5432:my-db:a_b".to_owned()).unwrap();
        let password = What::Password { file: "~/.pgpass", line: &line };
        assert_eq!(password.key(), "PGPASS_127_0_0_1_5432_my_db_a_b");
        assert_eq!(What::File("~/.claude/.credentials.json").key(), "FILE_claude_credentials_json");
        let name = VarName::try_from("API_KEY".to_owned()).unwrap();
        let variable = What::Variable { file: "~/.bashrc", name: &name };
        assert_eq!(
            (variable.key(), variable.to_string()),
            ("API_KEY".into(), "$API_KEY in ~/.bashrc".into())
        );
    }
}
