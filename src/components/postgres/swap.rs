//! Target: the side database takes the live one's name, by renames in one transaction; and back.
//!
//! A rename needs a database without sessions. While it waits for that it holds a lock that keeps new sessions out, so
//! a second session of ours ends the old ones meanwhile: clients that reconnect all the time do not win.
//!
//! An undo loses nothing: what somebody wrote to the new database keeps that database, under a name of its own.

use super::connect::{database_name, database_oid};
use super::error::{code_of, failed};
use super::pgpass;
use super::plan::Target;
use super::properties;
use super::quote::ident;
use super::subscriptions;
use super::written::{self, Mark, Written};
use super::Place;
use crate::base::fault::Fault;
use crate::component::{Act, Error, Finding, Journal, Result, Severity};
use postgres::Client;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// How often a rename is tried; the server itself waits 5 seconds each time.
const ATTEMPTS: u32 = 6;
const NAP: Duration = Duration::from_millis(50);

/// What a run calls its databases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The new one, before the swap.
    pub side: String,
    /// The old one, after it.
    pub old: String,
    /// The new one, after an undo, if it was written to.
    pub kept: String,
}

impl Names {
    /// Of the run `run`, for the database called `name`. The name is cut so that 63 bytes hold.
    pub fn new(name: &str, run: &str) -> Names {
        let called = |what: &str| {
            let mut full = format!("kbpack_{what}_{run}_{name}");
            while full.len() > super::facts::MAX_NAME {
                full.pop();
            }
            full
        };
        Names { side: called("new"), old: called("old"), kept: called("kept") }
    }
}

/// What a commit writes into the journal before it acts. Databases are known by their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case", deny_unknown_fields)]
enum SwapAct {
    /// `live`, if it is there, is then called `old`; `side`, if there is one, `name`.
    Swap {
        name: String,
        live: Option<u32>,
        side: Option<u32>,
        side_name: String,
        old: String,
        /// What the server counted for `side`, before anybody could use it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mark: Option<Mark>,
        /// The comment that `side` has in the end. Where there was no old database, another one says until then that
        /// the import is not final.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        comment: Option<String>,
        /// Whether `side` is the old database, which was kept: an undo gives it its name back.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        kept: bool,
    },
}

impl SwapAct {
    fn read(act: &Act) -> Result<SwapAct> {
        let bad = |e| Error::new(Fault::Unexpected, format_args!("the journal: {e}"));
        SwapAct::deserialize(&act.0).map_err(bad)
    }
}

/// What an act does, in words.
pub fn describe(act: &Act) -> String {
    act.describe(|SwapAct::Swap { name, live, side, old, .. }| match (live, side) {
        (None, _) => format!("put the new database {name} in place"),
        (_, None) => format!("call the database {name} {old}"),
        _ => format!("call the database {name} {old}, and put the new one in its place"),
    })
}

/// Renames.
pub fn commit(target: &Target, run: &str, journal: &mut dyn Journal) -> Result<()> {
    if target.stays {
        return Ok(());
    }
    let mut admin = target.place.administer()?;
    let (name, names) = (&target.place.database, &target.names);
    let side = database_oid(&mut admin, &names.side)?;
    let live = database_oid(&mut admin, name)?;
    let mut renames = Vec::new();
    if target.new.is_some() && side.is_none() || target.new.is_none() && live.is_none() {
        return Ok(()); // a second time
    }
    if live != target.live {
        return Err(Error::not_ready(format_args!(
            "database {name} was made, dropped or renamed since the plan"
        ))
        .todo("run the import again"));
    }
    // Whoever may not look there leaves it open whether it was written to.
    let logins = [Some(&target.place.admin.0), target.new.as_ref().map(|new| &new.restorer)];
    let looks = logins.into_iter().flatten().map(|login| written::mark(login, &names.side));
    let mark = side.and_then(|_| looks.filter_map(Result::ok).next().flatten());
    let act = SwapAct::Swap {
        name: name.clone(),
        live,
        side,
        side_name: names.side.clone(),
        old: names.old.clone(),
        mark,
        comment: target.new.as_ref().and_then(|new| new.database.comment.clone()),
        kept: target.kept,
    };
    journal.intend_step(&act)?;
    if let Some(oid) = live {
        renames.push((oid, name.clone(), names.old.clone()));
    }
    let mut last = Vec::new();
    if let (Some(oid), Some(new)) = (side, &target.new) {
        renames.push((oid, names.side.clone(), name.clone()));
        last.push(properties::limit(name, &new.database));
        if live.is_none() {
            last.push(properties::comment(name, Some(&properties::not_final(run))));
        }
    }
    rename(&target.place, &mut admin, &renames, last)
}

/// Takes the renames back, by the databases' numbers, and drops the new one, unless it was written to.
pub fn undo(place: &Place, run: &str, acts: &[Act]) -> Result<Vec<Finding>> {
    pgpass::sweep();
    let mut admin = place.administer()?;
    let names = Names::new(&place.database, run);
    let mut findings = Vec::new();
    for act in acts.iter().rev() {
        let SwapAct::Swap { name, live, side, side_name, mark, comment, kept: was_kept, .. } =
            SwapAct::read(act)?;
        let called = |admin: &mut Client, oid: Option<u32>| match oid {
            None => Ok(None),
            Some(oid) => database_name(admin, oid),
        };
        let (side_is, live_is) = (called(&mut admin, side)?, called(&mut admin, live)?);
        let (mut renames, mut last) = (Vec::new(), Vec::new());
        if let (Some(oid), Some(is)) = (side, side_is.filter(|is| *is == name)) {
            if live.is_none() && properties::comment_of(&mut admin, oid)? == comment {
                return Err(Error::new(
                    Fault::Unexpected,
                    format_args!("the import of database {name} is final"),
                )
                .todo("use `kbpack rollback`"));
            }
            if was_kept {
                last.push(properties::comment(&side_name, comment.as_deref()));
                renames.push((oid, is, side_name));
            } else {
                // Under a name of its own before it is looked at: a kill in between leaves it to the next undo.
                renames.push((oid, is, names.kept.clone()));
            }
        }
        match (live, live_is) {
            (Some(oid), Some(is)) if is != name => renames.push((oid, is, name.clone())),
            (Some(_), None) => {
                return Err(Error::new(Fault::Unexpected, format_args!("the old database {name} is gone"))
                    .todo("restore it from a backup"))
            }
            _ => {}
        }
        rename(place, &mut admin, &renames, last)?;
        if called(&mut admin, side)?.is_some_and(|is| is == names.kept) {
            match written::since(&place.admin.0, &names.kept, mark.as_ref()) {
                Written::No => {
                    subscriptions::forget(place, &names.kept)?;
                    drop_database(&mut admin, &names.kept)?;
                }
                written => findings.push(kept(&name, &names.kept, written)),
            }
        }
    }
    if database_oid(&mut admin, &names.side)?.is_some() {
        subscriptions::forget(place, &names.side)?;
    }
    drop_database(&mut admin, &names.side)?;
    // The database that is kept has need of its roles.
    properties::settle_roles(&mut admin, run, !findings.is_empty())?;
    // Each act found the same one.
    findings.truncate(1);
    Ok(findings)
}

/// A finding: the new database was not dropped.
fn kept(name: &str, kept: &str, written: Written) -> Finding {
    let what = match written {
        Written::Unknown => {
            format!("whether database {name} was written to after it was put in place cannot be told, so it is kept as {kept}")
        }
        _ => format!("database {name} was written to after it was put in place, so it is kept as {kept}"),
    };
    Finding::new(Severity::Warning, what)
        .todo(format_args!("take what you need from it, and then: DROP DATABASE {};", ident(kept)))
}

/// Drops the old database, unless it is to stay.
pub fn finalise(place: &Place, keep_previous: bool, run: &str, acts: &[Act]) -> Result<()> {
    let mut admin = place.administer()?;
    for act in acts {
        let SwapAct::Swap { name, live, side, old, comment, .. } = SwapAct::read(act)?;
        match (live, side) {
            // Only under the name that we gave it: whoever renamed it since wants it.
            (Some(oid), _) if database_name(&mut admin, oid)?.as_ref() == Some(&old) && !keep_previous => {
                drop_database(&mut admin, &old)?;
            }
            (None, Some(oid))
                if properties::comment_of(&mut admin, oid)? == Some(properties::not_final(run)) =>
            {
                let sql = properties::comment(&name, comment.as_deref());
                admin
                    .batch_execute(&sql)
                    .map_err(|e| failed(format_args!("the comment on database {name}"), &e))?;
            }
            _ => {}
        }
    }
    properties::settle_roles(&mut admin, run, true)
}

/// Drops the database called `name`, if there is one, and ends its sessions.
pub fn drop_database(admin: &mut Client, name: &str) -> Result<()> {
    let Some(oid) = database_oid(admin, name)? else { return Ok(()) };
    for attempt in 1.. {
        terminate(admin, &[oid])?;
        match admin.batch_execute(&format!("DROP DATABASE IF EXISTS {}", ident(name))) {
            Ok(()) => break,
            Err(error) if code_of(&error) == "55006" && attempt < ATTEMPTS => {}
            Err(error) => return Err(failed(format_args!("dropping database {name}"), &error)),
        }
    }
    Ok(())
}

/// All of `renames` (number, from, to) in one transaction, with more statements at its end.
fn rename(
    place: &Place,
    admin: &mut Client,
    renames: &[(u32, String, String)],
    last: Vec<String>,
) -> Result<()> {
    if renames.is_empty() {
        return Ok(());
    }
    let statements =
        renames.iter().map(|(_, from, to)| format!("ALTER DATABASE {} RENAME TO {}", ident(from), ident(to)));
    let statements: Vec<String> = statements.chain(last).collect();
    // What was staged without waiting for the disk is on it when this is, whatever the server does by itself.
    let sql = format!("BEGIN; SET LOCAL synchronous_commit = on; {}; COMMIT", statements.join("; "));
    let oids: Vec<u32> = renames.iter().map(|(oid, ..)| *oid).collect();
    let mut other = place.administer()?;
    let done = AtomicBool::new(false);
    let place = format!("renaming database {}", renames[0].1);
    thread::scope(|scope| {
        let ending = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                terminate(&mut other, &oids)?;
                thread::park_timeout(NAP);
            }
            Ok(())
        });
        let mut renamed = Ok(());
        for attempt in 1..=ATTEMPTS {
            renamed = admin.batch_execute(&sql);
            let Err(error) = &renamed else { break };
            let busy = code_of(error) == "55006";
            // A failed statement leaves the transaction open, and failed.
            let _ = admin.batch_execute("ROLLBACK");
            if !busy || attempt == ATTEMPTS {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
        ending.thread().unpark();
        let ended =
            ending.join().unwrap_or_else(|_| Err(Error::new(Fault::Unexpected, "a worker thread panicked")));
        match renamed {
            Ok(()) => Ok(()),
            // Why sessions could not be ended is the better reason.
            Err(error) => ended.and(Err(failed(place, &error))),
        }
    })
}

/// Ends the sessions in the database called `name`.
pub fn end_sessions(place: &Place, name: &str) -> Result<()> {
    let mut admin = place.administer()?;
    let oid = database_oid(&mut admin, name)?;
    terminate(&mut admin, oid.as_slice())
}

fn terminate(admin: &mut Client, oids: &[u32]) -> Result<()> {
    let sql =
        "SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(pid)) FROM pg_catalog.pg_stat_activity \
        WHERE datid = ANY($1) AND pid <> pg_catalog.pg_backend_pid() AND backend_type = 'client backend'";
    admin.query(sql, &[&oids]).map(|_| ()).map_err(|e| failed("ending the database's sessions", &e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_hold_63_bytes_and_the_run() {
        let run = "0123456789abcdef";
        let names = Names::new(&"é".repeat(31), run);
        assert!(names.side.len() <= 63 && names.side.starts_with("kbpack_new_0123456789abcdef_é"));
        assert_ne!(names.side, names.old);
        assert_eq!(Names::new("d", run).old, "kbpack_old_0123456789abcdef_d");
    }
}
