//! What an import would change: ref by ref.

use super::facts::{Facts, Head, OnDiverge, State};
use super::graph::Graph;
use super::header::Header;
use super::left::Left;
use super::lfs::{self, Brought};
use super::names::Id;
use super::open::{self, shown};
use super::pending::{self, Pending};
use super::site::{look, resolve, Found};
use super::submodules::{self, Module};
use super::undo::kept_name;
use super::{refs, require_streams, stream_name, work, Git, BUNDLE, GRAPH};
use crate::base::digest::Digest;
use crate::base::fault::{Fault, Faulty};
use crate::base::path::path_text;
use crate::base::side::{nearest_dir, side_of};
use crate::component::{Change, ChangeKind, Error, Finding, Plan, Result, Scope, Severity, StreamSource};
use git2::Repository;
use rustix::fs::{accessat, Access, AtFlags, CWD};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::BufReader;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A ref that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefChange {
    /// Its full name.
    pub name: String,
    /// As it was; `None` if it was not there.
    pub old: Option<Id>,
    /// As it will be; `None` if it goes.
    pub new: Option<Id>,
}

/// How a repository that is there changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// Its refs.
    pub refs: Vec<RefChange>,
    /// HEAD, as it was and as it will be.
    pub head: (Head, Head),
    /// The commit of the work tree, as it was and as it will be, if it changes.
    pub work: Option<(Option<Id>, Id)>,
    /// What is in no commit and is put back, if the work tree changes.
    pub pending: Option<Pending>,
    /// All refs and HEAD, when it was planned.
    pub seen: Digest,
}

/// What a commit does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Todo {
    /// All is as it should be.
    Nothing,
    /// A repository goes where none is.
    Clone,
    /// One that is there gets new commits.
    Update(Update),
    /// One that is there goes.
    Remove {
        /// All refs and HEAD, when it was planned.
        seen: Digest,
        /// Whether it is kept beside its path in the end: something was done in it since the import.
        keep: bool,
    },
}

/// The kind's own part of a plan.
pub struct Planned {
    /// Where the repository lies or will lie, symlinks resolved.
    pub path: PathBuf,
    /// The staging area.
    pub side: PathBuf,
    /// What is to be done.
    pub todo: Todo,
    /// What the bundle says.
    pub facts: Facts,
    /// Its refs.
    pub header: Header,
    /// Folders to be made, parents first.
    pub dirs: Vec<PathBuf>,
    /// Folders that go with the repository if nothing else is in them, the deepest first.
    pub empties: Vec<PathBuf>,
    /// The large files.
    pub lfs: Brought,
    /// Submodules, each with a plan of its own.
    pub modules: Vec<Module>,
    /// Who is to own a new repository, where that is not the one who imports.
    pub owner: Option<(u32, u32)>,
}

/// The kind's part of `plan`.
pub fn of(plan: &Plan) -> Result<&Planned> {
    plan.detail().ok_or_else(|| Error::new(Fault::Unexpected, "the plan is not one of kind git"))
}

/// Where what a ref led to is kept.
fn kept_ref(name: &str, run: &str) -> String {
    format!("refs/kbpack/backup/{run}/{}", name.strip_prefix("refs/").unwrap_or(name))
}

/// Compares what is there with what the bundle has. Writes nothing.
pub fn plan(git: &Git, scope: &Scope<'_>, streams: &dyn StreamSource) -> Result<Plan> {
    let facts = git.facts()?;
    require_streams(facts, streams)?;
    let (header, graph, size) = read(facts, streams)?;
    let left = facts.exact.then(|| Left::read(streams)).transpose()?;
    let path = resolve(&git.path)?.real;
    let home = nearest_dir(&path);
    let name = scope.host.contract(&path).unwrap_or_else(|| shown(&path));
    let gone = submodules::Gone::read(facts, streams)?;
    let mut draft =
        Draft { git, scope, left, gone, name, findings: Vec::new(), changes: Vec::new(), unchanged: 0 };
    if accessat(CWD, home, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).is_err() {
        draft.refuse(format_args!("{} may not be written to", shown(home)), "run kbpack as a user who may");
    }
    let mut lfs = lfs::read(facts, streams)?;
    let todo = match look(&path, scope.carved)? {
        Found::Nothing | Found::Room if facts.state == State::Absent => {
            draft.unchanged = 1;
            Todo::Nothing
        }
        Found::Nothing | Found::Room => {
            draft.change(ChangeKind::Added, None);
            header.refs.keys().for_each(|name| draft.change(ChangeKind::Added, Some(name)));
            Todo::Clone
        }
        Found::Taken(what) => {
            let what = format!("{} is in the way of a repository", shown(&what));
            draft.refuse(what, "move it away, or let another component claim it");
            Todo::Nothing
        }
        Found::Repository => match open::open(&path) {
            Ok(repo) if facts.state == State::Absent => draft.remove(&repo, &path)?,
            Ok(repo) => {
                let todo = draft.update(&repo, facts, &header, &graph)?;
                lfs = Brought::to(Some(&repo), lfs.all)?;
                draft.findings.extend(lfs.no_place(&repo, &draft.name)?);
                lfs.widen(todo, &repo, scope.carved)?
            }
            Err(e) if e.fault() == Fault::NotReady => {
                let remedy = e.remedy().unwrap_or_default();
                draft.refuse(&e, remedy);
                Todo::Nothing
            }
            Err(e) => return Err(e),
        },
    };
    let dirs = path.ancestors().skip(1).take_while(|dir| fs::symlink_metadata(dir).is_err());
    let mut dirs: Vec<_> = dirs.map(Path::to_owned).collect();
    dirs.reverse();
    let owner = fs::metadata(home).ok().filter(|_| scope.host.is_root());
    let owner = owner
        .map(|meta| (std::os::unix::fs::MetadataExt::uid(&meta), std::os::unix::fs::MetadataExt::gid(&meta)));
    let empties = path.ancestors().skip(1).take(facts.above as usize).map(Path::to_owned).collect();
    let side = git.side.clone().unwrap_or_else(|| side_of(home, scope.run, git.name.as_str()));
    lfs.changes().iter().for_each(|(kind, what)| draft.change(*kind, Some(what)));
    // A large file is in its store and in the work tree.
    let space = if todo == Todo::Nothing { 0 } else { size + 2 * lfs.bytes() };
    let Draft { name, mut findings, changes, unchanged, .. } = draft;
    let modules = Vec::new();
    let mut planned =
        Planned { path, side, todo, facts: facts.clone(), header, dirs, empties, lfs, modules, owner };
    findings.extend(lfs::findings(&planned, &name)?);
    if findings.iter().all(|finding| finding.severity != Severity::Refusal) {
        planned.modules = submodules::plan(git, &planned, scope, streams)?;
    }
    let of_modules: Vec<Plan> = planned.modules.iter().map(|module| module.plan.clone()).collect();
    let mut plan = Plan::new(planned);
    (plan.destinations, plan.changes, plan.unchanged) = (vec![name], changes, unchanged);
    (plan.findings, plan.space) = (findings, space);
    for module in of_modules {
        plan.changes.extend(module.changes);
        plan.findings.extend(module.findings);
        plan.unchanged += module.unchanged;
        plan.space += module.space;
    }
    Ok(plan)
}

/// The bundle's refs and commits, and its size. Rule G4.
fn read(facts: &Facts, streams: &dyn StreamSource) -> Result<(Header, Graph, u64)> {
    let Some(bundle) = streams.list().iter().find(|stream| stream.name.as_str() == BUNDLE) else {
        return Ok((Header::default(), Graph::default(), 0));
    };
    let header = Header::read(&mut BufReader::new(streams.open(&bundle.name)?))?;
    let head = match &facts.head {
        Some(Head::Branch(name)) => header.refs.get(name).copied(),
        Some(Head::Detached(id)) => Some(*id),
        None => None,
    };
    if header.refs.len() as u64 != facts.refs || header.head != head {
        return Err(Error::rule("G4", "the git bundle has not the refs that the facts call for"));
    }
    if facts.uncommitted.is_some() && header.head.is_none() {
        return Err(Error::rule("G8", "uncommitted work has no commit to stand on"));
    }
    let graph = Graph::read(streams.open(&stream_name(GRAPH)?)?)?;
    Ok((header, graph, bundle.size))
}

struct Draft<'a> {
    /// What was left by the import that a rollback takes back; `None` if this is no rollback.
    left: Option<Left>,
    /// The same of the submodules of a repository that goes.
    gone: submodules::Gone,
    git: &'a Git,
    scope: &'a Scope<'a>,
    name: String,
    findings: Vec<Finding>,
    changes: Vec<Change>,
    unchanged: u64,
}

impl Draft<'_> {
    fn refuse(&mut self, what: impl std::fmt::Display, remedy: impl std::fmt::Display) {
        self.findings.push(Finding::new(Severity::Refusal, what).todo(remedy));
    }

    fn note(&mut self, severity: Severity, what: String) {
        self.findings.push(Finding::new(severity, format!("{}: {what}", self.name)));
    }

    fn change(&mut self, kind: ChangeKind, name: Option<&str>) {
        let what = name.map_or_else(|| self.name.clone(), |name| format!("{}: {name}", self.name));
        self.changes.push(Change { kind, what });
    }

    fn require_clean(&mut self, repo: &Repository) -> Result<()> {
        let changes = work::changes(repo, self.scope.carved)?;
        if !changes.is_empty() {
            let what = format!("{}: changes that are in no commit: {}", self.name, work::few(&changes));
            self.refuse(what, "commit or stash them, and import again");
        }
        if repo.state() != git2::RepositoryState::Clean {
            let what = format!("{}: a merge, rebase or the like is not finished", self.name);
            self.refuse(what, "finish or abort it, and import again");
        }
        Ok(())
    }

    fn remove(&mut self, repo: &Repository, path: &Path) -> Result<Todo> {
        self.change(ChangeKind::Removed, None);
        self.require_clean(repo)?;
        if let Some(carved) = self.scope.carved.iter().find(|path| path.exists()) {
            let what = format!("{} lies in the repository that would go", shown(carved));
            self.refuse(what, "let its own component be imported first, or move it away");
        }
        let as_left = match &self.left {
            Some(left) => {
                left.is_all_of(repo)?
                    && work::everything_else(repo, self.scope.carved)?.is_empty()
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
        Ok(Todo::Remove { seen: refs::fingerprint(repo)?, keep: !as_left })
    }

    /// A stash that goes takes its log with it, and in that are the stashes before it.
    fn keep_older_stashes(
        &self,
        repo: &Repository,
        name: &str,
        now: Id,
        plan: &mut Vec<RefChange>,
    ) -> Result<()> {
        if name != "refs/stash" || self.left.as_ref().is_some_and(|left| left.has(name, now)) {
            return Ok(());
        }
        let log = repo.reflog(name).map_err(|e| open::failed(repo.path(), &e))?;
        for (number, entry) in log.iter().enumerate().skip(1) {
            let kept = kept_ref(&format!("refs/stash-{number}"), self.scope.run);
            plan.push(RefChange { name: kept, old: None, new: Some(Id(entry.id_new())) });
        }
        Ok(())
    }

    /// A rollback: what `name` leads to is kept under another name, unless the import left it so.
    fn keep(&mut self, name: &str, now: Id, plan: &mut Vec<RefChange>) {
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

    fn update(&mut self, repo: &Repository, facts: &Facts, header: &Header, graph: &Graph) -> Result<Todo> {
        let old = refs::all(repo)?;
        let elsewhere = refs::checked_out_elsewhere(repo)?;
        let mut plan = Vec::new();
        for (name, new) in &header.refs {
            let now = old.get(name).copied();
            self.one(repo, facts, graph, (name, now, *new), &mut plan);
        }
        if facts.exact {
            for (name, id) in old.iter().filter(|(name, _)| refs::travels(&[], name)) {
                if !header.refs.contains_key(name.as_str()) {
                    self.keep(name, *id, &mut plan);
                    self.keep_older_stashes(repo, name, *id, &mut plan)?;
                    plan.push(RefChange { name: name.to_string(), old: Some(*id), new: None });
                }
            }
        }
        for change in &plan {
            let kind = match (change.old, change.new) {
                (None, _) => ChangeKind::Added,
                (_, Some(_)) => ChangeKind::Changed,
                (_, None) => ChangeKind::Removed,
            };
            self.change(kind, Some(&change.name));
            if elsewhere.contains(&change.name) {
                let what = format!("{}: another work tree has {} checked out", self.name, change.name);
                self.refuse(what, "let it check out another branch, and import again");
            }
        }
        let head = self.head(repo, facts, &old, &plan)?;
        if let (Some(left), Head::Detached(id), true) = (&self.left, &head.0, head.0 != head.1) {
            // Nothing else may lead to it.
            if !left.leads_to(*id) {
                self.keep("HEAD", *id, &mut plan);
            }
        }
        let after = |name: &str| match plan.iter().find(|change| change.name == name) {
            Some(change) => change.new,
            None => old.get(name).copied(),
        };
        let target = match &head.1 {
            Head::Branch(name) => after(name),
            Head::Detached(id) => Some(*id),
        };
        let before = refs::head_commit(repo)?;
        // Only on the commit that it stood on.
        let pending =
            facts.uncommitted.filter(|_| target.is_some() && target == header.head && !repo.is_bare());
        let put_back = match pending {
            Some(pending) => pending::differs(repo, pending, self.scope.carved)?.is_some(),
            None => false,
        };
        let moves = put_back || pending.is_none() && target != before && !repo.is_bare();
        let new = pending.map(|pending| pending.work).or(target);
        let work = new.filter(|_| moves).map(|new| (before, new));
        if work.is_some() {
            self.require_clean(repo)?;
        }
        if put_back {
            self.change(ChangeKind::Added, Some("uncommitted work"));
        }
        if head.0 != head.1 {
            self.change(ChangeKind::Changed, Some("HEAD"));
        }
        if plan.is_empty() && head.0 == head.1 && work.is_none() {
            return Ok(Todo::Nothing);
        }
        let pending = pending.filter(|_| work.is_some());
        Ok(Todo::Update(Update { refs: plan, head, work, pending, seen: refs::fingerprint(repo)? }))
    }

    /// What becomes of one ref.
    fn one(
        &mut self,
        repo: &Repository,
        facts: &Facts,
        graph: &Graph,
        (name, now, new): (&str, Option<Id>, Id),
        plan: &mut Vec<RefChange>,
    ) {
        let set = |plan: &mut Vec<RefChange>, name: &str, old, new| {
            plan.push(RefChange { name: name.to_owned(), old, new: Some(new) });
        };
        let Some(old) = now else { return set(plan, name, None, new) };
        let is_tag = name.starts_with("refs/tags/");
        if old == new {
            self.unchanged += 1;
        } else if !is_tag && graph.leads_to(old, new) {
            set(plan, name, now, new);
        } else if facts.exact {
            self.keep(name, old, plan);
            set(plan, name, now, new);
        } else if !is_tag && repo.graph_descendant_of(old.0, new.0).unwrap_or(false) {
            self.unchanged += 1;
            self.note(Severity::Note, format!("{name} is ahead of the bundle's, and stays"));
        } else if self.git.profile.on_diverge == OnDiverge::Take {
            set(plan, &kept_ref(name, self.scope.run), None, old);
            set(plan, name, now, new);
        } else if self.git.profile.on_diverge == OnDiverge::KeepBoth {
            let rest = name.strip_prefix("refs/").unwrap_or(name);
            let incoming = format!("refs/kbpack/incoming/{rest}");
            let before = repo.refname_to_id(&incoming).ok().map(Id);
            if before != Some(new) {
                set(plan, &incoming, before, new);
            }
            self.note(Severity::Warning, format!("{name} has gone another way; the bundle's is {incoming}"));
        } else {
            let what = format!("{}: {name} has gone another way than the bundle's", self.name);
            self.refuse(
                what,
                "merge by hand, or set on-diverge = \"keep-both\" or \"take\" for it in this machine's profile",
            );
        }
    }

    /// HEAD as it is and as it will be: the bundle's, where its branch is the bundle's in the end.
    fn head(
        &self,
        repo: &Repository,
        facts: &Facts,
        old: &BTreeMap<String, Id>,
        plan: &[RefChange],
    ) -> Result<(Head, Head)> {
        let now = refs::head(repo)?;
        let wanted = facts.head.clone().unwrap_or_else(|| now.clone());
        let there = match &wanted {
            Head::Branch(name) => {
                old.contains_key(name) || plan.iter().any(|change| &change.name == name) || facts.exact
            }
            Head::Detached(_) => true,
        };
        Ok((now.clone(), if there { wanted } else { now }))
    }
}
