//! After a commit that holds: what was edited is kept, and what is left of the staging goes. All of it may run twice.

use super::side::{at, if_there, parent, sync_dir, Step};
use crate::base::fsx;
use crate::base::side::side_of;
use crate::component::{Act, Result};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Bytes of a name that still leave room for a number of dashes.
const MAX_NAME: usize = 240;

/// Finalise: moves what is to be kept out of the side directory. May run twice.
pub(super) fn keep_edits(acts: &[Act], run: &str) -> Result<()> {
    for step in Act::steps(acts)? {
        match step {
            Step::Replace { path, aside, keep: true, .. } if fs::symlink_metadata(&aside).is_ok() => {
                keep(&aside, &path, run)?;
                sync_dir(parent(&path))?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Finalise: removes the directories that go if nothing is in them. What others put there keeps them.
pub(super) fn clear_folders(acts: &[Act]) -> Result<()> {
    for step in Act::steps(acts)? {
        let Step::Empty { path } = step else { continue };
        match fs::remove_dir(&path) {
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            removed => if_there(removed).map_err(at(&path))?,
        }
    }
    Ok(())
}

/// The name for what is kept of `path`. One that has no room for the path's own name does without it.
pub(super) fn kept_name(path: &Path, run: &str) -> OsString {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".kbpack-kept-{run}"));
    match name.len() > MAX_NAME {
        true => format!("kbpack-kept-{run}").into(),
        false => name,
    }
}

/// Moves `from`, which was edited, to a name beside `path` that is still free.
pub(super) fn keep(from: &Path, path: &Path, run: &str) -> Result<PathBuf> {
    let mut name = kept_name(path, run);
    while fs::symlink_metadata(path.with_file_name(&name)).is_ok() {
        name.push("-");
    }
    let kept = path.with_file_name(name);
    fs::rename(from, &kept).map_err(at(from))?;
    Ok(kept)
}

/// Removes the side directories of `component` that the acts name, and those beside `paths` and above.
pub(super) fn clear(acts: &[Act], paths: &[PathBuf], run: &str, component: &str) -> Result<()> {
    let mut sides = BTreeSet::new();
    for step in Act::steps(acts)? {
        if let Step::Replace { aside, .. } = step {
            sides.insert(parent(&aside).to_owned());
        }
    }
    for dir in paths.iter().flat_map(|path| path.ancestors().skip(1)) {
        sides.insert(side_of(dir, run, component));
    }
    // A kill may come between the making of the run's directory and of the component's in it.
    for side in sides.iter().filter(|side| fs::symlink_metadata(parent(side)).is_ok()) {
        if_there(fs::remove_dir_all(side)).map_err(at(side))?;
        // Other components may still have theirs in it.
        match fsx::keeping_time(parent(parent(side)), || fs::remove_dir(parent(side))) {
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            removed => if_there(removed).map_err(at(parent(side)))?,
        }
        sync_dir(parent(parent(side)))?;
    }
    Ok(())
}
