//! A plan while it is made: what it says, and what it does to a repository that goes.

use super::header::Header;
use super::left::Left;
use super::names::Id;
use super::pending::{self, Pending};
use super::plan::{RefChange, Todo};
use super::{refs, submodules, work, Git};
use crate::base::change::kept_name;
use crate::base::path::path_text;
use crate::component::{Change, ChangeKind, Finding, Result, Scope, Severity};
use git2::Repository;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What to do about a commit that is needed and not there.
const WITHOUT: &str = "ask for an export without --incremental, or name a new ticket of this machine";

/// Where what a ref led to is kept.
pub fn kept_ref(name: &str, run: &str) -> String {
    format!("refs/kbpack/backup/{run}/{}", name.strip_prefix("refs/").unwrap_or(name))
}

/// A plan while it is made.
pub struct Draft<'a> {
    /// What was left by the import that a rollback takes back; `None` if this is no rollback.
    pub left: Option<Left>,
    /// The same of the submodules of a repository that goes.
    pub gone: submodules::Gone,
    /// The component.
    pub git: &'a Git,
    /// Its surroundings.
    pub scope: &'a Scope<'a>,
    /// What to call it.
    pub name: String,
    /// What speaks against it, and what else is to be said.
    pub findings: Vec<Finding>,
    /// What changes.
    pub changes: Vec<Change>,
    /// How many refs do not.
    pub unchanged: u64,
}

impl<'a> Draft<'a> {
    /// Of the component `git`, called `name`.
    pub fn new(
        git: &'a Git,
        scope: &'a Scope<'a>,
        (left, gone): (Option<Left>, submodules::Gone),
        name: String,
    ) -> Self {
        Draft { git, scope, left, gone, name, findings: Vec::new(), changes: Vec::new(), unchanged: 0 }
    }

    /// The import is not possible.
    pub fn refuse(&mut self, what: impl std::fmt::Display, remedy: impl std::fmt::Display) {
        self.findings.push(Finding::new(Severity::Refusal, what).todo(remedy));
    }

    /// Something that a person should know.
    pub fn note(&mut self, severity: Severity, what: String) {
        self.findings.push(Finding::new(severity, format!("{}: {what}", self.name)));
    }

    /// A row of the plan: a ref, or the repository.
    pub fn change(&mut self, kind: ChangeKind, name: Option<&str>) {
        let what = name.map_or_else(|| self.name.clone(), |name| format!("{}: {name}", self.name));
        self.changes.push(Change { kind, what });
    }

    /// Refuses work that is in no commit, but what the import put back that a rollback takes back, if it is as it was: that
    /// is returned.
    pub fn require_clean(&mut self, repo: &Repository) -> Result<Option<Pending>> {
        let going = self.left.as_ref().and_then(Left::pending).filter(|_| !repo.is_bare());
        let as_left = match going {
            Some(pending) => pending::differs(repo, pending, self.scope.carved)?.is_none(),
            None => false,
        };
        let changes = work::changes(repo, self.scope.carved)?;
        if !changes.is_empty() && !as_left {
            let what = format!("{}: changes that are in no commit: {}", self.name, work::few(&changes));
            self.refuse(what, "commit or stash them, and import again");
        }
        if repo.state() != git2::RepositoryState::Clean {
            let what = format!("{}: a merge, rebase or the like is not finished", self.name);
            self.refuse(what, "finish or abort it, and import again");
        }
        Ok(going.filter(|_| as_left))
    }

    /// Refuses a bundle that leaves something out, where nothing is.
    pub fn require_nothing_needed(&mut self, header: &Header) {
        if let Some((id, subject)) = header.needs.first_key_value() {
            let what = format!(
                "{}: the bundle needs commit {id} ({subject}), and no repository is there",
                self.name
            );
            self.refuse(what, WITHOUT);
        }
    }

    /// Refuses a bundle that leaves something out which the repository has not.
    pub fn require_needed(&mut self, repo: &Repository, header: &Header) -> Result<()> {
        for (id, subject) in &header.needs {
            if !refs::lead_to(repo, *id)? {
                let what =
                    format!("{}: the bundle needs commit {id} ({subject}), which it has not", self.name);
                self.refuse(what, WITHOUT);
                break;
            }
        }
        Ok(())
    }

    /// A repository goes.
    pub fn remove(&mut self, repo: &Repository, path: &Path) -> Result<Todo> {
        self.change(ChangeKind::Removed, None);
        let going = self.require_clean(repo)?;
        let as_left = match &self.left {
            Some(left) => {
                left.is_all_of(repo)?
                    && pending::is_all(repo, going, self.scope.carved)?
                    && self.gone.are_all_of(repo, self.scope.carved)?
            }
            None => false,
        };
        if !as_left {
            let kept = kept_name(path, self.scope.run);
            let kept = path_text(kept.file_name().unwrap_or_default().as_bytes());
            let what = format!("it was changed after the import; it will be kept as {kept}");
            self.note(Severity::Warning, what);
        }
        Ok(Todo::Remove { seen: refs::fingerprint(repo)?, keep: !as_left, going })
    }

    /// A rollback: what `name` leads to is kept under another name, unless the import left it so.
    pub fn keep(&mut self, name: &str, now: Id, plan: &mut Vec<RefChange>) {
        if self.left.as_ref().is_some_and(|left| left.has(name, now)) {
            return;
        }
        let kept = kept_ref(name, self.scope.run);
        self.note(
            Severity::Warning,
            format!("{name} was changed after the import; it will be kept as {kept}"),
        );
        plan.push(RefChange { name: kept, old: None, new: Some(now) });
    }
}
