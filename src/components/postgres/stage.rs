//! Target: the side database, out of sight.
//!
//! 1. Made from the empty template. 2. Definitions without what rows must not meet yet. 3. Rows, side by side.
//! 4. The archive's own data (sequences, extensions' tables), large objects, then indexes, constraints, triggers and
//!    privileges; what belongs to roles that are mapped is handed over. 5. Statistics. 6. The database's own properties.

use super::child::{self, memory_file, Reach};
use super::connect::server_version;
use super::error::failed;
use super::index::{LargeObject, Row, Table};
use super::large_objects;
use super::load::{connect_side, Load};
use super::pgpass::PrivateFile;
use super::plan::{New, Target};
use super::properties;
use super::quote;
use super::role_map;
use super::roles;
use super::swap;
use crate::base::fault::{Fault, Faulty};
use crate::base::interrupt;
use crate::component::{stream_name, Error, Result, Scope, StreamSource};
use std::fs::File;
use std::io::{Read, Write};
use std::panic::resume_unwind;
use std::thread;
use std::time::Duration;

/// How often signals are looked for.
const NAP: Duration = Duration::from_millis(20);

/// Builds it. A signal ends the sessions there: nobody waits for what the server is about to do.
pub fn stage(target: &Target, scope: &Scope<'_>, streams: &dyn StreamSource) -> Result<()> {
    let Some(new) = target.new.as_ref().filter(|_| !target.kept) else { return Ok(()) };
    thread::scope(|threads| {
        let waiting = thread::current();
        let builder = threads.spawn(move || {
            let built = build(target, new, scope, streams);
            waiting.unpark();
            built
        });
        while !builder.is_finished() {
            if interrupt::check().is_err() {
                // Tried again until nobody is there.
                let _ = swap::end_sessions(&target.place, &target.names.side);
            }
            thread::park_timeout(NAP);
        }
        let built = builder.join().unwrap_or_else(|panic| resume_unwind(panic));
        interrupt::check().map_err(Error::of)?;
        built
    })
}

fn build(target: &Target, new: &New, scope: &Scope<'_>, streams: &dyn StreamSource) -> Result<()> {
    let side = target.names.side.as_str();
    let bytes = streams.list().iter().map(|info| info.size).sum();
    scope.progress.expect(bytes);

    // 1.
    let mut admin = target.place.administer()?;
    let server = server_version(&mut admin)?;
    // What an earlier try of this run left.
    swap::drop_database(&mut admin, side)?;
    properties::settle_roles(&mut admin, scope.run, false)?;
    let place = &target.place;
    let made = roles::passwords(&place.login, &place.database, &new.missing_roles, scope.logins)?;
    properties::create_roles(&mut admin, &made, scope.run)?;
    let for_now: Vec<_> = new.mapped.keys().map(|old| (old.clone(), None)).collect();
    properties::create_roles(&mut admin, &for_now, scope.run)?;
    properties::create(&mut admin, target, new, server)?;
    properties::bare(&mut connect_side(&new.restorer, side)?, &new.database)?;

    // 2.
    let passfile = PrivateFile::create(&new.restorer, side)?;
    let reach = Reach { login: &new.restorer, database: side, passfile: &passfile };
    let archive = archive(streams, &|n| scope.progress.advance(n))?;
    let restore = |section: &str, jobs: &str| {
        interrupt::check().map_err(Error::of)?;
        let section = format!("--section={section}");
        let mut args = vec![section.as_str(), jobs];
        args.extend(target.options.no_owner.then_some("--no-owner"));
        args.extend(target.options.no_acl.then_some("--no-acl"));
        args.extend(new.no_tablespaces.then_some("--no-tablespaces"));
        args.extend(new.no_labels.then_some("--no-security-labels"));
        child::restore(&new.tool, &reach, &archive, &args)
    };
    restore("pre-data", "--jobs=1")?;

    // 3.
    let tables: Vec<&Table> = tables(new).collect();
    let load = Load { login: &new.restorer, database: side, facts: &new.database, scope, streams };
    load.run(&tables).map_err(|error| content("D5", error))?;

    // 4.
    restore("data", "--jobs=1")?;
    let objects = objects(new);
    let (owners, acls) = (!target.options.no_owner, !target.options.no_acl);
    large_objects::restore(&mut connect_side(&new.restorer, side)?, &objects, streams, (owners, acls))
        .map_err(|error| content("D6", error))?;
    restore("post-data", &format!("--jobs={}", scope.threads.max(1)))?;

    if !new.mapped.is_empty() {
        role_map::hand_over(&mut connect_side(&new.restorer, side)?, &new.mapped)?;
    }

    // 5.
    load.analyze(&tables)?;

    // 6.
    properties::apply(&mut admin, side, &new.database, &target.options)
}

/// What a server has against rows of the bundle, where nothing else is the reason.
fn content(rule: &str, error: Error) -> Error {
    match error.fault() {
        Fault::Unexpected => Error::rule(rule, error),
        _ => error,
    }
}

/// Tables with their rows.
pub fn tables(new: &New) -> impl Iterator<Item = &Table> {
    new.rows.iter().filter_map(Row::table)
}

/// Large objects.
pub fn objects(new: &New) -> Vec<LargeObject> {
    objects_of(&new.rows)
}

/// The large objects among the lines of an index.
pub fn objects_of(rows: &[Row]) -> Vec<LargeObject> {
    let object = |row: &Row| if let Row::LargeObject(object) = row { Some(object.clone()) } else { None };
    rows.iter().filter_map(object).collect()
}

/// The archive, in memory: it is small, for rows are not in it, and pg_restore must seek in it.
pub fn archive(streams: &dyn StreamSource, advance: &dyn Fn(u64)) -> Result<File> {
    let place = |e| Error::io("pg_dump's archive", e);
    let mut file = memory_file("kbpack-dump")?;
    let mut from = streams.open(&stream_name("dump")?)?;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let n = from.read(&mut buffer).map_err(place)?;
        if n == 0 {
            return Ok(file);
        }
        file.write_all(&buffer[..n]).map_err(place)?;
        advance(n as u64);
    }
}

/// `ANALYZE` of one table.
pub fn analyze(session: &mut postgres::Client, table: &Table) -> Result<()> {
    let name = quote::qualified(&table.schema, &table.name);
    let done = session.batch_execute(&format!("ANALYZE {name}"));
    done.map_err(|e| failed(format_args!("statistics of {name}"), &e))
}
