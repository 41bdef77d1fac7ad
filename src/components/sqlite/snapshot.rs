//! One state of a database, held by one read transaction: its pages, one after another, and what its header says.
//!
//! The pages come from SQLite's own `sqlite_dbpage`, so that what stands in a write-ahead log is among them, memory stays
//! small, and no copy is made on a disk. Writers go on where there is such a log; with a rollback journal they wait.

use super::facts::{Encoding, JournalMode};
use super::open::sql;
use crate::base::digest::{Digest, Hasher};
use crate::base::fault::Fault;
use crate::base::interrupt;
use crate::base::path::shown;
use crate::component::{Error, Result};
use rusqlite::Connection;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

// Cargo finds the flag from the folder that it is called in. Without it there would be no `sqlite_dbpage`, at run time.
const _: () = assert!(
    option_env!("LIBSQLITE3_FLAGS").is_some(),
    "LIBSQLITE3_FLAGS is not set: call cargo in the project's folder, where .cargo/config.toml sets it"
);

/// Offset of the two bytes of the header that tell the journal mode: 1 for a rollback journal, 2 for a log.
pub const JOURNAL_BYTES: std::ops::Range<usize> = 18..20;

/// What SQLite itself changes in the first page with every write, and with every change of the journal mode: not part
/// of what the database says. Its journal mode; change counter; schema cookie; the last writer's counter and version.
const VOLATILE: [std::ops::Range<usize>; 4] = [JOURNAL_BYTES, 24..28, 40..44, 92..100];

/// A read transaction.
pub struct Snapshot<'c> {
    connection: &'c Connection,
    path: PathBuf,
}

impl<'c> Snapshot<'c> {
    /// Begins one. What is read from here on is of one moment.
    pub fn begin(connection: &'c Connection, path: &Path) -> Result<Self> {
        let snapshot = Snapshot { connection, path: path.to_owned() };
        snapshot.sql(connection.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema;"))?;
        Ok(snapshot)
    }

    /// Ends it: writers need not wait any longer.
    pub fn end(self) -> Result<()> {
        self.sql(self.connection.execute_batch("COMMIT"))
    }

    /// The connection, to read more in the same moment.
    pub fn connection(&self) -> &Connection {
        self.connection
    }

    /// The database's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts the path into an error of SQLite.
    pub fn sql<T>(&self, result: rusqlite::Result<T>) -> Result<T> {
        result.map_err(|e| sql(&self.path, &e))
    }

    /// A pragma's number.
    pub fn number(&self, pragma: &str) -> Result<i64> {
        self.sql(self.connection.pragma_query_value(None, pragma, |row| row.get(0)))
    }

    /// Bytes of a page, and how many there are.
    pub fn size(&self) -> Result<(u32, u64)> {
        let (page, count) = (self.number("page_size")?, self.number("page_count")?);
        let wrong = |_| Error::new(Fault::Unexpected, format_args!("{}: no size", shown(&self.path)));
        Ok((u32::try_from(page).map_err(wrong)?, u64::try_from(count).map_err(wrong)?))
    }

    /// Its text encoding.
    pub fn encoding(&self) -> Result<Encoding> {
        let name: String =
            self.sql(self.connection.pragma_query_value(None, "encoding", |row| row.get(0)))?;
        Ok(match name.as_str() {
            "UTF-16le" => Encoding::Utf16le,
            "UTF-16be" => Encoding::Utf16be,
            _ => Encoding::Utf8,
        })
    }

    /// What its header says of its journal.
    pub fn journal_mode(&self) -> Result<JournalMode> {
        let mut mode = JournalMode::Rollback;
        self.pages_up_to(1, &mut |page| {
            if page.get(JOURNAL_BYTES.start) == Some(&2) {
                mode = JournalMode::Wal;
            }
            Ok(())
        })?;
        Ok(mode)
    }

    /// Gives every page to `each`, in order: together they are a database file.
    pub fn pages(&self, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.pages_up_to(i64::MAX, each)
    }

    fn pages_up_to(&self, last: i64, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let query = "SELECT pgno, data FROM sqlite_dbpage('main')";
        let mut statement = self.sql(self.connection.prepare(query))?;
        let mut rows = self.sql(statement.query([]))?;
        let mut expected = 1;
        while let Some(row) = self.sql(rows.next())? {
            let number: i64 = self.sql(row.get(0))?;
            if number != expected {
                return Err(Error::new(
                    Fault::Unexpected,
                    format_args!("{}: page {expected} is missing", shown(&self.path)),
                ));
            }
            let data = self.sql(row.get_ref(1))?;
            each(data.as_blob().map_err(|e| Error::new(Fault::Unexpected, e))?)?;
            if number == last {
                return Ok(());
            }
            expected += 1;
            interrupt::check().map_err(Error::of)?;
        }
        Ok(())
    }

    /// A digest of what the database says: of its pages but for what SQLite changes by itself. A copy made page by page has the
    /// same one. That of a database in which nothing was ever written is the digest of nothing.
    pub fn digest(&self) -> Result<Digest> {
        if self.is_new()? {
            return Ok(Digest::of(b""));
        }
        let mut hasher = Hasher::new();
        self.pages(&mut |page| {
            if !hasher.is_empty() {
                hasher.update(page);
                return Ok(());
            }
            let mut first = page.to_vec();
            VOLATILE.iter().for_each(|range| first[range.clone()].fill(0));
            hasher.update(&first);
            Ok(())
        })?;
        Ok(hasher.finish())
    }

    /// Whether it is as if it had just been made.
    fn is_new(&self) -> Result<bool> {
        let count = "SELECT count(*) FROM sqlite_schema";
        let objects: i64 = self.sql(self.connection.query_row(count, [], |row| row.get(0)))?;
        let plain = objects == 0 && self.number("user_version")? == 0 && self.number("application_id")? == 0;
        Ok(plain && self.size()?.1 <= 1)
    }

    /// Copies it into a new file, 0600, and puts that on disk.
    pub fn copy_to(&self, path: &Path) -> Result<()> {
        let io = Error::at(path);
        let mut file = new_file(path).map_err(io)?;
        self.pages(&mut |page| file.write_all(page).map_err(io))?;
        file.sync_all().map_err(io)
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        if !self.connection.is_autocommit() {
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }
}

/// Makes a file that was not there, 0600.
pub fn new_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}
