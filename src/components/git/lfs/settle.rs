//! What the index says of files whose contents stand for their pointers.

use super::is_content_of;
use super::work_tree::Place;
use crate::component::Result;
use git2::{IndexEntry, IndexTime, Repository};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;

/// Writes into the index what the files at these places are like, where they have the contents that the index's own pointers
/// stand for: so git need not ask the filter whether they are changed, and may not even have it.
pub fn settle(repo: &Repository, places: &[Place]) -> Result<()> {
    let git = |e: git2::Error| super::super::open::failed(repo.path(), &e);
    let Some(root) = repo.workdir() else { return Ok(()) };
    let mut index = repo.index().map_err(git)?;
    index.read(true).map_err(git)?;
    let mut any = false;
    for place in places {
        let at = root.join(&place.path);
        let Some(entry) = index.get_path(&place.path, 0).filter(|entry| entry.id == place.blob) else {
            continue;
        };
        let Ok(meta) = fs::symlink_metadata(&at) else { continue };
        let known = of(&entry, &meta);
        if same(&entry, &known) || !is_content_of(&at, &place.pointer) {
            continue;
        }
        index.add(&known).map_err(git)?;
        any = true;
    }
    match any {
        true => index.write().map_err(git),
        false => Ok(()),
    }
}

/// The entry with what the file is like now. Git keeps the lower 32 bits.
fn of(entry: &IndexEntry, meta: &Metadata) -> IndexEntry {
    IndexEntry {
        ctime: IndexTime::new(meta.ctime() as i32, meta.ctime_nsec() as u32),
        mtime: IndexTime::new(meta.mtime() as i32, meta.mtime_nsec() as u32),
        dev: meta.dev() as u32,
        ino: meta.ino() as u32,
        uid: meta.uid(),
        gid: meta.gid(),
        file_size: meta.len() as u32,
        mode: entry.mode,
        id: entry.id,
        flags: entry.flags,
        flags_extended: entry.flags_extended,
        path: entry.path.clone(),
    }
}

fn same(a: &IndexEntry, b: &IndexEntry) -> bool {
    (a.ctime, a.mtime, a.ino, a.uid, a.gid, a.file_size)
        == (b.ctime, b.mtime, b.ino, b.uid, b.gid, b.file_size)
}
