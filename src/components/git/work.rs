//! What of a work tree is in no commit.

use super::lfs;
use super::open::failed;
use crate::base::path::path_text;
use crate::base::side::STAGE_PREFIX;
use crate::component::Result;
use git2::{Repository, Status, StatusOptions};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Files that are changed, staged, untracked or in conflict, as paths for people; what is ignored is not among them, nor
/// what belongs to other components (`carved`). Writes nothing, not even the index.
pub fn changes(repo: &Repository, carved: &[PathBuf]) -> Result<Vec<String>> {
    list(repo, carved, false)
}

/// The same, with what is ignored: all that would be lost with the work tree.
pub fn everything_else(repo: &Repository, carved: &[PathBuf]) -> Result<Vec<String>> {
    list(repo, carved, true)
}

fn list(repo: &Repository, carved: &[PathBuf], ignored: bool) -> Result<Vec<String>> {
    let paths = paths(repo, carved, ignored)?;
    Ok(paths.iter().map(|path| path_text(path.as_os_str().as_bytes())).collect())
}

/// What [`changes`] finds, as paths in the work tree.
pub fn changed_paths(repo: &Repository, carved: &[PathBuf]) -> Result<Vec<PathBuf>> {
    paths(repo, carved, false)
}

/// Whether `path` in the work tree `root` belongs to another component, or to kbpack. The repository may itself be staged:
/// what is above it does not matter.
pub fn is_foreign(root: &Path, path: &Path, carved: &[PathBuf]) -> bool {
    let staging = |part: std::path::Component<'_>| part.as_os_str().as_bytes().starts_with(STAGE_PREFIX);
    carved.iter().any(|carved| root.join(path).starts_with(carved)) || path.components().any(staging)
}

fn paths(repo: &Repository, carved: &[PathBuf], ignored: bool) -> Result<Vec<PathBuf>> {
    let Some(work) = repo.workdir() else { return Ok(Vec::new()) };
    let work = fs::canonicalize(work).unwrap_or_else(|_| work.to_owned());
    let mut options = StatusOptions::new();
    options.include_untracked(true).recurse_untracked_dirs(true).include_ignored(ignored);
    options.exclude_submodules(true).update_index(false);
    // In a folder that is ignored, not all may belong to others.
    options.recurse_ignored_dirs(ignored && !carved.is_empty());
    let statuses = repo.statuses(Some(&mut options)).map_err(|e| failed(&work, &e))?;
    let mut found = Vec::new();
    for entry in statuses.iter().filter(|entry| !entry.status().is_empty()) {
        let path = Path::new(OsStr::from_bytes(entry.path_bytes()));
        // Libgit2 has no LFS, and takes the content for changed.
        let is_pointed_to =
            || entry.status() == Status::WT_MODIFIED && lfs::is_content(repo, path, &work.join(path));
        if !is_foreign(&work, path, carved) && !is_pointed_to() {
            found.push(path.to_owned());
        }
    }
    Ok(found)
}

/// A few of `changes` in one line.
pub fn few(changes: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut text = changes.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if changes.len() > SHOWN {
        text.push_str(&format!(" and {} more", changes.len() - SHOWN));
    }
    text
}
