//! Source: a database becomes an archive, rows and an index, all of one snapshot.
//!
//! 1. The snapshot, and what it says that the database is.
//! 2. Side by side: pg_dump, and sessions that copy rows.
//! 3. The archive's table of contents against our list: each table's rows are in exactly one place.
//! 4. Large objects. 5. The archive, the index.

use super::catalog;
use super::child::{self, Reach};
use super::connect;
use super::contents;
use super::error::failed;
use super::facts::{Assertion, Database, Facts};
use super::hash::RowHash;
use super::index::{self, stream_name, Row, Table};
use super::large_objects;
use super::pgpass::PrivateFile;
use super::quote;
use super::rows::{copy_out, cut, write_all, Piece};
use super::select;
use super::snapshot::{follow, hold_one, take, Snapshot, LOCKED_AHEAD};
use super::tools::{self, Version};
use super::Postgres;
use crate::base::name::StreamName;
use crate::component::{
    Captured, Error, Finding, Holds, Result, Scope, Severity, StreamSink, StreamWrite, Survey,
};
use postgres::Client;
use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// Tables that one session copies before it begins a new transaction in the same snapshot, to give its locks back.
const LOCKS_A_SESSION: usize = 256;

/// Writes all of it.
pub fn capture(postgres: &Postgres, scope: &Scope<'_>, sink: &dyn StreamSink) -> Result<Captured> {
    let place = postgres.place(scope.host)?;
    if postgres.may_be_absent && connect::database_oid(&mut place.administer()?, &place.database)?.is_none() {
        let facts = Facts { address: place.address, options: postgres.options.clone(), database: None };
        return Ok(Captured { facts: facts.to_value()?, findings: Vec::new() });
    }
    // 1.
    let (login, name) = (&place.login, place.database.as_str());
    let mut snapshot = take(login, name)?;
    let mut facts = describe(postgres, &mut snapshot)?;
    let version = Version::parse(&facts.server).unwrap_or(Version { major: 0, minor: 0 });
    let tool = tools::pg_dump(version.major)?;
    facts.pg_dump = tool.version.to_string();
    let mut findings = tool.warnings();
    findings.extend(select::secrets_inside(&mut snapshot.session)?);
    let chosen = select::choose(&postgres.select, &mut snapshot)?;
    scope.progress.expect(chosen.tables.iter().map(|table| table.bytes).sum());

    // 2.
    let sequences = catalog::sequences(&mut snapshot.session)?;
    let passfile = PrivateFile::create(login, name)?;
    let reach = Reach { login, database: name, passfile: &passfile };
    let pieces = cut(&chosen.tables, version.major);
    let copying = Copying {
        scope,
        sink,
        snapshot: &snapshot.id,
        tables: &chosen.tables,
        encoding: &facts.encoding,
        queue: Mutex::new(pieces.iter().cloned().enumerate().collect()),
        done: Mutex::default(),
        streams: AtomicU32::new(1),
        stop: AtomicBool::new(false),
    };
    let args = chosen.pg_dump_args(&snapshot.id);
    let archive = std::thread::scope(|threads| {
        let dump = threads.spawn(|| copying.guard(|| child::dump(&tool, &reach, &args)));
        let workers: Vec<_> = (0..scope.threads.max(1))
            .map(|_| threads.spawn(|| copying.guard(|| copying.work(&|| follow(login, name, &snapshot.id)))))
            .collect();
        let copied: Vec<Result<()>> = workers.into_iter().map(joined).collect();
        let archive = joined(dump);
        copied.into_iter().collect::<Result<()>>()?;
        archive
    })?;

    // 3.
    let restorer = tools::pg_restore(tool.version.major, tool.version.major)?;
    contents::account(&child::list(&restorer, &archive)?, &chosen)?;

    // 4. and 5.
    let mut rows = copying.tables_of(&pieces)?;
    facts.tables = rows.len() as u64;
    facts.rows = rows.iter().map(|row| if let Row::Table(table) = row { table.rows } else { 0 }).sum();
    rows.extend(
        chosen
            .excluded
            .iter()
            .map(|table| Row::Excluded { schema: table.schema.clone(), name: table.name.clone() }),
    );
    rows.extend(sequences.into_iter().filter(|s| chosen.takes_schema(&s.schema)).map(Row::Sequence));
    rows.extend(
        large_objects::capture(&mut snapshot.session, scope, sink)?.into_iter().map(Row::LargeObject),
    );
    write_archive(&archive, sink.create(&stream_name("dump")?, Holds::Data)?)?;
    index::write(&rows, sink.create(&stream_name("index")?, Holds::Data)?)?;
    let facts =
        Facts { address: place.address.clone(), options: postgres.options.clone(), database: Some(facts) };
    Ok(Captured { facts: facts.to_value()?, findings })
}

/// What would be packed.
pub fn survey(postgres: &Postgres, scope: &Scope<'_>) -> Result<Survey> {
    let place = postgres.place(scope.host)?;
    let mut session = connect::connect(&place.login, &place.database)?;
    let database = catalog::database(&mut session)?;
    let server = connect::server_version(&mut session)?;
    let tables = catalog::tables(&mut session)?;
    let mut findings = tools::pg_dump(server.major)?.warnings();
    findings.extend(select::secrets_inside(&mut session)?);
    Ok(Survey {
        origins: vec![place.to_string()],
        items: tables.len() as u64,
        bytes: database.bytes,
        findings,
    })
}

/// The database as the snapshot has it, and the profile's questions to it.
fn describe(postgres: &Postgres, snapshot: &mut Snapshot) -> Result<Database> {
    let session = &mut snapshot.session;
    let server = connect::server_version(session)?;
    if let Some(sql) = &postgres.refuse_when {
        let answer = catalog::answer(session, "refuse-when", sql)?;
        if !matches!(answer.as_str(), "" | "0" | "f" | "false") {
            return Err(Error::not_ready(format_args!("the query of refuse-when answers '{answer}'"))
                .todo("wait until it answers 0, false or nothing, and run it again"));
        }
    }
    let row = catalog::database(session)?;
    let mut assertions = Vec::new();
    for (name, sql) in &postgres.assertions {
        let value = catalog::answer(session, name, sql)?;
        assertions.push(Assertion { name: name.clone(), sql: sql.clone(), value });
    }
    let extensions = catalog::extensions(session)?;
    select::refuse_extensions(extensions.keys())?;
    Ok(Database {
        server: server.to_string(),
        pg_dump: String::new(),
        acl: catalog::database_acl(session, row.oid)?,
        settings: catalog::settings(session, row.oid)?,
        extensions,
        public_schema: catalog::schemas(session)?.iter().any(|schema| schema == "public"),
        roles: catalog::roles(session)?,
        tablespaces: catalog::tablespaces(session)?,
        assertions,
        encoding: row.encoding,
        collate: row.collate,
        ctype: row.ctype,
        provider: row.provider,
        locale: row.locale,
        owner: row.owner,
        connection_limit: row.connection_limit,
        comment: row.comment,
        tablespace: row.tablespace,
        bytes: row.bytes,
        tables: 0,
        rows: 0,
    })
}

fn write_archive(archive: &File, mut to: Box<dyn StreamWrite>) -> Result<()> {
    let mut from = child::rewound(archive)?;
    let mut buffer = vec![0; 256 * 1024];
    to.label("pg_dump's archive");
    loop {
        let n = from.read(&mut buffer).map_err(|e| Error::io("pg_dump's archive", e))?;
        if n == 0 {
            return to.finish();
        }
        write_all(&mut *to, &buffer[..n], "pg_dump's archive")?;
    }
}

fn joined<T>(handle: std::thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    let panicked = || Error::new(crate::base::fault::Fault::Unexpected, "a worker thread panicked");
    handle.join().unwrap_or_else(|_| Err(panicked()))
}

/// Sessions that copy rows, side by side.
struct Copying<'a> {
    scope: &'a Scope<'a>,
    sink: &'a dyn StreamSink,
    snapshot: &'a str,
    tables: &'a [super::catalog::Relation],
    encoding: &'a str,
    queue: Mutex<VecDeque<(usize, Piece)>>,
    done: Mutex<Vec<(usize, RowHash, Option<StreamName>)>>,
    streams: AtomicU32,
    /// Somebody failed: the others need not go on.
    stop: AtomicBool,
}

impl Copying<'_> {
    fn guard<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let done = work();
        if done.is_err() {
            self.stop.store(true, Ordering::Relaxed);
        }
        done
    }

    fn next(&self) -> Option<(usize, Piece)> {
        if self.stop.load(Ordering::Relaxed) {
            return None;
        }
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    fn work(&self, connect: &dyn Fn() -> Result<Client>) -> Result<()> {
        let mut session = connect()?;
        let mut locks = 0;
        while let Some((number, piece)) = self.next() {
            if locks == LOCKS_A_SESSION {
                let again = format!(
                    "COMMIT; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {}",
                    quote::literal(self.snapshot)
                );
                session.batch_execute(&again).map_err(|e| failed("the snapshot", &e))?;
                locks = 0;
            }
            if piece.table >= LOCKED_AHEAD {
                hold_one(&mut session, &self.tables[piece.table])?;
                locks += 1;
            }
            let (hash, stream) = self.copy(&mut session, &piece)?;
            self.done.lock().unwrap_or_else(PoisonError::into_inner).push((number, hash, stream));
            self.scope.progress.advance(piece.bytes);
        }
        Ok(())
    }

    /// A stream is made for the first row: empty tables cost nothing.
    fn copy(&self, session: &mut Client, piece: &Piece) -> Result<(RowHash, Option<StreamName>)> {
        let table = &self.tables[piece.table];
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

    /// The index's rows: each table with its pieces in their order.
    fn tables_of(self, pieces: &[Piece]) -> Result<Vec<Row>> {
        let mut done = self.done.into_inner().unwrap_or_else(PoisonError::into_inner);
        done.sort_by_key(|(number, ..)| *number);
        let mut tables: Vec<Table> = self.tables.iter().map(empty).collect();
        for (number, hash, stream) in done {
            let table = &mut tables[pieces[number].table];
            let content = table.content().and(hash);
            (table.rows, table.hash) = (content.rows, content.hash);
            table.streams.extend(stream);
        }
        Ok(tables.into_iter().map(Row::Table).collect())
    }
}

fn empty(relation: &super::catalog::Relation) -> Table {
    let RowHash { rows, hash } = RowHash::default();
    let (schema, name) = (relation.schema.clone(), relation.name.clone());
    let (columns, root) = (relation.columns.clone(), relation.root.clone());
    Table { schema, name, columns, rows, hash, streams: Vec::new(), root }
}

/// A finding that the bundle holds secrets of the database's own.
pub fn holds_secrets(what: &str, count: i64) -> Finding {
    Finding::new(
        Severity::Warning,
        format_args!("the database has {count} {what}, and they are packed: passwords in them too"),
    )
    .todo("treat the bundle as one that holds these passwords, or leave them out of the database")
}
