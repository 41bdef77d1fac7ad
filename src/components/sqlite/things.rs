//! What a database holds, as a list of things: its tables, and what its header says.

use super::content::{self, Table};
use super::facts::Encoding;
use super::open;
use super::snapshot::Snapshot;
use super::{require_streams, Sqlite, TABLES};
use crate::component::{stream_name, Result, StreamSource, Thing};
use std::path::Path;
use std::time::Duration;

/// What a bundle holds.
pub fn held(sqlite: &Sqlite, streams: &dyn StreamSource) -> Result<Vec<Thing>> {
    let facts = sqlite.facts()?;
    require_streams(facts, streams)?;
    let Some(database) = &facts.database else { return Ok(Vec::new()) };
    let tables = content::read(streams.open(&stream_name(TABLES)?)?, database.tables)?;
    let versions = (database.user_version.into(), database.application_id.into());
    Ok(things(tables, versions, database.encoding))
}

/// What the database at `path` holds.
pub fn present(path: &Path, timeout: Duration) -> Result<Vec<Thing>> {
    let connection = open::to_read(path, timeout)?;
    let snapshot = Snapshot::begin(&connection, path)?;
    let versions = (snapshot.number("user_version")?, snapshot.number("application_id")?);
    Ok(things(content::tables(&snapshot)?, versions, snapshot.encoding()?))
}

fn things(tables: Vec<Table>, (user, application): (i64, i64), encoding: Encoding) -> Vec<Thing> {
    let pragma = |name: &str, value: String| Thing {
        value: Some(value),
        ..Thing::new(format!("PRAGMA {name}"), "setting")
    };
    let encoding = match encoding {
        Encoding::Utf8 => "UTF-8",
        Encoding::Utf16le => "UTF-16le",
        Encoding::Utf16be => "UTF-16be",
    };
    let header = [
        pragma("user_version", user.to_string()),
        pragma("application_id", application.to_string()),
        pragma("encoding", encoding.to_owned()),
    ];
    let table = |table: Table| Thing {
        rows: Some(table.rows),
        content: Some(table.hash),
        ..Thing::new(table.name, "table")
    };
    header.into_iter().chain(tables.into_iter().map(table)).collect()
}
