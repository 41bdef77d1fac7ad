//! The demo's database: in use on both servers while it moves.

use rusqlite::Connection;
use std::io;
use std::path::Path;

/// Where it stands in a home.
const PLACE: &str = ".local/share/memory/memory.db";

/// The rows that the source has.
const ROWS: u64 = 1000;

/// A program that has the database open all the while.
pub(super) struct Program(Connection);

fn failed(error: rusqlite::Error) -> io::Error {
    io::Error::other(error)
}

impl Program {
    /// Makes the database in `home`, with `rows` of `what` in it, and keeps it open.
    fn start(home: &Path, rows: u64, what: &str) -> io::Result<Program> {
        let path = home.join(PLACE);
        std::fs::create_dir_all(path.parent().unwrap_or(home))?;
        let connection = Connection::open(&path).map_err(failed)?;
        let made = connection.execute_batch(
            "PRAGMA journal_mode = WAL;
             CREATE TABLE memory (id INTEGER PRIMARY KEY, what TEXT NOT NULL);",
        );
        made.map_err(failed)?;
        let insert = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
                      INSERT INTO memory SELECT i, ?2 || ' ' || i FROM n";
        connection.execute(insert, (rows as i64, what)).map_err(failed)?;
        Ok(Program(connection))
    }

    /// On the source: what is to be moved. It stands in the write-ahead log, not in the database file.
    pub(super) fn on_source(home: &Path) -> io::Result<Program> {
        Program::start(home, ROWS, "lesson")
    }

    /// On the target: an older state.
    pub(super) fn on_target(home: &Path) -> io::Result<Program> {
        Program::start(home, 3, "old lesson")
    }

    /// All that it has, as this program sees it.
    pub(super) fn rows(&self) -> io::Result<Vec<(i64, String)>> {
        let mut query = self.0.prepare("SELECT id, what FROM memory ORDER BY id").map_err(failed)?;
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).map_err(failed)?;
        rows.collect::<rusqlite::Result<_>>().map_err(failed)
    }

    /// How many rows this program sees, if they are those that `other` sees.
    pub(super) fn sees_the_same(&self, other: &Program) -> io::Result<usize> {
        let rows = self.rows()?;
        match rows == other.rows()? {
            true => Ok(rows.len()),
            false => Err(io::Error::other("the database on the target is another one")),
        }
    }
}
