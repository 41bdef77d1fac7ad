//! Takes a commit back, from its acts alone: each may be done, half done or not done. And ends it for good.

use super::act::Step;
use super::commit::{rename, Position};
use super::site::{fingerprint, resolve};
use super::stage::{new_in, old_in};
use super::Python;
use crate::base::change::{exists, free_name, remove_empty_dir};
use crate::base::digest::Digest;
use crate::base::fsx::{folder_of, sync_dir};
use crate::base::path::shown;
use crate::base::side::{remove_side, sides_left};
use crate::component::{Act, Error, Finding, Result, Scope, Severity};
use rustix::fs::{renameat_with, RenameFlags, CWD};
use std::path::{Path, PathBuf};

/// Puts the old state back and removes the staging area.
pub fn undo(component: &Python, scope: &Scope<'_>, acts: &[Act]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let steps: Vec<Step> = Act::steps(acts)?;
    for step in steps.iter().rev() {
        match step {
            Step::MakeDir { path } => remove_empty_dir(&path.0).map_err(Error::at(&path.0))?,
            Step::Empty { .. } => {}
            Step::Put { path, side, was, new, .. } => {
                findings.extend(unput(&path.0, &side.0, *was, *new, scope.run)?);
            }
            Step::Remove { path, side, .. } => findings.extend(unremove(&path.0, &side.0, scope.run)?),
        }
    }
    clear(component, scope, &steps)?;
    Ok(findings)
}

/// Removes the staging area and what was replaced, but for what is to be kept. After this there is no undo.
pub fn finalise(component: &Python, scope: &Scope<'_>, acts: &[Act]) -> Result<()> {
    let steps: Vec<Step> = Act::steps(acts)?;
    for step in &steps {
        if let Step::Put { path, side, keep: true, .. } | Step::Remove { path, side, keep: true } = step {
            let old = old_in(&side.0, &path.0);
            if exists(&old) {
                rename(&old, &free_name(&path.0, scope.run))?;
            }
        }
    }
    clear(component, scope, &steps)?;
    // The staging area was in one of them.
    steps.iter().try_for_each(|step| match step {
        Step::Empty { path } => remove_empty_dir(&path.0).map_err(Error::at(&path.0)),
        _ => Ok(()),
    })
}

fn clear(component: &Python, scope: &Scope<'_>, steps: &[Step]) -> Result<()> {
    let mut sides: Vec<PathBuf> = steps.iter().filter_map(|step| Some(step.side()?.0.clone())).collect();
    if sides.is_empty() {
        sides = sides_left(&resolve(&component.path)?, scope.run, component.name.as_str());
    }
    sides.iter().try_for_each(|side| remove_side(side).map_err(Error::at(side)))
}

/// The new one goes back into the staging area, or is kept if it was changed; the old one comes back.
fn unput(path: &Path, side: &Path, was: bool, new: Digest, run: &str) -> Result<Option<Finding>> {
    let ours = fingerprint(path)? == Some(new);
    if !side.is_dir() {
        // Taken back before; or somebody took the staging area away.
        return match ours {
            true => Err(Error::side_is_gone(path, side)),
            false => Ok(None),
        };
    }
    let (staged, old) = (new_in(side, path), old_in(side, path));
    let mut kept = None;
    match Position::of(side, path, new)? {
        Position::Before => return Ok(None),
        Position::Exchanged if ours => {
            let back = renameat_with(CWD, &staged, CWD, path, RenameFlags::EXCHANGE);
            back.map_err(|e| Error::at(path)(e.into()))?;
            sync_dir(folder_of(path)).map_err(Error::at(path))?;
            return Ok(None);
        }
        // Now the new one is at its path, or something else is.
        Position::Exchanged => rename(&staged, &old)?,
        // Taken back before, up to the staging area.
        Position::Done if was && !exists(&old) => return Ok(None),
        Position::Between | Position::Done => {}
    }
    if exists(path) {
        match ours {
            true => rename(path, &staged)?,
            false => kept = Some(keep(path, run)?),
        }
    }
    if was && exists(&old) {
        rename(&old, path)?;
    }
    Ok(kept)
}

/// What was taken away comes back.
fn unremove(path: &Path, side: &Path, run: &str) -> Result<Option<Finding>> {
    let old = old_in(side, path);
    let mut kept = None;
    if exists(&old) {
        if exists(path) {
            kept = Some(keep(path, run)?);
        }
        rename(&old, path)?;
    } else if !side.is_dir() && !exists(path) {
        return Err(Error::side_is_gone(path, side));
    }
    Ok(kept)
}

/// Moves what stands there now beside it.
fn keep(path: &Path, run: &str) -> Result<Finding> {
    let kept = free_name(path, run);
    rename(path, &kept)?;
    let what = format!("{} was changed after the import: that state is {}", shown(path), shown(&kept));
    Ok(Finding::new(Severity::Warning, what).todo("take over what you need from it, and remove it"))
}
