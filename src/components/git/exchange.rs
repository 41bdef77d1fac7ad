//! The work tree goes from one commit to another where git would not take it there: back in an undo, and away from what was
//! in no commit. What somebody else wrote is kept.

use super::commit::move_new;
use super::lfs;
use super::open::failed;
use super::undo::was_kept;
use crate::base::change::{exists, free_name};
use crate::base::path::shown;
use crate::component::{Error, Finding, Result};
use git2::build::CheckoutBuilder;
use git2::{Delta, Repository};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The files that differ between two commits become those of the old one; what was edited since is kept beside it.
pub fn exchange(
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
