//! Reading small secret files, and where paths really lie.

use super::model::MAX_JSON;
use crate::base::digest::Digest;
use crate::base::fault::Fault;
use crate::base::secret::Secret;
use crate::component::{Error, Result};
use rustix::fs::{openat, Mode, OFlags, CWD};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A file's content and who may do what with it.
#[derive(Clone)]
pub(super) struct Seen {
    pub(super) bytes: Secret,
    /// Permission bits.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Last modification: seconds since 1970, nanoseconds.
    pub(super) mtime: (i64, u32),
}

impl Seen {
    pub(super) fn digest(&self) -> Digest {
        Digest::of(self.bytes.expose())
    }
}

/// Whether a symlink at the end of a path is followed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    Follow,
    Refuse,
}

/// Reads a regular file of at most [`MAX_JSON`] bytes. `None` if there is nothing at `path`.
pub(super) fn read(path: &Path, links: Links) -> Result<Option<Seen>> {
    // Without O_NONBLOCK, opening a FIFO would wait for ever.
    let mut flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    if links == Links::Refuse {
        flags |= OFlags::NOFOLLOW;
    }
    let file = match openat(CWD, path, flags, Mode::empty()) {
        Ok(fd) => File::from(fd),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(None),
        Err(rustix::io::Errno::LOOP) => {
            return Err(Error::not_ready(format_args!("{} is a symlink", path.display()))
                .todo("name the file that it points to"))
        }
        Err(e) => return Err(Error::io(path.display(), e.into())),
    };
    read_open(path, file).map(Some)
}

/// The error of a file that has more than `max` bytes.
pub(super) fn too_long(path: &Path, max: u64) -> Error {
    Error::new(Fault::Limit, format_args!("{} is larger than {max} bytes", path.display()))
        .todo("move it with a component of kind files")
}

fn read_open(path: &Path, file: File) -> Result<Seen> {
    let io = |e: io::Error| Error::io(path.display(), e);
    let meta = file.metadata().map_err(io)?;
    if !meta.is_file() {
        return Err(Error::not_ready(format_args!("{} is not a regular file", path.display())));
    }
    if meta.len() > MAX_JSON {
        return Err(too_long(path, MAX_JSON));
    }
    // Room for one byte more than it should be: the buffer never grows, and so leaves no copy behind.
    let mut bytes = Zeroizing::new(vec![0; meta.len() as usize + 1]);
    let mut len = 0;
    let mut reader = file.take(bytes.len() as u64);
    while len < bytes.len() {
        match reader.read(&mut bytes[len..]) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(io(e)),
        }
    }
    if len as u64 > meta.len() {
        return Err(Error::not_ready(format_args!("{} grows while it is read", path.display())));
    }
    let mode = meta.mode() & 0o7777;
    let mtime = (meta.mtime(), u32::try_from(meta.mtime_nsec()).unwrap_or(0));
    let (uid, gid) = (meta.uid(), meta.gid());
    Ok(Seen { bytes: Secret::from(bytes[..len].to_vec()), mode, uid, gid, mtime })
}

/// The directory in which `path` lies or will lie that exists already, the nearest one; symlinks resolved.
pub(super) fn nearest_dir(path: &Path) -> Result<PathBuf> {
    let mut dir = path.parent().unwrap_or(Path::new("/"));
    loop {
        match fs::canonicalize(dir) {
            Ok(real) => return Ok(real),
            Err(e) if e.kind() == io::ErrorKind::NotFound => dir = dir.parent().unwrap_or(Path::new("/")),
            Err(e) => return Err(Error::io(dir.display(), e)),
        }
    }
}

/// `path` with all symlinks above its last segment resolved, as far as they exist.
pub(super) fn settle(path: &Path) -> Result<PathBuf> {
    let mut dir = path.parent().unwrap_or(Path::new("/"));
    while fs::symlink_metadata(dir).is_err() {
        dir = dir.parent().unwrap_or(Path::new("/"));
    }
    let real = fs::canonicalize(dir).map_err(|e| Error::io(dir.display(), e))?;
    Ok(path.strip_prefix(dir).map_or_else(|_| path.to_owned(), |rest| real.join(rest)))
}
