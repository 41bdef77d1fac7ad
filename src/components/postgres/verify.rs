//! Target: the side database, or the live one, against what was counted on the source; and whether it is in place.

use super::address::Login;
use super::catalog::{self, Relation};
use super::connect::{connect, connect_reader, database_oid};
use super::error::failed;
use super::hash::RowHash;
use super::index::Row;
use super::large_objects;
use super::plan::{New, Target};
use super::rows::{copy_out, cut, Piece};
use super::stage;
use crate::component::{parallel, CheckResult, Result, Scope};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

/// What was staged.
pub fn staged(target: &Target, scope: &Scope<'_>) -> Result<Vec<CheckResult>> {
    match &target.new {
        None => Ok(Vec::new()),
        Some(new) => {
            let mut results = content(&target.names.side, new, scope)?;
            let changed = |failure: String| {
                let name = &target.names.side;
                format!("{failure}; {name} was changed since it was moved aside: give it another name, and the backup is restored")
            };
            for result in results.iter_mut().filter(|_| target.kept) {
                result.failure = result.failure.take().map(changed);
            }
            Ok(results)
        }
    }
}

/// What is there. Definitions are not compared, but for the tables' columns.
pub fn live(target: &Target, scope: &Scope<'_>) -> Result<Vec<CheckResult>> {
    let there = target.live.is_some();
    match &target.new {
        None if target.stays => Ok(Vec::new()),
        None => Ok(vec![gone(there)]),
        Some(_) if !there => Ok(vec![result("the database", Some("it is not there".to_owned()))]),
        Some(new) => content(&target.place.database, new, scope),
    }
}

/// Rows, sequences, large objects and assertions.
fn content(database: &str, new: &New, scope: &Scope<'_>) -> Result<Vec<CheckResult>> {
    let mut session = connect(&new.restorer, database)?;
    let objects = stage::objects(new);
    let differences = match large_objects::differences(&mut session, &objects) {
        Ok(differences) => differences,
        Err(error) => Some(error.to_string()),
    };
    let mut results = vec![
        result("rows", tables(database, new, scope)?),
        result("sequences", sequences_alone(&mut session, &new.rows)?),
        result("large objects", differences),
    ];
    let path = super::facts::search_path(&new.database.settings);
    for assertion in &new.database.assertions {
        session.batch_execute("BEGIN READ ONLY").map_err(|e| failed(database, &e))?;
        let failure = match catalog::answer(&mut session, &assertion.name, &assertion.sql, path) {
            Ok(value) if value == assertion.value => None,
            Ok(value) => Some(format!("it answers '{value}', and '{}' on the source", assertion.value)),
            Err(error) => Some(error.to_string()),
        };
        session.batch_execute("ROLLBACK").map_err(|e| failed(database, &e))?;
        results.push(result(&format!("assertion '{}'", assertion.name), failure));
    }
    Ok(results)
}

/// One result.
pub fn result(name: &str, failure: Option<String>) -> CheckResult {
    CheckResult::new(name, failure)
}

/// The first table whose rows differ, in words.
fn tables(database: &str, new: &New, scope: &Scope<'_>) -> Result<Option<String>> {
    let there = catalog::tables(&mut connect(&new.restorer, database)?)?;
    let found = counted(&new.restorer, database, &there, &new.database.encoding, scope)?;
    Ok(compare(&new.rows, &there, found))
}

/// What the rows of the tables `there` come to, each.
pub fn counted(
    login: &Login,
    database: &str,
    there: &[Relation],
    encoding: &str,
    scope: &Scope<'_>,
) -> Result<Vec<RowHash>> {
    let server = super::connect::server_version(&mut connect(login, database)?)?;
    let pieces = cut(there, server.major);
    let queue: Mutex<VecDeque<&Piece>> = Mutex::new(pieces.iter().collect());
    let found = Mutex::new(vec![RowHash::default(); there.len()]);
    parallel(scope.threads.min(pieces.len()), || {
        let mut session = connect_reader(login, database)?;
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(piece) = next else { return Ok(()) };
            let table = &there[piece.table];
            let copy = piece.copy(table, encoding);
            let hash = copy_out(&mut session, &copy, table, |_| Ok(()))?;
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            found[piece.table] = found[piece.table].and(hash);
        }
    })?;
    Ok(found.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// The first table of `rows` that differs from the tables `there`, in which so many rows were `found`.
pub fn compare(rows: &[Row], there: &[Relation], found: Vec<RowHash>) -> Option<String> {
    let mut content: HashMap<(&str, &str), (RowHash, &[String])> = HashMap::new();
    for (table, hash) in there.iter().zip(found) {
        content.insert((&table.schema, &table.name), (hash, &table.columns));
    }
    // By the table that was loaded: its partitions share its rows among them as they do here.
    let mut sums: BTreeMap<(&str, &str), (RowHash, RowHash)> = BTreeMap::new();
    for table in rows.iter().filter_map(Row::table) {
        let name = format!("{}.{}", table.schema, table.name);
        match content.remove(&(table.schema.as_str(), table.name.as_str())) {
            None => return Some(format!("table {name} is missing")),
            Some((_, columns)) if columns != table.columns => {
                return Some(format!("table {name} has other columns"))
            }
            Some((hash, _)) => {
                let (here, packed) = sums.entry(table.entrance()).or_default();
                (*here, *packed) = (here.and(hash), packed.and(table.content()));
            }
        }
    }
    let differs = sums.iter().find(|(_, (here, packed))| here != packed);
    if let Some(((schema, name), (here, packed))) = differs {
        let what = format!("table {schema}.{name} has {} rows, and {} on the source", here.rows, packed.rows);
        let same_count = format!("table {schema}.{name} has other rows than on the source");
        return Some(if here.rows == packed.rows { same_count } else { what });
    }
    // What is left was packed without its rows, or must not be there.
    for row in rows {
        if let Row::Excluded { schema, name } = row {
            content.remove(&(schema.as_str(), name.as_str()));
        }
    }
    content.keys().next().map(|(schema, name)| format!("table {schema}.{name} is not in the bundle"))
}

/// [`sequences`], in a transaction of its own.
fn sequences_alone(session: &mut postgres::Client, rows: &[Row]) -> Result<Option<String>> {
    session.batch_execute("BEGIN READ ONLY").map_err(|e| failed("the side database", &e))?;
    let differences = sequences(session, rows)?;
    session.batch_execute("ROLLBACK").map_err(|e| failed("the side database", &e))?;
    Ok(differences)
}

/// A sequence that others used until pg_dump read it may stand further than it was counted at.
///
/// In a transaction.
pub fn sequences(session: &mut postgres::Client, rows: &[Row]) -> Result<Option<String>> {
    let there = catalog::sequences(session)?;
    let last: HashMap<(&str, &str), Option<i64>> =
        there.iter().map(|s| ((s.schema.as_str(), s.name.as_str()), s.last)).collect();
    for row in rows {
        let Row::Sequence(sequence) = row else { continue };
        let name = format!("{}.{}", sequence.schema, sequence.name);
        let here = last.get(&(sequence.schema.as_str(), sequence.name.as_str()));
        match (here, sequence.last) {
            (None, _) => return Ok(Some(format!("sequence {name} is missing"))),
            (Some(None), Some(wanted)) => {
                return Ok(Some(format!("sequence {name} gave no value yet, and {wanted} on the source")))
            }
            (Some(Some(here)), Some(wanted)) if *here != wanted && !sequence.moved => {
                return Ok(Some(format!("sequence {name} stands at {here}, and at {wanted} on the source")))
            }
            _ => {}
        }
    }
    Ok(None)
}

fn gone(there: bool) -> CheckResult {
    result("the database is gone", there.then(|| "it is still there".to_owned()))
}

/// Whether the database is the one that was staged, and its user gets in.
pub fn in_place(target: &Target) -> Result<Vec<CheckResult>> {
    let place = &target.place;
    let mut admin = place.administer()?;
    let there = database_oid(&mut admin, &place.database)?;
    let side = database_oid(&mut admin, &target.names.side)?;
    if target.stays {
        return Ok(Vec::new());
    }
    if target.new.is_none() {
        return Ok(vec![gone(there.is_some())]);
    }
    let swapped = match (there, side) {
        (Some(oid), None) if Some(oid) != target.live => None,
        _ => Some("it is not the one that was restored".to_owned()),
    };
    let login = connect(&place.login, &place.database).err().map(|error| error.to_string());
    Ok(vec![
        result("the database is the restored one", swapped),
        result(&format!("{} logs in", place.login.user), login),
    ])
}
