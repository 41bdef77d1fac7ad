//! The tree and its staging area, held open: what commit and undo work on. Names are looked up one directory
//! at a time, beneath the base, never through a symlink.

use super::meta::{apply, apply_to_link, read_xattrs, Meta, Xattrs};
use super::plan::Stamp;
use super::walk::{gone, stat_at, stat_fd, Kind, Stat};
use crate::base::fsx::{chmod_fd, Dir};
use crate::base::path::{shown, BundlePath};
use crate::component::{Error, Result};
use rustix::fs::{self, AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// See the module.
pub struct Seat {
    path: PathBuf,
    base: Dir,
    /// The directory that was last looked into.
    last: Option<(BundlePath, Dir)>,
}

/// A staging area, open.
pub struct Slots {
    /// The area itself.
    pub side: Dir,
    /// What is to be put in place, and what was exchanged for it.
    pub new: Dir,
    /// What was moved aside.
    pub old: Dir,
}

impl Slots {
    /// Opens the staging area. `None` if there is none (any more).
    pub fn open(side: &Path) -> Result<Option<Slots>> {
        let failed = Error::at(side);
        let dir = match Dir::open(side) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(failed)?,
        };
        let [new, old] = ["new", "old"].map(|name| dir.dir(Path::new(name)).map_err(failed));
        Ok(Some(Slots { new: new?, old: old?, side: dir }))
    }
}

/// What is at `slot`.
pub fn slot_stat(dir: &Dir, slot: u32) -> io::Result<Option<Stat>> {
    present(stat_at(dir, slot.to_string()))
}

fn present(stat: io::Result<Stat>) -> io::Result<Option<Stat>> {
    match stat {
        Err(e) if gone(&e) => Ok(None),
        stat => stat.map(Some),
    }
}

impl Seat {
    /// Opens the tree at `base`.
    pub fn open(base: &Path) -> Result<Seat> {
        let dir = Dir::open(base).map_err(Error::at(base))?;
        Ok(Seat { path: base.to_owned(), base: dir, last: None })
    }

    /// [`open`](Self::open), after making the base where it is gone. Whether it was.
    pub fn open_or_make(base: &Path) -> Result<(Seat, bool)> {
        let gone = matches!(base.symlink_metadata(), Err(e) if gone(&e));
        if gone {
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(base);
            made.map_err(Error::at(base))?;
        }
        Ok((Seat::open(base)?, gone))
    }

    /// A path for people.
    pub fn at(&self, path: &BundlePath) -> PathBuf {
        self.path.join(path.as_path())
    }

    /// An error at a path.
    pub fn failed(&self, path: &BundlePath, error: io::Error) -> Error {
        Error::io(shown(&self.at(path)), error)
    }

    /// The directory that holds `path`.
    pub fn folder(&mut self, path: &BundlePath) -> io::Result<BorrowedFd<'_>> {
        let Some(parent) = path.parent() else { return Ok(self.base.as_fd()) };
        if self.last.as_ref().is_none_or(|(known, _)| *known != parent) {
            let dir = self.base.reach(parent.as_path())?;
            self.last = Some((parent, dir));
        }
        Ok(self.last.as_ref().map_or(self.base.as_fd(), |(_, dir)| dir.as_fd()))
    }

    /// What is at `path`; `None` if nothing is, or what it lies in is gone.
    pub fn stat(&mut self, path: &BundlePath) -> io::Result<Option<Stat>> {
        match self.folder(path) {
            Ok(folder) => present(stat_at(folder, path.file_name())),
            Err(e) if gone(&e) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Makes what is missing of the directories that hold `path`. Returns those it made.
    pub fn make_folders(&mut self, path: &BundlePath) -> io::Result<Vec<BundlePath>> {
        let mut folders: Vec<_> = std::iter::successors(path.parent(), BundlePath::parent).collect();
        folders.reverse();
        let mut made = Vec::new();
        for folder in folders {
            let above = self.folder(&folder)?;
            match fs::mkdirat(above, folder.file_name(), Mode::RWXU) {
                Ok(()) => made.push(folder),
                Err(Errno::EXIST) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(made)
    }

    /// Renames `slot` of `from` to `path`, which must be free.
    pub fn put(&mut self, from: &Dir, slot: u32, path: &BundlePath) -> io::Result<()> {
        let folder = self.folder(path)?;
        rename_to_free(from.as_fd(), slot.to_string().as_ref(), folder, path.file_name())
    }

    /// Renames `path` to `slot` of `to`, which must be free.
    pub fn take(&mut self, path: &BundlePath, to: &Dir, slot: u32) -> io::Result<()> {
        let folder = self.folder(path)?;
        rename_to_free(folder, path.file_name(), to.as_fd(), slot.to_string().as_ref())
    }

    /// Renames `path` to another name in the same directory, which must be free.
    pub fn rename(&mut self, path: &BundlePath, name: &OsStr) -> io::Result<()> {
        let folder = self.folder(path)?;
        rename_to_free(folder, path.file_name(), folder, name)
    }

    /// Lets `slot` of `dir` and `path` change places, at one instant. False if the file system cannot do that.
    pub fn exchange(&mut self, dir: &Dir, slot: u32, path: &BundlePath) -> io::Result<bool> {
        #[cfg(test)]
        if tests::NO_EXCHANGE.get() {
            return Ok(false);
        }
        let folder = self.folder(path)?;
        match fs::renameat_with(dir, slot.to_string(), folder, path.file_name(), RenameFlags::EXCHANGE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(false),
            done => Ok(done.map(|()| true)?),
        }
    }

    /// Opens the base, or a file or directory beneath it, to set its metadata: also where its mode does not
    /// let its owner read it.
    fn open_inner(&mut self, path: Option<&BundlePath>) -> io::Result<OwnedFd> {
        let Some(path) = path else { return self.base.as_fd().try_clone_to_owned() };
        let plain = OFlags::RDONLY | OFlags::NONBLOCK;
        match self.base.open_at(path.as_path(), plain, Mode::empty()) {
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                let fd = self.base.open_at(path.as_path(), OFlags::PATH, Mode::empty())?;
                chmod_fd(&fd, 0o700)?;
                self.base.open_at(path.as_path(), plain, Mode::empty())
            }
            opened => opened,
        }
    }

    /// Sets the metadata of an existing file, symlink or directory (`None`: the base).
    pub fn set_meta(
        &mut self,
        path: Option<&BundlePath>,
        kind: Kind,
        meta: &Meta,
        owner: Option<(u32, u32)>,
    ) -> io::Result<()> {
        match path {
            Some(path) if kind == Kind::Symlink => {
                let folder = self.folder(path)?;
                apply_to_link(folder, Path::new(path.file_name()), meta.mtime, owner)
            }
            _ => apply(self.open_inner(path)?, meta, owner),
        }
    }

    /// The extended attributes of a directory; none where its mode does not let its owner read it.
    pub fn xattrs(&self, path: &BundlePath) -> io::Result<Xattrs> {
        match self.base.dir(path.as_path()) {
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Ok(Xattrs::default()),
            dir => Ok(read_xattrs(dir?)?.0),
        }
    }

    /// Removes an empty directory. False if something is in it.
    pub fn remove_empty(&mut self, path: &BundlePath) -> io::Result<bool> {
        let folder = self.folder(path)?;
        match fs::unlinkat(folder, path.file_name(), AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
            done => Ok(done.map(|()| true)?),
        }
    }

    /// Sets the mode of a directory.
    pub fn set_mode(&mut self, path: Option<&BundlePath>, mode: u32) -> io::Result<()> {
        match path {
            None => chmod_fd(&self.base, mode),
            Some(path) => {
                let flags = OFlags::PATH | OFlags::DIRECTORY;
                chmod_fd(self.base.open_at(path.as_path(), flags, Mode::empty())?, mode)
            }
        }
    }

    /// The base's stat.
    pub fn base_stat(&self) -> io::Result<Stat> {
        stat_fd(&self.base)
    }

    /// Opens a directory beneath the base to read it.
    pub fn dir(&self, path: &BundlePath) -> io::Result<Dir> {
        self.base.dir(path.as_path())
    }

    /// Puts everything on disk.
    pub fn sync(&self) -> Result<()> {
        fs::syncfs(&self.base).map_err(|e| Error::io(shown(&self.path), e.into()))
    }
}

/// Whether a directory with this mode must be opened up before its owner can change names in it.
pub fn is_tight(mode: u32) -> bool {
    mode & 0o300 != 0o300
}

/// Whether a directory with this mode must be opened up before its owner can move it.
pub fn is_unmovable(stamp: &Stamp) -> bool {
    stamp.dir && stamp.mode.0 & 0o200 == 0
}

fn rename_to_free(from: BorrowedFd<'_>, name: &OsStr, to: BorrowedFd<'_>, new: &OsStr) -> io::Result<()> {
    match fs::renameat_with(from, name, to, new, RenameFlags::NOREPLACE) {
        // The file system does not know the flag: look first.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => match present(stat_at(to, new))? {
            None => Ok(fs::renameat(from, name, to, new)?),
            Some(_) => Err(Errno::EXIST.into()),
        },
        done => Ok(done?),
    }
}

#[cfg(test)]
pub mod tests {
    thread_local! {
        /// Makes this thread's file systems ones that cannot exchange two names.
        pub static NO_EXCHANGE: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    }
}
