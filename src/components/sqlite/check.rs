//! Whether a database is whole, and whether it is the one that the bundle recorded.

use super::capture::foreign_key_violations;
use super::content::{self, Table};
use super::facts::Database;
use super::open::{self, code, sql};
use super::plan::{Planned, Wanted};
use super::snapshot::Snapshot;
use super::stage::new_in;
use crate::base::digest::Digest;
use crate::base::path::shown;
use crate::component::{CheckResult, Result};
use rusqlite::ErrorCode;
use std::path::Path;
use std::time::Duration;

/// What SQLite's own check says.
pub enum Integrity {
    /// Nothing is wrong.
    Whole,
    /// The first thing that is wrong.
    Damaged(String),
    /// The schema needs functions or collations that only the database's own program has.
    Unknown(String),
}

/// `PRAGMA integrity_check`.
pub fn integrity(snapshot: &Snapshot<'_>) -> Result<Integrity> {
    let check = "PRAGMA integrity_check(1)";
    match snapshot.connection().query_row(check, [], |row| row.get::<_, String>(0)) {
        Ok(said) if said == "ok" => Ok(Integrity::Whole),
        Ok(said) => Ok(Integrity::Damaged(said)),
        Err(e) => match code(&e) {
            Some(ErrorCode::Unknown) => Ok(Integrity::Unknown(e.to_string())),
            Some(ErrorCode::DatabaseCorrupt) => Ok(Integrity::Damaged(e.to_string())),
            _ => Err(sql(snapshot.path(), &e)),
        },
    }
}

/// Compares what was staged with what the bundle recorded.
pub fn staged(plan: &Planned) -> Result<Vec<CheckResult>> {
    let Some(wanted) = plan.wanted.as_ref().filter(|_| plan.todo.writes()) else { return Ok(Vec::new()) };
    let path = new_in(&plan.side);
    let connection = open::staged(&path)?;
    let snapshot = Snapshot::begin(&connection, &path)?;
    compare(&snapshot, wanted, &shown(&plan.path))
}

/// Whether the database is in place as the plan wanted it.
pub fn in_place(plan: &Planned, timeout: Duration) -> Result<Vec<CheckResult>> {
    let name = shown(&plan.path);
    let Some(wanted) = &plan.wanted else {
        let failure = plan.path.exists().then(|| "it is still there".to_owned());
        return Ok(vec![CheckResult::new(format!("{name} is gone"), failure)]);
    };
    if !plan.path.exists() {
        let failure = Some("it is not there".to_owned());
        return Ok(vec![CheckResult::new(format!("{name} is in place"), failure)]);
    }
    let connection = open::to_read(&plan.path, timeout)?;
    let snapshot = Snapshot::begin(&connection, &plan.path)?;
    let mut results = compare(&snapshot, wanted, &name)?;
    for failure in results.iter_mut().filter_map(|result| result.failure.as_mut()) {
        failure.push_str(" (if another program wrote to it just now, stop that first)");
    }
    Ok(results)
}

fn compare(snapshot: &Snapshot<'_>, wanted: &Wanted, name: &str) -> Result<Vec<CheckResult>> {
    let result = |what: &str, failure| CheckResult::new(format!("{name}: {what}"), failure);
    let whole = match integrity(snapshot)? {
        Integrity::Whole | Integrity::Unknown(_) => None,
        Integrity::Damaged(why) => Some(why),
    };
    let damaged = whole.is_some();
    let mut results = vec![result("SQLite finds nothing wrong", whole)];
    // Of a damaged one nothing more is to be learned.
    if !damaged {
        results.push(result("its header is as it was", header(snapshot, &wanted.database)?));
        results.push(result("its tables hold what they held", tables(snapshot, &wanted.tables)?));
    }
    Ok(results)
}

fn header(snapshot: &Snapshot<'_>, wanted: &Database) -> Result<Option<String>> {
    let differs = |what: &str| Ok(Some(format!("{what} differs")));
    if snapshot.number("user_version")? != i64::from(wanted.user_version) {
        return differs("user_version");
    }
    if snapshot.number("application_id")? != i64::from(wanted.application_id) {
        return differs("application_id");
    }
    if snapshot.encoding()? != wanted.encoding {
        return differs("the encoding of its text");
    }
    if foreign_key_violations(snapshot) != wanted.foreign_key_violations {
        return differs("the number of rows that violate a foreign key");
    }
    Ok(None)
}

fn tables(snapshot: &Snapshot<'_>, wanted: &[Table]) -> Result<Option<String>> {
    let now = content::tables(snapshot)?;
    let wrong = wanted.iter().find(|table| !now.contains(table));
    let more = now.iter().find(|table| wanted.iter().all(|w| w.name != table.name));
    Ok(match (wrong, more) {
        (Some(table), _) => Some(format!("table {} differs", table.name)),
        (None, Some(table)) => Some(format!("there is also a table {}", table.name)),
        (None, None) => None,
    })
}

/// What a database says that other programs may use.
pub fn digest_of(path: &Path, timeout: Duration) -> Result<Digest> {
    let connection = open::to_read(path, timeout)?;
    let digest = Snapshot::begin(&connection, path)?.digest();
    digest
}

/// What a file says that only we use.
pub fn digest_of_staged(path: &Path) -> Result<Digest> {
    let connection = open::staged(path)?;
    let digest = Snapshot::begin(&connection, path)?.digest();
    digest
}
