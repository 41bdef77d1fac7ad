//! Large files: what git LFS keeps beside a repository, and its trees only point to.
//!
//! Source: [`gather`] finds which objects the refs that travel need; [`carry`] writes them. Target: [`carry`] reads them, into the
//! staging area; [`store`] is where they end; [`work_tree`] puts their contents where their pointers stand.
//! No filter is run: what LFS's filters would do is done here.

mod carry;
mod gather;
mod pointer;
mod settle;
mod store;
mod work_tree;

pub use pointer::Pointer;
pub use store::Store;
pub use work_tree::{empty, fill, is_content, is_involved, record, take_back};

use self::gather::Needed;
use self::settle::settle;
use self::work_tree::is_content_of;
use super::facts::{Facts, LargeFiles, Lfs, Profile, State};
use super::header::Header;
use super::left_behind::size;
use super::names::Id;
use super::open::failed;
use super::plan::{Planned, Todo, Update};
use super::{refs, work};
use crate::base::path::shown;
use crate::component::{
    ChangeKind, CheckResult, Error, Finding, Progress, Result, Scope, Severity, StreamSink, StreamSource,
};
use git2::{Oid, Repository};
use std::path::{Path, PathBuf};

/// The stream with one row an object.
pub const LIST: &str = "lfs";
/// The stream with the objects.
pub const OBJECTS: &str = "lfs.tar";

/// What an import does about large files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Brought {
    /// All that the bundle has, by their ids.
    pub all: Vec<Pointer>,
    /// Those that the target has not.
    pub new: Vec<Pointer>,
    /// How many pointers in the target's work tree they fill though its commit stays.
    pub filled: usize,
}

impl Brought {
    /// What of `all` the target, a repository or nothing yet, has not.
    pub fn to(repo: Option<&Repository>, all: Vec<Pointer>) -> Result<Brought> {
        let new = match repo {
            None => all.clone(),
            Some(repo) => {
                let store = Store::of(repo)?;
                all.iter().copied().filter(|one| !store.has(one)).collect()
            }
        };
        Ok(Brought { all, new, filled: 0 })
    }

    /// Their bytes.
    pub fn bytes(&self) -> u64 {
        self.new.iter().map(|one| one.size).sum()
    }

    /// What changes, in words.
    pub fn changes(&self) -> Vec<(ChangeKind, String)> {
        let mut changes = Vec::new();
        if !self.new.is_empty() {
            let what = format!("{} LFS objects, {}", self.new.len(), size(self.bytes()));
            changes.push((ChangeKind::Added, what));
        }
        if self.filled > 0 {
            changes.push((ChangeKind::Changed, format!("{} pointers become their large files", self.filled)));
        }
        changes
    }

    /// A refusal if the target has its store where kbpack may not write.
    pub fn no_place(&self, repo: &Repository, name: &str) -> Result<Option<Finding>> {
        let inside = Store::of(repo)?.is_within(repo.commondir());
        Ok((!inside && !self.new.is_empty()).then(|| {
            let what = format!("{name}: lfs.storage leads out of the repository, where nothing is written");
            Finding::new(Severity::Refusal, what).todo("git config --unset lfs.storage, and import again")
        }))
    }

    /// What is planned, if there is more to do for large files: objects that come where nothing else changes, and pointers in
    /// the work tree that they fill. A work tree with work of its own in it is left alone.
    pub fn widen(&mut self, todo: Todo, repo: &Repository, carved: &[PathBuf]) -> Result<Todo> {
        let mut update = match todo {
            _ if self.all.is_empty() => return Ok(todo),
            Todo::Update(update) => update,
            Todo::Nothing => {
                let head = refs::head(repo)?;
                let seen = refs::fingerprint(repo)?;
                let (refs, head) = (Vec::new(), (head.clone(), head));
                let (stashes, work, pending, going) = (None, None, None, None);
                Box::new(Update { refs, stashes, head, work, pending, going, seen })
            }
            other => return Ok(other),
        };
        if let (None, Some(now)) = (update.work, refs::head_commit(repo)?) {
            let mut pointers = work_tree::pointers(repo, now, carved)?;
            pointers.retain(|place| self.all.binary_search(&place.pointer).is_ok());
            if !pointers.is_empty() && work::changes(repo, carved)?.is_empty() {
                update.work = Some((Some(now), now));
                self.filled = pointers.len();
            }
        }
        let anything = !update.refs.is_empty()
            || update.stashes.is_some()
            || update.head.0 != update.head.1
            || update.work.is_some();
        Ok(if anything || !self.new.is_empty() { Todo::Update(update) } else { Todo::Nothing })
    }
}

/// Whether a repository has to do with LFS.
pub fn is_used(repo: &Repository) -> Result<bool> {
    let Some(commit) = refs::head_commit(repo)? else { return Ok(false) };
    if Store::of(repo)?.dir().is_dir() {
        return Ok(true);
    }
    let mut used = false;
    let walked = tree_of(repo, commit)?.walk(git2::TreeWalkMode::PreOrder, |_, entry| {
        if entry.name_bytes() == b".gitattributes" {
            let text = repo.find_blob(entry.id()).map(|blob| blob.content().to_vec()).unwrap_or_default();
            used |= String::from_utf8_lossy(&text).contains("filter=lfs");
        }
        git2::TreeWalkResult::Ok
    });
    walked.map_err(|e| failed(repo.path(), &e))?;
    Ok(used)
}

/// Source: what of large files travels, and what is to be said of them. `None` if there are none.
pub fn needed(
    repo: &Repository,
    header: &Header,
    profile: &Profile,
    scope: &Scope<'_>,
    findings: &mut Vec<Finding>,
) -> Result<Option<Needed>> {
    if profile.lfs == Lfs::Untouched || !is_used(repo)? {
        return Ok(None);
    }
    let tips: Vec<Oid> = header.refs.values().map(|id| id.0).collect();
    let mut needed = gather::gather(repo, &tips, header.head, scope.carved)?;
    let place = shown(repo.workdir().unwrap_or(repo.path()));
    if profile.lfs == Lfs::Pointers {
        needed.missing.extend(std::mem::take(&mut needed.objects).into_values().map(|object| object.name));
        if !needed.missing.is_empty() {
            let what = format!(
                "{place}: {} large files stay behind, only the pointers to them travel",
                needed.missing.len()
            );
            findings.push(Finding::new(Severity::Warning, what));
        }
        return Ok(Some(needed));
    }
    if !needed.missing.is_empty() {
        let severity = match profile.lfs {
            Lfs::Partial => Severity::Warning,
            _ => Severity::Refusal,
        };
        let what =
            format!("{place}: large files of which only pointers are here: {}", work::few(&needed.missing));
        let todo = "git lfs fetch --all, or set lfs to \"partial\", and the pointers travel without them";
        findings.push(Finding::new(severity, what).todo(todo));
    }
    if needed.missing_elsewhere > 0 {
        let what = format!(
            "{place}: {} large files of other branches or older commits are not here, and do not travel",
            needed.missing_elsewhere
        );
        findings.push(Finding::new(Severity::Note, what).todo("git lfs fetch --all brings them here"));
    }
    Ok(Some(needed))
}

/// Source: the same for a capture, which a refusal ends.
pub fn require(
    repo: &Repository,
    header: &Header,
    profile: &Profile,
    scope: &Scope<'_>,
    findings: &mut Vec<Finding>,
) -> Result<Option<Needed>> {
    let mut found = Vec::new();
    let needed = needed(repo, header, profile, scope, &mut found)?;
    if let Some(at) = found.iter().position(|finding| finding.severity == Severity::Refusal) {
        let Finding { what, remedy, .. } = found.swap_remove(at);
        return Err(Error::not_ready(what).todo(remedy.unwrap_or_default()));
    }
    findings.extend(found);
    Ok(needed)
}

/// Source: writes the large files.
pub fn capture(needed: &Needed, scope: &Scope<'_>, sink: &dyn StreamSink) -> Result<Option<LargeFiles>> {
    if !needed.objects.is_empty() {
        carry::write(needed, scope, sink)?;
    }
    let (objects, missing) = (needed.objects.len() as u64, needed.missing.len() as u64);
    let facts = LargeFiles { objects, bytes: needed.bytes(), missing };
    Ok((objects > 0 || missing > 0).then_some(facts))
}

/// Target: what the bundle has, as the facts say it. Rule G10.
pub fn read(facts: &Facts, streams: &dyn StreamSource) -> Result<Brought> {
    let Some(lfs) = facts.lfs.filter(|lfs| lfs.objects > 0) else { return Ok(Brought::default()) };
    let all = carry::read_list(streams)?;
    let bytes = all.iter().try_fold(0u64, |sum, one| sum.checked_add(one.size));
    match all.len() as u64 == lfs.objects && bytes == Some(lfs.bytes) {
        true => Brought::to(None, all),
        false => Err(Error::rule("G10", "the large files are not as many as the facts say, or not as large")),
    }
}

/// Target: puts the objects that are not there yet into the store of `repo`, which is staged and has the plan's commits.
pub fn stage(
    repo: &Repository,
    plan: &Planned,
    progress: &dyn Progress,
    streams: &dyn StreamSource,
) -> Result<()> {
    let brought = &plan.lfs;
    if brought.all.is_empty() {
        return Ok(());
    }
    if let Some(head) = plan.facts.uncommitted.map(|pending| pending.work).or(plan.header.head) {
        require_sizes(repo, head, &brought.all)?;
    }
    progress.expect(brought.all.iter().map(|one| one.size).sum());
    let store = Store::within(repo.path());
    carry::unpack(streams, &brought.all, &brought.new, &store, &mut |n| progress.advance(n))
}

/// Rule G12: what a pointer says of the size of what the bundle has is true.
fn require_sizes(repo: &Repository, commit: Id, all: &[Pointer]) -> Result<()> {
    let git = |e: git2::Error| failed(repo.path(), &e);
    let odb = repo.odb().map_err(git)?;
    let mut wrong = None;
    let walked = tree_of(repo, commit)?.walk(git2::TreeWalkMode::PreOrder, |_, entry| {
        let pointer = Pointer::of_blob(&odb, entry.id());
        let same =
            |pointer: &Pointer| all.binary_search_by_key(&pointer.oid, |one| one.oid).map(|at| all[at]);
        wrong = pointer.filter(|pointer| same(pointer).is_ok_and(|one| one != *pointer));
        if wrong.is_some() {
            git2::TreeWalkResult::Abort
        } else {
            git2::TreeWalkResult::Ok
        }
    });
    match wrong {
        Some(one) => Err(Error::rule("G12", format_args!("a pointer gives {} another size", one.oid))),
        None => walked.map_err(git),
    }
}

/// Target: the contents in the work tree of a staged clone.
pub fn fill_clone(repo: &Repository, plan: &Planned) -> Result<()> {
    match commit_of_clone(plan) {
        Some(commit) => fill(repo, commit, &plan.side, &[]),
        None => Ok(()),
    }
}

/// Target: a clone's index, when the files of the clone were moved or given away.
pub fn settle_clone(repo: &Repository, plan: &Planned) -> Result<()> {
    match commit_of_clone(plan) {
        Some(commit) => settle(repo, &work_tree::places(repo, commit)?),
        None => Ok(()),
    }
}

/// The commit whose files a clone with large files has in its work tree.
fn commit_of_clone(plan: &Planned) -> Option<Id> {
    let has_any = plan.facts.lfs.is_some() && plan.facts.state == State::WorkTree;
    plan.facts.uncommitted.map(|pending| pending.work).or(plan.header.head).filter(|_| has_any)
}

/// Whether an earlier call put the large files of an update in place.
pub fn is_done(repo: &Repository, plan: &Planned, update: &Update, carved: &[PathBuf]) -> Result<bool> {
    let store = Store::of(repo)?;
    let unfilled = match update.work {
        Some((_, new)) if is_involved(&plan.side) && repo.find_commit(new.0).is_ok() => {
            !work_tree::unfilled(repo, new, carved)?.is_empty()
        }
        _ => false,
    };
    Ok(!unfilled && plan.lfs.new.iter().all(|one| store.has(one)))
}

/// Whether the large files are where they should be.
pub fn check(repo: &Repository, plan: &Planned, name: &str) -> Result<Option<CheckResult>> {
    if plan.lfs.all.is_empty() {
        return Ok(None);
    }
    let store = Store::of(repo)?;
    let missing = plan.lfs.all.iter().find(|one| !store.has(one));
    let failure = missing.map(|one| format!("{} is missing", one.oid));
    Ok(Some(CheckResult { name: format!("{name}: its large files are there"), failure, skipped: None }))
}

/// Whether the file at `at` is what the blob `id` points to.
pub fn is_content_of_blob(repo: &Repository, id: Oid, at: &Path) -> bool {
    let pointer = repo.odb().ok().and_then(|odb| Pointer::of_blob(&odb, id));
    pointer.is_some_and(|pointer| is_content_of(at, &pointer))
}

fn tree_of(repo: &Repository, commit: Id) -> Result<git2::Tree<'_>> {
    repo.find_commit(commit.0).and_then(|commit| commit.tree()).map_err(|e| failed(repo.path(), &e))
}

/// What a person should know of before an import.
pub fn findings(plan: &Planned, name: &str) -> Result<Vec<Finding>> {
    let Some(lfs) = plan.facts.lfs.as_ref().filter(|_| !matches!(plan.todo, Todo::Nothing)) else {
        return Ok(Vec::new());
    };
    let mut findings = Vec::new();
    if lfs.missing > 0 {
        let what = format!(
            "{name}: of {} large files the bundle has only the pointers, not the contents",
            lfs.missing
        );
        findings.push(Finding::new(Severity::Warning, what).todo("after the import: git lfs pull"));
    }
    let config = git2::Config::open_default().map_err(|e| failed(&plan.path, &e))?;
    let bare = plan.facts.state == State::Bare;
    if lfs.objects > 0 && !bare && config.get_string("filter.lfs.clean").is_err() {
        let what = format!(
            "{name}: git LFS is not set up here: git will take a large file that is touched for changed"
        );
        findings
            .push(Finding::new(Severity::Warning, what).todo("install git-lfs, and run: git lfs install"));
    }
    Ok(findings)
}
