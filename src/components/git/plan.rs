//! What an import would change: the repository as a whole. What becomes of one that is there, [`super::update`] says.

use super::draft::Draft;
use super::facts::{Facts, Head, State};
use super::graph::Graph;
use super::header::Header;
use super::left::Left;
use super::lfs::{self, Brought};
use super::names::Id;
use super::open;
use super::pending::Pending;
use super::site::{look, resolve, Found};
use super::stashes::{self, Stashes};
use super::submodules::{self, Module};
use super::{require_streams, Git, BUNDLE, GRAPH};
use crate::base::digest::Digest;
use crate::base::fault::{Fault, Faulty};
use crate::base::path::shown;
use crate::base::side::{nearest_dir, side_of};
use crate::component::{
    stream_name, ChangeKind, Component, Error, Plan, Result, Scope, Severity, StreamSource,
};
use rustix::fs::{accessat, Access, AtFlags, CWD};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::BufReader;
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
    /// Its stashes, if they change.
    pub stashes: Option<Stashes>,
    /// HEAD, as it was and as it will be.
    pub head: (Head, Head),
    /// The commit of the work tree, as it was and as it will be, if it changes.
    pub work: Option<(Option<Id>, Id)>,
    /// What is in no commit and is put back, if the work tree changes.
    pub pending: Option<Pending>,
    /// What is in no commit, was put back by the import that a rollback takes back, and goes.
    pub going: Option<Pending>,
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
    Update(Box<Update>),
    /// One that is there goes.
    Remove {
        /// All refs and HEAD, when it was planned.
        seen: Digest,
        /// Whether it is kept beside its path in the end: something was done in it since the import.
        keep: bool,
        /// What is in no commit and was put back by the import.
        going: Option<Pending>,
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
    let mut draft = Draft::new(git, scope, (left, gone), name);
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
            draft.require_nothing_needed(&header);
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
    let checks_out = match &todo {
        Todo::Clone => facts.state == State::WorkTree && header.head.is_some(),
        Todo::Update(update) => update.work.is_some(),
        Todo::Nothing | Todo::Remove { .. } => false,
    };
    let mut planned =
        Planned { path, side, todo, facts: facts.clone(), header, dirs, empties, lfs, modules, owner };
    findings.extend(lfs::findings(&planned, &name)?);
    if findings.iter().all(|finding| finding.severity != Severity::Refusal) {
        planned.modules = submodules::plan(git, &planned, scope, streams)?;
    }
    let of_modules: Vec<Plan> = planned.modules.iter().map(|module| module.plan.clone()).collect();
    let runs = format!("{name}: whatever its commits have for programs to run; this plan cannot tell");
    let mut plan = Plan::new(planned);
    plan.executes.extend(checks_out.then_some(runs));
    (plan.destinations, plan.changes, plan.unchanged) = (vec![name], changes, unchanged);
    (plan.findings, plan.space, plan.not_packed) = (findings, space, git.not_packed());
    for module in of_modules {
        plan.changes.extend(module.changes);
        plan.executes.extend(module.executes);
        plan.findings.extend(module.findings);
        plan.unchanged += module.unchanged;
        plan.space += module.space;
    }
    Ok(plan)
}

/// The bundle's refs and commits, and its size. Rule G4.
fn read(facts: &Facts, streams: &dyn StreamSource) -> Result<(Header, Graph, u64)> {
    let bundle = streams.list().iter().find(|stream| stream.name.as_str() == BUNDLE);
    let header = match bundle {
        Some(bundle) => Header::read(&mut BufReader::new(streams.open(&bundle.name)?))?,
        None => Header::default(),
    };
    if !stashes::are_in(&header, &facts.stashes) {
        return Err(Error::rule("G15", "the git bundle has not the stashes that the facts call for"));
    }
    let Some(bundle) = bundle else { return Ok((header, Graph::default(), 0)) };
    let head = match &facts.head {
        Some(Head::Branch(name)) => header.refs.get(name).copied(),
        Some(Head::Detached(id)) => Some(*id),
        None => None,
    };
    if header.refs.len() as u64 != facts.refs || header.head != head {
        return Err(Error::rule("G4", "the git bundle has not the refs that the facts call for"));
    }
    if header.needs.len() as u64 != facts.needs {
        return Err(Error::rule("G4", "the git bundle has not the prerequisites that the facts call for"));
    }
    if facts.uncommitted.is_some() && header.head.is_none() {
        return Err(Error::rule("G8", "uncommitted work has no commit to stand on"));
    }
    let graph = Graph::read(streams.open(&stream_name(GRAPH)?)?)?;
    Ok((header, graph, bundle.size))
}
