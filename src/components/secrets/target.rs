//! The target's files: where they really lie, what is there, whether they may be replaced, and what is to be done.

use super::disk::{self, Links, Seen};
use super::logins::Deployed;
use super::model::{Model, VarName, MAX_JSON};
use crate::base::digest::Digest;
use crate::base::secret::Secret;
use crate::base::side::side_of;
use crate::component::{Change, ChangeKind, Error, Finding, Plan, Result, Scope, Severity};
use rustix::fs::{access, Access};
use std::collections::{BTreeMap, BTreeSet};
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
    pub(super) new: New,
    pub(super) mode: u32,
    /// Its time of last modification (seconds since 1970, nanoseconds), if it is not that of the import.
    pub(super) mtime: Option<(i64, u32)>,
    /// The group it keeps.
    pub(super) gid: Option<u32>,
    /// Where its new and its old content wait.
    pub(super) side: PathBuf,
    /// Whether the old content is kept beside it in the end, for it was edited since the import that is taken back.
    pub(super) keep: bool,
}

/// What a file is to be.
#[derive(Clone)]
pub(super) enum New {
    Bytes(Secret),
    /// Nothing: it goes.
    Gone,
    /// What it will be, once a value in it is known.
    Open,
}

impl New {
    pub(super) fn bytes(&self) -> Option<&Secret> {
        match self {
            New::Bytes(bytes) => Some(bytes),
            New::Gone | New::Open => None,
        }
    }

    fn is_gone(&self) -> bool {
        matches!(self, New::Gone)
    }
}

impl Target {
    pub(super) fn digest(&self) -> Option<Digest> {
        self.new.bytes().map(|new| Digest::of(new.expose()))
    }

    /// Whether anything is to be done.
    pub(super) fn changes(&self) -> bool {
        match &self.new {
            New::Open => true,
            New::Gone => self.old.is_some(),
            New::Bytes(_) => self.old != self.digest() || self.old_mode != Some(self.mode),
        }
    }
}

/// The kind's own part of a plan.
#[derive(Default)]
pub(super) struct Planned {
    pub(super) targets: Vec<Target>,
    /// Directories to make, parents first.
    pub(super) dirs: Vec<PathBuf>,
    /// Directories that go in the end if nothing is in them by then, parents first.
    pub(super) empties: Vec<PathBuf>,
    /// What a fresh shell must say after it read `env.sh`.
    pub(super) env: Option<(PathBuf, Vec<(VarName, Secret)>)>,
    /// Passwords that must log in.
    pub(super) logins: Vec<Deployed>,
}

impl Planned {
    /// Whether values are still to be found out: such a plan can be shown, and no more.
    pub(super) fn is_open(&self) -> bool {
        self.targets.iter().any(|target| matches!(target.new, New::Open))
    }

    /// Refuses a file that is no longer as `earlier`, the plan that was confirmed, saw it.
    pub(super) fn follows(&self, earlier: &Planned) -> Result<()> {
        let known = |target: &Target| {
            let same = |other: &&Target| other.path == target.path;
            let before = earlier.targets.iter().find(same);
            before.is_some_and(|before| (before.old, before.old_mode) == (target.old, target.old_mode))
        };
        match self.targets.iter().find(|target| !known(target)) {
            None => Ok(()),
            Some(edited) => {
                Err(Error::not_ready(format_args!("{} was edited since the plan", edited.path.display()))
                    .todo("nothing was changed; import again"))
            }
        }
    }
}

/// A file where something will be written.
pub(super) struct Place {
    pub(super) path: PathBuf,
    pub(super) shown: String,
    pub(super) seen: Option<Seen>,
}

pub(super) struct Draft<'a> {
    pub(super) component: &'a str,
    pub(super) model: &'a Model,
    pub(super) scope: &'a Scope<'a>,
    /// What the import left at each path that is taken back.
    pub(super) left: BTreeMap<String, Digest>,
    pub(super) detail: Planned,
    pub(super) plan: Plan,
}

impl Draft<'_> {
    pub(super) fn refuse(&mut self, what: impl std::fmt::Display, remedy: impl std::fmt::Display) {
        self.plan.findings.push(Finding::new(Severity::Refusal, what).todo(remedy));
    }

    pub(super) fn warn(&mut self, what: impl std::fmt::Display) {
        self.plan.findings.push(Finding::new(Severity::Warning, what));
    }

    fn shown(&self, path: &Path) -> String {
        self.scope.host.contract(path).unwrap_or_else(|| path.display().to_string())
    }

    /// Counts a secret whose value is `known` or not; `old`: whether what is there is the same, if something is.
    pub(super) fn count(&mut self, old: Option<bool>, known: bool, what: impl FnOnce() -> String) {
        let kind = match old {
            Some(true) => return self.plan.unchanged += 1,
            Some(false) => ChangeKind::Changed,
            None => ChangeKind::Added,
        };
        let what = what();
        self.plan.open.extend((!known).then(|| what.clone()));
        self.plan.changes.push(Change { kind, what });
    }

    /// Finds out whether something may be written at `path`, and what is there. `None` after a refusal.
    pub(super) fn place(&mut self, path: &Path) -> Result<Option<Place>> {
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
        if seen.is_some() && has_attributes(&real) {
            self.warn(format_args!(
                "{shown} has an ACL or other extended attributes, which its new version will not have"
            ));
        }
        Ok(Some(Place { path: real, shown, seen }))
    }

    /// Whether what is there is not what the import left that is taken back.
    fn is_edited(&self, place: &Place) -> bool {
        match (&self.model.backup, &place.seen) {
            (Some(_), Some(seen)) => self.left.get(&place.shown) != Some(&seen.digest()),
            _ => false,
        }
    }

    pub(super) fn target(&mut self, place: Place, new: New, mode: u32) -> Result<()> {
        let dir = disk::nearest_dir(&place.path)?;
        let target = Target {
            old: place.seen.as_ref().map(Seen::digest),
            old_mode: place.seen.as_ref().map(|s| s.mode),
            gid: place.seen.as_ref().map(|s| s.gid),
            mode: mode & 0o777,
            mtime: self.model.backup.as_ref().and_then(|backup| backup.times.get(&place.shown).copied()),
            side: side_of(&dir, self.scope.run, self.component),
            keep: self.is_edited(&place),
            path: place.path,
            new,
        };
        if target.keep && target.changes() {
            let what = "was edited after the import; it will be kept as";
            let name = super::finish::kept_name(&target.path, self.scope.run);
            let folder = place.shown.rsplit_once('/').map_or("", |(folder, _)| folder);
            let kept = format!("{folder}/{}", name.to_string_lossy());
            self.warn(format_args!("{} {what} {kept}", place.shown));
        }
        if target.path.to_str().is_none() {
            self.refuse(format_args!("{} is not UTF-8", place.shown), "use --map");
        }
        if self.detail.targets.iter().any(|other| other.path == target.path) {
            let what = format!("{} is the same file as another of this component", place.shown);
            self.refuse(what, "replace the symlink by a file");
        }
        if target.changes() && !target.new.is_gone() {
            let kind = if target.old.is_some() { ChangeKind::Changed } else { ChangeKind::Added };
            if !self.plan.changes.iter().any(|c| c.what == place.shown) {
                self.plan.changes.push(Change { kind, what: place.shown.clone() });
                self.plan.open.extend(matches!(target.new, New::Open).then(|| place.shown.clone()));
            }
        }
        self.plan.space += match &target.new {
            New::Bytes(new) => new.len() as u64,
            New::Open => MAX_JSON,
            New::Gone => 0,
        };
        self.plan.destinations.push(place.shown);
        self.detail.targets.push(target);
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<Plan> {
        let mut missing = BTreeSet::new();
        for target in self.detail.targets.iter().filter(|t| !t.new.is_gone()) {
            let dirs = target.path.ancestors().skip(1);
            missing.extend(dirs.take_while(|dir| fs::symlink_metadata(dir).is_err()).map(Path::to_owned));
        }
        // Sorted, a parent stands before what lies in it.
        self.detail.dirs = missing.into_iter().collect();
        let Plan { destinations, changes, unchanged, findings, executes, space, .. } = self.plan;
        let (commands, not_packed, open) = (self.plan.commands, self.plan.not_packed, self.plan.open);
        let mut plan = Plan::new(self.detail);
        (plan.destinations, plan.changes, plan.unchanged) = (destinations, changes, unchanged);
        (plan.findings, plan.executes, plan.space) = (findings, executes, space);
        (plan.commands, plan.not_packed, plan.open) = (commands, not_packed, open);
        Ok(plan)
    }
}

/// Whether a file has extended attributes besides the label that a security module gives every file.
fn has_attributes(path: &Path) -> bool {
    let mut names = vec![0; 64 * 1024];
    let len = rustix::fs::llistxattr(path, &mut names).unwrap_or(0);
    names[..len].split(|&c| c == 0).any(|name| !name.is_empty() && name != b"security.selinux")
}
