//! The stream `index`: one line a table, sequence and large object, with what was counted on the source.

use super::hash::{RowHash, Sum};
use crate::base::json;
use crate::base::limits::MAX_LIST_LINE;
use crate::base::name::StreamName;
use crate::component::{stream_name, Error, Listed, Result, StreamSource, StreamWrite};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};

/// Lines of an index.
const MAX_ROWS: usize = 2_000_000;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Row {
    /// A table whose rows are in streams of their own.
    Table(Table),
    /// A table whose rows were left out, on request.
    Excluded {
        /// Its schema.
        schema: String,
        /// Its name.
        name: String,
    },
    /// A sequence.
    Sequence(Sequence),
    /// A large object.
    LargeObject(LargeObject),
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Table {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// The columns in the streams, in their order; empty for a table that has none but generated ones.
    pub columns: Vec<String>,
    /// How many rows it has.
    pub rows: u64,
    /// See [`RowHash`].
    pub hash: Sum,
    /// Its streams; none for an empty table.
    pub streams: Vec<StreamName>,
    /// Schema and name of the table above it through which its rows are loaded, where they may belong into another of
    /// its partitions on the target.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub root: Option<(String, String)>,
}

/// A sequence and where it stood before pg_dump read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Sequence {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// The last value that it gave; absent if it gave none.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub last: Option<i64>,
    /// Whether others used it until pg_dump had read it: then the archive has a later value.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub moved: bool,
}

/// A large object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct LargeObject {
    /// Its number.
    pub oid: u32,
    /// The role that owns it.
    pub owner: String,
    /// Privileges on it: `[role or "", "SELECT" or "UPDATE", grantable]`; absent where nobody changed them.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub acl: Option<Vec<(String, String, bool)>>,
    /// What `COMMENT ON LARGE OBJECT` said.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Bytes.
    pub size: u64,
    /// SHA-256 of the content.
    pub sha256: crate::base::digest::Digest,
    /// The stream that has its content, unless it is empty.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamName>,
}

impl Table {
    /// The table to load: itself, or the one above it.
    pub fn entrance(&self) -> (&str, &str) {
        let own = || (self.schema.as_str(), self.name.as_str());
        self.root.as_ref().map_or_else(own, |(schema, name)| (schema, name))
    }

    /// What its streams come to.
    pub fn content(&self) -> RowHash {
        RowHash { rows: self.rows, hash: self.hash }
    }
}

impl Row {
    /// The table, if it is one with its rows.
    pub fn table(&self) -> Option<&Table> {
        if let Row::Table(table) = self {
            Some(table)
        } else {
            None
        }
    }

    /// The schema, and the name in it, of what has one.
    pub fn name(&self) -> Option<(&str, &str)> {
        match self {
            Row::Table(Table { schema, name, .. }) => Some((schema, name)),
            Row::Excluded { schema, name } => Some((schema, name)),
            Row::Sequence(Sequence { schema, name, .. }) => Some((schema, name)),
            Row::LargeObject(_) => None,
        }
    }

    fn streams(&self) -> Vec<&StreamName> {
        match self {
            Row::Table(table) => table.streams.iter().collect(),
            Row::LargeObject(object) => object.stream.iter().collect(),
            Row::Excluded { .. } | Row::Sequence(_) => Vec::new(),
        }
    }

    /// For `inspect --files`.
    pub fn listed(&self) -> Listed {
        let listed = |name: String, what, size| Listed { name, what, size, mode: None };
        match self {
            Row::Table(table) => listed(format!("{}.{}", table.schema, table.name), "table", None),
            Row::Excluded { schema, name } => {
                listed(format!("{schema}.{name}"), "table without its rows", None)
            }
            Row::Sequence(sequence) => {
                listed(format!("{}.{}", sequence.schema, sequence.name), "sequence", None)
            }
            Row::LargeObject(object) => listed(object.oid.to_string(), "large object", Some(object.size)),
        }
    }
}

/// Writes the index.
pub fn write(rows: &[Row], mut to: Box<dyn StreamWrite>) -> Result<()> {
    for row in rows {
        let mut line = serde_json::to_vec(row).map_err(|e| Error::io("the index", e.into()))?;
        line.push(b'\n');
        to.write_all(&line).map_err(|e| Error::io("the index", e))?;
    }
    to.finish()
}

/// Reads the index and holds it against the streams there are.
pub fn read(streams: &dyn StreamSource) -> Result<Vec<Row>> {
    let bad = |rule: &str, why: &dyn std::fmt::Display| Error::rule(rule, format_args!("the index: {why}"));
    let mut from = BufReader::with_capacity(256 * 1024, streams.open(&stream_name("index")?)?);
    let mut rows = Vec::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        let limit = MAX_LIST_LINE as u64 + 1;
        let n =
            from.by_ref().take(limit).read_until(b'\n', &mut line).map_err(|e| Error::io("the index", e))?;
        if n == 0 {
            break;
        }
        if line.pop() != Some(b'\n') || rows.len() == MAX_ROWS {
            return Err(bad("D3", &"a line is too long or cut off, or there are too many"));
        }
        rows.push(json::from_slice::<Row>(&line).map_err(|e| bad("D3", &e))?);
    }
    let mut unclaimed: BTreeSet<&StreamName> = streams.list().iter().map(|info| &info.name).collect();
    for fixed in ["dump", "index"] {
        if !unclaimed.remove(&stream_name(fixed)?) {
            return Err(bad("D2", &format_args!("there is no stream '{fixed}'")));
        }
    }
    // One stream has many large objects, but rows of one table only.
    let mut objects = BTreeSet::new();
    for row in &rows {
        for name in row.streams() {
            let shared = matches!(row, Row::LargeObject(_)) && !objects.insert(name);
            if !shared && !unclaimed.remove(name) {
                return Err(bad("D2", &format_args!("stream '{name}' is not there, or named twice")));
            }
        }
    }
    match unclaimed.first() {
        None => Ok(rows),
        Some(name) => Err(bad("D2", &format_args!("nothing names stream '{name}'"))),
    }
}
