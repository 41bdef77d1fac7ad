//! A repository goes: as a whole, or, where other components have something in it, around that.

use super::act::{Piece, Step};
use super::commit::{changed, move_new, require_as_planned};
use super::open::{is_repository, open};
use super::pending::Pending;
use super::plan::Planned;
use super::refs;
use super::stage::old_in;
use super::undo::was_kept;
use crate::base::change::{exists, free_name};
use crate::base::digest::Digest;
use crate::base::fsx::{folder_of, sync_dir};
use crate::base::path::{shown, ShownPath};
use crate::base::side::STAGE_PREFIX;
use crate::component::{Error, Finding, Journal, Result, Scope};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What makes a folder a repository, with a work tree or bare: it goes first, and comes back last.
const MARKS: [&str; 2] = [".git", "HEAD"];

/// Moves it into the staging area, `seen` with all its refs, and nothing in its work tree that is in no commit but `going`.
pub fn remove(
    plan: &Planned,
    (seen, keep, going): (Digest, bool, Option<Pending>),
    scope: &Scope<'_>,
    journal: &mut dyn Journal,
) -> Result<()> {
    let old = old_in(&plan.side);
    let whole = scope.carved.is_empty();
    // By an earlier call.
    let begun = if whole { exists(&old) } else { MARKS.iter().any(|mark| exists(&old.join(mark))) };
    if whole && begun && !exists(&plan.path) {
        return Ok(());
    }
    if whole || !begun {
        let repo = open(&plan.path)?;
        if refs::fingerprint(&repo)? != seen {
            return Err(changed(&plan.path));
        }
        require_as_planned(&repo, going, scope.carved)?;
    }
    let mut parts = Parts { carved: scope.carved, pieces: Vec::new(), folders: Vec::new() };
    if !whole {
        parts.take(&plan.path, &old)?;
        if begun && parts.pieces.is_empty() {
            return Ok(());
        }
        parts.pieces.sort_by_key(|piece| !MARKS.iter().any(|mark| piece.from.0 == plan.path.join(mark)));
    }
    for dir in parts.folders.iter().map(|(from, _)| from).chain(&plan.empties) {
        journal.intend_step(&Step::Empty { path: ShownPath(dir.clone()) })?;
    }
    let (path, side) = (ShownPath(plan.path.clone()), ShownPath(plan.side.clone()));
    journal.intend_step(&Step::Remove { path, side, pieces: parts.pieces.clone(), keep })?;
    if whole {
        return move_new(&plan.path, &old);
    }
    // The outermost first: they were listed on the way out.
    parts.folders.iter().rev().try_for_each(|(from, to)| make_like(from, to))?;
    parts.pieces.iter().try_for_each(|piece| move_new(&piece.from.0, &piece.to.0))
}

/// What is to be moved so that only what belongs to others is left.
struct Parts<'a> {
    carved: &'a [PathBuf],
    pieces: Vec<Piece>,
    /// Folders that stay until they are empty, the deepest first, and what they become in the staging area.
    folders: Vec<(PathBuf, PathBuf)>,
}

impl Parts<'_> {
    fn take(&mut self, from: &Path, to: &Path) -> Result<()> {
        let io = Error::at(from);
        for entry in fs::read_dir(from).map_err(io)? {
            let entry = entry.map_err(io)?;
            let (inner, name) = (entry.path(), entry.file_name());
            // What others stage in here comes into its place from there.
            if self.carved.contains(&inner) || name.as_bytes().starts_with(STAGE_PREFIX) {
                continue;
            }
            let is_above = self.carved.iter().any(|carved| carved.starts_with(&inner));
            if is_above && entry.file_type().map_err(io)?.is_dir() {
                self.take(&inner, &to.join(name))?;
            } else {
                self.pieces.push(Piece { from: ShownPath(inner), to: ShownPath(to.join(name)) });
            }
        }
        self.folders.push((from.to_owned(), to.to_owned()));
        Ok(())
    }
}

/// Makes a folder that is as another one: it may be kept.
fn make_like(like: &Path, path: &Path) -> Result<()> {
    let make = || {
        let (meta, root) = (fs::metadata(like)?, rustix::process::geteuid().is_root());
        fs::create_dir(path)?;
        if root {
            std::os::unix::fs::chown(path, Some(meta.uid()), Some(meta.gid()))?;
        }
        fs::set_permissions(path, meta.permissions())?;
        sync_dir(folder_of(path))
    };
    match make() {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(Error::io(shown(path), e)),
        _ => Ok(()),
    }
}

/// Takes back what [`remove`] did in pieces. What is in the way by now is kept.
pub fn put_back(path: &Path, side: &Path, pieces: &[Piece], run: &str) -> Result<Option<Finding>> {
    if !side.is_dir() {
        return match is_repository(path) {
            true => Ok(None),
            false => Err(Error::side_is_gone(path, side)),
        };
    }
    let kept = free_name(path, run);
    for Piece { from, to } in pieces.iter().rev().filter(|piece| exists(&piece.to.0)) {
        if exists(&from.0) {
            let aside = kept.join(from.0.strip_prefix(path).unwrap_or(Path::new("")));
            fs::create_dir_all(folder_of(&aside)).map_err(Error::at(&aside))?;
            move_new(&from.0, &aside)?;
        }
        fs::create_dir_all(folder_of(&from.0)).map_err(Error::at(&from.0))?;
        move_new(&to.0, &from.0)?;
    }
    Ok(exists(&kept).then(|| was_kept(path, &kept)))
}
