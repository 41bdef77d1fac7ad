//! Where a repository keeps its large files: `lfs/objects/aa/bb/<oid>` in its folder, as git-lfs lays it out.

use super::super::open::failed;
use super::Pointer;
use crate::base::digest::Digest;
use crate::component::{Error, Result};
use git2::Repository;
use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};

/// The folder `objects` of a store.
#[derive(Debug)]
pub struct Store(PathBuf);

impl Store {
    /// That of a repository: `lfs.storage` of its config, if there is one.
    pub fn of(repo: &Repository) -> Result<Store> {
        let config = repo.config().and_then(|mut c| c.snapshot()).map_err(|e| failed(repo.path(), &e))?;
        let named = config.get_string("lfs.storage").unwrap_or_default();
        let dir = repo.commondir().join(if named.is_empty() { "lfs" } else { &named });
        Ok(Store(dir.join("objects")))
    }

    /// One in the folder of a repository that has no config of its own.
    pub fn within(git_dir: &Path) -> Store {
        Store(git_dir.join("lfs/objects"))
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.0
    }

    /// Whether it lies in a folder, whatever is a symlink there.
    pub fn is_within(&self, folder: &Path) -> bool {
        let climbs = |part: Component<'_>| part == Component::ParentDir;
        let rest = self.0.strip_prefix(folder);
        rest.is_ok_and(|rest| !rest.components().any(climbs))
    }

    /// Where an object is, or would be.
    pub fn path(&self, oid: Digest) -> PathBuf {
        let name = oid.to_string();
        self.0.join(&name[..2]).join(&name[2..4]).join(&name)
    }

    /// Whether it is there, whole by its size: git-lfs gives a file its name when all of it is written.
    pub fn has(&self, one: &Pointer) -> bool {
        fs::metadata(self.path(one.oid)).is_ok_and(|meta| meta.is_file() && meta.len() == one.size)
    }

    /// Makes the folder for an object, and says where it goes.
    pub fn make_room(&self, oid: Digest) -> Result<PathBuf> {
        let path = self.path(oid);
        let folder = path.parent().unwrap_or(&self.0);
        fs::create_dir_all(folder).map_err(Error::at(folder))?;
        Ok(path)
    }

    /// Moves what `staged` has among the store's own, and puts that on disk. What is there already stays.
    pub fn take(&self, staged: &Store, objects: &[Pointer]) -> Result<()> {
        let mut moved = false;
        for one in objects {
            let from = staged.path(one.oid);
            if self.has(one) || !from.exists() {
                continue;
            }
            let to = self.make_room(one.oid)?;
            rename_or_copy(&from, &to).map_err(Error::at(&to))?;
            moved = true;
        }
        if !moved {
            return Ok(());
        }
        let synced = File::open(&self.0).and_then(|dir| Ok(rustix::fs::syncfs(&dir)?));
        synced.map_err(Error::at(&self.0))
    }
}

/// A rename, or from another file system a copy that is renamed when it is whole.
pub fn rename_or_copy(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(e) if e.kind() == io::ErrorKind::CrossesDevices => {
            let near = to.with_extension("kbpack-tmp");
            fs::copy(from, &near)?;
            File::open(&near)?.sync_all()?;
            fs::rename(&near, to)?;
            fs::remove_file(from)
        }
        renamed => renamed,
    }
}
