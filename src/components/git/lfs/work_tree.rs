//! Contents in the work tree where pointers stand: what LFS's filters do, done without them.
//!
//! Only where attributes give a path to the filter `lfs`, only over the pointer itself, and never through a symlink: a file
//! is reached from the work tree's own folder, name by name.

use super::super::names::Id;
use super::super::open::failed;
use super::super::work::is_foreign;
use super::store::rename_or_copy;
use super::{settle, tree_of, Pointer, Store};
use crate::base::digest::digest_reader;
use crate::base::fsx::{set_time, Dir};
use crate::base::interrupt;
use crate::component::{Error, Result};
use git2::{AttrCheckFlags, ObjectType, Oid, Repository};
use rustix::fs::{Mode, OFlags, CWD};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Git trusts what its index says of a file only if the file is older than the index. Seconds.
const OLDER: u64 = 2;

/// A path that attributes give to LFS, with a pointer in a tree.
#[derive(Debug, Clone)]
pub struct Place {
    /// In the work tree.
    pub path: PathBuf,
    /// What stands there in the tree.
    pub pointer: Pointer,
    /// The pointer as a blob.
    pub blob: Oid,
    executable: bool,
}

/// Whether the file at `at` has the content that a pointer stands for.
pub fn is_content_of(at: &Path, pointer: &Pointer) -> bool {
    let right = fs::symlink_metadata(at).is_ok_and(|meta| meta.is_file() && meta.len() == pointer.size);
    right && File::open(at).and_then(digest_reader).is_ok_and(|(digest, _)| digest == pointer.oid)
}

/// Whether the file at `path` of the work tree is what the pointer in the index stands for, or the pointer itself.
pub fn is_content(repo: &Repository, path: &Path, at: &Path) -> bool {
    let pointer = || {
        let entry = repo.index().ok()?.get_path(path, 0)?;
        Pointer::of_blob(&repo.odb().ok()?, entry.id)
    };
    // Libgit2 goes by the size in the index, which may be that of the one where the file is the other.
    let is_pointer = |pointer: &Pointer| {
        let text = pointer.text();
        fs::symlink_metadata(at).is_ok_and(|meta| meta.is_file() && meta.len() == text.len() as u64)
            && fs::read(at).is_ok_and(|found| found == text.as_bytes())
    };
    is_given(repo, path)
        && pointer().is_some_and(|pointer| is_content_of(at, &pointer) || is_pointer(&pointer))
}

/// Whether attributes give a path to LFS.
pub fn is_given(repo: &Repository, path: &Path) -> bool {
    matches!(repo.get_attr(path, "filter", AttrCheckFlags::FILE_THEN_INDEX), Ok(Some("lfs")))
}

/// The pointers of a commit that are in the work tree, or should be.
pub fn places(repo: &Repository, commit: Id) -> Result<Vec<Place>> {
    let git = |e: git2::Error| failed(repo.path(), &e);
    let (odb, tree) = (repo.odb().map_err(git)?, tree_of(repo, commit)?);
    let mut places = Vec::new();
    tree.walk(git2::TreeWalkMode::PreOrder, |above, entry| {
        let file = entry.kind() == Some(ObjectType::Blob) && entry.filemode() & 0o170000 == 0o100000;
        let pointer = file.then(|| Pointer::of_blob(&odb, entry.id())).flatten();
        if let Some(pointer) = pointer {
            let name = [above.as_bytes(), entry.name_bytes()].concat();
            let path = PathBuf::from(OsStr::from_bytes(&name));
            if is_given(repo, &path) {
                let executable = entry.filemode() & 0o111 != 0;
                places.push(Place { path, pointer, blob: entry.id(), executable });
            }
        }
        git2::TreeWalkResult::Ok
    })
    .map_err(git)?;
    Ok(places)
}

/// A work tree, its store, and the staging area, where a file is made before it goes to its place.
struct Work {
    root: PathBuf,
    dir: Dir,
    store: Store,
    side: PathBuf,
}

impl Work {
    fn of(repo: &Repository, side: &Path) -> Result<Option<Work>> {
        let Some(root) = repo.workdir() else { return Ok(None) };
        let at = Error::at(root);
        let root = fs::canonicalize(root).map_err(at)?;
        let dir = Dir::open(&root).map_err(at)?;
        Ok(Some(Work { dir, store: Store::of(repo)?, side: side.to_owned(), root }))
    }

    /// Whether the pointer itself stands at its place.
    fn is_pointer(&self, place: &Place) -> bool {
        let Ok(file) = self.dir.open_at(&place.path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()) else {
            return false;
        };
        let text = place.pointer.text();
        let mut found = Vec::new();
        let read = File::from(file).take(text.len() as u64 + 1).read_to_end(&mut found);
        read.is_ok() && found == text.as_bytes()
    }

    fn is_content(&self, place: &Place) -> bool {
        is_content_of(&self.root.join(&place.path), &place.pointer)
    }

    /// Puts something in the place of the file that is there, at one instant.
    fn put(&self, place: &Place, mut content: impl Read) -> Result<()> {
        let file = self.root.join(&place.path);
        let at = Error::at(&file);
        interrupt::check().map_err(Error::of)?;
        let temporary = self.side.join("large-file");
        let mode = if place.executable { 0o777 } else { 0o666 };
        let _ = fs::remove_file(&temporary);
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary).map_err(at)?;
        io::copy(&mut content, &mut file).map_err(at)?;
        drop(file);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
        set_time(&temporary, now.saturating_sub(OLDER) as i64, 0).map_err(at)?;
        let (above, name) = (place.path.parent(), place.path.file_name().unwrap_or_default());
        let folder = match above.filter(|above| !above.as_os_str().is_empty()) {
            Some(above) => &self.dir.reach(above).map_err(at)?,
            None => &self.dir,
        };
        match rustix::fs::renameat(CWD, &temporary, folder, name) {
            // The work tree has another file system in it.
            Err(rustix::io::Errno::XDEV) => {
                let flags = OFlags::WRONLY | OFlags::TRUNC;
                let target = self.dir.open_at(&place.path, flags, Mode::empty()).map_err(at)?;
                let mut from = File::open(&temporary).map_err(at)?;
                io::copy(&mut from, &mut File::from(target)).map(drop).map_err(at)
            }
            renamed => renamed.map_err(|e| at(e.into())),
        }
    }

    fn put_content(&self, place: &Place) -> Result<()> {
        let from = self.store.path(place.pointer.oid);
        let file = File::open(&from).map_err(Error::at(&from))?;
        self.put(place, file)
    }

    fn put_pointer(&self, place: &Place) -> Result<()> {
        self.put(place, place.pointer.text().as_bytes())
    }
}

/// Paths of `commit` that are pointers in the work tree.
pub fn pointers(repo: &Repository, commit: Id, carved: &[PathBuf]) -> Result<Vec<Place>> {
    let Some(work) = Work::of(repo, Path::new(""))? else { return Ok(Vec::new()) };
    let mut places = places(repo, commit)?;
    places.retain(|place| !is_foreign(&work.root, &place.path, carved) && work.is_pointer(place));
    Ok(places)
}

/// Those of them that have contents in the store.
pub fn unfilled(repo: &Repository, commit: Id, carved: &[PathBuf]) -> Result<Vec<Place>> {
    let (mut places, store) = (pointers(repo, commit, carved)?, Store::of(repo)?);
    places.retain(|place| store.has(&place.pointer));
    Ok(places)
}

/// Puts the contents of `commit` in the places of their pointers, as far as they are in the store.
pub fn fill(repo: &Repository, commit: Id, side: &Path, carved: &[PathBuf]) -> Result<()> {
    let Some(work) = Work::of(repo, side)? else { return Ok(()) };
    let places = unfilled(repo, commit, carved)?;
    if places.is_empty() {
        return Ok(());
    }
    places.iter().try_for_each(|place| work.put_content(place))?;
    let synced = File::open(&work.root).and_then(|dir| Ok(rustix::fs::syncfs(&dir)?));
    synced.map_err(Error::at(&work.root))?;
    settle(repo, &places)
}

/// Puts pointers in the places of contents that differ between two commits: libgit2, which knows no filter, takes any other
/// file for work that is in no commit. What the store has not, it gets first.
pub fn empty(repo: &Repository, (old, new): (Option<Id>, Id), side: &Path) -> Result<()> {
    let git = |e: git2::Error| failed(repo.path(), &e);
    let (Some(work), Some(old), true) = (Work::of(repo, side)?, old, is_involved(side)) else {
        return Ok(());
    };
    let (old_tree, new_tree) = (tree_of(repo, old)?, tree_of(repo, new)?);
    let diff = repo.diff_tree_to_tree(Some(&old_tree), Some(&new_tree), None).map_err(git)?;
    let changed: HashSet<Vec<u8>> =
        diff.deltas().filter_map(|delta| delta.old_file().path_bytes().map(<[u8]>::to_vec)).collect();
    if changed.is_empty() {
        return Ok(());
    }
    for place in places(repo, old)? {
        if !changed.contains(place.path.as_os_str().as_bytes()) || !work.is_content(&place) {
            continue;
        }
        if !work.store.has(&place.pointer) {
            let (from, to) = (work.root.join(&place.path), work.store.make_room(place.pointer.oid)?);
            let near = side.join("large-file");
            let copied = fs::copy(&from, &near).and_then(|_| rename_or_copy(&near, &to));
            copied.map_err(Error::at(&to))?;
        }
        work.put_pointer(&place)?;
    }
    Ok(())
}

/// Where the staging area says which files of the work tree were pointers.
fn record_in(side: &Path) -> PathBuf {
    side.join("large-files-as-pointers")
}

/// Whether an update has to do with LFS: else nothing is searched for pointers.
pub fn is_involved(side: &Path) -> bool {
    record_in(side).exists()
}

/// Writes down which files of `commit` are pointers in the work tree: by that an undo knows which contents go again.
pub fn record(repo: &Repository, commit: Option<Id>, side: &Path) -> Result<()> {
    let mut list = Vec::new();
    if let (Some(work), Some(commit)) = (Work::of(repo, side)?, commit) {
        for place in places(repo, commit)?.iter().filter(|place| work.is_pointer(place)) {
            list.extend_from_slice(place.path.as_os_str().as_bytes());
            list.push(0);
        }
    }
    let file = record_in(side);
    let write = File::create(&file).and_then(|mut file| file.write_all(&list));
    write.map_err(Error::at(&file))
}

/// The work tree's pointers and contents as [`record`] found them. Its other files, and the index, are those of `commit`
/// again.
pub fn take_back(repo: &Repository, commit: Id, side: &Path) -> Result<()> {
    let file = record_in(side);
    let list = match fs::read(&file) {
        // LFS had nothing to do with it.
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        list => list.map_err(Error::at(&file))?,
    };
    let pointers: HashSet<PathBuf> = list
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| PathBuf::from(std::ffi::OsString::from_vec(name.to_vec())))
        .collect();
    let Some(work) = Work::of(repo, side)? else { return Ok(()) };
    let places = places(repo, commit)?;
    for place in &places {
        match pointers.contains(&place.path) {
            true if work.is_content(place) => work.put_pointer(place)?,
            false if work.store.has(&place.pointer) && work.is_pointer(place) => work.put_content(place)?,
            _ => {}
        }
    }
    settle(repo, &places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::digest::Digest;
    use git2::{Signature, Time};
    use std::os::unix::fs::symlink;

    #[test]
    fn a_symlink_on_the_way_to_a_pointer_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (work, side, outside) =
            (dir.path().join("work"), dir.path().join("side"), dir.path().join("outside"));
        [&work, &side, &outside].into_iter().for_each(|dir| fs::create_dir(dir).unwrap());
        let repo = Repository::init(&work).unwrap();
        let pointer = Pointer { oid: Digest::of(b"content"), size: 7 };
        fs::write(Store::of(&repo).unwrap().make_room(pointer.oid).unwrap(), "content").unwrap();
        let blob = |text: &str| repo.blob(text.as_bytes()).unwrap();
        let mut inner = repo.treebuilder(None).unwrap();
        inner.insert("big.bin", blob(&pointer.text()), 0o100644).unwrap();
        let mut tree = repo.treebuilder(None).unwrap();
        tree.insert("a", inner.write().unwrap(), 0o040000).unwrap();
        tree.insert(".gitattributes", blob("*.bin filter=lfs\n"), 0o100644).unwrap();
        let tree = repo.find_tree(tree.write().unwrap()).unwrap();
        let who = Signature::new("Ada", "ada@example.com", &Time::new(1_700_000_000, 0)).unwrap();
        let commit = Id(repo.commit(Some("HEAD"), &who, &who, "x", &tree, &[]).unwrap());
        repo.checkout_head(Some(git2::build::CheckoutBuilder::new().force())).unwrap();

        // As a file system without case makes of a tree with `a` and a symlink `A`.
        fs::rename(work.join("a"), dir.path().join("away")).unwrap();
        symlink(&outside, work.join("a")).unwrap();
        fs::write(outside.join("big.bin"), pointer.text()).unwrap();
        fill(&repo, commit, &side, &[]).unwrap();
        assert_eq!(fs::read_to_string(outside.join("big.bin")).unwrap(), pointer.text());

        fs::remove_file(work.join("a")).unwrap();
        fs::rename(dir.path().join("away"), work.join("a")).unwrap();
        fill(&repo, commit, &side, &[]).unwrap();
        assert_eq!(fs::read_to_string(work.join("a/big.bin")).unwrap(), "content");
        // The size in the index is the content's, and so it is unchanged.
        assert!(repo.statuses(None).unwrap().iter().all(|entry| entry.status().is_empty()));
    }
}
