//! Source: rows into streams, by several sessions that look through one snapshot.

use super::catalog::Relation;
use super::hash::RowHash;
use super::index::{Row, Table};
use super::rows::{copy_out, cut, write_all, Piece};
use super::snapshot::{hold_one, renew};
use crate::base::fault::Fault;
use crate::base::libpq::reader::Reader;
use crate::base::name::StreamName;
use crate::component::{stream_name, Error, Holds, Result, Scope, StreamSink, StreamWrite};
use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// Tables that one session locks, one after the other, before it gives its locks back.
const LOCKS_A_SESSION: usize = 256;

/// What is to be copied, and what was.
pub struct Copying<'a> {
    scope: &'a Scope<'a>,
    sink: &'a dyn StreamSink,
    snapshot: &'a str,
    tables: &'a [Relation],
    encoding: &'a str,
    /// Tables that every session holds from the beginning.
    held: BTreeSet<u32>,
    pieces: Vec<Piece>,
    queue: Mutex<VecDeque<usize>>,
    done: Mutex<Vec<(usize, RowHash, Option<StreamName>)>>,
    streams: AtomicU32,
    /// Somebody failed: the others need not go on.
    stop: AtomicBool,
}

impl<'a> Copying<'a> {
    /// Of `tables`, on a server of the major version `server`.
    pub fn new(
        scope: &'a Scope<'a>,
        sink: &'a dyn StreamSink,
        snapshot: &'a str,
        tables: &'a [Relation],
        encoding: &'a str,
        held: BTreeSet<u32>,
        server: u32,
    ) -> Copying<'a> {
        let pieces = cut(tables, server);
        scope.progress.expect(pieces.iter().map(|piece| piece.bytes).sum());
        Copying {
            scope,
            sink,
            snapshot,
            tables,
            encoding,
            held,
            queue: Mutex::new((0..pieces.len()).collect()),
            pieces,
            done: Mutex::default(),
            streams: AtomicU32::new(1),
            stop: AtomicBool::new(false),
        }
    }

    /// Copies all of it; the index's rows.
    pub fn run(self, readers: Vec<Reader>) -> Result<Vec<Row>> {
        std::thread::scope(|threads| {
            let workers: Vec<_> =
                readers.into_iter().map(|reader| threads.spawn(|| self.guarded(reader))).collect();
            let panicked = || Error::new(Fault::Unexpected, "a worker thread panicked");
            let ends: Vec<_> =
                workers.into_iter().map(|w| w.join().unwrap_or_else(|_| Err(panicked()))).collect();
            ends.into_iter().collect::<Result<()>>()
        })?;
        let mut done = self.done.into_inner().unwrap_or_else(PoisonError::into_inner);
        // Pieces of one table are in their order.
        done.sort_by_key(|(number, ..)| *number);
        let mut tables: Vec<Table> = self.tables.iter().map(empty).collect();
        for (number, hash, stream) in done {
            let table = &mut tables[self.pieces[number].table];
            let content = table.content().and(hash);
            (table.rows, table.hash) = (content.rows, content.hash);
            table.streams.extend(stream);
        }
        Ok(tables.into_iter().map(Row::Table).collect())
    }

    fn guarded(&self, reader: Reader) -> Result<()> {
        let done = self.work(reader);
        if done.is_err() {
            self.stop.store(true, Ordering::Relaxed);
        }
        done
    }

    fn next(&self) -> Option<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return None;
        }
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn work(&self, mut session: Reader) -> Result<()> {
        let (mut locks, mut holds_from_the_beginning) = (0, true);
        while let Some(number) = self.next() {
            let piece = &self.pieces[number];
            let table = &self.tables[piece.table];
            if locks == LOCKS_A_SESSION {
                renew(&mut session, self.snapshot)?;
                (locks, holds_from_the_beginning) = (0, false);
            }
            if !holds_from_the_beginning || !self.held.contains(&table.oid) {
                hold_one(&mut session, table)?;
                locks += 1;
            }
            let (hash, stream) = self.copy(&mut session, piece, table)?;
            self.done.lock().unwrap_or_else(PoisonError::into_inner).push((number, hash, stream));
            self.scope.progress.advance(piece.bytes);
        }
        Ok(())
    }

    /// A stream is made for the first row: empty tables cost nothing.
    fn copy(
        &self,
        session: &mut Reader,
        piece: &Piece,
        table: &Relation,
    ) -> Result<(RowHash, Option<StreamName>)> {
        let mut open: Option<(StreamName, Box<dyn StreamWrite>)> = None;
        let hash = copy_out(session, &piece.copy(table, self.encoding), table, |bytes| {
            let (_, stream) = match &mut open {
                Some(open) => open,
                none => {
                    let number = self.streams.fetch_add(1, Ordering::Relaxed);
                    let name = stream_name(&format!("rows/{number:06}"))?;
                    let mut stream = self.sink.create(&name, Holds::Data)?;
                    stream.label(&format!("{}.{}", table.schema, table.name));
                    none.insert((name, stream))
                }
            };
            write_all(&mut **stream, bytes, format_args!("rows of {}", table.sql()))
        })?;
        let Some((name, stream)) = open else { return Ok((hash, None)) };
        stream.finish()?;
        Ok((hash, Some(name)))
    }
}

fn empty(relation: &Relation) -> Table {
    let RowHash { rows, hash } = RowHash::default();
    let (schema, name) = (relation.schema.clone(), relation.name.clone());
    let (columns, root) = (relation.columns.clone(), relation.root.clone());
    Table { schema, name, columns, rows, hash, streams: Vec::new(), root }
}
