//! A session that large tables are read through.
//!
//! A server sends each row of a COPY as a message of its own, and [`postgres::Client`] enters its runtime anew for each of
//! them, which takes longer than the row does. A [`Reader`] stays in it until it has many.

use super::session::Way;
use super::Result;
use futures_util::StreamExt;
use postgres::types::ToSql;
use postgres::{Client, CopyOutReader, Error, Row};
use std::future::{poll_fn, Future};
use std::io::{self, BufRead};
use std::pin::{pin, Pin};
use std::task::Poll;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::time::timeout;
use tokio_postgres::CopyOutStream;

/// How long a server may take to hear that nothing more is wanted.
const FAREWELL: Duration = Duration::from_secs(2);

/// A session. What it can do is called as in [`postgres::Client`].
pub struct Reader {
    // Dropped first: the line then brings its farewell.
    client: tokio_postgres::Client,
    line: Line,
}

/// What a session's messages come and go through.
pub(super) struct Line {
    pub runtime: Runtime,
    pub connection: Pin<Box<dyn Future<Output = std::result::Result<(), Error>> + Send>>,
}

impl Reader {
    /// Opens it.
    pub fn open(way: &Way<'_>) -> Result<Reader> {
        let (client, line) = way.open_apart()?;
        Ok(Reader { client, line })
    }

    /// Runs statements that answer nothing.
    pub fn batch_execute(&mut self, sql: &str) -> std::result::Result<(), Error> {
        self.line.drive(self.client.batch_execute(sql))
    }

    /// The one row that a query answers.
    pub fn query_one(
        &mut self,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> std::result::Result<Row, Error> {
        self.line.drive(self.client.query_one(sql, parameters))
    }
}

impl Line {
    /// Does `work`, which waits for what the connection brings.
    fn drive<T>(
        &mut self,
        work: impl Future<Output = std::result::Result<T, Error>>,
    ) -> std::result::Result<T, Error> {
        let Line { runtime, connection } = self;
        runtime.block_on(async {
            let mut work = pin!(work);
            poll_fn(|cx| {
                // What came is taken first, for the connection waits for its place.
                if let Poll::Ready(done) = work.as_mut().poll(cx) {
                    return Poll::Ready(done);
                }
                match connection.as_mut().poll(cx) {
                    Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                    Poll::Ready(Ok(())) | Poll::Pending => work.as_mut().poll(cx),
                }
            })
            .await
        })
    }
}

impl Drop for Line {
    /// Says farewell, lest the server's log tell of a client that was lost.
    fn drop(&mut self) {
        let Line { runtime, connection } = self;
        let _ = runtime.block_on(async { timeout(FAREWELL, connection).await });
    }
}

/// Sessions that can read a table.
pub trait CopyOut {
    /// What a `COPY ... TO STDOUT` answers.
    fn copy_out(&mut self, copy: &str) -> std::result::Result<Box<dyn Rows + '_>, Error>;
}

/// COPY's rows.
pub trait Rows {
    /// Appends rows to `chunk` until it has `enough` bytes or more; false if there are no more.
    ///
    /// An error of the server is inside the [`io::Error`].
    fn fill(&mut self, chunk: &mut Vec<u8>, enough: usize) -> io::Result<bool>;
}

struct Fast<'a> {
    line: &'a mut Line,
    stream: Pin<Box<CopyOutStream>>,
}

impl CopyOut for Reader {
    fn copy_out(&mut self, copy: &str) -> std::result::Result<Box<dyn Rows + '_>, Error> {
        let Reader { client, line } = self;
        let stream = Box::pin(line.drive(client.copy_out(copy))?);
        Ok(Box::new(Fast { line, stream }))
    }
}

impl Rows for Fast<'_> {
    fn fill(&mut self, chunk: &mut Vec<u8>, enough: usize) -> io::Result<bool> {
        let Fast { line, stream } = self;
        let filled = line.drive(async {
            while chunk.len() < enough {
                match stream.next().await {
                    Some(row) => chunk.extend_from_slice(&row?),
                    None => return Ok(false),
                }
            }
            Ok(true)
        });
        filled.map_err(io::Error::other)
    }
}

impl CopyOut for Client {
    fn copy_out(&mut self, copy: &str) -> std::result::Result<Box<dyn Rows + '_>, Error> {
        Ok(Box::new(Client::copy_out(self, copy)?))
    }
}

impl Rows for CopyOutReader<'_> {
    fn fill(&mut self, chunk: &mut Vec<u8>, enough: usize) -> io::Result<bool> {
        while chunk.len() < enough {
            let row = self.fill_buf()?;
            let length = row.len();
            if length == 0 {
                return Ok(false);
            }
            chunk.extend_from_slice(row);
            self.consume(length);
        }
        Ok(true)
    }
}
