//! How databases are opened, and what SQLite's errors mean to a person.
//!
//! A database is another program's, or another machine's: nothing in its schema is trusted, so that what is read of it
//! can run no function that has effects, and no extension is loaded.

use crate::base::change::beside;
use crate::base::fault::Fault;
use crate::base::interrupt::{self, Interrupted};
use crate::base::path::shown;
use crate::component::{Error, Result};
use rusqlite::config::DbConfig;
use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::fs::{accessat, Access, AtFlags, CWD};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// What a database file begins with.
pub const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// How many of SQLite's steps pass between two looks for a signal.
const STEPS: i32 = 10_000;

/// What SQLite keeps beside a database.
pub const SIDE_FILES: [&str; 3] = ["-wal", "-shm", "-journal"];

fn may_write(path: &Path) -> bool {
    accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok()
}

/// Opens a database that other programs may use, to read it, and leaves beside it what it found there.
///
/// Where this user may write, it is opened for writing all the same: a reader who may not write cannot end what a
/// crashed writer left half done, nor remove the log that SQLite makes in order to read. Not to be called twice at a time.
pub fn to_read(path: &Path, timeout: Duration) -> Result<Connection> {
    require_database(path)?;
    let writable = may_write(path) && path.parent().is_some_and(may_write);
    if !writable {
        return open(path, OpenFlags::SQLITE_OPEN_READ_ONLY, timeout);
    }
    let has_log = beside(path, "-wal").exists();
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE, timeout)?;
    // A log that somebody else wrote is left to them.
    connection
        .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, has_log)
        .and_then(|_| connection.pragma_update(None, "query_only", true))
        .map_err(|e| sql(path, &e))?;
    Ok(connection)
}

/// Opens a database that other programs may use, to write into it. May be called while it is open for reading.
pub fn to_write(path: &Path, timeout: Duration) -> Result<Connection> {
    let connection = open(path, OpenFlags::SQLITE_OPEN_READ_WRITE, timeout)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(|e| sql(path, &e))?;
    Ok(connection)
}

/// Opens a file of ours that nobody else uses and that does not change. Nothing is made beside it.
pub fn staged(path: &Path) -> Result<Connection> {
    let mut uri = String::from("file:");
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => uri.push(byte as char),
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri.push_str("?immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    configured(
        path,
        Connection::open_with_flags(uri, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX),
        Duration::ZERO,
    )
}

fn open(path: &Path, flags: OpenFlags, timeout: Duration) -> Result<Connection> {
    configured(path, Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX), timeout)
}

fn configured(path: &Path, opened: rusqlite::Result<Connection>, timeout: Duration) -> Result<Connection> {
    let configure = || {
        let connection = opened?;
        connection.busy_timeout(timeout)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        // A file that another program cuts short would kill a process that has it mapped.
        connection.pragma_update(None, "mmap_size", 0)?;
        connection.progress_handler(STEPS, Some(|| interrupt::check().is_err()))?;
        Ok(connection)
    };
    configure().map_err(|e| sql(path, &e))
}

/// Whether what is at `path` is no database, or a damaged one. An error of another kind says nothing about that.
pub fn is_unreadable(path: &Path, timeout: Duration) -> bool {
    let look = || {
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        connection.busy_timeout(timeout)?;
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))
    };
    match is_database(path) {
        Err(_) => false,
        Ok(false) => true,
        Ok(true) => matches!(
            look().err().and_then(|e| code(&e)),
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt)
        ),
    }
}

/// Refuses what is no database before SQLite opens it.
fn require_database(path: &Path) -> Result<()> {
    match is_database(path) {
        Ok(true) => Ok(()),
        Ok(false) => Err(no_database(path)),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Err(not_allowed(path)),
        Err(e) => Err(Error::io(shown(path), e)),
    }
}

/// Whether a file begins as a database does. Only an empty one is a database without saying so.
///
/// Not while this process has the database open: to close a file drops the locks that the process has on it.
fn is_database(path: &Path) -> io::Result<bool> {
    let mut head = Vec::new();
    File::open(path)?.take(MAGIC.len() as u64).read_to_end(&mut head)?;
    Ok(head.is_empty() || head == MAGIC)
}

fn no_database(path: &Path) -> Error {
    Error::not_ready(format_args!("{}: not a SQLite database, or an encrypted one", shown(path))).todo(
        "name a plain database; one that its program encrypts is exported with that program's own tools",
    )
}

fn not_allowed(path: &Path) -> Error {
    Error::not_ready(format_args!("{}: this user may not use it", shown(path)))
        .todo("run kbpack as a user who may read and write it and its folder")
}

/// SQLite's code for an error, also for one in the text of a query.
pub fn code(error: &rusqlite::Error) -> Option<ErrorCode> {
    match error {
        rusqlite::Error::SqlInputError { error, .. } => Some(error.code),
        _ => error.sqlite_error_code(),
    }
}

fn extended(error: &rusqlite::Error) -> Option<i32> {
    error.sqlite_error().map(|error| error.extended_code)
}

/// What an error of SQLite means for the database at `path`.
pub fn sql(path: &Path, error: &rusqlite::Error) -> Error {
    let of = |fault| Error::new(fault, format_args!("{}: {error}", shown(path)));
    match code(error) {
        Some(ErrorCode::NotADatabase) => no_database(path),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => busy(path),
        Some(ErrorCode::DatabaseCorrupt) => {
            of(Fault::NotReady).todo("the database is damaged: see sqlite3's .recover, or take an older copy")
        }
        Some(ErrorCode::PermissionDenied | ErrorCode::CannotOpen | ErrorCode::ReadOnly) => not_allowed(path),
        // Of a log in use, the shared part is made anew by whoever opens it.
        Some(ErrorCode::SystemIoFailure) if extended(error) == Some(SQLITE_IOERR_SHMSIZE) => {
            Error::new(Fault::Limit, format_args!("{}: no room for its -shm file", shown(path)))
                .todo("make room on that file system")
        }
        Some(ErrorCode::DiskFull) => of(Fault::Limit).todo("make room on that file system"),
        Some(ErrorCode::OutOfMemory | ErrorCode::TooBig) => of(Fault::Limit),
        Some(ErrorCode::OperationInterrupted) => Error::of(Interrupted),
        _ => of(Fault::Unexpected),
    }
}

/// Another program holds a lock on it for longer than it is waited for.
pub fn busy(path: &Path) -> Error {
    Error::not_ready(format_args!("{}: another program keeps it locked", shown(path)))
        .todo("stop that program, or wait longer with busy-timeout = SECONDS in the profile, and try again")
}
