//! What was edited since an import is never dropped: it stays beside its path, as `NAME.kbpack-kept-RUN`.

use super::act::{path_of, FileAct};
use super::plan::Stamp;
use super::seat::{is_unmovable, slot_stat, Seat, Slots};
use super::site::shown;
use crate::base::path::BundlePath;
use crate::component::{Error, Result};
use std::ffi::OsString;
use std::io;
use std::path::Path;

/// Bytes of a name that still leave room for a number.
const MAX_NAME: usize = 240;

/// Names for what is kept of `path`, from the plain one on to those with numbers. `slot` tells apart those that
/// have no room for the path's own name.
pub fn names(path: &BundlePath, run: &str, slot: u32) -> impl Iterator<Item = OsString> {
    let mut plain = OsString::from(path.file_name());
    plain.push(format!(".kbpack-kept-{run}"));
    if plain.len() > MAX_NAME {
        plain = format!("kbpack-kept-{run}-{slot}").into();
    }
    let numbered = plain.clone();
    std::iter::once(plain).chain((2u32..).map(move |number| {
        let mut name = numbered.clone();
        name.push(format!("-{number}"));
        name
    }))
}

/// Moves `rename` to the first name that is free. Returns that name.
pub fn to_free(
    names: impl Iterator<Item = OsString>,
    mut rename: impl FnMut(&OsString) -> io::Result<()>,
) -> io::Result<OsString> {
    for name in names {
        match rename(&name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            done => return done.map(|()| name),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Finalise: moves what is to be kept out of the staging area. May run twice.
pub fn keep(acts: &[FileAct], base: &Path, side: &Path, run: &str) -> Result<()> {
    let kept = || acts.iter().filter_map(kept_by);
    if kept().next().is_none() {
        return Ok(());
    }
    let Some(slots) = Slots::open(side)? else { return Ok(()) };
    let mut seat = Seat::open(base)?;
    for (path, slot, old) in kept() {
        for from in [&slots.new, &slots.old] {
            let there = slot_stat(from, slot).map_err(|e| Error::io(shown(side), e))?;
            if !there.is_some_and(|there| old.is(&there)) {
                continue;
            }
            let mut beside = |name: &OsString| {
                let kept = path.sibling(name).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
                seat.put(from, slot, &kept)?;
                match is_unmovable(old) {
                    true => seat.set_mode(Some(&kept), old.mode.0),
                    false => Ok(()),
                }
            };
            let done = to_free(names(path, run, slot), &mut beside);
            done.map_err(|e| seat.failed(path, e))?;
        }
    }
    seat.sync()
}

fn kept_by(act: &FileAct) -> Option<(&BundlePath, u32, &Stamp)> {
    match act {
        FileAct::Put { path, slot, old: Some(old), keep: true, .. }
        | FileAct::Remove { path, slot, old, keep: true } => Some((path, *slot, old)),
        _ => None,
    }
}

/// Finalise: removes the directories that go if nothing is in them. What others put there keeps them.
pub fn clear_empties(acts: &[FileAct]) -> Result<()> {
    for act in acts {
        let FileAct::Empty { path } = act else { continue };
        let path = path_of(path)?;
        match std::fs::remove_dir(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound && e.kind() != io::ErrorKind::DirectoryNotEmpty => {
                return Err(Error::io(shown(&path), e))
            }
            _ => {}
        }
    }
    Ok(())
}
