//! Takes a commit back, from its acts alone: each may be done, half done or not done. And ends it for good.

use super::act::{Piece, Step};
use super::commit::{move_new, set_ref};
use super::exchange::exchange;
use super::open::open;
use super::plan::RefChange;
use super::site::resolve;
use super::stage::{index_in, old_in};
use super::submodules::Uncommitted;
use super::{lfs, locks, refs, remove, stashes, submodules, Git};
use crate::base::change::{exists, free_name, remove_empty_dir};
use crate::base::digest::Digest;
use crate::base::fsx::{folder_of, write_atomic};
use crate::base::path::shown;
use crate::base::side::{remove_side, sides_left, STAGE_PREFIX};
use crate::component::{Act, Error, Finding, Result, Scope, Severity};
use git2::Repository;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Puts the old state back and removes the staging area.
pub fn undo(git: &Git, scope: &Scope<'_>, acts: &[Act]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let steps: Vec<Step> = Act::steps(acts)?;
    for step in steps.iter().rev() {
        match step {
            Step::MakeDir { path } => remove_empty_dir(&path.0).map_err(Error::at(&path.0))?,
            Step::Clone { path, side, pieces, refs, pending } => {
                findings.extend(unclone(&path.0, &side.0, pieces, (*refs, pending), scope)?);
            }
            Step::Empty { .. } => {}
            Step::Update { .. } => back(step, scope, &mut findings)?,
            Step::Remove { path, side, pieces, .. } if !pieces.is_empty() => {
                findings.extend(remove::put_back(&path.0, &side.0, pieces, scope.run)?);
            }
            Step::Remove { path, side, .. } => findings.extend(unremove(&path.0, &side.0, scope.run)?),
        }
    }
    clear(git, scope, &steps)?;
    Ok(findings)
}

/// Removes the staging area and what was replaced, but for what is to be kept. After this there is no undo.
pub fn finalise(git: &Git, scope: &Scope<'_>, acts: &[Act]) -> Result<()> {
    let steps: Vec<Step> = Act::steps(acts)?;
    for step in &steps {
        if let Step::Remove { path, side, keep: true, .. } = step {
            let old = old_in(&side.0);
            if exists(&old) {
                move_new(&old, &free_name(&path.0, scope.run))?;
            }
        }
    }
    clear(git, scope, &steps)?;
    // The staging area was in one of them.
    steps.iter().try_for_each(|step| match step {
        Step::Empty { path } => remove_empty_dir(&path.0).map_err(Error::at(&path.0)),
        _ => Ok(()),
    })
}

fn clear(git: &Git, scope: &Scope<'_>, steps: &[Step]) -> Result<()> {
    let mut sides: Vec<PathBuf> = steps.iter().filter_map(|step| step.side().map(whole_side)).collect();
    sides.dedup();
    if sides.is_empty() {
        sides = sides_left(&resolve(&git.path)?.real, scope.run, git.name.as_str());
    }
    sides.iter().try_for_each(|side| remove_side(side).map_err(Error::at(side)))
}

/// The staging area that a submodule's is in.
fn whole_side(side: &Path) -> PathBuf {
    let is_run = |dir: &Path| dir.file_name().is_some_and(|name| name.as_bytes().starts_with(STAGE_PREFIX));
    let whole = side.ancestors().find(|side| side.parent().is_some_and(is_run));
    whole.unwrap_or(side).to_owned()
}

/// Where nothing was, nothing is left: what was put there goes back into the staging area, or, if somebody worked in it,
/// is kept under another name.
fn unclone(
    path: &Path,
    side: &Path,
    pieces: &[Piece],
    (new, pending): (Digest, &Uncommitted),
    scope: &Scope<'_>,
) -> Result<Option<Finding>> {
    let done: Vec<&Piece> = pieces.iter().rev().filter(|p| !exists(&p.from.0) && exists(&p.to.0)).collect();
    if done.is_empty() {
        return Ok(None);
    }
    let ours = match open(path) {
        Ok(repo) => {
            submodules::fingerprint(&repo, path, scope.carved)? == new
                && submodules::is_all(&repo, "", pending, scope.carved)?
        }
        // Not all of it was there yet.
        Err(_) => done.len() < pieces.len(),
    };
    if !side.is_dir() {
        // Taken back before, and this is another one; or somebody took the staging area away.
        return match ours {
            true => Err(Error::side_is_gone(path, side)),
            false => Ok(None),
        };
    }
    if ours {
        done.iter().try_for_each(|piece| move_new(&piece.to.0, &piece.from.0))?;
        return Ok(None);
    }
    let kept = free_name(path, scope.run);
    for piece in &done {
        let rest = piece.to.0.strip_prefix(path).unwrap_or(Path::new(""));
        let to = if rest.as_os_str().is_empty() { kept.clone() } else { kept.join(rest) };
        fs::create_dir_all(folder_of(&to)).map_err(Error::at(&to))?;
        move_new(&piece.to.0, &to)?;
    }
    Ok(Some(was_kept(path, &kept)))
}

/// The repository's refs, HEAD, index and work tree become what they were. New objects stay: no ref leads to them.
fn back(step: &Step, scope: &Scope<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    let Step::Update { path, side, refs: changes, stashes, old_head, new_head, work, old_work, new_work } =
        step
    else {
        return Ok(());
    };
    let (path, side) = (&path.0, &side.0);
    let repo = open(path)?;
    if !side.is_dir() {
        let now = refs::all(&repo)?;
        let set = |one: &RefChange| one.old != one.new && now.get(&one.name).copied() == one.new;
        let stashed = match stashes {
            Some(change) => stashes::list(&repo)? == change.new,
            None => false,
        };
        // Taken back before; or somebody took the staging area away.
        return match changes.iter().any(set) || stashed {
            true => Err(Error::side_is_gone(path, side)),
            false => Ok(()),
        };
    }
    locks::release(&repo, changes, side);
    for one in changes.iter().rev() {
        findings.extend(unset_ref(&repo, path, one, scope.run)?);
    }
    if let Some(change) = stashes {
        let now = stashes::list(&repo)?;
        let old = stashes::undone(&now, change);
        if now != old {
            stashes::set(&repo, &old)?;
        }
    }
    let head = refs::head(&repo)?;
    if head != *old_head {
        if head != *new_head {
            let what = format!("{}: HEAD was moved after the import: it was {head:?}", shown(path));
            findings.push(Finding::new(Severity::Warning, what));
        }
        refs::set_head(&repo, old_head)?;
    }
    if let (true, Some(new)) = (*work, new_work) {
        let trees = (old_work.map(|id| id.0), new.0);
        exchange(&repo, trees, scope.run, findings)?;
        let (saved, index) = (index_in(side), repo.path().join("index"));
        let restored = match fs::read(&saved) {
            Ok(bytes) => write_atomic(&index, 0o644, &bytes),
            Err(e) if e.kind() == io::ErrorKind::NotFound => fs::remove_file(&index).or(Ok(())),
            Err(e) => Err(e),
        };
        restored.map_err(Error::at(&index))?;
        if let Some(old) = old_work {
            lfs::take_back(&repo, *old, side)?;
        }
    }
    Ok(())
}

fn unset_ref(repo: &Repository, path: &Path, one: &RefChange, run: &str) -> Result<Option<Finding>> {
    let now = refs::all(repo)?.get(&one.name).copied();
    if now == one.old {
        return Ok(None);
    }
    let mut finding = None;
    if now != one.new {
        // Somebody committed to it since.
        let rest = one.name.strip_prefix("refs/").unwrap_or(&one.name);
        let kept = format!("refs/kbpack/kept-{run}/{rest}");
        set_ref(repo, &kept, repo.refname_to_id(&kept).ok().map(super::names::Id), now)?;
        let what = format!("{}: {} was changed after the import: that is {kept}", shown(path), one.name);
        finding = Some(Finding::new(Severity::Warning, what).todo(format_args!("git log {kept}")));
    }
    set_ref(repo, &one.name, now, one.old)?;
    Ok(finding)
}

/// What was moved away comes back.
fn unremove(path: &Path, side: &Path, run: &str) -> Result<Option<Finding>> {
    let old = old_in(side);
    if !exists(&old) {
        return match exists(path) {
            true => Ok(None),
            false => Err(Error::side_is_gone(path, side)),
        };
    }
    let mut finding = None;
    if exists(path) {
        let kept = free_name(path, run);
        move_new(path, &kept)?;
        finding = Some(was_kept(path, &kept));
    }
    move_new(&old, path)?;
    Ok(finding)
}

/// What is said of it.
pub fn was_kept(path: &Path, kept: &Path) -> Finding {
    let what = format!("{} was changed after the import: that is {}", shown(path), shown(kept));
    Finding::new(Severity::Warning, what).todo("take over what you need from it, and remove it")
}
