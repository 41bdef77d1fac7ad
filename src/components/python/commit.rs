//! Puts the staged environment in place. Each step is in the journal before it is done.

use super::act::Step;
use super::plan::{stays, Planned, Todo};
use super::site::fingerprint;
use super::stage::{new_in, old_in, staged_print};
use crate::base::change::{exists, make_dir, move_new};
use crate::base::digest::Digest;
use crate::base::path::{shown, ShownPath};
use crate::component::{Error, Journal, Result};
use rustix::fs::{renameat_with, RenameFlags, CWD};
use rustix::io::Errno;
use std::io;
use std::path::Path;

/// How far a `Put` came: where things are says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// Nothing was done.
    Before,
    /// The two were exchanged: the old one is where the new one was.
    Exchanged,
    /// The old one is away, and the new one is not there yet.
    Between,
    /// The new one is in place.
    Done,
}

impl Position {
    /// Looks. `new` is the fingerprint of the new one.
    pub fn of(side: &Path, path: &Path, new: Digest) -> Result<Position> {
        let print = fingerprint(&new_in(side, path))?;
        Ok(match print {
            None => Position::Done,
            Some(print) if print != new => Position::Exchanged,
            Some(_) if exists(&old_in(side, path)) => Position::Between,
            Some(_) => Position::Before,
        })
    }
}

/// Does what the plan says, but what an earlier call did.
pub fn commit(plan: &Planned, journal: &mut dyn Journal) -> Result<()> {
    if matches!(plan.todo, Todo::Nothing) {
        return Ok(());
    }
    stays(&plan.path)?;
    match plan.todo {
        Todo::Remove => remove(plan, journal),
        _ => put(plan, journal),
    }
}

/// Something changed what is there after it was planned.
fn edited(path: &Path) -> Error {
    Error::not_ready(format_args!("{}: something changed it since the plan", shown(path)))
        .todo("import again")
}

fn put(plan: &Planned, journal: &mut dyn Journal) -> Result<()> {
    let (new, old) = (new_in(&plan.side, &plan.path), old_in(&plan.side, &plan.path));
    let print = staged_print(&plan.side)?;
    match Position::of(&plan.side, &plan.path, print)? {
        Position::Before => {}
        Position::Exchanged => return rename(&new, &old),
        Position::Between => return rename(&new, &plan.path),
        Position::Done => return Ok(()),
    }
    if fingerprint(&plan.path)? != plan.seen {
        return Err(edited(&plan.path));
    }
    for dir in plan.dirs.iter().filter(|dir| !dir.is_dir()) {
        journal.intend_step(&Step::MakeDir { path: ShownPath(dir.clone()) })?;
        make_dir(dir, 0o755).map_err(Error::at(dir))?;
    }
    let (path, side) = (ShownPath(plan.path.clone()), ShownPath(plan.side.clone()));
    let was = plan.seen.is_some();
    journal.intend_step(&Step::Put { path, side, was, new: print, keep: plan.keep })?;
    if !was {
        return rename(&new, &plan.path);
    }
    // At one instant, where the file system can: programs find the old one or the new one.
    match renameat_with(CWD, &new, CWD, &plan.path, RenameFlags::EXCHANGE) {
        Ok(()) => rename(&new, &old),
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            rename(&plan.path, &old)?;
            rename(&new, &plan.path)
        }
        Err(e) => Err(Error::at(&plan.path)(e.into())),
    }
}

fn remove(plan: &Planned, journal: &mut dyn Journal) -> Result<()> {
    let old = old_in(&plan.side, &plan.path);
    if !exists(&plan.path) && exists(&old) {
        return Ok(());
    }
    if fingerprint(&plan.path)? != plan.seen {
        return Err(edited(&plan.path));
    }
    for dir in &plan.empties {
        journal.intend_step(&Step::Empty { path: ShownPath(dir.clone()) })?;
    }
    let (path, side) = (ShownPath(plan.path.clone()), ShownPath(plan.side.clone()));
    journal.intend_step(&Step::Remove { path, side, keep: plan.keep })?;
    rename(&plan.path, &old)
}

/// Moves something to a name that is free, and puts that on disk.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    move_new(from, to).map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => edited(to),
        _ => Error::at(to)(e),
    })
}
