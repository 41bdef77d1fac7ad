//! Where an environment lies on this machine, and what is there.

use crate::base::change::exists;
use crate::base::digest::{Digest, Hasher};
use crate::base::side::nearest_dir;
use crate::component::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What is written into an environment that was built here: by which run and from what.
pub const MARK: &str = ".kbpack.json";
/// What makes a folder an environment.
const CONFIG: &str = "pyvenv.cfg";
/// Where Python keeps what it compiled; it writes there whenever it runs.
const CACHE: &str = "__pycache__";

/// Where `path` really is: symlinks above its last segment are resolved, for what is there may itself be one.
pub fn resolve(path: &Path) -> Result<PathBuf> {
    let dir = nearest_dir(path);
    let real = fs::canonicalize(dir).map_err(Error::at(dir))?;
    Ok(path.strip_prefix(dir).map_or_else(|_| path.to_owned(), |rest| real.join(rest)))
}

/// What is at a component's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// A symlink to this.
    Link(PathBuf),
    /// An environment.
    Environment,
    /// Something else.
    Taken,
}

/// Looks.
pub fn look(path: &Path) -> Result<Found> {
    match fs::symlink_metadata(path) {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Found::Nothing)
        }
        Err(e) => Err(Error::at(path)(e)),
        Ok(meta) if meta.is_symlink() => Ok(Found::Link(fs::read_link(path).map_err(Error::at(path))?)),
        Ok(meta) if meta.is_dir() && path.join(CONFIG).is_file() => Ok(Found::Environment),
        Ok(_) => Ok(Found::Taken),
    }
}

/// A digest of what is at `path`, by which it is known again: names, types, modes, sizes and times of all but what
/// Python compiles by itself, and the mark. `None`: nothing is there.
pub fn fingerprint(path: &Path) -> Result<Option<Digest>> {
    if !exists(path) {
        return Ok(None);
    }
    let mut hasher = Hasher::new();
    take_in(path, path, &mut hasher)?;
    Ok(Some(hasher.finish()))
}

fn take_in(root: &Path, path: &Path, hasher: &mut Hasher) -> Result<()> {
    let meta = fs::symlink_metadata(path).map_err(Error::at(path))?;
    let name = path.strip_prefix(root).unwrap_or(path);
    if name.file_name().is_some_and(|last| last == CACHE) || name == Path::new(MARK) {
        return Ok(());
    }
    hasher.update(&(name.as_os_str().len() as u64).to_be_bytes());
    hasher.update(name.as_os_str().as_bytes());
    hasher.update(&meta.mode().to_be_bytes());
    if meta.is_dir() {
        return walk(path, &mut |entry| take_in(root, entry, hasher));
    }
    hasher.update(&meta.len().to_be_bytes());
    match meta.is_symlink() {
        true => hasher.update(fs::read_link(path).map_err(Error::at(path))?.as_os_str().as_bytes()),
        false => {
            hasher.update(&meta.mtime().to_be_bytes());
            hasher.update(&meta.mtime_nsec().to_be_bytes());
        }
    }
    Ok(())
}

/// What is in the folder `dir`, by name.
pub fn walk(dir: &Path, each: &mut dyn FnMut(&Path) -> Result<()>) -> Result<()> {
    let entries = fs::read_dir(dir).map_err(Error::at(dir))?;
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(Error::at(dir))?.path());
    }
    paths.sort();
    paths.iter().try_for_each(|path| each(path))
}

/// Bytes of all files below `dir`.
pub fn size(dir: &Path) -> Result<u64> {
    let meta = fs::symlink_metadata(dir).map_err(Error::at(dir))?;
    let mut bytes = meta.len();
    if meta.is_dir() {
        walk(dir, &mut |entry| {
            bytes += size(entry)?;
            Ok(())
        })?;
    }
    Ok(bytes)
}

/// The mark in an environment that was built here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    /// The run that built it.
    pub run: String,
    /// What it was built from.
    pub wanted: Digest,
    /// Its [`fingerprint`] when it was done.
    pub tree: Digest,
}

impl Mark {
    /// The mark of what is at `path`, if nothing in it changed since.
    pub fn of(path: &Path) -> Result<Option<Mark>> {
        let mark: Option<Mark> =
            fs::read(path.join(MARK)).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        match mark {
            Some(mark) if look(path)? == Found::Environment && fingerprint(path)? == Some(mark.tree) => {
                Ok(Some(mark))
            }
            _ => Ok(None),
        }
    }

    /// Leaves it at `path`.
    pub fn leave(&self, path: &Path) -> Result<()> {
        let file = path.join(MARK);
        let bytes = serde_json::to_vec(self).map_err(|e| Error::at(&file)(e.into()))?;
        fs::write(&file, bytes).map_err(Error::at(&file))
    }
}
