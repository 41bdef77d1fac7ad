//! Rows into tables, by the one session that sees these tables.
//!
//! As beside the database, a table whose checks look at another one, or find names by a path, is tried again after the others.

use super::super::catalog::column_list;
use super::super::error::{copy_failed, failed};
use super::super::index::{Row, Table};
use super::super::quote;
use crate::base::interrupt;
use crate::base::name::StreamName;
use crate::component::{Error, Result, Scope, StreamSource};
use postgres::Client;
use std::io::{Read, Write};

/// Bytes read from a stream, and sent to the server, at once.
const CHUNK: usize = 128 * 1024;

/// What loading needs.
pub struct Load<'a> {
    /// The encoding of the rows.
    pub encoding: &'a str,
    /// Where the source's sessions look names up.
    pub search_path: &'a str,
    /// Progress.
    pub scope: &'a Scope<'a>,
    /// The rows.
    pub streams: &'a dyn StreamSource,
}

impl Load<'_> {
    /// Loads every table of `rows`.
    pub fn run(&self, session: &mut Client, rows: &[Row]) -> Result<()> {
        let mut left: Vec<(&Table, &StreamName)> = Vec::new();
        for table in rows.iter().filter_map(Row::table) {
            left.extend(table.streams.iter().map(|stream| (table, stream)));
        }
        let mut first_error = self.wave(session, &mut left, "")?;
        while let Some(error) = first_error {
            let before = left.len();
            first_error = self.wave(session, &mut left, self.search_path)?;
            if left.len() == before {
                return Err(error);
            }
        }
        Ok(())
    }

    /// One try at each of `left`, of which those stay that failed; the first one's error.
    fn wave(
        &self,
        session: &mut Client,
        left: &mut Vec<(&Table, &StreamName)>,
        search_path: &str,
    ) -> Result<Option<Error>> {
        let mut first = None;
        let mut later = Vec::new();
        for (table, stream) in left.drain(..) {
            if let Err(error) = self.load(session, table, stream, search_path)? {
                first.get_or_insert(error);
                later.push((table, stream));
            }
        }
        *left = later;
        Ok(first)
    }

    /// One stream. The inner error is one of the server's, which may be gone later.
    fn load(
        &self,
        session: &mut Client,
        table: &Table,
        stream: &StreamName,
        search_path: &str,
    ) -> Result<std::result::Result<(), Error>> {
        let (schema, name) = table.entrance();
        let name = quote::qualified(schema, name);
        let place = format!("rows of {name}");
        // Set inside the savepoint, and back at its end.
        let begin = format!(
            "SAVEPOINT rows; SELECT pg_catalog.set_config('search_path', {}, true)",
            quote::literal(search_path)
        );
        session.batch_execute(&begin).map_err(|e| failed(&place, &e))?;
        let copied = self.copy(session, table, stream, &name, &place);
        let end = match &copied {
            Ok(Ok(())) => "SELECT pg_catalog.set_config('search_path', '', true); RELEASE SAVEPOINT rows",
            _ => "ROLLBACK TO SAVEPOINT rows; RELEASE SAVEPOINT rows",
        };
        match session.batch_execute(end) {
            Err(lost) if copied.is_ok() => Err(failed(place, &lost)),
            _ => copied,
        }
    }

    fn copy(
        &self,
        session: &mut Client,
        table: &Table,
        stream: &StreamName,
        name: &str,
        place: &str,
    ) -> Result<std::result::Result<(), Error>> {
        let copy = format!(
            "COPY {name}{} FROM STDIN (FORMAT text, ENCODING {})",
            column_list(&table.columns),
            quote::literal(self.encoding)
        );
        let sql = |e: postgres::Error| match e.as_db_error() {
            Some(_) => Ok(Err(failed(place, &e))),
            None => Err(failed(place, &e)),
        };
        let mut writer = match session.copy_in(copy.as_str()) {
            Ok(writer) => writer,
            Err(error) => return sql(error),
        };
        let mut from = self.streams.open(stream)?;
        let mut buffer = vec![0; CHUNK];
        loop {
            interrupt::check().map_err(Error::of)?;
            let n = from.read(&mut buffer).map_err(|e| Error::io(place, e))?;
            if n == 0 {
                break;
            }
            if let Err(error) = writer.write_all(&buffer[..n]) {
                return Ok(Err(copy_failed(place, error)));
            }
            self.scope.progress.advance(n as u64);
        }
        match writer.finish() {
            Ok(_) => Ok(Ok(())),
            Err(error) => sql(error),
        }
    }
}

/// `ANALYZE` of every table with rows: what the planner is to know is committed with them.
pub fn analyze(session: &mut Client, rows: &[Row]) -> Result<()> {
    for table in rows.iter().filter_map(Row::table).filter(|table| table.rows > 0) {
        interrupt::check().map_err(Error::of)?;
        super::super::stage::analyze(session, table)?;
    }
    Ok(())
}
