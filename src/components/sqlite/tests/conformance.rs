//! The suite that every kind passes.

use super::{digest_of, ZOO};
use crate::component::{Host, Kind};
use crate::components::conformance::{suite, State, Streams, Subject, EDIT};
use crate::components::sqlite::SqliteKind;
use rusqlite::Connection;
use serde_json::{json, Value};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

/// A database in a folder that may not be there, in this journal mode on the target.
struct Database(&'static str);

impl Database {
    /// All databases on a machine.
    fn all(host: &Host) -> Vec<PathBuf> {
        let entries = walkdir::WalkDir::new(&host.home).sort_by_file_name().into_iter().map(Result::unwrap);
        let is_database = |path: &PathBuf| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.contains(".db") && !["-wal", "-shm", "-journal"].iter().any(|end| name.ends_with(end))
        };
        entries.filter(|e| e.file_type().is_file()).map(|e| e.into_path()).filter(is_database).collect()
    }
}

fn write(host: &Host, sql: &str) {
    let path = host.home.join("app/state.db");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    Connection::open(path).unwrap().execute_batch(sql).unwrap();
}

impl Subject for Database {
    fn kind(&self) -> &'static dyn Kind {
        &SqliteKind
    }

    fn options(&self, _: &Host) -> Value {
        json!({ "path": "~/app/state.db", "busy-timeout": 0 })
    }

    fn furnish(&self, host: &Host, state: State) {
        match state {
            State::Absent => {}
            State::Source => write(host, &format!("PRAGMA journal_mode = WAL; {ZOO}")),
            State::Other => {
                let mode = self.0;
                write(
                    host,
                    &format!(
                        "PRAGMA journal_mode = {mode}; CREATE TABLE plain (x); INSERT INTO plain VALUES (42)"
                    ),
                );
            }
        }
    }

    fn edit(&self, host: &Host) {
        write(host, &format!("CREATE TABLE IF NOT EXISTS notes (x); INSERT INTO notes VALUES ('{EDIT}')"));
    }

    fn edit_survives(&self, host: &Host) -> bool {
        let has = |path: &PathBuf| {
            let connection = Connection::open(path).unwrap();
            let found =
                connection.query_row("SELECT count(*) FROM notes WHERE x = ?", [EDIT], |row| row.get(0));
            found.is_ok_and(|rows: i64| rows > 0)
        };
        Database::all(host).iter().any(has)
    }

    /// Databases by what they say: SQLite changes its counters and a file's times.
    fn world(&self, host: &Host) -> Vec<String> {
        let mut rows: Vec<String> = Vec::new();
        for path in Database::all(host) {
            let digest = digest_of(&path, Duration::ZERO).map_or_else(|e| e.to_string(), |d| d.to_string());
            let mode = path.metadata().unwrap().permissions().mode();
            rows.push(
                format!("database {path:?} {mode:o} {digest}").replace(host.home.to_str().unwrap(), "~"),
            );
        }
        for entry in walkdir::WalkDir::new(&host.home).min_depth(1).sort_by_file_name() {
            let entry = entry.unwrap();
            let kind = if entry.file_type().is_dir() { "folder" } else { "file" };
            let path = entry.path().strip_prefix(&host.home).unwrap();
            rows.push(format!("{kind} {path:?}"));
        }
        rows
    }

    /// Not the pages: they have the target's journal mode.
    fn content(&self, facts: &Value, streams: &Streams) -> Vec<(String, Vec<u8>)> {
        let database = &facts["database"];
        let header = ["encoding", "user-version", "application-id", "foreign-key-violations"];
        let header: Vec<_> = header.iter().map(|key| database[key].to_string()).collect();
        vec![
            ("tables".to_owned(), streams.get("tables")),
            ("header".to_owned(), header.join(" ").into_bytes()),
        ]
    }
}

#[test]
fn a_database_passes() {
    suite(&Database("WAL"));
    suite(&Database("DELETE"));
}
