//! Where a database lies on this machine.

use crate::base::path::shown;
use crate::base::side::nearest_dir;
use crate::component::{Error, Result};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A database's path, resolved.
#[derive(Debug, Clone)]
pub struct Place {
    /// With the symlinks above its last segment resolved.
    pub lexical: PathBuf,
    /// With all symlinks resolved: where SQLite keeps its side files, too.
    pub real: PathBuf,
    /// Whether a file is there.
    pub exists: bool,
}

/// Finds out where `path` really is.
pub fn resolve(path: &Path) -> Result<Place> {
    let dir = nearest_dir(path);
    let real_dir = fs::canonicalize(dir).map_err(Error::at(dir))?;
    let lexical = path.strip_prefix(dir).map_or_else(|_| path.to_owned(), |rest| real_dir.join(rest));
    let exists = match fs::metadata(&lexical) {
        Ok(meta) if meta.is_file() => true,
        Ok(_) => return Err(Error::not_ready(format_args!("{}: not a regular file", shown(path)))),
        Err(e) if e.kind() == io::ErrorKind::NotFound && !lexical.is_symlink() => false,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(Error::not_ready(format_args!("{}: a symlink to nothing", shown(path)))
                .todo("remove it, or make what it points to"))
        }
        Err(e) => return Err(Error::at(path)(e)),
    };
    let real = if exists { fs::canonicalize(&lexical).map_err(Error::at(path))? } else { lexical.clone() };
    Ok(Place { lexical, real, exists })
}
