//! The values that a target gets: out of the bundle, given beforehand, there already, asked for, or printed by a command.

use super::command;
use super::disk::{self, Links};
use super::expand;
use super::item::{Item, What};
use super::model::{EnvEntry, FileEntry, Format, Mode, Model, VarName, MAX_FILE};
use super::pgpass::{self, Key};
use super::policy::Policy;
use super::source::{variables, Variable};
use super::values::{Kind, Values};
use crate::base::fault::Fault;
use crate::base::secret::Secret;
use crate::component::{Error, NotPacked, Result, Scope};
use std::fs;

/// Whether what only a person or a command knows is found out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// Not yet.
    Planning,
    /// Now.
    Preparing,
}

/// A value, if it is known yet.
pub(super) type Value = Option<Secret>;

/// All that the target gets, in the order of the facts.
#[derive(Default)]
pub(super) struct Fetched<'m> {
    pub(super) variables: Vec<(&'m EnvEntry, &'m VarName, Value)>,
    pub(super) passwords: Vec<(&'m Key, Value)>,
    pub(super) files: Vec<(&'m FileEntry, Value)>,
    /// What does not come out of the bundle, and what becomes of it.
    pub(super) not_packed: Vec<NotPacked>,
    /// Commands that come out of the bundle.
    pub(super) commands: Vec<Vec<String>>,
    /// All commands, in words.
    pub(super) executes: Vec<String>,
}

/// What the target has of a secret.
enum Here {
    Nothing,
    /// Something of which nobody knows the value but who uses it.
    Something,
    Value(Secret),
}

impl Here {
    fn of(value: Option<Secret>) -> Self {
        value.map_or(Here::Nothing, Here::Value)
    }
}

/// Finds each value of `model`; those of the bundle are in `packed`.
pub(super) fn fetch<'m>(
    model: &'m Model,
    packed: &Values,
    scope: &Scope<'_>,
    when: When,
) -> Result<Fetched<'m>> {
    let mut source = Source { model, scope, when, fetched: Fetched::default() };
    for entry in &model.env {
        let mut here = source.variables_of(entry);
        for name in &entry.names {
            let packed = packed.env.iter().find(|v| v.file == entry.file && v.name == name.as_str());
            let found = || match here.iter().rposition(|v| v.name == name.as_str()) {
                None => Here::Nothing,
                Some(last) => here.remove(last).fixed().map_or(Here::Something, Here::Value),
            };
            if let Some(value) = source.value(entry.item(name), packed.map(|v| &v.value.0), found)? {
                source.fetched.variables.push((entry, name, value));
            }
        }
    }
    if let Some(entry) = &model.pgpass {
        for line in &entry.lines {
            let packed = packed.pgpass.iter().find(|v| v.line == line.to_string());
            let found = || {
                let file = expand(scope.host, &entry.file).and_then(|path| disk::read(&path, Links::Follow));
                Here::of(file.ok().flatten().and_then(|seen| pgpass::find(seen.bytes.expose(), line)))
            };
            if let Some(value) = source.value(entry.item(line), packed.map(|v| &v.value.0), found)? {
                source.fetched.passwords.push((line, value));
            }
        }
    }
    for entry in &model.files {
        let packed = packed.files.iter().find(|v| v.path == entry.path);
        let found = || file_here(scope, entry);
        if let Some(value) = source.value(entry.item(), packed.map(|v| &v.value.0), found)? {
            source.fetched.files.push((entry, value));
        }
    }
    Ok(source.fetched)
}

fn file_here(scope: &Scope<'_>, entry: &FileEntry) -> Here {
    let Ok(path) = expand(scope.host, &entry.path) else { return Here::Nothing };
    match disk::read(&path, Links::Follow) {
        Ok(Some(seen)) if seen.bytes.len() as u64 <= MAX_FILE => Here::Value(seen.bytes),
        _ if fs::symlink_metadata(&path).is_ok() => Here::Something,
        _ => Here::Nothing,
    }
}

struct Source<'m, 's> {
    model: &'m Model,
    scope: &'s Scope<'s>,
    when: When,
    fetched: Fetched<'m>,
}

impl Source<'_, '_> {
    /// The variables of the file where those of `entry` would be. None where it cannot be read: the plan says so if it
    /// is to be changed.
    fn variables_of(&self, entry: &EnvEntry) -> Vec<Variable> {
        if matches!(entry.policy, Policy::Copy | Policy::Command(_)) {
            return Vec::new();
        }
        let file = match entry.format {
            Format::Shell => self.model.shell_file_of(entry),
            Format::Dotenv => &entry.file,
        };
        let read =
            expand(self.scope.host, file).and_then(|path| variables(self.scope.host, &path, entry.format));
        read.unwrap_or_default()
    }

    /// The value of `item`; `None` if nothing is brought, `Some(None)` if it is not known yet.
    fn value(
        &mut self,
        item: Item<'_>,
        packed: Option<&Secret>,
        here: impl FnOnce() -> Here,
    ) -> Result<Option<Value>> {
        let (value, outcome) = match item.policy {
            Policy::Copy => {
                let lost = || Error::rule("X4", format_args!("there is no value of {}", item.what));
                return packed.map(|value| Some(Some(value.clone()))).ok_or_else(lost);
            }
            Policy::Prompt => {
                let (value, outcome) = self.prompt(item.what, here)?;
                (Some(value), outcome.to_owned())
            }
            Policy::Command(argv) => {
                self.fetched.executes.push(format!("{argv} (once, to fetch {})", item.what));
                if !item.own {
                    self.fetched.commands.push(argv.words().to_vec());
                }
                let fetch = || command::output(argv, &item.what.to_string(), self.scope.host);
                let output = (self.when == When::Preparing).then(fetch).transpose()?;
                let value = output.map(|output| without_newline(item.what, output));
                (Some(value), format!("is what this prints: {argv}"))
            }
            Policy::Reissue => {
                (None, if matches!(here(), Here::Nothing) { MISSING } else { STAYS }.to_owned())
            }
            Policy::HostBound => {
                (None, if matches!(here(), Here::Nothing) { LEFT } else { STAYS }.to_owned())
            }
        };
        if let Some(Some(value)) = &value {
            fits(item.what, value)?;
        }
        let todo = item.how.filter(|_| outcome == MISSING).map(|how| String::from(how.clone()));
        let todo =
            todo.or_else(|| (outcome == MISSING).then(|| "log in, or have it issued again".to_owned()));
        let said = item.not_packed(outcome).map(|said| NotPacked { todo, ..said });
        self.fetched.not_packed.extend(said);
        Ok(value)
    }

    /// What was given counts; else what is there stays; else a person is asked.
    fn prompt(&self, what: What<'_>, here: impl FnOnce() -> Here) -> Result<(Value, &'static str)> {
        let key = what.key();
        if let Some(given) = self.scope.ask.given(&key) {
            return Ok((Some(given), "is taken from what was given"));
        }
        if let Here::Value(value) = here() {
            return Ok((Some(value), STAYS));
        }
        match self.when {
            When::Planning => Ok((None, ASKED)),
            When::Preparing => Ok((Some(self.scope.ask.ask(&key, &what.to_string())?), ASKED)),
        }
    }
}

const ASKED: &str = "is asked for";
const STAYS: &str = "is here, and stays as it is";
const MISSING: &str = "is not here, and has to be made anew";
const LEFT: &str = "stays where it came from";

/// One end of line is not part of a variable or a password. A whole file is what the command prints, byte for byte.
fn without_newline(what: What<'_>, output: Secret) -> Secret {
    match (what, output.expose().strip_suffix(b"\n")) {
        (What::File(_), _) | (_, None) => output,
        (_, Some(value)) => Secret::from(value.to_vec()),
    }
}

fn fits(what: What<'_>, value: &Secret) -> Result<()> {
    let kind = match what {
        What::Variable { .. } => Kind::Variable,
        What::Password { .. } => Kind::Password,
        What::File(_) => Kind::File,
    };
    match kind.misfit(value) {
        None => Ok(()),
        Some(why) => Err(Error::new(
            Fault::NotReady,
            format_args!("{what} cannot have the value that was given or fetched: {why}"),
        )
        .todo("nothing was changed; give it another value")),
    }
}

impl FileEntry {
    /// The permissions that it gets.
    pub(super) fn final_mode(&self) -> u32 {
        self.mode.map_or(0o600, |Mode(mode)| mode)
    }
}
