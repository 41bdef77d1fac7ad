//! Where a repository lies on this machine.

use super::open::is_repository;
use crate::base::path::shown;
use crate::base::side::{nearest_dir, STAGE_PREFIX};
use crate::component::{Error, Result};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What is at a component's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// A repository.
    Repository,
    /// A folder with nothing in it but what belongs to other components.
    Room,
    /// A folder with this in it, which belongs to nobody.
    Taken(PathBuf),
}

/// A path, resolved.
#[derive(Debug, Clone)]
pub struct Place {
    /// With the symlinks above its last segment resolved.
    pub lexical: PathBuf,
    /// With all symlinks resolved.
    pub real: PathBuf,
}

/// Finds out where `path` really is.
pub fn resolve(path: &Path) -> Result<Place> {
    let at = Error::at(path);
    let dir = nearest_dir(path);
    let real_dir = fs::canonicalize(dir).map_err(at)?;
    let lexical = path.strip_prefix(dir).map_or_else(|_| path.to_owned(), |rest| real_dir.join(rest));
    let real = match fs::canonicalize(&lexical) {
        Ok(real) => real,
        Err(e) if e.kind() == io::ErrorKind::NotFound && !lexical.is_symlink() => lexical.clone(),
        Err(e) => return Err(at(e)),
    };
    Ok(Place { lexical, real })
}

/// Looks what is at `path`, leaving out of account what belongs to others.
pub fn look(path: &Path, carved: &[PathBuf]) -> Result<Found> {
    match fs::symlink_metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
        Err(e) => Err(Error::io(shown(path), e)),
        Ok(_) if is_repository(path) => Ok(Found::Repository),
        Ok(meta) if !meta.is_dir() => Ok(Found::Taken(path.to_owned())),
        Ok(_) => Ok(stranger(path, carved)?.map_or(Found::Room, Found::Taken)),
    }
}

/// Something below `dir` that belongs to no other component.
fn stranger(dir: &Path, carved: &[PathBuf]) -> Result<Option<PathBuf>> {
    let at = Error::at(dir);
    for entry in fs::read_dir(dir).map_err(at)? {
        let path = entry.map_err(at)?.path();
        let staging = path.file_name().is_some_and(|name| name.as_bytes().starts_with(STAGE_PREFIX));
        if staging || carved.iter().any(|carved| path.starts_with(carved)) {
            continue;
        }
        let above =
            path.is_dir() && !path.is_symlink() && carved.iter().any(|carved| carved.starts_with(&path));
        let found = if above { stranger(&path, carved)? } else { Some(path) };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}
