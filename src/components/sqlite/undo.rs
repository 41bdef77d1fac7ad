//! Takes a commit back, from its acts alone: each may be done, half done or not done. And ends it for good.

use super::act::Step;
use super::check::digest_of;
use super::commit::move_with_side_files;
use super::open::{self, SIDE_FILES};
use super::site::resolve;
use super::snapshot::Snapshot;
use super::stage::{new_in, old_in};
use super::transfer::transfer;
use super::Sqlite;
use crate::base::change::{beside, free_name, kept_name, move_new, remove_empty_dir};
use crate::base::digest::Digest;
use crate::base::fault::{Fault, Faulty};
use crate::base::fsx::{folder_of, sync_dir};
use crate::base::path::shown;
use crate::base::side::{remove_side, sides_left};
use crate::component::{Act, Error, Finding, Result, Scope, Severity};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often an undo begins again where another program writes while it works.
const ATTEMPTS: u32 = 5;

/// Puts the old state back and removes the staging area.
pub fn undo(sqlite: &Sqlite, scope: &Scope<'_>, acts: &[Act]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let steps: Vec<Step> = Act::steps(acts)?;
    for step in steps.iter().rev() {
        let kept = match step {
            Step::MakeDir { path } => {
                remove_empty_dir(&path.0).map_err(Error::at(&path.0))?;
                None
            }
            Step::Empty { .. } => None,
            Step::Place { path, side, new } => unplace(sqlite, &path.0, &side.0, *new, scope.run)?,
            Step::Write { path, side, old, new, .. } => {
                unwrite(sqlite, &path.0, &side.0, (*old, *new), scope.run)?
            }
            Step::Remove { path, side, .. } => unremove(&path.0, &side.0, scope.run)?,
        };
        findings.extend(kept);
    }
    clear(sqlite, scope, &steps)?;
    Ok(findings)
}

/// Removes the staging area and what was replaced, but for what is to be kept. After this there is no undo.
pub fn finalise(sqlite: &Sqlite, scope: &Scope<'_>, acts: &[Act]) -> Result<()> {
    let steps: Vec<Step> = Act::steps(acts)?;
    for step in &steps {
        if let Step::Write { path, side, keep: true, .. } | Step::Remove { path, side, keep: true } = step {
            keep_replaced(&path.0, &old_in(&side.0), scope.run)?;
        }
    }
    clear(sqlite, scope, &steps)?;
    // The staging area was in one of them.
    steps.iter().try_for_each(|step| match step {
        Step::Empty { path } => remove_empty_dir(&path.0).map_err(Error::at(&path.0)),
        _ => Ok(()),
    })
}

/// Moves what was replaced beside the path. Its side files first: as long as the database is still to be moved, the name that is
/// free is the same one again after a kill.
fn keep_replaced(path: &Path, old: &Path, run: &str) -> Result<()> {
    if !old.exists() {
        return Ok(());
    }
    let kept = free_name(path, run);
    for suffix in SIDE_FILES.into_iter().chain([""]) {
        let from = beside(old, suffix);
        if from.exists() {
            move_new(&from, &beside(&kept, suffix)).map_err(Error::at(&from))?;
        }
    }
    Ok(())
}

fn clear(sqlite: &Sqlite, scope: &Scope<'_>, steps: &[Step]) -> Result<()> {
    let mut sides: Vec<PathBuf> = steps.iter().filter_map(|step| Some(step.side()?.0.clone())).collect();
    if sides.is_empty() {
        sides = sides_left(&resolve(&sqlite.path)?.real, scope.run, sqlite.name.as_str());
    }
    sides.iter().try_for_each(|side| remove_side(side).map_err(Error::at(side)))
}

/// Where nothing was, nothing is left: what the import put there goes back into the staging area.
fn unplace(sqlite: &Sqlite, path: &Path, side: &Path, new: Digest, run: &str) -> Result<Option<Finding>> {
    // Not done, or taken back before.
    if new_in(side).exists() || !path.exists() {
        return Ok(None);
    }
    let ours = says(path, sqlite.timeout)? == Some(new);
    if !ours {
        // Without a staging area it was taken back, and this is another one.
        return if side.is_dir() { keep_file(path, run).map(Some) } else { Ok(None) };
    }
    if !side.is_dir() {
        return Err(Error::side_is_gone(path, side));
    }
    move_with_side_files(path, &new_in(side))?;
    Ok(None)
}

/// What the database said is written into it again.
fn unwrite(
    sqlite: &Sqlite,
    path: &Path,
    side: &Path,
    (old, new): (Digest, Digest),
    run: &str,
) -> Result<Option<Finding>> {
    let copy = old_in(side);
    let mut kept = None;
    for _ in 0..ATTEMPTS {
        let now = if path.exists() { says(path, sqlite.timeout)? } else { None };
        if now == Some(old) {
            return Ok(kept);
        }
        if !copy.exists() {
            // Taken back before, and written to since; or somebody took the copy away.
            return if now == Some(new) { Err(Error::side_is_gone(path, side)) } else { Ok(kept) };
        }
        let Some(now) = now else {
            // It is gone, or no database any more: the copy takes its place.
            if path.exists() {
                kept = Some(keep_file(path, run)?);
            }
            move_new(&copy, path).map_err(Error::at(path))?;
            return Ok(kept);
        };
        if now != new {
            kept = Some(keep_copy(sqlite, path, now, run)?);
        }
        match transfer(&copy, path, now, sqlite.timeout) {
            // Written to while we looked: keep that too.
            Err(e) if e.fault() == Fault::NotReady && digest_of(path, sqlite.timeout)? != now => {}
            Err(e) => return Err(e),
            Ok(()) => return Ok(kept),
        }
    }
    Err(super::stage::edited(path))
}

/// What was moved away comes back.
fn unremove(path: &Path, side: &Path, run: &str) -> Result<Option<Finding>> {
    let aside = old_in(side);
    let mut kept = None;
    if aside.exists() {
        if path.exists() {
            kept = Some(keep_file(path, run)?);
        }
        move_with_side_files(&aside, path)?;
    } else if side.is_dir() {
        // A kill may have come between the database and its side files.
        move_with_side_files(&aside, path)?;
    } else if !path.exists() {
        return Err(Error::side_is_gone(path, side));
    }
    Ok(kept)
}

/// What the database says; `None` if it is none, or a damaged one.
fn says(path: &Path, timeout: Duration) -> Result<Option<Digest>> {
    match digest_of(path, timeout) {
        Err(_) if open::is_unreadable(path, timeout) => Ok(None),
        digest => digest.map(Some),
    }
}

/// Copies what was written after the import beside the database.
fn keep_copy(sqlite: &Sqlite, path: &Path, now: Digest, run: &str) -> Result<Finding> {
    let mut kept = kept_name(path, run);
    while kept.exists() {
        // By this undo, when it ran before.
        if super::check::digest_of_staged(&kept).is_ok_and(|digest| digest == now) {
            return Ok(was_kept(path, &kept));
        }
        kept = beside(&kept, "-");
    }
    let connection = open::to_read(path, sqlite.timeout)?;
    Snapshot::begin(&connection, path)?.copy_to(&kept)?;
    sync_dir(folder_of(&kept)).map_err(Error::at(&kept))?;
    Ok(was_kept(path, &kept))
}

/// Moves what stands there now beside it.
fn keep_file(path: &Path, run: &str) -> Result<Finding> {
    let kept = free_name(path, run);
    // Not all that is there need be a database with its side files; what is none is moved as well.
    move_with_side_files(path, &kept)?;
    Ok(was_kept(path, &kept))
}

fn was_kept(path: &Path, kept: &Path) -> Finding {
    let what = format!("{} was written to after the import: that state is {}", shown(path), shown(kept));
    Finding::new(Severity::Warning, what).todo("take over what you need from it, and remove it")
}
