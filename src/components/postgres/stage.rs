//! Target: the side database, out of sight.
//!
//! 1. Made from the empty template. 2. Definitions without what rows must not meet yet. 3. Rows, side by side.
//! 4. The archive's own data (sequences, extensions' tables), large objects, then indexes, constraints, triggers and
//!    privileges. 5. Statistics. 6. The database's own properties.

use super::child::{self, memory_file, Reach};
use super::connect::{connect, server_version};
use super::error::failed;
use super::index::{stream_name, LargeObject, Row, Table};
use super::large_objects;
use super::load::Load;
use super::pgpass::PrivateFile;
use super::plan::{New, Target};
use super::properties;
use super::quote;
use crate::base::interrupt;
use crate::component::{Error, Result, Scope, StreamSource};
use std::fs::File;
use std::io::{Read, Write};

/// Builds it.
pub fn stage(target: &Target, scope: &Scope<'_>, streams: &dyn StreamSource) -> Result<()> {
    let Some(new) = &target.new else { return Ok(()) };
    let side = target.names.side.as_str();
    let bytes = streams.list().iter().map(|info| info.size).sum();
    scope.progress.expect(bytes);

    // 1.
    let mut admin = target.place.administer()?;
    let server = server_version(&mut admin)?;
    properties::create_roles(&mut admin, &new.missing_roles, scope.run)?;
    properties::create(&mut admin, target, new, server)?;
    properties::bare(&mut connect(&new.restorer, side)?, &new.database)?;

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
        child::restore(&new.tool, &reach, &archive, &args)
    };
    restore("pre-data", "--jobs=1")?;

    // 3.
    let tables: Vec<&Table> = tables(new).collect();
    let load = Load { login: &new.restorer, database: side, facts: &new.database, scope, streams };
    load.run(&tables)?;

    // 4.
    restore("data", "--jobs=1")?;
    let objects = objects(new);
    let (owners, acls) = (!target.options.no_owner, !target.options.no_acl);
    large_objects::restore(&mut connect(&new.restorer, side)?, &objects, streams, (owners, acls))?;
    restore("post-data", &format!("--jobs={}", scope.threads.max(1)))?;

    // 5.
    load.analyze(&tables)?;

    // 6.
    properties::apply(&mut admin, side, &new.database, &target.options)
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
