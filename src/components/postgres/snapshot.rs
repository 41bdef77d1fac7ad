//! One snapshot for all: a session that exports it and holds the tables, and sessions that look through it.
//!
//! A TRUNCATE or a rewrite between the snapshot and a COPY would silently give no rows: whoever copies a table holds a
//! lock on it, and has compared the table's file in the snapshot with the one it has now.

use super::address::Login;
use super::catalog::{self, Relation};
use super::connect::{connect, connect_reader, is_standby, server_version};
use super::error::{code_of, failed};
use super::quote;
use crate::base::interrupt;
use crate::base::libpq::reader::Reader;
use crate::component::{Error, Result};
use postgres::Client;
use std::thread::sleep;
use std::time::Duration;

/// Locks that are taken before anything is copied, on the largest tables. More would fill the server's table of locks,
/// so whoever copies a smaller table locks it then.
const LOCKS_AHEAD: usize = 2000;
/// How often it is tried anew where tables are locked, or written anew, by others.
pub const ATTEMPTS: u32 = 60;
/// Tables without pages that one transaction opens.
const OPENED_AT_ONCE: usize = 200;
const NAP: Duration = Duration::from_millis(500);

/// The minor release of each major that hands on the snapshots of a standby as they are. Those before it (release notes of
/// 15.20) have others see other rows through them, and do lasting harm to the standby.
const STANDBY_SHARES_SINCE: &[(u32, u32)] = &[(14, 25), (15, 20), (16, 16), (17, 12), (18, 7)];

const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// A snapshot, and the tables in it. It lasts as long as this value.
pub struct Snapshot {
    /// The session that exports it. Its transaction is open: catalogs are read here.
    pub session: Client,
    /// The snapshot's name, for others.
    pub id: String,
    /// Every table whose rows are to be moved, the largest first.
    pub tables: Vec<Relation>,
    /// Sessions that look through the snapshot.
    pub readers: Vec<Reader>,
    /// So many of `tables`, from the first one, are held by each of the readers.
    pub held: usize,
}

/// Takes a snapshot with so many readers, and holds its largest tables so that none will be written anew. `None`, after
/// a nap, if one was in between: try again. `own_only`: as if there were no tables but those of the role.
///
/// Every reader holds them for itself: behind somebody who waits for a table alone, even another reader would wait.
pub fn take(login: &Login, database: &str, readers: usize, own_only: bool) -> Result<Option<Snapshot>> {
    interrupt::check().map_err(Error::of)?;
    let mut session = connect(login, database)?;
    can_share(&mut session)?;
    session.batch_execute(BEGIN).map_err(|e| failed("a snapshot", &e))?;
    let row = session.query_one("SELECT pg_catalog.pg_export_snapshot()", &[]);
    let id: String = row.map_err(|e| failed("a snapshot", &e))?.get(0);
    let mut tables = catalog::tables(&mut session)?;
    if own_only {
        let others = catalog::of_others(&mut session)?;
        tables.retain(|table| !others.contains(&(table.schema.clone(), table.name.clone())));
    }
    let empty = tables.iter().position(Relation::without_pages).unwrap_or(tables.len());
    let held = empty.min(LOCKS_AHEAD / readers.max(1));
    let mut sessions: Vec<Reader> =
        (0..readers).map(|_| connect_reader(login, database)).collect::<Result<_>>()?;
    let mut undisturbed = true;
    if let Some(first) = sessions.first_mut() {
        // A table without pages is neither held nor read: if it has the file still that the snapshot knows, then that is
        // the one whose size was asked, and there is no row in it. Only a session without a transaction hears of changes.
        // Each is opened, for one whose file was lost has no pages either.
        undisturbed = opened(first, &tables[empty..])? && !changed(first, &tables[empty..])?;
    }
    for reader in &mut sessions {
        follow(reader, &id)?;
        undisturbed = undisturbed && hold(reader, &tables[..held])?;
    }
    if !undisturbed {
        nap();
        return Ok(None);
    }
    Ok(Some(Snapshot { session, id, tables, readers: sessions, held }))
}

/// An error if the server is a standby that does not hand on its snapshots as they are.
pub fn can_share(session: &mut Client) -> Result<()> {
    let version = server_version(session)?;
    match version.lacks(STANDBY_SHARES_SINCE) {
        Some(mended) if is_standby(session)? => {
            let what = format!("the server is a standby of version {version}, which gives several sessions different rows of one moment");
            Err(Error::not_ready(what)
                .todo(format_args!("export from the primary, or update the standby to {mended}")))
        }
        _ => Ok(()),
    }
}

/// Waits a little before the next try.
pub fn nap() {
    sleep(NAP);
}

/// Lets a session look through the snapshot `id`.
fn follow(session: &mut Reader, id: &str) -> Result<()> {
    let begin = format!("{BEGIN}; SET TRANSACTION SNAPSHOT {}", quote::literal(id));
    session.batch_execute(&begin).map_err(|e| failed("the snapshot", &e))
}

/// Gives a reader's locks back: a new transaction in the same snapshot.
pub fn renew(session: &mut Reader, id: &str) -> Result<()> {
    session.batch_execute("COMMIT").map_err(|e| failed("the snapshot", &e))?;
    follow(session, id)
}

/// Locks one table for a COPY in this session, and makes sure that what is copied is what the snapshot has.
pub fn hold_one(session: &mut Reader, table: &Relation) -> Result<()> {
    for _ in 0..ATTEMPTS {
        interrupt::check().map_err(Error::of)?;
        session.batch_execute("SAVEPOINT held").map_err(|e| failed("the snapshot", &e))?;
        if hold(session, std::slice::from_ref(table))? {
            return session.batch_execute("RELEASE SAVEPOINT held").map_err(|e| failed("the snapshot", &e));
        }
        session
            .batch_execute("ROLLBACK TO SAVEPOINT held; RELEASE SAVEPOINT held")
            .map_err(|e| failed("the snapshot", &e))?;
        nap();
    }
    Err(busy(format_args!("table {} is locked, or was written anew since the export began", table.sql())))
}

/// The error where it never worked.
pub fn busy(what: impl std::fmt::Display) -> Error {
    Error::not_ready(what)
        .todo("wait for TRUNCATE, VACUUM FULL, CLUSTER and changes of tables to end, and run it again")
}

/// Locks `tables` against rewrites. False, in a failed or useless transaction, if one is locked by somebody, or is not
/// what it was in the snapshot.
fn hold(session: &mut Reader, tables: &[Relation]) -> Result<bool> {
    if tables.is_empty() {
        return Ok(true);
    }
    let names: Vec<String> = tables.iter().map(|table| format!("ONLY {}", table.sql())).collect();
    let lock = format!("LOCK TABLE {} IN ACCESS SHARE MODE NOWAIT", names.join(", "));
    match session.batch_execute(&lock) {
        Ok(()) => {}
        // Locked by somebody; gone or another thing under its name; its schema gone.
        Err(error) if matches!(code_of(&error), "55P03" | "42P01" | "42809" | "3F000") => return Ok(false),
        Err(error) => return Err(failed("locking the tables", &error)),
    }
    Ok(!changed(session, tables)?)
}

/// Has the server open the files of `tables`, some at a time, for each takes a lock. False if one is locked by somebody, or
/// gone; an error if its file cannot be opened, or the role may not read it.
fn opened(session: &mut Reader, tables: &[Relation]) -> Result<bool> {
    for some in tables.chunks(OPENED_AT_ONCE) {
        interrupt::check().map_err(Error::of)?;
        // Planning asks the file for its length; no row is read.
        let each = some.iter().map(|table| format!("SELECT FROM ONLY {} LIMIT 0;", table.sql()));
        let sql =
            format!("BEGIN READ ONLY; SET LOCAL lock_timeout = '1s'; {} ROLLBACK", each.collect::<String>());
        match session.batch_execute(&sql) {
            Ok(()) => {}
            Err(error) if matches!(code_of(&error), "55P03" | "42P01" | "42809" | "3F000") => {
                session.batch_execute("ROLLBACK").map_err(|e| failed("the snapshot", &e))?;
                return Ok(false);
            }
            Err(error) => return Err(failed("opening the tables that seem to be empty", &error)),
        }
    }
    Ok(true)
}

/// Whether one of `tables` is not what it was in the snapshot: its rows are in another file, or its name is another's. In a
/// session that has just begun its transaction, or locked them: else it may not have heard yet.
fn changed(session: &mut Reader, tables: &[Relation]) -> Result<bool> {
    let names: Vec<String> = tables.iter().map(Relation::sql).collect();
    let oids: Vec<u32> = tables.iter().map(|table| table.oid).collect();
    let files: Vec<u32> = tables.iter().map(|table| table.file).collect();
    // The functions look at what is now; what they are compared with is the snapshot's.
    let sql = "SELECT pg_catalog.count(*) FROM unnest($1::oid[], $2::oid[], $3::text[]) t(oid, file, name) \
        WHERE pg_catalog.pg_relation_filenode(t.oid) IS DISTINCT FROM t.file \
        OR pg_catalog.to_regclass(t.name)::oid IS DISTINCT FROM t.oid";
    let changed: i64 = session
        .query_one(sql, &[&oids, &files, &names])
        .map_err(|e| failed("comparing the tables with the snapshot", &e))?
        .get(0);
    Ok(changed > 0)
}
