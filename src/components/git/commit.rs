//! Puts the staged state in place. Each step is in the journal before it is done.

use super::act::{Piece, Step};
use super::exchange::exchange;
use super::facts::State;
use super::names::Id;
use super::open::{failed, open};
use super::pending::Pending;
use super::plan::{Planned, RefChange, Todo, Update};
use super::site::{look, resolve, Found};
use super::stage::{objects_in, repo_in};
use super::{lfs, pending, refs, remove, stashes, submodules, work};
use crate::base::change::{self, make_dir};
use crate::base::fsx::sync_dir;
use crate::base::path::{shown, ShownPath};
use crate::component::{Error, Journal, Result, Scope};
use git2::build::CheckoutBuilder;
use git2::Repository;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Does what the plan says, but what an earlier call did.
pub fn commit(plan: &Planned, scope: &Scope<'_>, journal: &mut dyn Journal) -> Result<()> {
    if resolve(&plan.path)?.real != plan.path {
        return Err(Error::not_ready(format_args!(
            "{}: a symlink on it was not there at the plan",
            shown(&plan.path)
        ))
        .todo("import the component that has the symlink first, with --only, and look at the plan again"));
    }
    match &plan.todo {
        Todo::Nothing => {}
        // Its submodules are in it.
        Todo::Clone => return clone(plan, scope, journal),
        Todo::Update(change) => update(plan, change, scope, journal)?,
        Todo::Remove { seen, keep, going } => {
            return remove::remove(plan, (*seen, *keep, *going), scope, journal)
        }
    }
    submodules::commit(plan, scope, journal)
}

/// Something else changed the repository after it was planned.
pub fn changed(path: &Path) -> Error {
    Error::not_ready(format_args!("{}: it was changed since the plan", shown(path))).todo("import again")
}

fn clone(plan: &Planned, scope: &Scope<'_>, journal: &mut dyn Journal) -> Result<()> {
    let from = repo_in(&plan.side);
    // What makes a folder a repository is moved last.
    let mark = if plan.facts.state == State::Bare { "HEAD" } else { ".git" };
    if look(&plan.path, scope.carved)? == Found::Repository && !from.join(mark).exists() {
        return Ok(());
    }
    for dir in plan.dirs.iter().filter(|dir| !dir.is_dir()) {
        journal.intend_step(&Step::MakeDir { path: ShownPath(dir.clone()) })?;
        make_dir(dir, 0o755).map_err(Error::at(dir))?;
    }
    let mut pieces = Vec::new();
    match look(&plan.path, scope.carved)? {
        Found::Nothing => pieces.push(piece(&from, &plan.path)),
        Found::Room => take_apart(&from, &plan.path, scope.carved, &mut pieces)?,
        _ => return Err(changed(&plan.path)),
    }
    // A repository is there when all of it is.
    pieces.sort_by_key(|piece| piece.to.0 == plan.path.join(mark));
    let refs = submodules::fingerprint(&open(&from)?, &plan.path, scope.carved)?;
    let (path, side) = (ShownPath(plan.path.clone()), ShownPath(plan.side.clone()));
    let pending = submodules::uncommitted(plan)?;
    journal.intend_step(&Step::Clone { path, side, pieces: pieces.clone(), refs, pending })?;
    pieces.iter().try_for_each(|piece| move_new(&piece.from.0, &piece.to.0))?;
    match pieces.len() {
        1 => Ok(()),
        // Files were moved one by one, of which the index has kept how they were before.
        _ => lfs::settle_clone(&open(&plan.path)?, plan),
    }
}

fn piece(from: &Path, to: &Path) -> Piece {
    Piece { from: ShownPath(from.to_owned()), to: ShownPath(to.to_owned()) }
}

/// The renames that bring what is in `from` into the folder `to`, around what belongs to others.
fn take_apart(from: &Path, to: &Path, carved: &[PathBuf], pieces: &mut Vec<Piece>) -> Result<()> {
    let io = Error::at(from);
    for entry in fs::read_dir(from).map_err(io)? {
        let entry = entry.map_err(io)?;
        let (inner, outer) = (entry.path(), to.join(entry.file_name()));
        let both = entry.file_type().map_err(io)?.is_dir() && outer.is_dir() && !outer.is_symlink();
        if fs::symlink_metadata(&outer).is_err() {
            pieces.push(piece(&inner, &outer));
        } else if both && !carved.contains(&outer) {
            take_apart(&inner, &outer, carved, pieces)?;
        } else if !carved.contains(&outer) {
            return Err(changed(&outer));
        }
    }
    Ok(())
}

/// Moves something to a name that is free, and puts that on disk.
pub fn move_new(from: &Path, to: &Path) -> Result<()> {
    change::move_new(from, to).map_err(Error::at(to))
}

fn update(plan: &Planned, change: &Update, scope: &Scope<'_>, journal: &mut dyn Journal) -> Result<()> {
    let repo = open(&plan.path)?;
    if is_done(&repo, change, scope.carved)? && lfs::is_done(&repo, plan, change, scope.carved)? {
        return Ok(());
    }
    if refs::fingerprint(&repo)? != change.seen {
        return Err(changed(&plan.path));
    }
    if change.work.is_some() {
        require_as_planned(&repo, change.going, scope.carved)?;
    }
    if let Some(stashes) = &change.stashes {
        if stashes::list(&repo)? != stashes.old {
            return Err(changed(&plan.path));
        }
    }
    // Objects that no ref leads to yet are no change.
    bring_objects(&repo, &objects_in(&plan.side))?;
    // Anew: a folder of packs that was not there before is not looked into.
    let repo = open(&plan.path)?;
    lfs::Store::of(&repo)?.take(&lfs::Store::within(&objects_in(&plan.side)), &plan.lfs.new)?;
    let step = Step::Update {
        path: ShownPath(plan.path.clone()),
        side: ShownPath(plan.side.clone()),
        refs: change.refs.clone(),
        stashes: change.stashes.clone(),
        old_head: change.head.0.clone(),
        new_head: change.head.1.clone(),
        work: change.work.is_some(),
        old_work: change.work.and_then(|(old, _)| old),
        new_work: change.work.map(|(_, new)| new),
    };
    journal.intend_step(&step)?;
    if let Some((old, new)) = change.work {
        lfs::empty(&repo, (old, new), &plan.side)?;
        match change.going {
            Some(going) => {
                // What is there is as that says: none of it is anybody else's.
                exchange(&repo, (Some(new.0), going.work.0), scope.run, &mut Vec::new())?;
                pending::put_index(&repo, new)?;
            }
            // Before HEAD moves: what it says is what the work tree is compared with.
            None => check_out(&repo, new)?,
        }
    }
    if let Some(pending) = change.pending {
        pending::put_index(&repo, pending.index)?;
    }
    if let (Some((_, new)), true) = (change.work, lfs::is_involved(&plan.side)) {
        lfs::fill(&repo, new, &plan.side, scope.carved)?;
    }
    change.refs.iter().try_for_each(|one| set_ref(&repo, &one.name, one.old, one.new))?;
    if let Some(change) = &change.stashes {
        stashes::set(&repo, &change.new)?;
    }
    if change.head.0 != change.head.1 {
        refs::set_head(&repo, &change.head.1)?;
    }
    Ok(())
}

/// Refuses a work tree that has changes other than those that are to go.
pub fn require_as_planned(repo: &Repository, going: Option<Pending>, carved: &[PathBuf]) -> Result<()> {
    let as_planned = match going {
        Some(pending) => pending::differs(repo, pending, carved)?.is_none(),
        None => work::changes(repo, carved)?.is_empty(),
    };
    match as_planned {
        true => Ok(()),
        false => Err(changed(repo.workdir().unwrap_or(repo.path()))),
    }
}

/// Whether an earlier call did it.
fn is_done(repo: &Repository, change: &Update, carved: &[PathBuf]) -> Result<bool> {
    let now = refs::all(repo)?;
    let set = |one: &RefChange| now.get(&one.name).copied() == one.new;
    let work_is_done = match (change.pending, change.going) {
        (Some(pending), _) => pending::differs(repo, pending, carved)?.is_none(),
        (None, Some(_)) => work::changes(repo, carved)?.is_empty(),
        (None, None) => true,
    };
    let stashed = match &change.stashes {
        Some(change) => stashes::list(repo)? == change.new,
        None => true,
    };
    Ok(work_is_done && stashed && change.refs.iter().all(set) && refs::head(repo)? == change.head.1)
}

/// Moves the staged packs among the repository's own, which an open one may not see.
fn bring_objects(repo: &Repository, staged: &Path) -> Result<()> {
    let (from, to) = (staged.join("objects/pack"), repo.commondir().join("objects/pack"));
    let io = Error::at(&to);
    fs::create_dir_all(&to).map_err(io)?;
    let mut files: Vec<PathBuf> = match fs::read_dir(&from) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(io)?.flatten().map(|entry| entry.path()).collect(),
    };
    // The index last: git looks for it first.
    files.sort_by_key(|file| file.extension().is_some_and(|e| e == "idx"));
    for file in files {
        let target = to.join(file.file_name().unwrap_or_default());
        if target.exists() {
            continue;
        }
        match fs::rename(&file, &target) {
            // The repository's objects may be on another file system than its work tree.
            Err(e) if e.kind() == io::ErrorKind::CrossesDevices => {
                fs::copy(&file, &target).map_err(io)?;
            }
            moved => moved.map_err(io)?,
        }
    }
    sync_dir(&to).map_err(io)
}

/// Makes work tree and index those of `commit`, and touches nothing that is in no commit.
fn check_out(repo: &Repository, commit: Id) -> Result<()> {
    let object = repo.find_object(commit.0, None).map_err(|e| failed(repo.path(), &e))?;
    repo.checkout_tree(&object, Some(CheckoutBuilder::new().safe().overwrite_ignored(false))).map_err(|e| {
        match e.code() {
            git2::ErrorCode::Conflict => {
                let place = shown(repo.workdir().unwrap_or(repo.path()));
                Error::not_ready(format_args!(
                    "{place}: files that git does not know are in the way of the new ones"
                ))
                .todo("move them away, and import again")
            }
            _ => failed(repo.path(), &e),
        }
    })
}

/// Sets or removes a ref, if it is as it was.
pub fn set_ref(repo: &Repository, name: &str, old: Option<Id>, new: Option<Id>) -> Result<()> {
    let log = "kbpack";
    let set = match (old, new) {
        (Some(old), Some(new)) => repo.reference_matching(name, new.0, true, old.0, log).map(drop),
        (None, Some(new)) => repo.reference(name, new.0, false, log).map(drop),
        (_, None) => match repo.find_reference(name) {
            Ok(mut reference) => reference.delete(),
            Err(e) if e.code() == git2::ErrorCode::NotFound => Ok(()),
            Err(e) => Err(e),
        },
    };
    set.map_err(|e| match e.code() {
        git2::ErrorCode::Modified | git2::ErrorCode::Exists => changed(repo.path()),
        _ => failed(repo.path(), &e),
    })
}
