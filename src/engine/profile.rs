//! The profile: what to pack, in TOML (DESIGN section 7). Strict: unknown keys are errors with line and column.

use crate::base::duration::parse_duration;
use crate::base::fault::{Fault, Faulty};
use crate::base::name::ComponentName;
use crate::component::{Component, Host};
use crate::components;
use crate::engine::claims::Named;
use crate::engine::error::{EngineError, In, Result};
use crate::engine::retention::Policy;
use crate::engine::unattended::{Retention, Unattended};
use crate::format::{flaw, hook_flaw, todo_flaw, Author, Check, Flaw, Hook, HookFlaw, Todo, TodoFlaw};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

mod place;

/// A profile that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// None was named and none was found.
    #[error("there is no profile: neither ./kbpack.toml nor {}", .0.display())]
    None(PathBuf),
    /// It cannot be read.
    #[error("{}: {error}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// It is not a valid profile.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Syntax {
        /// Which.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// It was found in the current folder, and others could have put it there.
    #[error("./kbpack.toml: {0}, so it is not taken without being named")]
    NotOurs(&'static str),
    /// One of its checks makes no sense.
    #[error("{}: the check '{check}' {what}", path.display())]
    Check {
        /// The profile.
        path: PathBuf,
        /// Which check.
        check: String,
        /// What is wrong, in words that follow the check's name.
        what: &'static str,
    },
    /// One of its hooks makes no sense.
    #[error("{}: {hook} {what}", path.display())]
    Hook {
        /// The profile.
        path: PathBuf,
        /// Which hook, in words.
        hook: String,
        /// What is wrong, in words that follow these.
        what: &'static str,
    },
    /// One of its todos makes no sense.
    #[error("{}: {todo} {what}", path.display())]
    Todo {
        /// The profile.
        path: PathBuf,
        /// Which one, in words.
        todo: String,
        /// What is wrong, in words that follow these.
        what: &'static str,
    },
    /// A secret is written out in one of its todos.
    #[error("{}: the todo '{text}' holds the value of {secret}", path.display())]
    TodoHoldsSecret {
        /// The profile.
        path: PathBuf,
        /// Which one.
        text: String,
        /// The secret's name.
        secret: String,
    },
    /// More than all cannot go.
    #[error("{}: max-shrink is {percent} percent", path.display())]
    Shrink {
        /// The profile.
        path: PathBuf,
        /// What it says.
        percent: u8,
    },
    /// No preset has that name.
    #[error("there is no preset '{name}': there are {known}")]
    NoSuchPreset {
        /// The name.
        name: String,
        /// Those that there are.
        known: String,
    },
    /// It packs nothing.
    #[error("{}: the profile has no [component.NAME]", .0.display())]
    Empty(PathBuf),
}

impl Faulty for ProfileError {
    fn fault(&self) -> Fault {
        match self {
            ProfileError::NotOurs(_) => Fault::Untrusted,
            _ => Fault::Usage,
        }
    }
    fn remedy(&self) -> Option<String> {
        let text = match self {
            ProfileError::None(path) => {
                format!("write one with `kbpack init`, as {}, or name one with --profile", path.display())
            }
            ProfileError::NotOurs(_) => "if it is what you want, name it: --profile kbpack.toml".to_owned(),
            ProfileError::Io { .. } => "check the name and the permissions".to_owned(),
            ProfileError::Syntax { .. } => "correct that line; docs/PROFILE.md lists the keys".to_owned(),
            ProfileError::Check { .. } => "correct that check; docs/PROFILE.md lists the keys".to_owned(),
            ProfileError::Shrink { .. } => "say 0 to 100; 100 lets everything go".to_owned(),
            ProfileError::NoSuchPreset { .. } => "name one of those, or write a profile".to_owned(),
            ProfileError::Hook { .. } => "correct that hook; docs/PROFILE.md lists the keys".to_owned(),
            ProfileError::Todo { .. } => "correct that todo; docs/PROFILE.md lists the keys".to_owned(),
            ProfileError::TodoHoldsSecret { .. } => {
                "say where the secret stands; a todo is shown to people".to_owned()
            }
            ProfileError::Empty(_) => "add at least one".to_owned(),
        };
        Some(text)
    }
}

/// A profile as it stands in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    bundle: BundleTable,
    #[serde(default)]
    recipients: RecipientsTable,
    #[serde(default)]
    component: BTreeMap<ComponentName, ComponentTable>,
    #[serde(default)]
    check: Vec<Check>,
    #[serde(default)]
    hook: Vec<Hook>,
    #[serde(default)]
    todo: Vec<Todo>,
    retention: Option<RetentionTable>,
    #[serde(default)]
    unattended: Unattended,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RetentionTable {
    folder: String,
    #[serde(default)]
    keep_last: usize,
    #[serde(default)]
    keep_daily: usize,
    #[serde(default)]
    keep_weekly: usize,
    #[serde(default)]
    keep_monthly: usize,
    #[serde(default, deserialize_with = "within")]
    keep_within: Option<u64>,
}

fn within<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Option<u64>, D::Error> {
    parse_duration(&String::deserialize(from)?).map(Some).map_err(serde::de::Error::custom)
}

impl From<RetentionTable> for Retention {
    fn from(table: RetentionTable) -> Retention {
        let policy = Policy {
            last: table.keep_last,
            daily: table.keep_daily,
            weekly: table.keep_weekly,
            monthly: table.keep_monthly,
            within: table.keep_within,
        };
        Retention { folder: table.folder, policy }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[serde(rename_all = "kebab-case")]
struct BundleTable {
    name: Option<ComponentName>,
    max_shrink: Option<u8>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecipientsTable {
    #[serde(default)]
    to: Vec<String>,
}

/// One `[component.NAME]`: its kind, and the kind's own options.
#[derive(Debug, Clone, Deserialize)]
pub struct ComponentTable {
    /// A row of `components::KINDS`.
    pub kind: String,
    /// How much it must hold at least, by the names of what is counted.
    #[serde(default)]
    pub minimum: BTreeMap<String, u64>,
    /// All other keys, for the kind to read.
    #[serde(flatten)]
    pub options: serde_json::Map<String, Value>,
}

/// A profile that has been read.
#[derive(Debug)]
pub struct Profile {
    /// Where it stands; of a preset, what it is.
    pub path: PathBuf,
    /// `bundle.name`, else the file's name; the sequence counts for each name.
    pub name: String,
    /// `recipients.to`.
    pub recipients: Vec<String>,
    /// The components, by name.
    pub components: BTreeMap<ComponentName, ComponentTable>,
    /// What is to be checked after an import.
    pub checks: Vec<Check>,
    /// By how many percent a component may be smaller than in the last export.
    pub max_shrink: u8,
    /// Where its bundles lie, and which of them stay.
    pub retention: Option<Retention>,
    /// What an export does that nobody watches.
    pub unattended: Unattended,
    /// What is run around exports and imports.
    pub hooks: Vec<Hook>,
    /// What is left to a person on the target.
    pub todos: Vec<Todo>,
}

/// `bundle.max-shrink` where it is not said.
const MAX_SHRINK: u8 = 50;

impl Profile {
    /// The error that there is none.
    pub fn missing(config_dir: &Path) -> EngineError {
        ProfileError::None(config_dir.join("profile.toml")).into()
    }

    /// The profile that `named` names, else `./kbpack.toml`, else `profile.toml` in the config directory; `None` if there is
    /// none of them.
    pub fn find_if_any(named: Option<&Path>, config_dir: &Path) -> Result<Option<Self>> {
        if let Some(named) = named {
            return Self::read(named).map(Some);
        }
        let here = Path::new("kbpack.toml");
        if here.is_file() {
            safe_here(here)?;
            return Self::read(here).map(Some);
        }
        let standard = config_dir.join("profile.toml");
        standard.is_file().then(|| Self::read(&standard)).transpose()
    }

    /// Reads the profile at `path`.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ProfileError::Io { path: path.to_owned(), error })?;
        Self::parse(path, &text)
    }

    /// The profile of the preset `name`.
    pub fn of_preset(name: &str, text: &str) -> Result<Self> {
        Self::parse(Path::new(&format!("the preset {name}")), text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self> {
        let document: Document = toml::from_str(text).map_err(|error| place::syntax(path, text, &error))?;
        if let Some(Flaw { check, what, .. }) = flaw(&document.check, Author::Profile) {
            let check = check.map_or_else(|| "s".to_owned(), |at| document.check[at].name.clone());
            return Err(ProfileError::Check { path: path.to_owned(), check, what }.into());
        }
        if let Some(HookFlaw { hook, what }) = hook_flaw(&document.hook, Author::Profile) {
            let hook = hook.map_or_else(
                || "the hooks".to_owned(),
                |at| format!("the hook number {} ({})", at + 1, document.hook[at].stage.as_str()),
            );
            return Err(ProfileError::Hook { path: path.to_owned(), hook, what }.into());
        }
        place::vet(path, text, &document.component)?;
        if let Some(TodoFlaw { todo, what }) = todo_flaw(&document.todo) {
            let todo = todo.map_or_else(
                || "the todos".to_owned(),
                |at| format!("the todo number {} ('{}')", at + 1, document.todo[at].text),
            );
            return Err(ProfileError::Todo { path: path.to_owned(), todo, what }.into());
        }
        let max_shrink = document.bundle.max_shrink.unwrap_or(MAX_SHRINK);
        if max_shrink > 100 {
            return Err(ProfileError::Shrink { path: path.to_owned(), percent: max_shrink }.into());
        }
        let named_after_file =
            || path.file_stem().and_then(|stem| ComponentName::new(&stem.to_string_lossy().to_lowercase()));
        let name = document
            .bundle
            .name
            .or_else(named_after_file)
            .map_or_else(|| "profile".to_owned(), |n| n.to_string());
        Ok(Profile {
            path: path.to_owned(),
            name,
            recipients: document.recipients.to,
            components: document.component,
            checks: document.check,
            max_shrink,
            retention: document.retention.map(Retention::from),
            unattended: document.unattended,
            hooks: document.hook,
            todos: document.todo,
        })
    }

    /// The components it describes.
    pub fn components(&self, host: &Host) -> Result<Vec<Named>> {
        if self.components.is_empty() {
            return Err(ProfileError::Empty(self.path.clone()).into());
        }
        let make = |(name, table): (&ComponentName, &ComponentTable)| {
            let kind = components::kind(&table.kind)
                .ok_or_else(|| EngineError::NoSuchKind { name: name.clone(), kind: table.kind.clone() })?;
            let options = Value::Object(table.options.clone());
            let component: Box<dyn Component> = kind.from_options(name, &options, host).within(name)?;
            Ok((name.clone(), component))
        };
        self.components.iter().map(make).collect()
    }
}

/// Whoever writes the profile says whom to encrypt to and where to write. One that merely lies in the
/// current folder is taken only if nobody but this user (or root) could have put it there.
fn safe_here(path: &Path) -> Result<()> {
    let io = |error| ProfileError::Io { path: path.to_owned(), error };
    let file = path.metadata().map_err(io)?;
    let folder = Path::new(".").metadata().map_err(io)?;
    let own = |uid: u32| uid == 0 || uid == rustix::process::geteuid().as_raw();
    if !own(file.uid()) || !own(folder.uid()) {
        return Err(ProfileError::NotOurs("it, or the folder, belongs to another user").into());
    }
    let sticky = folder.mode() & 0o1000 != 0;
    if file.mode() & 0o022 != 0 || folder.mode() & 0o022 != 0 && !sticky {
        return Err(ProfileError::NotOurs("others may write it, or the folder").into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> std::result::Result<Profile, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kbpack.toml");
        std::fs::write(&path, text).unwrap();
        let name = |message: String| message.replace(&format!("{}", dir.path().display()), "");
        Profile::read(&path).map_err(|e| name(e.to_string()))
    }

    #[test]
    fn line_and_column_of_what_is_wrong() {
        let wrong = read("[bundle]\nname = \"x\"\n\n[bundel]\n").unwrap_err();
        assert!(wrong.starts_with("/kbpack.toml:4:2: unknown field `bundel`"), "{wrong}");
        let wrong = read("[component.a]\nkind = \"files\"\npath = oops\n").unwrap_err();
        assert!(wrong.starts_with("/kbpack.toml:3:8: "), "{wrong}");
        assert!(read("[component.A]\nkind = \"files\"\n").unwrap_err().contains("component name"));
        assert!(read("[component.a]\nkind = \"files\"\nkind = \"files\"\n").is_err());
    }

    #[test]
    fn checks_are_as_strict() {
        let profile = read("[[check]]\nname = \"up\"\nseverity = \"warn\"\nretry-for = 30\n\
            http = { url = \"http://localhost/\", header = { X-API-Key = \"$K\" }, json = { \"a.b\" = 1 } }\n");
        let checks = profile.unwrap().checks;
        assert_eq!((checks[0].name.as_str(), checks[0].retry_for), ("up", 30));
        let wrong = read("[[check]]\nname = \"a\"\ntcp = { adress = \"a:1\" }\n").unwrap_err();
        assert!(wrong.starts_with("/kbpack.toml:3:9: unknown field `adress`"), "{wrong}");
        let wrong = read("[bundle]\n[[check]]\nname = \"a\"\n").unwrap_err();
        assert!(wrong.starts_with("/kbpack.toml:2:1: a check has exactly one of"), "{wrong}");
        let wrong = read("[[check]]\nname = \"a\"\ntimeout = 0\nenv = { name = \"A\" }\n").unwrap_err();
        assert!(wrong.contains("the check 'a' has a timeout"), "{wrong}");
    }

    #[test]
    fn hooks_are_read() {
        let profile =
            read("[[hook]]\nstage = \"quiesce\"\nrun = [\"stop\"]\nwhere = \"source\"\ntimeout = 5\n");
        assert_eq!(profile.unwrap().hooks[0].run, ["stop"]);
        let wrong = read("[[hook]]\nstage = \"before\"\nrun = [\"stop\"]\n").unwrap_err();
        assert!(
            wrong.starts_with("/kbpack.toml:2:9: unknown variant `before`, expected one of `quiesce`"),
            "{wrong}"
        );
        let wrong = read("[[hook]]\nstage = \"quiesce\"\nrun = [\"a\"]\ndir = \"~\"\n").unwrap_err();
        assert!(wrong.starts_with("/kbpack.toml:4:1: unknown field `dir`"), "{wrong}");
        let two = "[[hook]]\nstage = \"resume\"\nrun = [\"a\"]\n[[hook]]\nstage = \"rollback\"\nrun = []\n";
        let wrong = read(two).unwrap_err();
        assert!(wrong.starts_with("/kbpack.toml: the hook number 2 (rollback) has a run"), "{wrong}");
    }

    #[test]
    fn todos_are_read() {
        let profile = read("[[todo]]\ntext = \"a\"\nrun = [\"b\"]\nunless = { program = \"b\" }\n").unwrap();
        assert_eq!(profile.todos[0].run, ["b"]);
        let wrong = read("[[todo]]\ntext = \"a\"\nunless = { command = \"b\" }\n").unwrap_err();
        assert!(wrong.starts_with("/kbpack.toml:3:"), "{wrong}");
        let wrong = read("[[todo]]\ntext = \"a\"\nunless = { path = \"b\" }\n").unwrap_err();
        assert!(wrong.starts_with("/kbpack.toml: the todo number 1 ('a') has a path"), "{wrong}");
    }

    #[test]
    fn options_are_left_to_the_kind() {
        let profile =
            read("[component.a]\nkind = \"files\"\npath = \"~/x\"\nexclude = [\"*.log\"]\n").unwrap();
        assert_eq!(profile.name, "kbpack");
        let table = &profile.components[&ComponentName::new("a").unwrap()];
        assert_eq!(table.kind, "files");
        assert_eq!(table.options["exclude"][0], "*.log");
    }
}
