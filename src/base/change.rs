//! What a commit and its undo do to names: made, moved and removed. Each is on disk when it returns.

use crate::base::fsx::{folder_of, sync_dir};
use rustix::fs::{renameat_with, RenameFlags, CWD};
use rustix::io::Errno;
use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Whether something is there, if only a symlink to nothing.
pub fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Makes a folder.
pub fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    DirBuilder::new().mode(mode).create(path)?;
    sync_dir(folder_of(path))
}

/// Removes a folder, if it is there and nothing is in it: what is in it by now is not ours.
pub fn remove_empty_dir(path: &Path) -> io::Result<()> {
    match fs::remove_dir(path) {
        Err(e) if matches!(e.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound) => Ok(()),
        removed => removed.and_then(|()| sync_dir(folder_of(path))),
    }
}

/// Moves something to a name that is free.
pub fn move_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // A file system that cannot refuse: look first.
        Err(Errno::INVAL | Errno::NOSYS) if !exists(to) => fs::rename(from, to)?,
        moved => moved?,
    }
    sync_dir(folder_of(to))?;
    sync_dir(folder_of(from))
}

/// The path whose name is that of `path` and `suffix`.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// Where what a run keeps of `path` goes, if the name is free.
pub fn kept_name(path: &Path, run: &str) -> PathBuf {
    beside(path, &format!(".kbpack-kept-{run}"))
}

/// The first such name that is free.
pub fn free_name(path: &Path, run: &str) -> PathBuf {
    let mut kept = kept_name(path, run);
    while exists(&kept) {
        kept = beside(&kept, "-");
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_moved_over_or_removed_with_what_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b, folder] = ["a", "b", "folder"].map(|name| dir.path().join(name));
        fs::write(&a, "a").unwrap();
        std::os::unix::fs::symlink("nowhere", &b).unwrap();
        assert_eq!(move_new(&a, &b).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        make_dir(&folder, 0o700).unwrap();
        move_new(&a, &folder.join("a")).unwrap();
        remove_empty_dir(&folder).unwrap();
        fs::remove_file(folder.join("a")).unwrap();
        remove_empty_dir(&folder).unwrap();
        remove_empty_dir(&folder).unwrap();
        assert!(!exists(&folder));
    }

    #[test]
    fn a_name_that_is_taken_is_not_taken_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let kept = free_name(&path, "0123");
        assert_eq!(kept.file_name().unwrap(), "a.kbpack-kept-0123");
        std::os::unix::fs::symlink("nowhere", &kept).unwrap();
        assert_eq!(free_name(&path, "0123").file_name().unwrap(), "a.kbpack-kept-0123-");
    }
}
