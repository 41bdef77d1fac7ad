//! Where a component lies on this machine, and where its staging area can be.

use super::walk::{stat_at, Kind};
use crate::base::fsx::{self, Dir};
use crate::base::path::{shown, BundlePath};
use crate::base::side::side_of;
use crate::component::{Error, Result};
use rustix::fs::{accessat, Access, AtFlags, CWD};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};

/// What is found at a component's root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Absent,
    /// A regular file.
    File,
    /// A directory.
    Dir,
}

/// A component's root, resolved.
#[derive(Debug, Clone)]
pub struct Place {
    /// The root with the symlinks above its last segment resolved.
    pub lexical: PathBuf,
    /// The root with all symlinks resolved.
    pub real: PathBuf,
    /// What is there.
    pub found: Found,
}

impl Place {
    /// The name under which a root that is a file travels: the last segment of its path, symlink or not.
    pub fn entry_name(&self) -> Result<BundlePath> {
        let name = self.lexical.file_name().unwrap_or_default();
        BundlePath::new(name.as_encoded_bytes())
            .map_err(|e| Error::usage(format_args!("the path of the file: {e}")))
    }
}

/// Finds out where `root` really is.
pub fn resolve(root: &Path) -> Result<Place> {
    let name = root.file_name();
    let above = resolve_above(root.parent().unwrap_or(root))?;
    let lexical = name.map_or_else(|| above.clone(), |name| above.join(name));
    let failed = |e: io::Error| io_at(root, e);
    let found = match std::fs::metadata(&lexical) {
        Ok(meta) if meta.is_dir() => Found::Dir,
        Ok(meta) if meta.is_file() => Found::File,
        Ok(_) => {
            return Err(Error::not_ready(format_args!(
                "{}: neither a directory nor a regular file",
                shown(root)
            )))
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => Found::Absent,
        Err(e) => return Err(failed(e)),
    };
    if found != Found::Absent {
        let real = std::fs::canonicalize(&lexical).map_err(failed)?;
        return Ok(Place { lexical, real, found });
    }
    if lexical.is_symlink() {
        return Err(Error::not_ready(format_args!("{}: a symlink to nothing", shown(root)))
            .todo("remove it, or make what it points to"));
    }
    Ok(Place { real: lexical.clone(), lexical, found })
}

/// `path` with the symlinks of the part that exists resolved.
fn resolve_above(path: &Path) -> Result<PathBuf> {
    let mut missing: Vec<&OsStr> = Vec::new();
    let mut at = path;
    loop {
        match std::fs::canonicalize(at) {
            Ok(real) => return Ok(missing.iter().rev().fold(real, |path, name| path.join(name))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(io_at(at, e)),
        }
        match (at.parent(), at.file_name()) {
            (Some(parent), Some(name)) if !at.is_symlink() => {
                missing.push(name);
                at = parent;
            }
            _ => return Err(Error::not_ready(format_args!("{}: a symlink to nothing", shown(at)))),
        }
    }
}

/// An I/O error at `path`; one that is about permissions says what to do.
pub fn io_at(path: &Path, error: io::Error) -> Error {
    if error.kind() != io::ErrorKind::PermissionDenied {
        return Error::io(shown(path), error);
    }
    Error::not_ready(format_args!("{}: this user may not read it", shown(path)))
        .todo("run kbpack as a user who may, or exclude it")
}

/// Whether this process may make and remove names in the directory `path`.
pub fn may_change(path: &Path) -> bool {
    accessat(CWD, path, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).is_ok()
}

/// Whether `path` is on a file system that takes no writing.
pub fn is_read_only(path: &Path) -> bool {
    accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS) == Err(rustix::io::Errno::ROFS)
}

/// The directory in which the staging area of the tree at `root` can be: its parent if that is on the same
/// mount (renames do not cross mounts) and may be written to, else the root itself.
pub fn side_home(root: &Path) -> PathBuf {
    let Some(parent) = root.parent() else { return root.to_owned() };
    let volume = |path: &Path| stat_at(CWD, path).ok().filter(|s| s.kind == Kind::Dir).map(|s| s.volume());
    if volume(parent).is_some() && volume(parent) == volume(root) && may_change(parent) {
        parent.to_owned()
    } else {
        root.to_owned()
    }
}

/// The staging areas that the run may have left for the component at `root`, wherever they can be.
pub fn sides_left(root: &Path, run: &str, component: &str) -> Vec<PathBuf> {
    let sides = root.ancestors().map(|home| side_of(home, run, component));
    sides.filter(|side| side.parent().is_some_and(Path::is_dir)).collect()
}

/// Removes a staging area, and its folder when no other component has one there. It goes at one instant, so
/// that no one ever finds half of one, and leaves no trace in the time of the directory that it was in.
pub fn remove_side(side: &Path) -> Result<()> {
    let failed = Error::at(side);
    let (Some(folder), Some(name)) = (side.parent(), side.file_name()) else { return Ok(()) };
    let dir = match Dir::open(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened.map_err(failed)?,
    };
    // The name of a component does not begin with a dot.
    let mut gone = OsString::from(".gone-");
    gone.push(name);
    dir.remove_tree(&gone).map_err(failed)?;
    match rustix::fs::renameat(&dir, name, &dir, gone.as_os_str()) {
        Err(rustix::io::Errno::NOENT) => {}
        renamed => renamed.map_err(|e| failed(e.into()))?,
    }
    dir.remove_tree(&gone).map_err(failed)?;
    let home = folder.parent().unwrap_or(folder);
    match fsx::keeping_time(home, || std::fs::remove_dir(folder)) {
        Err(e) if e.kind() != io::ErrorKind::DirectoryNotEmpty && e.kind() != io::ErrorKind::NotFound => {
            Err(failed(e))
        }
        _ => Ok(()),
    }
}
