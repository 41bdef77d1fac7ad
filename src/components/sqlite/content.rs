//! What tables hold: how many rows, and a hash of them that does not depend on their order.
//!
//! `docs/FORMAT.md` (L5) lays the hash down, so that anybody can compute it.

use super::snapshot::Snapshot;
use crate::base::digest::Digest;
use crate::base::interrupt;
use crate::base::limits::MAX_LIST_LINE;
use crate::component::{Error, Result};
use rusqlite::types::ValueRef;
use rusqlite::Row;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::io::{BufRead, BufReader, Read};

/// The most tables that a bundle may list.
const MAX_TABLES: u64 = 100_000;

/// One table: a row of the stream `tables`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// How many rows it has.
    pub rows: u64,
    /// The sum of their digests.
    pub hash: Digest,
}

/// A sum of digests, as numbers modulo 2^256: the same for the same rows in any order.
#[derive(Default)]
struct Sum([u8; 32]);

impl Sum {
    fn add(&mut self, digest: [u8; 32]) {
        let mut carry = 0;
        for (byte, more) in self.0.iter_mut().zip(digest).rev() {
            let sum = u16::from(*byte) + u16::from(more) + carry;
            *byte = sum as u8;
            carry = sum >> 8;
        }
    }
}

/// Every table that holds rows of its own, the schema first, then by name. Views have none, and a virtual table's
/// are those of the ordinary tables that it keeps them in.
pub fn tables(snapshot: &Snapshot<'_>) -> Result<Vec<Table>> {
    let list = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'shadow') \
                AND name <> 'sqlite_schema'";
    let mut names = texts(snapshot, list, &[])?;
    names.sort_unstable();
    let schema = "SELECT type, name, tbl_name, sql FROM sqlite_schema";
    let mut tables = vec![hash(snapshot, "sqlite_schema".to_owned(), schema, 4)?];
    for name in names {
        // A generated column follows from the others, by functions that may not be known here.
        let columns = "SELECT name FROM pragma_table_xinfo(?) WHERE hidden = 0 ORDER BY cid";
        let columns: Vec<_> = texts(snapshot, columns, &[&name])?.iter().map(|c| quoted(c)).collect();
        let query = format!("SELECT {} FROM {} NOT INDEXED", columns.join(", "), quoted(&name));
        tables.push(hash(snapshot, name, &query, columns.len())?);
    }
    Ok(tables)
}

fn texts(snapshot: &Snapshot<'_>, query: &str, parameters: &[&str]) -> Result<Vec<String>> {
    let mut statement = snapshot.sql(snapshot.connection().prepare(query))?;
    let rows = snapshot.sql(statement.query_map(rusqlite::params_from_iter(parameters), |row| row.get(0)))?;
    rows.map(|text| snapshot.sql(text)).collect()
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn hash(snapshot: &Snapshot<'_>, name: String, query: &str, columns: usize) -> Result<Table> {
    let mut statement = snapshot.sql(snapshot.connection().prepare(query))?;
    let mut rows = snapshot.sql(statement.query([]))?;
    let (mut count, mut sum) = (0_u64, Sum::default());
    while let Some(row) = snapshot.sql(rows.next())? {
        sum.add(snapshot.sql(row_digest(row, columns))?);
        count += 1;
        if count % 4096 == 0 {
            interrupt::check().map_err(Error::of)?;
        }
    }
    Ok(Table { name, rows: count, hash: Digest(sum.0) })
}

fn row_digest(row: &Row<'_>, columns: usize) -> rusqlite::Result<[u8; 32]> {
    let mut sha = Sha256::new();
    let mut sized = |tag: u8, bytes: &[u8]| {
        sha.update([tag]);
        sha.update((bytes.len() as u64).to_be_bytes());
        sha.update(bytes);
    };
    for column in 0..columns {
        match row.get_ref(column)? {
            ValueRef::Null => sized(0, &[]),
            ValueRef::Integer(number) => sized(1, &number.to_be_bytes()),
            ValueRef::Real(number) => sized(2, &number.to_bits().to_be_bytes()),
            ValueRef::Text(bytes) => sized(3, bytes),
            ValueRef::Blob(bytes) => sized(4, bytes),
        }
    }
    Ok(sha.finalize().into())
}

/// The stream `tables`: one JSON object a line.
pub fn write(tables: &[Table]) -> Result<Vec<u8>> {
    let mut lines = Vec::new();
    for table in tables {
        serde_json::to_writer(&mut lines, table).map_err(|e| Error::io("the list of tables", e.into()))?;
        lines.push(b'\n');
    }
    Ok(lines)
}

/// Reads the stream `tables`, held to rule L4.
pub fn read(stream: impl Read, expected: u64) -> Result<Vec<Table>> {
    let broken = |what: &dyn std::fmt::Display| Error::rule("L4", what);
    if expected > MAX_TABLES {
        return Err(broken(&format_args!("more than {MAX_TABLES} tables")));
    }
    let mut stream = BufReader::new(stream);
    let mut tables: Vec<Table> = Vec::new();
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut stream).take(MAX_LIST_LINE as u64 + 1);
        limited.read_until(b'\n', &mut line).map_err(|e| Error::io("the list of tables", e))?;
        match line.strip_suffix(b"\n") {
            None if line.is_empty() => break,
            None => return Err(broken(&"a line of the list of tables is too long, or not ended")),
            Some(row) => tables.push(crate::base::json::from_slice(row).map_err(|e| broken(&e))?),
        }
        // The schema comes first; all others are in order, each once.
        let in_order = match tables.as_slice() {
            [first] => first.name == "sqlite_schema",
            [.., before, last] => {
                last.name != "sqlite_schema" && (tables.len() == 2 || before.name < last.name)
            }
            [] => true,
        };
        if !in_order {
            return Err(broken(&"the list of tables is not in order"));
        }
        if tables.len() as u64 > expected {
            return Err(broken(&"the list of tables is longer than the facts say"));
        }
    }
    match tables.len() as u64 == expected {
        true => Ok(tables),
        false => Err(broken(&"the list of tables is shorter than the facts say")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_carry_and_wrap() {
        let mut sum = Sum::default();
        sum.add([0xff; 32]);
        let mut one = [0; 32];
        one[31] = 2;
        sum.add(one);
        let mut expected = [0; 32];
        expected[31] = 1;
        assert_eq!(sum.0, expected);
    }

    #[test]
    fn lists_of_tables_are_held_to_their_rule() {
        let row =
            |name: &str| format!("{{\"name\":\"{name}\",\"rows\":0,\"hash\":\"{}\"}}\n", Digest([0; 32]));
        let list = |names: &[&str]| names.iter().map(|name| row(name)).collect::<String>();
        let good = list(&["sqlite_schema", "A", "b"]);
        assert_eq!(read(good.as_bytes(), 3).unwrap().len(), 3);
        assert_eq!(write(&read(good.as_bytes(), 3).unwrap()).unwrap(), good.as_bytes());
        for (bad, expected) in [
            (list(&["A", "sqlite_schema"]), 2),
            (list(&["sqlite_schema", "b", "A"]), 3),
            (list(&["sqlite_schema", "a", "a"]), 3),
            (list(&["sqlite_schema"]), 2),
            (list(&["sqlite_schema", "a"]), 1),
            (list(&["sqlite_schema"]).trim().to_owned(), 1),
            (row("sqlite_schema").replace("\"rows\"", "\"row\""), 1),
        ] {
            let error = read(bad.as_bytes(), expected).unwrap_err().to_string();
            assert!(error.contains("rule L4"), "{error}: {bad}");
        }
    }
}
