//! The target: what every file is to be, worked out in memory without changing anything.

use super::buffer::SecretBuf;
use super::disk::{self, Links, Seen};
use super::model::{Format, Model, VarName};
use super::shell::Value;
use super::source::{variables, Variable};
use super::values::Values;
use super::{dotenv, env_dir, expand, pgpass, quote, shell_file};
use crate::base::digest::Digest;
use crate::base::secret::Secret;
use crate::component::{Change, ChangeKind, Error, Finding, Plan, Result, Scope, Severity};
use rustix::fs::{access, Access};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// One file of the target.
#[derive(Clone)]
pub(super) struct Target {
    /// Where it lies, symlinks resolved.
    pub(super) path: PathBuf,
    /// What the plan saw there.
    pub(super) old: Option<Digest>,
    old_mode: Option<u32>,
    /// What it is to be; `None` if it is to be gone.
    pub(super) new: Option<Secret>,
    pub(super) mode: u32,
    /// The group it keeps.
    pub(super) gid: Option<u32>,
    /// Where its new and its old content wait.
    pub(super) side: PathBuf,
}

impl Target {
    pub(super) fn digest(&self) -> Option<Digest> {
        self.new.as_ref().map(|new| Digest::of(new.expose()))
    }

    /// Whether anything is to be done.
    pub(super) fn changes(&self) -> bool {
        self.old != self.digest() || self.new.is_some() && self.old_mode != Some(self.mode)
    }
}

/// The kind's own part of a plan.
#[derive(Default)]
pub(super) struct Planned {
    pub(super) targets: Vec<Target>,
    /// Directories to make, parents first.
    pub(super) dirs: Vec<PathBuf>,
    /// What a fresh shell must say after it read `env.sh`.
    pub(super) env: Option<(PathBuf, Vec<(VarName, Secret)>)>,
}

/// Works out the plan.
pub(super) fn plan(component: &str, model: &Model, scope: &Scope<'_>, values: Values) -> Result<Plan> {
    let mut draft = Draft { component, model, scope, detail: Planned::default(), plan: Plan::new(()) };
    draft.shell_variables(&values)?;
    draft.dotenv_files(&values)?;
    draft.pgpass(&values)?;
    draft.whole_files(values)?;
    draft.absent()?;
    draft.finish()
}

/// A file where something will be written.
struct Place {
    path: PathBuf,
    shown: String,
    seen: Option<Seen>,
}

struct Draft<'a> {
    component: &'a str,
    model: &'a Model,
    scope: &'a Scope<'a>,
    detail: Planned,
    plan: Plan,
}

impl Draft<'_> {
    fn refuse(&mut self, what: impl std::fmt::Display, remedy: impl std::fmt::Display) {
        self.plan.findings.push(Finding::new(Severity::Refusal, what).todo(remedy));
    }

    fn warn(&mut self, what: impl std::fmt::Display) {
        self.plan.findings.push(Finding::new(Severity::Warning, what));
    }

    fn shown(&self, path: &Path) -> String {
        self.scope.host.contract(path).unwrap_or_else(|| path.display().to_string())
    }

    fn count(&mut self, old: Option<bool>, what: impl FnOnce() -> String) {
        let kind = match old {
            Some(true) => return self.plan.unchanged += 1,
            Some(false) => ChangeKind::Changed,
            None => ChangeKind::Added,
        };
        self.plan.changes.push(Change { kind, what: what() });
    }

    /// `env.sh` and `environment`, and the shell files that load the former.
    fn shell_variables(&mut self, values: &Values) -> Result<()> {
        let names = self.model.shell_names();
        if names.is_empty() {
            return Ok(());
        }
        let mut env: Vec<(VarName, Secret)> = Vec::new();
        for name in &names {
            // Names in shell form are unique in the model.
            let shell = |file: &str| self.model.shell_env().any(|e| e.file == file);
            let value = values.env.iter().find(|v| v.name == name.as_str() && shell(&v.file));
            env.extend(value.map(|v| ((*name).clone(), v.value.0.clone())));
        }
        let dir = env_dir(self.scope.host, self.component)?;
        let env_sh = dir.join("env.sh");
        let quoted = self.quoted(&env_sh);
        for file in self.model.shell_files() {
            self.shell_file(file, &quoted, &names, &env)?;
        }
        self.gone_variables(&env_sh, &names)?;
        for (name, _) in env.iter().filter(|(name, _)| name.executes()) {
            self.plan.executes.push(format!("{name} is set in every new shell, and programs act on it"));
        }
        let mut text = self.header();
        for (name, value) in &env {
            text.extend(format!("export {}=", name.as_str()).as_bytes());
            quote::shell(value.expose(), &mut text);
            text.push(b'\n');
        }
        self.generated(&env_sh, text.into_secret())?;
        let text = self.environment(&env);
        self.generated(&dir.join("environment"), text)?;
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

    /// `path` as it stands in a shell file: by `$HOME` where it can, so that the home may move.
    fn quoted(&self, path: &Path) -> String {
        let below = path.strip_prefix(&self.scope.host.home).ok().and_then(Path::to_str);
        match below {
            Some(rest) if !rest.contains(['"', '$', '`', '\\']) => format!("\"$HOME/{rest}\""),
            _ => {
                let mut quoted = SecretBuf::default();
                quote::shell(path.as_os_str().as_encoded_bytes(), &mut quoted);
                String::from_utf8_lossy(quoted.bytes()).into_owned()
            }
        }
    }

    fn generated(&mut self, path: &Path, text: Secret) -> Result<()> {
        if let Some(place) = self.place(path)? {
            self.target(place, Some(text), 0o600)?;
        }
        Ok(())
    }

    fn shell_file(
        &mut self,
        file: &str,
        quoted: &str,
        names: &[&VarName],
        env: &[(VarName, Secret)],
    ) -> Result<()> {
        let path = expand(self.scope.host, file)?;
        let Some(place) = self.place(&path)? else { return Ok(()) };
        if file == self.model.shell_files()[0] {
            // A file that cannot be read is refused below, with the reason.
            let current = variables(self.scope.host, &place.path, Format::Shell).unwrap_or_default();
            for (name, value) in env {
                let old = holds(&current, name.as_str(), value);
                self.count(old, || format!("{name}, by {file}"));
            }
        }
        let src = place.seen.as_ref().map_or(&[][..], |s| s.bytes.expose());
        let edited = match shell_file::edit(src, self.component, quoted, names) {
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
        if edited.block_is_new {
            self.plan.executes.push(format!("{file}: {}", shell_file::load_line(quoted)));
        }
        let mode = place.seen.as_ref().map_or(0o600, |s| s.mode);
        self.target(place, Some(edited.bytes), mode)
    }

    /// Variables of an earlier import that this one no longer brings.
    fn gone_variables(&mut self, env_sh: &Path, names: &[&VarName]) -> Result<()> {
        let old = variables(self.scope.host, env_sh, Format::Shell).unwrap_or_default();
        for old in old.iter().filter(|o| !names.iter().any(|n| n.as_str() == o.name)) {
            let what = format!("${}, of an earlier import", old.name);
            self.plan.changes.push(Change { kind: ChangeKind::Removed, what });
        }
        Ok(())
    }

    fn dotenv_files(&mut self, values: &Values) -> Result<()> {
        let files: BTreeSet<&str> =
            self.model.env.iter().filter(|e| e.format == Format::Dotenv).map(|e| e.file.as_str()).collect();
        for file in files {
            let path = expand(self.scope.host, file)?;
            let Some(place) = self.place(&path)? else { continue };
            let new: Vec<(&str, &Secret)> =
                values.env.iter().filter(|v| v.file == file).map(|v| (v.name.as_str(), &v.value.0)).collect();
            let current = variables(self.scope.host, &place.path, Format::Dotenv).unwrap_or_default();
            for (name, value) in &new {
                let old = holds(&current, name, value);
                self.count(old, || format!("${name} in {file}"));
            }
            let src = place.seen.as_ref().map_or(&[][..], |s| s.bytes.expose());
            match dotenv::merge(src, &new) {
                Ok(merged) => {
                    let mode = place.seen.as_ref().map_or(0o600, |s| s.mode & 0o770);
                    self.target(place, Some(merged), mode)?;
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

    fn pgpass(&mut self, values: &Values) -> Result<()> {
        let Some(entry) = &self.model.pgpass else { return Ok(()) };
        let path = expand(self.scope.host, &entry.file)?;
        let Some(place) = self.place(&path)? else { return Ok(()) };
        let mut text = place.seen.as_ref().map_or_else(|| Secret::from(Vec::new()), |s| s.bytes.clone());
        for (key, new) in entry.lines.iter().zip(&values.pgpass) {
            let old = pgpass::find(text.expose(), key).map(|old| old == new.value.0);
            self.count(old, || format!("the password of {key} in {}", entry.file));
            text = pgpass::merge(text.expose(), key, &new.value.0);
        }
        self.target(place, Some(text), 0o600)
    }

    fn whole_files(&mut self, values: Values) -> Result<()> {
        for (entry, new) in self.model.files.iter().zip(values.files) {
            let path = expand(self.scope.host, &entry.path)?;
            let Some(place) = self.place(&path)? else { continue };
            let mode = entry.mode.map_or(0o600, |m| m.0);
            let same = |s: &Seen| s.bytes == new.value.0 && s.mode == mode;
            let unchanged = place.seen.as_ref().map(same);
            self.count(unchanged, || entry.path.clone());
            if unchanged != Some(true) && (mode & 0o111 != 0 || is_run_by_others(&path)) {
                self.plan.executes.push(format!("{}: programs run what is in it", entry.path));
            }
            self.target(place, Some(new.value.0), mode)?;
        }
        Ok(())
    }

    fn absent(&mut self) -> Result<()> {
        for file in &self.model.absent {
            let path = expand(self.scope.host, file)?;
            let Some(place) = self.place(&path)? else { continue };
            if place.seen.is_none() {
                self.plan.unchanged += 1;
                continue;
            }
            self.plan.changes.push(Change { kind: ChangeKind::Removed, what: file.clone() });
            self.target(place, None, 0)?;
        }
        Ok(())
    }

    /// Finds out whether something may be written at `path`, and what is there. `None` after a refusal.
    fn place(&mut self, path: &Path) -> Result<Option<Place>> {
        let shown = self.shown(path);
        let mut real = disk::settle(path)?;
        let host = self.scope.host;
        let meta = fs::symlink_metadata(&real).ok();
        if meta.as_ref().is_some_and(fs::Metadata::is_symlink) {
            match fs::canonicalize(&real) {
                Ok(to) if to.starts_with(&host.home) => real = to,
                _ => {
                    let what = format!("{shown} is a symlink to nothing, or to a place outside the home");
                    self.refuse(what, "replace the symlink by a file");
                    return Ok(None);
                }
            }
        }
        if host.own.iter().any(|own| real.starts_with(own)) {
            self.refuse(format_args!("{shown} lies in kbpack's own directories"), "choose another place");
            return Ok(None);
        }
        let dir = disk::nearest_dir(&real)?;
        let dir_meta = fs::metadata(&dir).map_err(|e| Error::io(dir.display(), e))?;
        let exposed = dir_meta.mode() & 0o1002 == 0o002;
        let others = dir_meta.uid() != host.uid && dir_meta.uid() != 0 && dir_meta.mode() & 0o1000 == 0;
        if !dir_meta.is_dir()
            || others
            || exposed
            || access(&dir, Access::WRITE_OK | Access::EXEC_OK).is_err()
        {
            let what = format!("{} is not a directory that only you can write to", dir.display());
            self.refuse(what, format_args!("chown or chmod {}, or use --map", dir.display()));
            return Ok(None);
        }
        let seen = match disk::read(&real, Links::Refuse) {
            Ok(seen) => seen,
            Err(e) => {
                self.refuse(format_args!("{shown} cannot be replaced: {e}"), "move it out of the way");
                return Ok(None);
            }
        };
        if seen.as_ref().is_some_and(|s| s.uid != host.uid) {
            self.refuse(format_args!("{shown} belongs to another user"), "give it to the user who imports");
            return Ok(None);
        }
        if seen.as_ref().is_some_and(|s| s.mode & 0o7000 != 0) {
            self.warn(format_args!("{shown} loses its setuid, setgid or sticky bit"));
        }
        Ok(Some(Place { path: real, shown, seen }))
    }

    fn target(&mut self, place: Place, new: Option<Secret>, mode: u32) -> Result<()> {
        let dir = disk::nearest_dir(&place.path)?;
        let target = Target {
            old: place.seen.as_ref().map(Seen::digest),
            old_mode: place.seen.as_ref().map(|s| s.mode),
            gid: place.seen.as_ref().map(|s| s.gid),
            mode: mode & 0o777,
            side: dir.join(super::side::run_dir(self.scope.run)).join(self.component),
            path: place.path,
            new,
        };
        if target.path.to_str().is_none() {
            self.refuse(format_args!("{} is not UTF-8", target.path.display()), "use --map");
        }
        if target.changes() && target.old != target.digest() && target.new.is_some() {
            let kind = if target.old.is_some() { ChangeKind::Changed } else { ChangeKind::Added };
            if !self.plan.changes.iter().any(|c| c.what == place.shown) {
                self.plan.changes.push(Change { kind, what: place.shown.clone() });
            }
        }
        self.plan.space += target.new.as_ref().map_or(0, |new| new.len() as u64);
        self.plan.destinations.push(place.shown);
        self.detail.targets.push(target);
        Ok(())
    }

    fn finish(mut self) -> Result<Plan> {
        let mut missing = BTreeSet::new();
        for target in self.detail.targets.iter().filter(|t| t.new.is_some()) {
            let dirs = target.path.ancestors().skip(1);
            missing.extend(dirs.take_while(|dir| fs::symlink_metadata(dir).is_err()).map(Path::to_owned));
        }
        // Sorted, a parent stands before what lies in it.
        self.detail.dirs = missing.into_iter().collect();
        let Plan { destinations, changes, unchanged, findings, executes, space, .. } = self.plan;
        let mut plan = Plan::new(self.detail);
        (plan.destinations, plan.changes, plan.unchanged) = (destinations, changes, unchanged);
        (plan.findings, plan.executes, plan.space) = (findings, executes, space);
        Ok(plan)
    }
}

/// Whether the last assignment of `name` gives it `value`. `None` if there is none.
fn holds(current: &[Variable], name: &str, value: &Secret) -> Option<bool> {
    let last = current.iter().rev().find(|v| v.name == name)?;
    Some(matches!(&last.value, Value::Static(old) if old == value))
}

/// Files that shells, ssh, git or systemd act on.
fn is_run_by_others(path: &Path) -> bool {
    const NAMES: [&str; 14] = [
        ".bashrc",
        ".bash_profile",
        ".bash_login",
        ".bash_logout",
        ".profile",
        ".zshrc",
        ".zshenv",
        ".zprofile",
        ".zlogin",
        ".xprofile",
        ".xsession",
        ".gitconfig",
        "authorized_keys",
        "crontab",
    ];
    const PARTS: [&str; 4] = ["systemd", "autostart", ".ssh", "cron.d"];
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    NAMES.contains(&name) || path.iter().filter_map(|p| p.to_str()).any(|p| PARTS.contains(&p))
}
