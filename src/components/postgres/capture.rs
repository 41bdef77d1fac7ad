//! Source: a database becomes an archive, rows and an index, all of one snapshot.
//!
//! 1. The snapshot, and what it says that the database is.
//! 2. pg_dump, which writes all but the rows; its table of contents against our list: each table's rows are in exactly
//!    one place.
//! 3. Rows, by several sessions. 4. Large objects. 5. The archive, the index.

use super::catalog;
use super::child::{self, Dumped, Reach};
use super::connect;
use super::contents;
use super::copying::Copying;
use super::error::failed;
use super::facts::{Assertion, Database, Facts, Kept};
use super::index::{self, Row, Sequence};
use super::labels;
use super::large_objects;
use super::options::Absent;
use super::pgpass::PrivateFile;
use super::rows::write_all;
use super::select;
use super::snapshot::{busy, can_share, nap, take, Snapshot, ATTEMPTS};
use super::subscriptions;
use super::tools::{self, Tool, Version};
use super::{Place, Postgres};
use crate::component::{
    stream_name, Captured, Error, Finding, Holds, Result, Scope, Severity, StreamSink, StreamWrite, Survey,
};
use std::fs::File;
use std::io::Read;

/// Writes all of it.
pub fn capture(postgres: &Postgres, scope: &Scope<'_>, sink: &dyn StreamSink) -> Result<Captured> {
    let place = postgres.place(scope.host)?;
    match is_absent(postgres, &place)? {
        true => absent(postgres, place),
        false => present(postgres, &place, None, scope, sink),
    }
}

/// Whether there is no such database, and that is a state.
fn is_absent(postgres: &Postgres, place: &Place) -> Result<bool> {
    match postgres.absent {
        Absent::Refuse => Ok(false),
        Absent::Ok | Absent::Remove => {
            Ok(connect::database_oid(&mut place.administer()?, &place.database)?.is_none())
        }
    }
}

/// Says that there is none.
pub fn absent(postgres: &Postgres, place: Place) -> Result<Captured> {
    let facts =
        Facts { address: place.address, options: postgres.options.clone(), database: None, kept: None };
    Captured::new(&facts, Vec::new())
}

/// Writes the database at `place`, as whoever logs in there; and that it is `kept`.
pub fn present(
    postgres: &Postgres,
    place: &Place,
    kept: Option<Kept>,
    scope: &Scope<'_>,
    sink: &dyn StreamSink,
) -> Result<Captured> {
    // 1. and 2.
    let Moment { mut snapshot, mut facts, chosen, sequences, tool, archive } =
        moment(postgres, place, scope)?;
    facts.pg_dump = tool.version.to_string();
    let mut findings = tool.warnings();
    findings.extend(select::secrets_inside(&mut snapshot.session)?);
    findings.extend(subscriptions::found(&mut snapshot.session)?);
    let restorer = tools::pg_restore(tool.version.major, tool.version.major)?;
    contents::account(&child::list(&restorer, &archive)?, &chosen)?;

    // 3.
    let server = Version::parse(&facts.server).map_or(0, |version| version.major);
    let held = snapshot.tables[..snapshot.held].iter().map(|table| table.oid).collect();
    let copying = Copying::new(scope, sink, &snapshot.id, &chosen.tables, &facts.encoding, held, server);
    let mut rows = copying.run(std::mem::take(&mut snapshot.readers))?;

    // 4. and 5.
    facts.tables = rows.len() as u64;
    facts.rows = rows.iter().map(|row| if let Row::Table(table) = row { table.rows } else { 0 }).sum();
    rows.extend(
        chosen
            .excluded
            .iter()
            .map(|table| Row::Excluded { schema: table.schema.clone(), name: table.name.clone() }),
    );
    rows.extend(sequences.into_iter().filter(|s| chosen.takes(s)).map(Row::Sequence));
    rows.extend(
        large_objects::capture(&mut snapshot.session, scope, sink, postgres.select.own_only)?
            .into_iter()
            .map(Row::LargeObject),
    );
    write_archive(&archive, sink.create(&stream_name("dump")?, Holds::Data)?)?;
    index::write(&rows, sink.create(&stream_name("index")?, Holds::Data)?)?;
    let facts = Facts {
        address: place.address.clone(),
        options: postgres.options.clone(),
        database: Some(facts),
        kept,
    };
    Captured::new(&facts, findings)
}

/// A snapshot, and what was read of it.
struct Moment {
    snapshot: Snapshot,
    facts: Database,
    chosen: select::Chosen,
    sequences: Vec<Sequence>,
    tool: Tool,
    archive: File,
}

/// Takes snapshots until nobody is in between. Nothing is written to the bundle before.
fn moment(postgres: &Postgres, place: &Place, scope: &Scope<'_>) -> Result<Moment> {
    let (login, name) = (&place.login, place.database.as_str());
    let passfile = PrivateFile::create(login, name)?;
    let reach = Reach { login, database: name, passfile: &passfile };
    for _ in 0..ATTEMPTS {
        let Some(mut snapshot) = take(login, name, scope.threads.max(1), postgres.select.own_only)? else {
            continue;
        };
        let (facts, server) = describe(postgres, &mut snapshot)?;
        let chosen = select::choose(&postgres.select, &mut snapshot)?;
        let mut sequences = catalog::sequences(&mut snapshot.session)?;
        let tool = tools::pg_dump(server.major)?;
        match child::dump(&tool, &reach, &chosen.pg_dump_args(&snapshot.id))? {
            Dumped::Archive(archive) => {
                let after = catalog::sequences(&mut snapshot.session)?;
                sequences.iter_mut().for_each(|sequence| sequence.moved = !after.contains(sequence));
                return Ok(Moment { snapshot, facts, chosen, sequences, tool, archive });
            }
            Dumped::Disturbed => nap(),
        }
    }
    Err(busy("its tables are locked, or written anew, all the time"))
}

/// What would be packed.
pub fn survey(postgres: &Postgres, scope: &Scope<'_>) -> Result<Survey> {
    let place = postgres.place(scope.host)?;
    if is_absent(postgres, &place)? {
        let what = format!("there is no database {}, and the bundle says so", place.database);
        let findings = vec![Finding::new(Severity::Note, what)];
        return Ok(Survey { origins: vec![place.to_string()], findings, ..Survey::default() });
    }
    let mut session = connect::connect(&place.login, &place.database)?;
    can_share(&mut session)?;
    session.batch_execute("BEGIN READ ONLY").map_err(|e| failed("the database", &e))?;
    let database = catalog::database(&mut session)?;
    let server = connect::server_version(&mut session)?;
    let taken = |schema: &str| postgres.select.takes_schema(schema);
    let tables = catalog::tables(&mut session)?.iter().filter(|table| taken(&table.schema)).count();
    let sequences = catalog::sequences(&mut session)?.iter().filter(|s| taken(&s.schema)).count();
    let objects = large_objects::count(&mut session)?;
    let mut findings = tools::pg_dump(server.major)?.warnings();
    findings.extend(select::secrets_inside(&mut session)?);
    findings.extend(subscriptions::found(&mut session)?);
    Ok(Survey {
        origins: vec![place.to_string()],
        items: (tables + sequences) as u64 + objects,
        bytes: database.bytes,
        findings,
    })
}

/// The database as the snapshot has it, and the profile's questions to it.
fn describe(postgres: &Postgres, snapshot: &mut Snapshot) -> Result<(Database, Version)> {
    let session = &mut snapshot.session;
    let server = connect::server_version(session)?;
    let row = catalog::database(session)?;
    let settings = catalog::settings(session, row.oid)?;
    let path = super::facts::search_path(&settings);
    if let Some(sql) = &postgres.refuse_when {
        let answer = catalog::answer(session, "refuse-when", sql, path)?;
        if !matches!(answer.as_str(), "" | "0" | "f" | "false") {
            return Err(Error::not_ready(format_args!("the query of refuse-when answers '{answer}'"))
                .todo("wait until it answers 0, false or nothing, and run it again"));
        }
    }
    let mut assertions = Vec::new();
    for (name, sql) in &postgres.assertions {
        let value = catalog::answer(session, name, sql, path)?;
        assertions.push(Assertion { name: name.clone(), sql: sql.clone(), value });
    }
    let extensions = catalog::extensions(session)?;
    select::refuse_extensions(extensions.keys())?;
    let (labels, label_providers) = labels::read(session, row.oid)?;
    let database = Database {
        labels,
        label_providers,
        server: server.to_string(),
        pg_dump: String::new(),
        acl: catalog::database_acl(session, row.oid)?,
        settings,
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
    };
    Ok((database, server))
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
