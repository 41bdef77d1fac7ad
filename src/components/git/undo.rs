//! Takes a commit back, from its acts alone: each may be done, half done or not done. And ends it for good.

use super::act::{Piece, Step};
use super::commit::{move_new, set_ref};
use super::open::{failed, open, shown};
use super::plan::RefChange;
use super::site::{parent, resolve};
use super::stage::{index_in, old_in};
use super::{lfs, locks, refs, submodules, Git};
use crate::base::digest::Digest;
use crate::base::fsx::{sync_dir, write_atomic};
use crate::base::side::{remove_side, sides_left};
use crate::component::{Act, Error, Finding, Result, Scope, Severity};
use git2::build::CheckoutBuilder;
use git2::{Delta, Repository};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Puts the old state back and removes the staging area.
pub fn undo(git: &Git, scope: &Scope<'_>, acts: &[Act]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let steps = Step::read_all(acts)?;
    for step in steps.iter().rev() {
        match step {
            Step::MakeDir { path } => remove_dir(&path.0)?,
            Step::Clone { path, side, pieces, refs } => {
                findings.extend(unclone(&path.0, &side.0, pieces, *refs, scope)?);
            }
            Step::Empty { .. } => {}
            Step::Update { .. } => back(step, scope, &mut findings)?,
            Step::Remove { path, side, .. } => findings.extend(unremove(&path.0, &side.0, scope.run)?),
        }
    }
    clear(git, scope, &steps)?;
    Ok(findings)
}

/// Removes the staging area and what was replaced, but for what is to be kept. After this there is no undo.
pub fn finalise(git: &Git, scope: &Scope<'_>, acts: &[Act]) -> Result<()> {
    let steps = Step::read_all(acts)?;
    for step in &steps {
        if let Step::Remove { path, side, keep: true } = step {
            let old = old_in(&side.0);
            if exists(&old) {
                move_new(&old, &free_name(&path.0, scope.run))?;
            }
        }
    }
    clear(git, scope, &steps)?;
    // The staging area was in one of them.
    steps.iter().try_for_each(|step| match step {
        Step::Empty { path } => remove_dir(&path.0),
        _ => Ok(()),
    })
}

fn clear(git: &Git, scope: &Scope<'_>, steps: &[Step]) -> Result<()> {
    let mut sides: Vec<PathBuf> = steps.iter().filter_map(|step| step.side().map(whole_side)).collect();
    sides.dedup();
    if sides.is_empty() {
        sides = sides_left(&resolve(&git.path)?.real, scope.run, git.name.as_str());
    }
    sides.iter().try_for_each(|side| remove_side(side).map_err(|e| Error::io(shown(side), e)))
}

/// The staging area that a submodule's is in.
fn whole_side(side: &Path) -> PathBuf {
    let is_run =
        |dir: &Path| dir.file_name().is_some_and(|name| name.as_bytes().starts_with(b".kbpack-stage-"));
    let whole = side.ancestors().find(|side| side.parent().is_some_and(is_run));
    whole.unwrap_or(side).to_owned()
}

fn remove_dir(path: &Path) -> Result<()> {
    match fs::remove_dir(path) {
        // What is in it by now is not ours.
        Err(e) if matches!(e.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound) => Ok(()),
        removed => removed.and_then(|()| sync_dir(parent(path))).map_err(|e| Error::io(shown(path), e)),
    }
}

fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Where nothing was, nothing is left: what was put there goes back into the staging area, or, if somebody worked in it,
/// is kept under another name.
fn unclone(
    path: &Path,
    side: &Path,
    pieces: &[Piece],
    new: Digest,
    scope: &Scope<'_>,
) -> Result<Option<Finding>> {
    let done: Vec<&Piece> = pieces.iter().rev().filter(|p| !exists(&p.from.0) && exists(&p.to.0)).collect();
    if done.is_empty() {
        return Ok(None);
    }
    let ours = match open(path) {
        Ok(repo) => {
            submodules::fingerprint(&repo, path, scope.carved)? == new
                && submodules::everything_else(&repo, scope.carved)?.is_empty()
        }
        // Not all of it was there yet.
        Err(_) => done.len() < pieces.len(),
    };
    if !side.is_dir() {
        // Taken back before, and this is another one; or somebody took the staging area away.
        return match ours {
            true => Err(side_is_gone(path, side)),
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
        fs::create_dir_all(parent(&to)).map_err(|e| Error::io(shown(&to), e))?;
        move_new(&piece.to.0, &to)?;
    }
    Ok(Some(was_kept(path, &kept)))
}

/// The repository's refs, HEAD, index and work tree become what they were. New objects stay: no ref leads to them.
fn back(step: &Step, scope: &Scope<'_>, findings: &mut Vec<Finding>) -> Result<()> {
    let Step::Update { path, side, refs: changes, old_head, new_head, work, old_work, new_work } = step
    else {
        return Ok(());
    };
    let (path, side) = (&path.0, &side.0);
    let repo = open(path)?;
    if !side.is_dir() {
        let now = refs::all(&repo)?;
        let set = |one: &RefChange| one.old != one.new && now.get(&one.name).copied() == one.new;
        // Taken back before; or somebody took the staging area away.
        return match changes.iter().any(set) {
            true => Err(side_is_gone(path, side)),
            false => Ok(()),
        };
    }
    locks::release(&repo, changes, side);
    for one in changes.iter().rev() {
        findings.extend(unset_ref(&repo, path, one, scope.run)?);
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
        unwork(&repo, trees, scope.run, findings)?;
        let (saved, index) = (index_in(side), repo.path().join("index"));
        let restored = match fs::read(&saved) {
            Ok(bytes) => write_atomic(&index, 0o644, &bytes),
            Err(e) if e.kind() == io::ErrorKind::NotFound => fs::remove_file(&index).or(Ok(())),
            Err(e) => Err(e),
        };
        restored.map_err(|e| Error::io(shown(&index), e))?;
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

/// The files that differ between two commits become those of the old one; what was edited since is kept beside it.
fn unwork(
    repo: &Repository,
    (old, new): (Option<git2::Oid>, git2::Oid),
    run: &str,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let git = |e: git2::Error| failed(repo.path(), &e);
    let Some(work) = repo.workdir().map(Path::to_owned) else { return Ok(()) };
    let tree = |id| repo.find_commit(id).and_then(|commit| commit.tree()).map_err(git);
    let (old, new) = (old.map(tree).transpose()?, tree(new)?);
    let diff = repo.diff_tree_to_tree(old.as_ref(), Some(&new), None).map_err(git)?;
    let mut checkout = CheckoutBuilder::new();
    checkout.force().disable_pathspec_match(true).update_index(true);
    let mut wanted = false;
    for delta in diff.deltas() {
        let file = if delta.status() == Delta::Deleted { delta.old_file() } else { delta.new_file() };
        let Some(name) = file.path_bytes().map(|bytes| Path::new(OsStr::from_bytes(bytes)).to_owned()) else {
            continue;
        };
        let at = work.join(&name);
        if exists(&at)
            && !at.is_dir()
            && !is_one_of(repo, &at, [delta.old_file().id(), delta.new_file().id()])
        {
            let kept = free_name(&at, run);
            move_new(&at, &kept)?;
            findings.push(was_kept(&at, &kept));
        }
        if delta.status() == Delta::Added {
            remove_file(&work, &at)?;
        } else {
            checkout.path(&name);
            wanted = true;
        }
    }
    match old {
        Some(old) if wanted => repo.checkout_tree(old.as_object(), Some(&mut checkout)).map_err(git),
        _ => Ok(()),
    }
}

/// Whether the file has nothing of its own: it is one of these blobs, or the beginning of one, as a kill leaves it, or what one
/// points to.
fn is_one_of(repo: &Repository, at: &Path, blobs: [git2::Oid; 2]) -> bool {
    if blobs.iter().any(|id| lfs::is_content_of_blob(repo, *id, at)) {
        return true;
    }
    let content = match fs::read_link(at) {
        Ok(target) => target.into_os_string().into_encoded_bytes(),
        Err(_) => match fs::read(at) {
            Ok(content) => content,
            Err(_) => return false,
        },
    };
    let same = |id: &git2::Oid| {
        repo.find_blob(*id).is_ok_and(|blob| {
            let plain = |bytes: &[u8]| -> Vec<u8> { bytes.iter().copied().filter(|c| *c != b'\r').collect() };
            // Attributes may have it with other ends of lines.
            blob.content().starts_with(&content)
                || !blob.is_binary() && plain(blob.content()).starts_with(&plain(&content))
        })
    };
    blobs.iter().any(same)
}

/// Removes a file and the folders above it in which nothing is left.
fn remove_file(work: &Path, at: &Path) -> Result<()> {
    match fs::remove_file(at) {
        Err(e)
            if !matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory
            ) =>
        {
            return Err(Error::io(shown(at), e))
        }
        _ => {}
    }
    let above = at.ancestors().skip(1).take_while(|dir| *dir != work && dir.starts_with(work));
    for dir in above {
        match fs::remove_dir(dir) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => break,
            // One that was not made yet may stand in one that was.
            _ => {}
        }
    }
    Ok(())
}

/// What was moved away comes back.
fn unremove(path: &Path, side: &Path, run: &str) -> Result<Option<Finding>> {
    let old = old_in(side);
    if !exists(&old) {
        return match exists(path) {
            true => Ok(None),
            false => Err(side_is_gone(path, side)),
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

fn side_is_gone(path: &Path, side: &Path) -> Error {
    Error::not_ready(format_args!(
        "the staging area {} is gone, and what the import put at {} is still there",
        shown(side),
        shown(path)
    ))
}

/// Where what is kept of `path` goes, if the name is free.
pub fn kept_name(path: &Path, run: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(format!(".kbpack-kept-{run}"));
    PathBuf::from(name)
}

/// The first such name that is free.
fn free_name(path: &Path, run: &str) -> PathBuf {
    let mut name = OsString::from(kept_name(path, run));
    while exists(Path::new(&name)) {
        name.push("-");
    }
    PathBuf::from(name)
}

fn was_kept(path: &Path, kept: &Path) -> Finding {
    let what = format!("{} was changed after the import: that is {}", shown(path), shown(kept));
    Finding::new(Severity::Warning, what).todo("take over what you need from it, and remove it")
}
