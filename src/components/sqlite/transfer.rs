//! One database's content into another's file, by SQLite's backup API: programs that have the file open see the new
//! content, where after a rename they would go on with the old file.
//!
//! It happens as a whole or not at all: SQLite's own journal undoes what a kill or a power cut interrupts.

use super::facts::JournalMode;
use super::open::{self, busy, sql};
use super::snapshot::Snapshot;
use super::stage::edited;
use crate::base::digest::Digest;
use crate::base::interrupt;
use crate::base::path::shown;
use crate::component::{Error, Result};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::Connection;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

/// Pages between two looks for a signal.
const PAGES: i32 = 1024;

/// Where the header's change counter is: with a rollback journal, every write raises it.
const CHANGE_COUNTER: u64 = 24;

/// Writes what is in the file `from`, which only we use, into the database `to`, if `to` still says what `expected` is of.
///
/// Between the look at `to` and the lock on it another program may write. That is seen once the lock is there: in the
/// change counter, or, where there is a write-ahead log, by a second connection, which may read all the while.
pub fn transfer(from: &Path, to: &Path, expected: Digest, timeout: Duration) -> Result<()> {
    // Closed last: to close a file drops the locks that the process has on it.
    let raw = File::open(to).map_err(Error::at(to))?;
    let source = open::staged(from)?;
    let watch = open::to_read(to, timeout)?;
    let mut target = open::to_write(to, timeout)?;

    let snapshot = Snapshot::begin(&watch, to)?;
    if snapshot.digest()? != expected {
        return Err(edited(to));
    }
    let mode = snapshot.journal_mode()?;
    let before = version(mode, &watch, &raw, to)?;
    snapshot.end()?;

    let backup = Backup::new(&source, &mut target).map_err(|e| sql(to, &e))?;
    // Takes the lock, copies nothing.
    step(&backup, 0, to)?;
    if version(mode, &watch, &raw, to)? != before {
        return Err(edited(to));
    }
    while !step(&backup, PAGES, to)? {
        interrupt::check().map_err(Error::of)?;
    }
    Ok(())
}

/// A number that is another one as soon as another connection has written.
fn version(mode: JournalMode, watch: &Connection, raw: &File, path: &Path) -> Result<i64> {
    match mode {
        JournalMode::Wal => {
            watch.pragma_query_value(None, "data_version", |row| row.get(0)).map_err(|e| sql(path, &e))
        }
        JournalMode::Rollback => {
            let mut counter = [0; 4];
            match raw.read_exact_at(&mut counter, CHANGE_COUNTER) {
                Ok(()) => Ok(u32::from_be_bytes(counter).into()),
                // An empty file has no header.
                Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Ok(-1),
                Err(e) => Err(Error::io(shown(path), e)),
            }
        }
    }
}

/// Whether that was the last step.
fn step(backup: &Backup<'_, '_>, pages: i32, path: &Path) -> Result<bool> {
    match backup.step(pages).map_err(|e| sql(path, &e))? {
        StepResult::Done => Ok(true),
        StepResult::More => Ok(false),
        _ => Err(busy(path)),
    }
}
