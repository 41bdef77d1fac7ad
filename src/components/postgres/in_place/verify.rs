//! What the transaction holds, against what was counted on the source.

use super::super::catalog::{self, Relation};
use super::super::connect::server_version;
use super::super::error::failed;
use super::super::facts;
use super::super::hash::RowHash;
use super::super::index::Row;
use super::super::large_objects;
use super::super::rows::{copy_out, cut};
use super::super::stage::objects_of;
use super::super::verify::{compare, result, sequences};
use super::inventory::Object;
use super::plan::Target;
use crate::component::{CheckResult, Result};
use postgres::Client;
use std::collections::BTreeSet;

/// Rows, sequences, large objects and assertions, in the open transaction of `session`, the one that restored or another. `came` is what is not aside.
pub fn staged(session: &mut Client, target: &Target, came: &[Object]) -> Result<Vec<CheckResult>> {
    let ours: BTreeSet<u32> = came.iter().map(|object| object.oid).collect();
    let mut there = catalog::tables(session)?;
    // Of others' tables only those that stand where one of ours should.
    let wanted: BTreeSet<(&str, &str)> = named(&target.rows).collect();
    there.retain(|table| ours.contains(&table.oid) || wanted.contains(&(&table.schema, &table.name)));
    let found = contents(session, &there, &target.database.encoding)?;
    let differences = match large_objects::content_differs(session, &objects_of(&target.rows)) {
        Ok(differences) => differences,
        Err(error) => Some(error.to_string()),
    };
    let mut results = vec![
        result("rows", compare(&target.rows, &there, found)),
        result("sequences", sequences(session, &target.rows)?),
        result("large objects", differences),
    ];
    let path = facts::search_path(&target.database.settings);
    for assertion in &target.database.assertions {
        let begin = "SAVEPOINT assertion; SET TRANSACTION READ ONLY";
        session.batch_execute(begin).map_err(|e| failed("the transaction", &e))?;
        let failure = match catalog::answer(session, &assertion.name, &assertion.sql, path) {
            Ok(value) if value == assertion.value => None,
            Ok(value) => Some(format!("it answers '{value}', and '{}' on the source", assertion.value)),
            Err(error) => Some(error.to_string()),
        };
        let end = "ROLLBACK TO SAVEPOINT assertion; RELEASE SAVEPOINT assertion";
        session.batch_execute(end).map_err(|e| failed("the transaction", &e))?;
        results.push(result(&format!("assertion '{}'", assertion.name), failure));
    }
    Ok(results)
}

fn named(rows: &[Row]) -> impl Iterator<Item = (&str, &str)> {
    rows.iter().filter_map(Row::table).map(|table| (table.schema.as_str(), table.name.as_str()))
}

fn contents(session: &mut Client, tables: &[Relation], encoding: &str) -> Result<Vec<RowHash>> {
    let mut found = vec![RowHash::default(); tables.len()];
    let server = server_version(session)?;
    for piece in cut(tables, server.major) {
        let table = &tables[piece.table];
        let hash = copy_out(session, &piece.copy(table, encoding), table, |_| Ok(()))?;
        found[piece.table] = found[piece.table].and(hash);
    }
    Ok(found)
}
