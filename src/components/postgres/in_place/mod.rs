//! `mode = "in-place"`: what a role owns in a database is replaced where it is, for a role that may not make databases.
//!
//! [`mod@plan`] looks: what is missing ([`rights`]), what is in the way ([`obstacles`]), what [`stays`]. [`session`] opens one transaction in the live database and keeps it; in it, [`aside`] gives the old things
//! ([`inventory`], [`objects`], [`defaults`]) other names, definitions come out of the [`archive`], [`load`] brings the rows,
//! [`verify`] compares. The [`marker`] that the transaction leaves is there if it was committed, and not if it was not; the journal's
//! [`act`] only says that somebody was about to. The old things go when the import is final. Nobody else sees any of it
//! before the commit, but whoever uses what is replaced waits for it.

mod act;
mod archive;
mod aside;
mod defaults;
mod inventory;
mod load;
mod marker;
mod objects;
mod obstacles;
mod plan;
mod rights;
mod session;
mod stage;
mod stays;
mod ties;
mod verify;

use super::address::Login;
use super::connect::connect;
use super::error::failed;
use super::facts::Roles;
use super::verify::result;
use super::{pgpass, properties, Place};
use crate::base::fault::Fault;
use crate::component::{CheckResult, Error, Finding, Journal, Result};
use inventory::Object;
use marker::Marker;
use postgres::Client;
use std::sync::{Mutex, PoisonError};

pub use act::describe;
pub use plan::{plan, Target};
pub use stage::{check_staged, stage};

/// The transaction that waits for its commit.
pub struct Open {
    session: Client,
    marker: Marker,
    /// What came.
    came: Vec<Object>,
}

/// Where it waits.
pub type Held = Mutex<Option<Open>>;

fn take(held: &Held) -> Option<Open> {
    held.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Commits what was staged.
pub fn commit(target: &Target, held: &Held, journal: &mut dyn Journal) -> Result<()> {
    let Some(Open { mut session, marker, .. }) = take(held) else {
        let mut session = connect(&target.login, &target.name)?;
        return match Marker::find(&mut session, &target.run)? {
            Some(_) => Ok(()), // a second time
            None => Err(Error::new(Fault::Unexpected, "nothing is staged that could be put in place")),
        };
    };
    journal.intend(&[act::Replace::act(&target.name, &target.run, target.old.len())?])?;
    let what = || format!("replacing the content of database {}", target.name);
    session.batch_execute("COMMIT").map_err(|e| failed(what(), &e))?;
    // A COMMIT of a transaction that has failed is no error for the server.
    match Marker::find(&mut session, marker.run())? {
        Some(_) => Ok(()),
        None => Err(Error::new(Fault::Unexpected, format_args!("{}: it was not committed", what()))),
    }
}

/// Takes back what the run did, if it was committed; ends its transaction, if it was not.
pub fn undo(place: &Place, held: &Held, roles: Roles, run: &str) -> Result<Vec<Finding>> {
    pgpass::sweep();
    if let Some(Open { mut session, .. }) = take(held) {
        // A session that is lost has rolled back by itself.
        let _ = session.batch_execute("ROLLBACK");
    }
    let mut session = session::open(&place.login, &place.database, run)?;
    session::end_others(&mut session, run)?;
    let mut findings = Vec::new();
    if let Some(marker) = Marker::find(&mut session, run)? {
        let what = format!("bringing back the content of database {}", place.database);
        findings = session::begin(&mut session, &what, |session| aside::take_back(session, &marker))?;
        session.batch_execute("COMMIT").map_err(|e| failed(what, &e))?;
    }
    settle_roles(place, roles, run, false)?;
    Ok(findings)
}

/// Drops what was replaced.
pub fn finalise(place: &Place, roles: Roles, run: &str) -> Result<()> {
    let mut session = session::open(&place.login, &place.database, run)?;
    if let Some(marker) = Marker::find(&mut session, run)? {
        let what = format!("dropping the old content of database {}", place.database);
        session::begin(&mut session, &what, |session| aside::let_go(session, &marker))?;
        session.batch_execute("COMMIT").map_err(|e| failed(what, &e))?;
    }
    settle_roles(place, roles, run, true)
}

/// Roles that the run made, if it was to make any, go or stay.
fn settle_roles(place: &Place, roles: Roles, run: &str, stay: bool) -> Result<()> {
    match roles {
        Roles::Refuse | Roles::Map => Ok(()),
        Roles::Create => properties::settle_roles(&mut administer(place)?, run, stay),
    }
}

/// A session for making roles: the administrator's, if one is named, in the database that is there.
fn administer(place: &Place) -> Result<Client> {
    let (login, named): (&Login, _) = (&place.admin.0, place.admin.1.as_deref());
    connect(login, named.unwrap_or(&place.database))
}

/// Whether what was staged is in place, and the user gets in.
pub fn in_place(target: &Target) -> Result<Vec<CheckResult>> {
    let logs_in = format!("{} logs in", target.login.user);
    let mut session = match connect(&target.login, &target.name) {
        Ok(session) => session,
        Err(error) => return Ok(vec![result(&logs_in, Some(error.to_string()))]),
    };
    let committed = Marker::find(&mut session, &target.run)?;
    let failure = committed.is_none().then(|| "it is not what was restored".to_owned());
    Ok(vec![result("the content is the restored one", failure), result(&logs_in, None)])
}

/// What is there, as it is, against what was counted on the source. Definitions are not compared.
pub fn live(target: &Target) -> Result<Vec<CheckResult>> {
    let mut session = connect(&target.login, &target.name)?;
    let of = |e| failed(format_args!("database {}", target.name), &e);
    session.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").map_err(of)?;
    let results = verify::staged(&mut session, target, &target.old)?;
    session.batch_execute("ROLLBACK").map_err(of)?;
    Ok(results)
}
