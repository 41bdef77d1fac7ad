//! Puts the staged database in place. Each step is in the journal before it is done.

use super::act::Step;
use super::check::{digest_of, digest_of_staged};
use super::open::{self, sql, SIDE_FILES};
use super::plan::{Planned, Todo};
use super::site::resolve;
use super::stage::{edited, new_in, old_in};
use super::transfer::transfer;
use crate::base::change::{beside, make_dir, move_new};
use crate::base::digest::Digest;
use crate::base::path::{shown, ShownPath};
use crate::component::{Error, Journal, Result};
use std::io;
use std::path::Path;
use std::time::Duration;

/// Does what the plan says, but what an earlier call did.
pub fn commit(plan: &Planned, timeout: Duration, journal: &mut dyn Journal) -> Result<()> {
    stays(&plan.path)?;
    match plan.todo {
        Todo::Nothing => Ok(()),
        Todo::Place => place(plan, journal),
        Todo::Write { old, .. } => write(plan, old, timeout, journal),
        Todo::Remove { old } => remove(plan, old, timeout, journal),
    }
}

/// Refuses a path that leads elsewhere by now: another component may just have brought a symlink.
fn stays(path: &Path) -> Result<()> {
    match resolve(path)?.real == path {
        true => Ok(()),
        false => {
            Err(Error::not_ready(format_args!("{}: a symlink on it was not there at the plan", shown(path)))
                .todo(
                "import the component that has the symlink first, with --only, and look at the plan again",
            ))
        }
    }
}

fn place(plan: &Planned, journal: &mut dyn Journal) -> Result<()> {
    let new = new_in(&plan.side);
    if !new.exists() && plan.path.exists() {
        return Ok(());
    }
    for dir in plan.dirs.iter().filter(|dir| !dir.is_dir()) {
        journal.intend_step(&Step::MakeDir { path: ShownPath(dir.clone()) })?;
        make_dir(dir, 0o700).map_err(Error::at(dir))?;
    }
    let digest = digest_of_staged(&new)?;
    let step =
        Step::Place { path: ShownPath(plan.path.clone()), side: ShownPath(plan.side.clone()), new: digest };
    journal.intend_step(&step)?;
    move_new(&new, &plan.path).map_err(|e| match e.kind() {
        io::ErrorKind::AlreadyExists => edited(&plan.path),
        _ => Error::io(shown(&plan.path), e),
    })
}

fn write(plan: &Planned, old: Digest, timeout: Duration, journal: &mut dyn Journal) -> Result<()> {
    let from = new_in(&plan.side);
    let new = digest_of_staged(&from)?;
    let now = digest_of(&plan.path, timeout)?;
    if now == new {
        return Ok(());
    }
    if now != old {
        return Err(edited(&plan.path));
    }
    require_lock(&plan.path, timeout)?;
    let step = Step::Write {
        path: ShownPath(plan.path.clone()),
        side: ShownPath(plan.side.clone()),
        old,
        new,
        keep: plan.keep,
    };
    journal.intend_step(&step)?;
    transfer(&from, &plan.path, old, timeout)
}

/// That the database can be locked, before the journal says that it will be: a busy one is nothing to be undone.
fn require_lock(path: &Path, timeout: Duration) -> Result<()> {
    let connection = open::to_write(path, timeout)?;
    connection.execute_batch("BEGIN EXCLUSIVE; ROLLBACK").map_err(|e| sql(path, &e))
}

fn remove(plan: &Planned, old: Digest, timeout: Duration, journal: &mut dyn Journal) -> Result<()> {
    let aside = old_in(&plan.side);
    if plan.path.exists() {
        if digest_of(&plan.path, timeout)? != old {
            return Err(edited(&plan.path));
        }
    } else if aside.exists() {
        return move_with_side_files(&plan.path, &aside);
    }
    for dir in &plan.empties {
        journal.intend_step(&Step::Empty { path: ShownPath(dir.clone()) })?;
    }
    journal.intend_step(&Step::Remove {
        path: ShownPath(plan.path.clone()),
        side: ShownPath(plan.side.clone()),
        keep: plan.keep,
    })?;
    move_with_side_files(&plan.path, &aside)
}

/// Moves a database and what SQLite keeps beside it. The database first: what a program makes in the meantime in its place,
/// SQLite does not mix with another one's log. May run again after a kill.
pub fn move_with_side_files(from: &Path, to: &Path) -> Result<()> {
    let mut pairs = vec![(from.to_owned(), to.to_owned())];
    pairs.extend(SIDE_FILES.map(|suffix| (beside(from, suffix), beside(to, suffix))));
    for (from, to) in pairs {
        match move_new(&from, &to) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            moved => moved.map_err(Error::at(&from))?,
        }
    }
    Ok(())
}
