//! Where a database lies on this machine, and where its staging area is.

use super::open::shown;
use crate::base::fsx::{sync_dir, Dir};
use crate::component::{Error, Result};
use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
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

fn at(path: &Path) -> impl Fn(io::Error) -> Error + '_ {
    move |e| Error::io(shown(path), e)
}

/// Finds out where `path` really is.
pub fn resolve(path: &Path) -> Result<Place> {
    let dir = nearest_dir(path);
    let real_dir = fs::canonicalize(dir).map_err(at(dir))?;
    let lexical = path.strip_prefix(dir).map_or_else(|_| path.to_owned(), |rest| real_dir.join(rest));
    let exists = match fs::metadata(&lexical) {
        Ok(meta) if meta.is_file() => true,
        Ok(_) => return Err(Error::not_ready(format_args!("{}: not a regular file", shown(path)))),
        Err(e) if e.kind() == io::ErrorKind::NotFound && !lexical.is_symlink() => false,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            return Err(Error::not_ready(format_args!("{}: a symlink to nothing", shown(path)))
                .todo("remove it, or make what it points to"))
        }
        Err(e) => return Err(at(path)(e)),
    };
    let real = if exists { fs::canonicalize(&lexical).map_err(at(path))? } else { lexical.clone() };
    Ok(Place { lexical, real, exists })
}

/// The deepest folder above `path` that exists.
pub fn nearest_dir(path: &Path) -> &Path {
    let above = path.ancestors().skip(1);
    above.into_iter().find(|dir| fs::symlink_metadata(dir).is_ok()).unwrap_or(Path::new("/"))
}

/// The folder that `path` stands in.
pub fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// The staging area of a run: `<home>/.kbpack-stage-<run>/<component>`.
pub fn side_of(home: &Path, run: &str, component: &str) -> PathBuf {
    home.join(format!(".kbpack-stage-{run}")).join(component)
}

/// Every place where a run may have left a staging area for the database at `path`.
pub fn sides_left(path: &Path, run: &str, component: &str) -> Vec<PathBuf> {
    let sides = path.ancestors().skip(1).map(|home| side_of(home, run, component));
    sides.filter(|side| parent(side).is_dir()).collect()
}

/// Makes the staging area, 0700.
pub fn make_side(side: &Path) -> Result<()> {
    for dir in [parent(side), side] {
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                let meta = fs::symlink_metadata(dir).map_err(at(dir))?;
                if !meta.is_dir() || meta.mode() & 0o077 != 0 {
                    return Err(Error::not_ready(format_args!("{} is not as kbpack made it", shown(dir)))
                        .todo("remove it"));
                }
            }
            made => made.map_err(at(dir))?,
        }
        sync_dir(parent(dir)).map_err(at(dir))?;
    }
    Ok(())
}

/// Removes a staging area, and its folder when no other component has one there. It goes at one instant, so that
/// nobody finds half of one.
pub fn remove_side(side: &Path) -> Result<()> {
    let (Some(folder), Some(name)) = (side.parent(), side.file_name()) else { return Ok(()) };
    let dir = match Dir::open(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened.map_err(at(side))?,
    };
    // The name of a component does not begin with a dot.
    let mut gone = OsString::from(".gone-");
    gone.push(name);
    dir.remove_tree(&gone).map_err(at(side))?;
    match rustix::fs::renameat(&dir, name, &dir, gone.as_os_str()) {
        Err(rustix::io::Errno::NOENT) => {}
        renamed => renamed.map_err(|e| at(side)(e.into()))?,
    }
    dir.remove_tree(&gone).map_err(at(side))?;
    match fs::remove_dir(folder) {
        Err(e) if !matches!(e.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotFound) => {
            Err(at(side)(e))
        }
        _ => sync_dir(parent(folder)).map_err(at(side)),
    }
}
