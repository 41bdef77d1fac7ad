//! What was edited since an import is never dropped: it stays beside its path, as `NAME.kbpack-kept-RUN`.

use super::act::{path_of, FileAct};
use super::plan::Stamp;
use super::seat::{is_unmovable, slot_stat, Seat, Slots};
use super::walk::Kind;
use crate::base::path::{shown, BundlePath};
use crate::component::{Error, Result, Scope};
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
///
/// A component inside of this one finalises first, and removes folders that it finds empty: what is kept here needs them.
pub fn keep(acts: &[FileAct], base: &Path, side: &Path, scope: &Scope<'_>) -> Result<()> {
    let run = scope.run;
    let kept = || acts.iter().filter_map(kept_by);
    if kept().next().is_none() {
        return Ok(());
    }
    let Some(slots) = Slots::open(side)? else { return Ok(()) };
    let (mut seat, base_was_gone) = Seat::open_or_make(base)?;
    let mut made: Vec<Option<BundlePath>> = base_was_gone.then_some(None).into_iter().collect();
    for (path, slot, old) in kept() {
        for from in [&slots.new, &slots.old] {
            let there = slot_stat(from, slot).map_err(Error::at(side))?;
            if !there.is_some_and(|there| old.is(&there)) {
                continue;
            }
            made.extend(seat.make_folders(path).map_err(|e| seat.failed(path, e))?.into_iter().map(Some));
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
    as_before(&mut seat, acts, &made, scope)?;
    seat.sync()
}

/// Gives the folders that were made again the metadata that they had.
fn as_before(
    seat: &mut Seat,
    acts: &[FileAct],
    made: &[Option<BundlePath>],
    scope: &Scope<'_>,
) -> Result<()> {
    for act in acts {
        let FileAct::Dir { path, old, .. } = act else { continue };
        if made.contains(path) {
            let owner = scope.host.is_root().then_some((old.uid, old.gid));
            let set = seat.set_meta(path.as_ref(), Kind::Dir, old, owner);
            set.map_err(|e| Error::io("a folder that holds what is kept", e))?;
        }
    }
    Ok(())
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
