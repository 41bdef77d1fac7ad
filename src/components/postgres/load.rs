//! Rows into tables, by several sessions at once.
//!
//! A CHECK, a domain or a generated column may call a function that reads another table, or that finds its names by
//! `search_path`. Such a table cannot be loaded before the other, or with the path that a dump is restored with. What
//! fails in the first wave is tried again, with the source's `search_path`, until all is loaded or nothing moves.

use super::address::Login;
use super::catalog::column_list;
use super::connect::connect;
use super::error::{copy_failed, failed};
use super::facts::Database;
use super::index::Table;
use super::quote;
use super::stage;
use crate::base::interrupt;
use crate::base::name::StreamName;
use crate::component::{parallel, Error, Result, Scope, StreamSource};
use postgres::Client;
use std::collections::{HashMap, VecDeque};
use std::io::{Read, Write};
use std::sync::{Mutex, PoisonError};

/// Bytes read from a stream, and sent to the server, at once.
const CHUNK: usize = 128 * 1024;

/// What loading needs.
pub struct Load<'a> {
    /// As whom.
    pub login: &'a Login,
    /// Into which database.
    pub database: &'a str,
    /// What the database was.
    pub facts: &'a Database,
    /// Threads and progress.
    pub scope: &'a Scope<'a>,
    /// The rows.
    pub streams: &'a dyn StreamSource,
}

/// One stream for one table.
#[derive(Clone, Copy)]
struct Item<'a> {
    table: &'a Table,
    stream: &'a StreamName,
    size: u64,
}

/// Why one was not loaded: `later` may work.
enum Failure {
    Later(Error),
    Now(Error),
}

impl Load<'_> {
    /// Loads every stream of `tables`.
    pub fn run(&self, tables: &[&Table]) -> Result<()> {
        let sizes: HashMap<&StreamName, u64> =
            self.streams.list().iter().map(|info| (&info.name, info.size)).collect();
        let of = |table: &&'_ Table| -> Vec<(usize, u64)> {
            table
                .streams
                .iter()
                .enumerate()
                .map(|(n, name)| (n, sizes.get(name).copied().unwrap_or(0)))
                .collect()
        };
        let mut items = Vec::new();
        for table in tables {
            items.extend(of(table).into_iter().map(|(n, size)| Item {
                table,
                stream: &table.streams[n],
                size,
            }));
        }
        items.sort_by_key(|item| std::cmp::Reverse(item.size));
        let mut left = self.wave(items, None, self.scope.threads)?;
        while let Some((_, first)) = left.first() {
            let (before, why) = (left.len(), first.to_string());
            let items = left.into_iter().map(|(item, _)| item).collect();
            left = self.wave(items, Some(self.search_path()), 1)?;
            if left.len() == before {
                let error = left.swap_remove(0).1;
                return Err(if error.to_string() == why {
                    error
                } else {
                    Error::io(why, std::io::Error::other(error))
                });
            }
        }
        Ok(())
    }

    /// One try at each item. Returns those that may work later.
    fn wave<'i>(
        &self,
        items: Vec<Item<'i>>,
        search_path: Option<&str>,
        threads: usize,
    ) -> Result<Vec<(Item<'i>, Error)>> {
        let queue = Mutex::new(VecDeque::from(items));
        let later = Mutex::new(Vec::new());
        let threads = threads.min(lock(&queue).len());
        parallel(threads, || {
            let mut session = connect_side(self.login, self.database)?;
            if let Some(path) = search_path {
                let sql = "SELECT pg_catalog.set_config('search_path', $1, false)";
                session.execute(sql, &[&path]).map_err(|e| failed("the side database", &e))?;
            }
            loop {
                let next = lock(&queue).pop_front();
                let Some(item) = next else { return Ok(()) };
                match self.load(&mut session, item) {
                    Ok(()) => {}
                    Err(Failure::Later(error)) => lock(&later).push((item, error)),
                    Err(Failure::Now(error)) => {
                        lock(&queue).clear();
                        return Err(error);
                    }
                }
            }
        })?;
        Ok(later.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// One stream, in a transaction of its own.
    fn load(&self, session: &mut Client, item: Item<'_>) -> std::result::Result<(), Failure> {
        let (schema, name) = item.table.entrance();
        let name = quote::qualified(schema, name);
        let place = || format!("rows of {name}");
        let sql = |e: postgres::Error| match e.as_db_error() {
            Some(_) => Failure::Later(failed(place(), &e)),
            None => Failure::Now(failed(place(), &e)),
        };
        // Rows of a table that was emptied in the same transaction need no later freezing, and no log where there is none.
        let alone = item.table.streams.len() == 1 && item.table.root.is_none();
        let freeze = if alone { ", FREEZE" } else { "" };
        let copy = format!(
            "COPY {name}{} FROM STDIN (FORMAT text, ENCODING {}{freeze})",
            column_list(&item.table.columns),
            quote::literal(&self.facts.encoding)
        );
        let mut transaction = session.transaction().map_err(sql)?;
        if alone {
            transaction.batch_execute(&format!("TRUNCATE ONLY {name}")).map_err(sql)?;
        }
        let mut writer = transaction.copy_in(copy.as_str()).map_err(sql)?;
        let mut from = self.streams.open(item.stream).map_err(Failure::Now)?;
        let mut buffer = vec![0; CHUNK];
        loop {
            interrupt::check().map_err(|e| Failure::Now(Error::of(e)))?;
            let n = from.read(&mut buffer).map_err(|e| Failure::Now(Error::io(place(), e)))?;
            if n == 0 {
                break;
            }
            let written = writer.write_all(&buffer[..n]);
            written.map_err(|e| Failure::Later(copy_failed(place(), e)))?;
        }
        writer.finish().map_err(sql)?;
        transaction.commit().map_err(sql)?;
        self.scope.progress.advance(item.size);
        Ok(())
    }

    /// What the source's sessions have.
    fn search_path(&self) -> &str {
        super::facts::search_path(&self.facts.settings)
    }

    /// Statistics for the planner.
    pub fn analyze(&self, tables: &[&Table]) -> Result<()> {
        let queue = Mutex::new(tables.iter().filter(|table| table.rows > 0).collect::<VecDeque<_>>());
        let threads = self.scope.threads.min(lock(&queue).len());
        parallel(threads, || {
            let mut session = connect_side(self.login, self.database)?;
            loop {
                interrupt::check().map_err(Error::of)?;
                let next = lock(&queue).pop_front();
                let Some(table) = next else { return Ok(()) };
                stage::analyze(&mut session, table)?;
            }
        })
        .map(drop)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A session in the side database. What a crash takes from it is made anew from the bundle: it need not wait for the disk.
pub fn connect_side(login: &Login, database: &str) -> Result<Client> {
    let mut session = connect(login, database)?;
    session.batch_execute("SET synchronous_commit = off").map_err(|e| failed("the side database", &e))?;
    Ok(session)
}
