//! What every file of the target is to be, worked out in memory without changing anything.

use super::buffer::SecretBuf;
use super::disk::Seen;
use super::document;
use super::fetch::{self, fetch, Fetched, When};
use super::logins::Deployed;
use super::model::{FileEntry, Format, Model, VarName};
use super::shell::Value;
use super::source::{variables, Variable};
use super::target::{Draft, New, Place, Planned};
use super::values::Values;
use super::{dotenv, env_dir, expand, pgpass, quote, shell_file};
use crate::base::executes::{why_run, COMMANDS_IN_IT};
use crate::base::key_path::KeyPath;
use crate::base::secret::Secret;
use crate::component::{Change, ChangeKind, Finding, Plan, Result, Scope, Severity};
use std::collections::BTreeSet;
use std::path::Path;

/// Works out the plan; `values` are those of the bundle.
pub(super) fn plan(
    component: &str,
    model: &Model,
    scope: &Scope<'_>,
    mut values: Values,
    when: When,
) -> Result<Plan> {
    let left = std::mem::take(&mut values.left);
    let mut fetched = fetch(model, &values, scope, when)?;
    let (detail, mut plan) = (Planned::default(), Plan::new(()));
    plan.not_packed = std::mem::take(&mut fetched.not_packed);
    plan.commands = std::mem::take(&mut fetched.commands);
    plan.executes = std::mem::take(&mut fetched.executes);
    let mut draft = Draft { component, model, scope, left, detail, plan };
    draft.shell_variables(&fetched)?;
    draft.dotenv_files(&fetched)?;
    draft.pgpass(&fetched)?;
    draft.whole_files(fetched)?;
    draft.absent()?;
    draft.finish()
}

impl Draft<'_> {
    /// `env.sh` and `environment`, and the shell files that load the former.
    fn shell_variables(&mut self, fetched: &Fetched<'_>) -> Result<()> {
        let names = self.model.shell_names();
        if names.is_empty() {
            return Ok(());
        }
        let shell = fetched.variables.iter().filter(|(entry, ..)| entry.format == Format::Shell);
        let mut env: Vec<Set> = shell.map(|(_, name, value)| ((*name).clone(), value.clone())).collect();
        let dir = env_dir(self.scope.host, self.component)?;
        let env_sh = dir.join("env.sh");
        for file in self.model.shell_files() {
            self.shell_file(file, &env_sh, &names, &env)?;
        }
        self.other_variables(&env_sh, &names, &mut env)?;
        let before = variables(self.scope.host, &env_sh, Format::Shell).unwrap_or_default();
        let is_new = |(name, value): &&Set| holds(&before, name.as_str(), value.as_ref()) != Some(true);
        for (name, _) in env.iter().filter(|(name, _)| name.executes()).filter(is_new) {
            self.plan.executes.push(format!("{name} is set in every new shell, and programs act on it"));
        }
        let known = |(name, value): &Set| Some((name.clone(), value.clone()?));
        let Some(env) = env.iter().map(known).collect::<Option<Vec<_>>>() else {
            self.generated(&env_sh, New::Open)?;
            return self.generated(&dir.join("environment"), New::Open);
        };
        let mut text = self.header();
        for (name, value) in &env {
            text.extend(format!("export {}=", name.as_str()).as_bytes());
            quote::shell(value.expose(), &mut text);
            text.push(b'\n');
        }
        self.generated(&env_sh, New::Bytes(text.into_secret()))?;
        let text = self.environment(&env);
        self.generated(&dir.join("environment"), New::Bytes(text))?;
        self.detail.env = Some((env_sh, env));
        Ok(())
    }

    fn header(&self) -> SecretBuf {
        let mut text = SecretBuf::default();
        let line = format!("# Written by kbpack (component {}). An import writes it anew.\n", self.component);
        text.extend(line.as_bytes());
        text
    }

    /// The form for systemd's `EnvironmentFile=`.
    fn environment(&mut self, env: &[(VarName, Secret)]) -> Secret {
        let mut text = self.header();
        for (name, value) in env {
            if let Some(why) = quote::systemd_refuses(value.expose()) {
                text.extend(format!("# {} is left out: {why}\n", name.as_str()).as_bytes());
                self.warn(format_args!("{name} cannot be in the file for systemd, for {why}; shells get it"));
                continue;
            }
            text.extend(format!("{}=", name.as_str()).as_bytes());
            quote::systemd(value.expose(), &mut text);
            text.push(b'\n');
        }
        text.into_secret()
    }

    /// `path` as it stands in the shell file `by`: with `$HOME` where the two are in one home, so that it may move. A
    /// shell file elsewhere may be read by others, whose home is another.
    fn quoted(&self, path: &Path, by: &Path) -> String {
        let home = &self.scope.host.home;
        let below = path.strip_prefix(home).ok().filter(|_| by.starts_with(home)).and_then(Path::to_str);
        match below {
            Some(rest) if !rest.contains(['"', '$', '`', '\\']) => format!("\"$HOME/{rest}\""),
            _ => {
                let mut quoted = SecretBuf::default();
                quote::shell(path.as_os_str().as_encoded_bytes(), &mut quoted);
                String::from_utf8_lossy(quoted.bytes()).into_owned()
            }
        }
    }

    fn generated(&mut self, path: &Path, text: New) -> Result<()> {
        if let Some(place) = self.place(path)? {
            self.target(place, text, 0o600)?;
        }
        Ok(())
    }

    fn shell_file(&mut self, file: &str, env_sh: &Path, names: &[&VarName], env: &[Set]) -> Result<()> {
        let path = expand(self.scope.host, file)?;
        let Some(place) = self.place(&path)? else { return Ok(()) };
        if file == self.model.shell_files()[0] {
            // A file that cannot be read is refused below, with the reason.
            let current = variables(self.scope.host, &place.path, Format::Shell).unwrap_or_default();
            for (name, value) in env {
                let old = holds(&current, name.as_str(), value.as_ref());
                self.count(old, value.is_some(), || format!("{name}, by {file}"));
            }
        }
        let quoted = self.quoted(env_sh, &place.path);
        let src = place.seen.as_ref().map_or(&[][..], |s| s.bytes.expose());
        let edited = match shell_file::edit(src, self.component, &quoted, names) {
            Ok(edited) => edited,
            Err((line, why)) => {
                self.refuse(format_args!("{file}, line {line}: {why}"), "change that line, and import again");
                return Ok(());
            }
        };
        for (name, line) in &edited.aside {
            self.plan.changes.push(Change {
                kind: ChangeKind::Changed,
                what: format!("{file}, line {line}: ${name} is set there and is commented out"),
            });
        }
        if !edited.aside.is_empty() {
            let what = format!("{file} keeps the old values of what is commented out there");
            let remedy = "remove the lines that begin with '# kbpack: ' once all is well";
            self.plan.findings.push(Finding::new(Severity::Note, what).todo(remedy));
        }
        if edited.block_is_new {
            self.plan.executes.push(format!("{file}: {}", shell_file::load_line(&quoted)));
        }
        let mode = place.seen.as_ref().map_or(0o600, |s| s.mode);
        self.target(place, New::Bytes(edited.bytes), mode)
    }

    /// Variables of an earlier import that this one does not bring: those that are to stay as they are go into `env` as well,
    /// the others go.
    fn other_variables(&mut self, env_sh: &Path, names: &[&VarName], env: &mut Vec<Set>) -> Result<()> {
        let stay = self.model.shell_names_that_stay();
        let old = variables(self.scope.host, env_sh, Format::Shell).unwrap_or_default();
        for old in old.into_iter().filter(|o| !names.iter().any(|n| n.as_str() == o.name)) {
            if let Some(name) = stay.iter().find(|name| name.as_str() == old.name) {
                env.push(((*name).clone(), Some(old.fixed()?)));
                continue;
            }
            let what = format!("${}, of an earlier import", old.name);
            self.plan.changes.push(Change { kind: ChangeKind::Removed, what });
        }
        Ok(())
    }

    fn dotenv_files(&mut self, fetched: &Fetched<'_>) -> Result<()> {
        let variables_of = || fetched.variables.iter().filter(|(entry, ..)| entry.format == Format::Dotenv);
        let files: BTreeSet<&str> = variables_of().map(|(entry, ..)| entry.file.as_str()).collect();
        for file in files {
            let path = expand(self.scope.host, file)?;
            let Some(place) = self.place(&path)? else { continue };
            let current = variables(self.scope.host, &place.path, Format::Dotenv).unwrap_or_default();
            let (mut new, mut open) = (Vec::new(), false);
            for (_, name, value) in variables_of().filter(|(entry, ..)| entry.file == file) {
                let old = holds(&current, name.as_str(), value.as_ref());
                if old != Some(true) && name.executes() {
                    self.plan.executes.push(format!("{name} is set in {file}, and programs act on it"));
                }
                self.count(old, value.is_some(), || format!("{name} in {file}"));
                new.extend(value.as_ref().map(|value| (name.as_str(), value)));
                open |= value.is_none();
            }
            let src = place.seen.as_ref().map_or(&[][..], |s| s.bytes.expose());
            match dotenv::merge(src, &new) {
                Ok(merged) => {
                    let mode = place.seen.as_ref().map_or(0o600, |s| s.mode & 0o770);
                    self.run_by(file, &path, open || src != merged.expose());
                    self.target(place, if open { New::Open } else { New::Bytes(merged) }, mode)?;
                }
                Err(broken) => {
                    let line = shell_file::line_of(src, broken.at);
                    self.refuse(
                        format_args!("{file}, line {line}: {}", broken.why),
                        "mend that line, and import again",
                    );
                }
            }
        }
        Ok(())
    }

    fn pgpass(&mut self, fetched: &Fetched<'_>) -> Result<()> {
        let Some(entry) = self.model.pgpass.as_ref().filter(|entry| entry.policy.brings()) else {
            return Ok(());
        };
        let path = expand(self.scope.host, &entry.file)?;
        let Some(place) = self.place(&path)? else { return Ok(()) };
        let mut text = place.seen.as_ref().map_or_else(|| Secret::from(Vec::new()), |s| s.bytes.clone());
        let mut open = false;
        for (key, new) in &fetched.passwords {
            let old = pgpass::find(text.expose(), key).map(|old| Some(&old) == new.as_ref());
            self.count(old, new.is_some(), || format!("the password of {key} in {}", entry.file));
            match new {
                Some(new) => {
                    text = pgpass::merge(text.expose(), key, new);
                    let (key, password) = ((*key).clone(), new.clone());
                    self.detail.logins.push(Deployed { key, password, own: entry.own });
                }
                None => open = true,
            }
        }
        let changes = open || place.seen.as_ref().is_none_or(|seen| seen.bytes != text);
        self.run_by(&entry.file, &path, changes);
        self.target(place, if open { New::Open } else { New::Bytes(text) }, 0o600)
    }

    /// Says so where a program runs or obeys the `file` at `path`, if it changes.
    fn run_by(&mut self, file: &str, path: &Path, changes: bool) {
        if let Some(why) = why_run(path).filter(|_| changes) {
            self.plan.executes.push(format!("{file} ({why})"));
        }
    }

    fn whole_files(&mut self, fetched: Fetched<'_>) -> Result<()> {
        for (entry, new) in fetched.files {
            let path = expand(self.scope.host, &entry.path)?;
            let Some(place) = self.place(&path)? else { continue };
            let new = match new {
                Some(packed) if !entry.keep.is_empty() => {
                    match self.with_what_stays(entry, &packed, &place)? {
                        Some(new) => Some(new),
                        None => continue,
                    }
                }
                new => new,
            };
            let mode = entry.final_mode();
            let same = |s: &Seen| Some(&s.bytes) == new.as_ref() && s.mode == mode;
            let unchanged = place.seen.as_ref().map(same);
            self.count(unchanged, new.is_some(), || entry.path.clone());
            if unchanged != Some(true) {
                let executable = (mode & 0o111 != 0).then_some("executable");
                match why_run(&path).or(executable) {
                    Some(why) => self.plan.executes.push(format!("{} ({why})", entry.path)),
                    None => self.commands_of(entry, &place, new.as_ref()),
                }
            }
            self.target(place, new.map_or(New::Open, New::Bytes), mode)?;
        }
        Ok(())
    }

    /// Names the commands of a document that are new or changed, if it says where they stand.
    fn commands_of(&mut self, entry: &FileEntry, place: &Place, new: Option<&Secret>) {
        let path = &entry.path;
        let old = place.seen.as_ref().and_then(|seen| document::object(seen.bytes.expose()).ok());
        match new.map(|new| document::object(new.expose())) {
            _ if entry.runs.is_empty() => {}
            Some(Ok(new)) => {
                let keys = document::newly_run(old, new, &entry.runs).into_iter();
                self.plan.executes.extend(keys.map(|key| format!("'{key}' in {path} ({COMMANDS_IN_IT})")));
            }
            // Not known yet, or no such document: then all of it may be meant.
            Some(Err(_)) | None => self.plan.executes.push(format!("{path} ({COMMANDS_IN_IT})")),
        }
    }

    /// The document that comes, with the keys that stay as they are here. `None` after a refusal.
    fn with_what_stays(
        &mut self,
        entry: &FileEntry,
        packed: &Secret,
        place: &Place,
    ) -> Result<Option<Secret>> {
        let old = place.seen.as_ref().map_or(&b"{}"[..], |seen| seen.bytes.expose());
        let grafted = document::object(old).and_then(|here| {
            let stays = document::there(here, &entry.keep);
            document::graft(packed.expose(), Some(here), &entry.keep).map(|new| (stays, new))
        });
        let (stays, new) = match grafted {
            Ok(grafted) => grafted,
            Err(odd) => {
                let remedy = "mend it or move it out of the way, and import again";
                self.refuse(format_args!("{} {odd}, and keys of it are to stay", entry.path), remedy);
                return Ok(None);
            }
        };
        for key in stays.iter() {
            self.plan.not_packed.push(entry.kept(key, "stays as it is on this machine"));
        }
        let missing: Vec<&KeyPath> = entry.had.iter().filter(|key| !stays.contains(key)).collect();
        for (n, key) in missing.iter().enumerate() {
            let mut said = entry.kept(key, "is not here, and has to be made anew");
            // What makes one anew makes all of them.
            let how =
                || entry.how.clone().map_or_else(|| "log in, or have it issued again".into(), String::from);
            said.todo = (n + 1 == missing.len()).then(how);
            self.plan.not_packed.push(said);
        }
        // A program writes its own file in an order of its own: that is no change.
        if place.seen.is_some() && document::same_apart(old, new.expose(), &entry.keep) {
            return Ok(place.seen.as_ref().map(|seen| seen.bytes.clone()));
        }
        if let (Ok(here), Ok(then)) = (document::object(old), document::object(new.expose())) {
            for key in document::going(here, then) {
                let what = format!("'{key}' in {}", entry.path);
                self.plan.changes.push(Change { kind: ChangeKind::Removed, what });
            }
        }
        Ok(Some(new))
    }

    fn absent(&mut self) -> Result<()> {
        for file in self.model.absent() {
            let path = expand(self.scope.host, file)?;
            let Some(place) = self.place(&path)? else { continue };
            if place.seen.is_none() {
                self.plan.unchanged += 1;
                continue;
            }
            self.plan.changes.push(Change { kind: ChangeKind::Removed, what: file.clone() });
            self.target(place, New::Gone, 0)?;
        }
        let folders = self.model.backup.iter().flat_map(|backup| &backup.folders);
        for folder in folders {
            self.detail.empties.push(expand(self.scope.host, folder)?);
        }
        Ok(())
    }
}

/// A variable and its value, if that is known yet.
type Set = (VarName, fetch::Value);

/// Whether the last assignment of `name` gives it `value`. `None` if there is none.
fn holds(current: &[Variable], name: &str, value: Option<&Secret>) -> Option<bool> {
    let last = current.iter().rev().find(|v| v.name == name)?;
    Some(matches!(&last.value, Value::Static(old) if Some(old) == value))
}
