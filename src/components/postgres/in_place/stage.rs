//! The transaction, up to its commit.
//!
//! 1. The old things go aside. 2. Definitions without what rows must not meet yet. 3. Rows. 4. The archive's own data
//!    (sequences), large objects, then indexes, constraints, triggers and privileges. 5. Statistics. 6. What came is written
//!    down, and both ways out are tried: back to the old things, and on without them.

use super::super::error::failed;
use super::super::facts;
use super::super::large_objects;
use super::super::pgpass::PrivateFile;
use super::super::properties;
use super::super::roles;
use super::super::stage::{archive as read_archive, objects_of};
use super::load::{analyze, Load};
use super::marker::Marker;
use super::plan::Target;
use super::session::{begin, open, until_interrupted, Tried, Trouble};
use super::{administer, archive, aside, inventory, ties, verify, Held, Open};
use crate::base::interrupt;
use crate::component::{CheckResult, Error, Result, Scope, StreamSource};
use postgres::Client;
use std::sync::PoisonError;

/// How long a lock on somebody else's thing is waited for while we hold ours.
const LOCK_WAIT: &str = "SET LOCAL lock_timeout = '10s'";
/// Settings that decide what values look like as text, after scripts that have their own: what `connect` pins, and no more.
const PINNED: &str =
    "SET LOCAL search_path = ''; SET LOCAL xmloption = content; SET LOCAL row_security = off; \
    SET LOCAL client_min_messages = warning";

/// Does all but the commit.
pub fn stage(
    target: &Target,
    place: &super::Place,
    held: &Held,
    scope: &Scope<'_>,
    streams: &dyn StreamSource,
) -> Result<()> {
    scope.progress.expect(streams.list().iter().map(|info| info.size).sum());
    if !target.missing_roles.is_empty() {
        let made = roles::passwords(&place.login, &place.database, &target.missing_roles, scope.logins)?;
        properties::create_roles(&mut administer(place)?, &made, scope.run)?;
    }
    let mut session = open(&target.login, &target.name, scope.run)?;
    let marker = Marker::new(&target.home, scope.run);
    let came = until_interrupted(&target.login, &target.name, &mut session, |session| {
        build(session, target, &marker, scope, streams)
    });
    match came {
        Ok(came) => {
            *held.lock().unwrap_or_else(PoisonError::into_inner) = Some(Open { session, marker, came });
            Ok(())
        }
        Err(error) => {
            // Whatever it was: nothing of it stays. A session that is lost has rolled back by itself.
            let _ = session.batch_execute("ROLLBACK");
            Err(error)
        }
    }
}

fn build(
    session: &mut Client,
    target: &Target,
    marker: &Marker,
    scope: &Scope<'_>,
    streams: &dyn StreamSource,
) -> Result<Vec<inventory::Object>> {
    // 1.
    let objects = objects_of(&target.rows);
    let what = format!("putting the content of database {} aside", target.name);
    let wanted = |schema: &str| target.schemas.contains(schema);
    begin(session, &what, |session| {
        interrupt::check().map_err(Error::of)?;
        aside::put_aside(session, marker, &target.old, &objects, &wanted)
    })?;
    let sql = |session: &mut Client, what: &str, text: &str| {
        session.batch_execute(text).map_err(|e| failed(what, &e))
    };
    sql(session, "the transaction", LOCK_WAIT)?;
    let row = session.query_one("SELECT pg_catalog.txid_current()", &[]);
    let transaction: i64 = row.map_err(|e| failed("the transaction", &e))?.get(0);
    let before = aside::Before::look(session)?;

    // 2.
    let encoding = target.database.encoding.as_str();
    let file = read_archive(streams, &|n| scope.progress.advance(n))?;
    let list = archive::entries(&target.tool, &file)?;
    let private = PrivateFile::create(&target.login, &target.name)?;
    let restore = |session: &mut Client, section: &str| {
        let name = format!("--section={section}");
        let mut args = vec![name.as_str()];
        args.extend(target.options.no_owner.then_some("--no-owner"));
        args.extend(target.options.no_acl.then_some("--no-acl"));
        args.extend(target.no_tablespaces.then_some("--no-tablespaces"));
        let script =
            archive::statements(&target.tool, &file, &list, &target.left_out, &private, encoding, &args)?;
        sql(session, &format!("the {section} definitions"), &script)?;
        archive::still_in(session, transaction)?;
        sql(session, "the session", PINNED)
    };
    restore(session, "pre-data")?;

    // 3.
    let search_path = facts::search_path(&target.database.settings);
    Load { encoding, search_path, scope, streams }.run(session, &target.rows)?;

    // 4.
    restore(session, "data")?;
    let (owners, acls) = (!target.options.no_owner, !target.options.no_acl);
    large_objects::restore(session, &objects, streams, (owners, acls))?;
    restore(session, "post-data")?;
    sql(session, "the constraints", "SET CONSTRAINTS ALL IMMEDIATE")?;

    // 5.
    analyze(session, &target.rows)?;

    // 6.
    let came = aside::note_new(session, marker, &before)?;
    let fixed = ties::fixed(session)?;
    if !fixed.is_empty() {
        return Err(super::plan::cannot_go_aside(&target.name, &fixed));
    }
    rehearse(session, |session| aside::let_go(session, marker))?;
    rehearse(session, |session| aside::take_back(session, marker))?;
    archive::still_in(session, transaction)?;
    Ok(came)
}

/// Does `way`, which must work, and takes it back.
fn rehearse<T>(session: &mut Client, way: impl FnOnce(&mut Client) -> Tried<T>) -> Result<()> {
    let sql = |session: &mut Client, text: &str| {
        session.batch_execute(text).map_err(|e| failed("trying what comes after the commit", &e))
    };
    sql(session, "SAVEPOINT rehearsal")?;
    match way(session) {
        Ok(_) => sql(session, "ROLLBACK TO SAVEPOINT rehearsal; RELEASE SAVEPOINT rehearsal"),
        Err(Trouble::Error(error)) => Err(error),
        Err(Trouble::Busy) => Err(Error::not_ready("somebody holds a lock on what is to be replaced")
            .todo("end the transactions that are open in the database, and run it again")),
    }
}

/// Compares what the transaction holds with what was counted on the source.
pub fn check_staged(target: &Target, held: &Held) -> Result<Vec<CheckResult>> {
    let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
    match held.as_mut() {
        None => Ok(Vec::new()),
        Some(Open { session, came, .. }) => {
            until_interrupted(&target.login, &target.name, session, |session| {
                verify::staged(session, target, came)
            })
        }
    }
}
