//! Source: a database becomes two streams, of one moment. Nothing of it touches a disk on the way.

use super::check::{integrity, Integrity};
use super::content;
use super::facts::{Database, Facts, Mode, State};
use super::open;
use super::snapshot::Snapshot;
use super::{DATABASE, TABLES};
use crate::base::path::shown;
use crate::component::{stream_name, Error, Finding, Holds, Result, Scope, Severity, StreamSink, Survey};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// Above this many bytes it is said that writers wait while a database with a rollback journal is read.
const LONG_READ: u64 = 64 << 20;

/// What would be packed.
pub fn survey(path: &Path, timeout: Duration) -> Result<Survey> {
    let connection = open::to_read(path, timeout)?;
    let snapshot = Snapshot::begin(&connection, path)?;
    let (page_size, pages) = snapshot.size()?;
    let count =
        "SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'shadow')";
    let items: i64 = snapshot.sql(connection.query_row(count, [], |row| row.get(0)))?;
    let bytes = u64::from(page_size) * pages;
    let findings = writers_wait(&snapshot, bytes)?.into_iter().collect();
    Ok(Survey { origins: vec![shown(path)], items: items.unsigned_abs(), bytes, findings })
}

/// Writes the streams of the database at `path`; `shown_as` is the path for the manifest. Returns the facts, and what was noticed.
pub fn capture(
    path: &Path,
    shown_as: &str,
    timeout: Duration,
    scope: &Scope<'_>,
    sink: &dyn StreamSink,
) -> Result<(Facts, Vec<Finding>)> {
    let connection = open::to_read(path, timeout)?;
    let snapshot = Snapshot::begin(&connection, path)?;
    let (page_size, pages) = snapshot.size()?;
    let size = u64::from(page_size) * pages;
    scope.progress.expect(size);

    let mut findings: Vec<Finding> = writers_wait(&snapshot, size)?.into_iter().collect();
    match integrity(&snapshot)? {
        Integrity::Whole => {}
        Integrity::Damaged(why) => {
            return Err(Error::not_ready(format_args!("{}: damaged: {why}", shown(path)))
                .todo("repair it first: sqlite3 has .recover and REINDEX"))
        }
        Integrity::Unknown(why) => findings.push(Finding::new(
            Severity::Warning,
            format_args!("{shown_as}: SQLite's own check could not be made: {why}"),
        )),
    }
    let violations = foreign_key_violations(&snapshot);
    match violations {
        Some(0) => {}
        Some(rows) => findings.push(
            Finding::new(Severity::Warning, format_args!("{shown_as}: {rows} rows violate a foreign key"))
                .todo("PRAGMA foreign_key_check names them; they travel as they are"),
        ),
        None => findings.push(Finding::new(
            Severity::Warning,
            format_args!(
                "{shown_as}: its foreign keys could not be checked: one of them is not well defined"
            ),
        )),
    }

    let tables = content::tables(&snapshot)?;
    let mut list = sink.create(&stream_name(TABLES)?, Holds::Data)?;
    list.label("tables");
    list.write_all(&content::write(&tables)?).map_err(|e| Error::io("the list of tables", e))?;
    list.finish()?;

    let mut stream = sink.create(&stream_name(DATABASE)?, Holds::Data)?;
    stream.label("database");
    snapshot.pages(&mut |page| {
        scope.progress.advance(page.len() as u64);
        stream.write_all(page).map_err(Error::at(path))
    })?;
    stream.finish()?;

    let meta = fs::metadata(path).map_err(Error::at(path))?;
    let database = Database {
        size,
        page_size,
        encoding: snapshot.encoding()?,
        journal_mode: snapshot.journal_mode()?,
        user_version: snapshot.number("user_version")? as i32,
        application_id: snapshot.number("application_id")? as i32,
        tables: tables.len() as u64,
        foreign_key_violations: violations,
        // Whoever may use it may read and write it: a narrower mode is of no use on the target.
        mode: Mode(meta.mode() & 0o777 | 0o600),
        user: nix::unistd::User::from_uid(meta.uid().into()).ok().flatten().map(|user| user.name),
        group: nix::unistd::Group::from_gid(meta.gid().into()).ok().flatten().map(|group| group.name),
    };
    snapshot.end()?;
    let facts = Facts {
        path: shown_as.to_owned(),
        state: State::File,
        database: Some(database),
        left: None,
        above: 0,
    };
    Ok((facts, findings))
}

/// What `PRAGMA foreign_key_check` counts; `None` where it cannot: a key refers to what cannot be referred to.
pub fn foreign_key_violations(snapshot: &Snapshot<'_>) -> Option<u64> {
    let count = "SELECT count(*) FROM pragma_foreign_key_check";
    snapshot.connection().query_row(count, [], |row| row.get::<_, i64>(0)).ok().map(i64::unsigned_abs)
}

fn writers_wait(snapshot: &Snapshot<'_>, size: u64) -> Result<Option<Finding>> {
    if size < LONG_READ || snapshot.journal_mode()? == super::facts::JournalMode::Wal {
        return Ok(None);
    }
    let what = format!("{}: programs that write to it wait while it is read", shown(snapshot.path()));
    let remedy = "with PRAGMA journal_mode = WAL they would not";
    Ok(Some(Finding::new(Severity::Note, what).todo(remedy)))
}
