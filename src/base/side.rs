//! Staging areas: `<home>/.kbpack-stage-<run>/<component>`, out of everybody else's sight, on the destination's file system.

use crate::base::change::remove_empty_dir;
use crate::base::fsx::{folder_of, sync_dir, Dir};
use std::ffi::OsString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What the names of staging areas begin with.
pub const STAGE_PREFIX: &[u8] = b".kbpack-stage-";

/// The staging area of a run for one component, in the folder `home`.
pub fn side_of(home: &Path, run: &str, component: &str) -> PathBuf {
    home.join(format!(".kbpack-stage-{run}")).join(component)
}

/// Every place where a run may have left a staging area for what lies at `path`: beside it and above.
pub fn sides_left(path: &Path, run: &str, component: &str) -> Vec<PathBuf> {
    let sides = path.ancestors().skip(1).map(|home| side_of(home, run, component));
    sides.filter(|side| folder_of(side).is_dir()).collect()
}

/// The deepest folder above `path` that exists.
pub fn nearest_dir(path: &Path) -> &Path {
    let mut above = path.ancestors().skip(1);
    above.find(|dir| fs::symlink_metadata(dir).is_ok()).unwrap_or(Path::new("/"))
}

/// Makes a staging area, 0700. One that is there already must be as this made it.
pub fn make_side(side: &Path) -> io::Result<()> {
    for dir in [folder_of(side), side] {
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                let meta = fs::symlink_metadata(dir)?;
                if !meta.is_dir() || meta.mode() & 0o077 != 0 {
                    return Err(io::Error::other("it is not as kbpack made it; remove it"));
                }
            }
            made => made?,
        }
        sync_dir(folder_of(dir))?;
    }
    Ok(())
}

/// Removes a staging area, and its folder when no other component has one there. It goes at one instant, so that
/// nobody finds half of one. That nothing is there is no error.
pub fn remove_side(side: &Path) -> io::Result<()> {
    let (Some(folder), Some(name)) = (side.parent(), side.file_name()) else { return Ok(()) };
    let dir = match Dir::open(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    // The name of a component does not begin with a dot.
    let mut gone = OsString::from(".gone-");
    gone.push(name);
    dir.remove_tree(&gone)?;
    match rustix::fs::renameat(&dir, name, &dir, gone.as_os_str()) {
        Err(rustix::io::Errno::NOENT) => {}
        renamed => renamed?,
    }
    dir.remove_tree(&gone)?;
    remove_empty_dir(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_of_two_components_share_a_folder_and_go_one_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().canonicalize().unwrap();
        let (a, b) = (side_of(&home, "0123", "a"), side_of(&home, "0123", "b"));
        make_side(&a).unwrap();
        make_side(&a).unwrap();
        make_side(&b).unwrap();
        fs::write(a.join("x"), "x").unwrap();
        assert_eq!(sides_left(&home.join("deep/er"), "0123", "a"), std::slice::from_ref(&a));
        remove_side(&a).unwrap();
        remove_side(&a).unwrap();
        assert!(!a.exists() && b.exists());
        remove_side(&b).unwrap();
        assert_eq!(fs::read_dir(&home).unwrap().count(), 0);
        fs::create_dir(home.join(".kbpack-stage-0123")).unwrap();
        assert!(make_side(&a).is_err());
    }
}
