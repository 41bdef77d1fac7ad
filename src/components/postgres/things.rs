//! What a database holds, as a list of things: tables with their rows, sequences, large objects. Definitions are not among
//! them, but for the tables' columns.

use super::catalog;
use super::connect::{connect, database_oid};
use super::error::failed;
use super::hash::RowHash;
use super::index::{self, Row, Sequence};
use super::large_objects;
use super::verify::counted;
use super::{Place, Postgres};
use crate::base::digest::Digest;
use crate::base::libpq::address::Login;
use crate::component::{Against, Result, Scope, StreamSource, Thing};
use std::collections::BTreeMap;

/// A table of which only the definition travels.
const WITHOUT_ROWS: &str = "table without its rows";

/// What a bundle holds.
pub fn held(postgres: &Postgres, streams: &dyn StreamSource) -> Result<Vec<Thing>> {
    if postgres.facts()?.database.is_none() {
        return Ok(Vec::new());
    }
    let mut tables = Tables::default();
    let mut things = Vec::new();
    for row in index::read(streams)? {
        match row {
            Row::Table(table) => tables.add(table.entrance(), &table.columns, table.content()),
            Row::Excluded { schema, name } => {
                things.push(Thing::new(format!("{schema}.{name}"), WITHOUT_ROWS));
            }
            Row::Sequence(one) => things.push(sequence(one)),
            Row::LargeObject(object) => things.push(large_object(object.oid, object.size, object.sha256)),
        }
    }
    things.extend(tables.things());
    Ok(things)
}

/// What the database holds; `None` if there is none.
pub fn present(postgres: &Postgres, scope: &Scope<'_>, against: &Against<'_>) -> Result<Option<Vec<Thing>>> {
    let place = postgres.place(scope.host)?;
    if database_oid(&mut place.administer()?, &place.database)?.is_none() {
        return Ok(None);
    }
    // As an import: by its user if it may, else by the administrator.
    match look(postgres, &place, &place.login, scope, against) {
        Err(_) if place.admin.0.user != place.login.user => {
            look(postgres, &place, &place.admin.0, scope, against).map(Some)
        }
        looked => looked.map(Some),
    }
}

fn look(
    postgres: &Postgres,
    place: &Place,
    login: &Login,
    scope: &Scope<'_>,
    against: &Against<'_>,
) -> Result<Vec<Thing>> {
    let database = &place.database;
    let mut session = connect(login, database)?;
    let of_others = match postgres.is_in_place() {
        true => catalog::of_others(&mut session)?,
        false => Default::default(),
    };
    let ours = |schema: &str, name: &str| {
        !of_others.contains(&(schema.to_owned(), name.to_owned())) && postgres.leaves.takes_schema(schema)
    };
    let mut things = Vec::new();
    let mut there = catalog::tables(&mut session)?;
    there.retain(|table| ours(&table.schema, &table.name));
    there.retain(|table| {
        let name = format!("{}.{}", table.schema, table.name);
        let without = against.find(&name).is_some_and(|thing| thing.what == WITHOUT_ROWS);
        if without {
            things.push(Thing::new(name, WITHOUT_ROWS));
        }
        !without
    });
    let encoding = postgres.facts()?.database.as_ref().map_or("UTF8", |database| &database.encoding);
    let mut tables = Tables::default();
    for (table, content) in there.iter().zip(counted(login, database, &there, encoding, scope)?) {
        let own = (table.schema.as_str(), table.name.as_str());
        let entrance = table.root.as_ref().map_or(own, |(schema, name)| (schema, name));
        tables.add(entrance, &table.columns, content);
    }
    things.extend(tables.things());

    let place = |e: postgres::Error| failed(database, &e);
    session.batch_execute("BEGIN READ ONLY").map_err(place)?;
    let sequences = catalog::sequences(&mut session)?;
    things.extend(sequences.into_iter().filter(|s| ours(&s.schema, &s.name)).map(sequence));
    for (oid, size, content) in large_objects::contents(&mut session, postgres.is_in_place())? {
        things.push(large_object(oid, size, content));
    }
    session.batch_execute("ROLLBACK").map_err(place)?;
    Ok(things)
}

/// Tables by schema and name: a digest over their columns, and their rows. Partitions whose rows may be spread in another way
/// count as the table above them.
#[derive(Default)]
struct Tables(BTreeMap<String, (Vec<u8>, RowHash)>);

impl Tables {
    fn add(&mut self, (schema, name): (&str, &str), columns: &[String], content: RowHash) {
        let (of, rows) = self.0.entry(format!("{schema}.{name}")).or_default();
        if of.is_empty() {
            columns.iter().for_each(|column| of.extend([column.as_bytes(), b"\0"].concat()));
        }
        *rows = rows.and(content);
    }

    fn things(self) -> impl Iterator<Item = Thing> {
        self.0.into_iter().map(|(name, (columns, content))| {
            let sum = format!("{:?}", content.hash);
            let content_of = Digest::of(&[sum.as_bytes(), &columns].concat());
            Thing { rows: Some(content.rows), content: Some(content_of), ..Thing::new(name, "table") }
        })
    }
}

/// One that others used while it was packed stands further in the archive than it was counted at: that is not compared.
fn sequence(sequence: Sequence) -> Thing {
    let last = sequence.last.map_or_else(|| "no value yet".to_owned(), |last| last.to_string());
    let value = Some(last).filter(|_| !sequence.moved);
    Thing { value, ..Thing::new(format!("{}.{}", sequence.schema, sequence.name), "sequence") }
}

fn large_object(oid: u32, size: u64, content: Digest) -> Thing {
    Thing {
        size: Some(size),
        content: Some(content),
        ..Thing::new(format!("large object {oid}"), "large object")
    }
}
