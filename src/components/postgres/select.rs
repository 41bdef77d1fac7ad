//! Source: which tables go, and what a database may not have.

use super::catalog::{self, Relation};
use super::error::failed;
use super::index::Sequence;
use super::patterns;
use super::quote;
use super::snapshot::Snapshot;
use crate::component::{Error, Finding, Result, Severity};
use postgres::Client;
use std::collections::BTreeSet;

/// Extensions that keep rows or jobs where a dump does not find them.
const REFUSED_EXTENSIONS: [&str; 2] = ["timescaledb", "pg_cron"];

/// What a profile leaves out: patterns with `*` and `?`.
#[derive(Debug, Clone, Default)]
pub struct Select {
    /// Of schemas.
    pub exclude_schema: Vec<String>,
    /// Of tables, `schema.name`, or `name` in any schema, whose rows stay behind.
    pub exclude_table_data: Vec<String>,
    /// Nothing but what the session's role owns: the backup of a replacement in place, which touches nothing else.
    pub own_only: bool,
}

impl Select {
    /// Whether the schema goes.
    pub fn takes_schema(&self, schema: &str) -> bool {
        !self.exclude_schema.iter().any(|pattern| like(pattern, schema))
    }
}

/// What goes and what does not.
#[derive(Debug, Default)]
pub struct Chosen {
    /// Tables with their rows.
    pub tables: Vec<Relation>,
    /// Tables without.
    pub excluded: Vec<Relation>,
    /// Partitioned tables, which have no rows of their own.
    pub partitioned: BTreeSet<u32>,
    /// Schemas that stay behind.
    pub left_out: BTreeSet<String>,
    /// Relations of others that stay behind, by schema and name.
    pub of_others: BTreeSet<(String, String)>,
}

/// Applies the profile's patterns to what the snapshot has.
pub fn choose(select: &Select, snapshot: &mut Snapshot) -> Result<Chosen> {
    let any = |patterns: &[String], name: &str| patterns.iter().any(|pattern| like(pattern, name));
    let mut chosen = Chosen { partitioned: partitioned(&mut snapshot.session)?, ..Chosen::default() };
    let schemas = catalog::schemas(&mut snapshot.session)?;
    chosen.left_out = schemas.into_iter().filter(|schema| any(&select.exclude_schema, schema)).collect();
    if select.own_only {
        chosen.of_others = catalog::of_others(&mut snapshot.session)?;
    }
    for table in snapshot.tables.iter().filter(|table| !chosen.left_out.contains(&table.schema)) {
        let full = format!("{}.{}", table.schema, table.name);
        let without_rows = select.exclude_table_data.iter().any(|pattern| match pattern.contains('.') {
            true => like(pattern, &full),
            false => like(pattern, &table.name),
        });
        match without_rows {
            true => chosen.excluded.push(table.clone()),
            false => chosen.tables.push(table.clone()),
        }
    }
    Ok(chosen)
}

impl Chosen {
    /// Whether the sequence goes.
    pub fn takes(&self, sequence: &Sequence) -> bool {
        let name = (sequence.schema.clone(), sequence.name.clone());
        !self.left_out.contains(&sequence.schema) && !self.of_others.contains(&name)
    }

    /// pg_dump's arguments: all but the rows of these tables and large objects. Names are matched exactly: a `*` in a
    /// pattern would leave out the values of sequences too.
    pub fn pg_dump_args(&self, snapshot: &str) -> Vec<String> {
        let fixed = ["-Fc", "-Z0", "--no-sync", "--no-blobs", "--lock-wait-timeout=1000"];
        let mut args: Vec<String> = fixed.map(str::to_owned).into();
        args.push(format!("--snapshot={snapshot}"));
        let schemas = self.left_out.iter().map(|schema| format!("--exclude-schema={}", quote::ident(schema)));
        args.extend(schemas);
        let others = self.of_others.iter().map(|(schema, name)| (schema.as_str(), name.as_str()));
        args.extend(patterns::exactly(others).into_iter().map(|some| format!("--exclude-table={some}")));
        let without_rows = self.tables.iter().chain(&self.excluded);
        let names = without_rows.map(|table| (table.schema.as_str(), table.name.as_str()));
        args.extend(patterns::exactly(names).into_iter().map(|some| format!("--exclude-table-data={some}")));
        args
    }
}

fn partitioned(session: &mut Client) -> Result<BTreeSet<u32>> {
    let rows = session.query("SELECT oid FROM pg_catalog.pg_class WHERE relkind = 'p'", &[]);
    let rows = rows.map_err(|e| failed("the list of partitioned tables", &e))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Whether `pattern`, in which `*` is any text and `?` any character, matches all of `name`.
fn like(pattern: &str, name: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => name.is_empty(),
        Some('*') => {
            let tails = name.char_indices().map(|(at, _)| &name[at..]).chain([""]);
            tails.into_iter().any(|tail| like(rest.as_str(), tail))
        }
        Some(c) => {
            let mut chars = name.chars();
            chars.next().is_some_and(|first| c == '?' || c == first) && like(rest.as_str(), chars.as_str())
        }
    }
}

/// Extensions that cannot be moved like this yet.
pub fn refuse_extensions<'a>(mut names: impl Iterator<Item = &'a String>) -> Result<()> {
    match names.find(|name| REFUSED_EXTENSIONS.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => {
            Err(Error::not_ready(format_args!("the extension {name} is not supported by this version"))
                .todo("move that database with the extension's own tools"))
        }
    }
}

/// Passwords that an archive holds: those of subscriptions and of user mappings.
pub fn secrets_inside(session: &mut Client) -> Result<Vec<Finding>> {
    let sql = "SELECT (SELECT pg_catalog.count(*) FROM pg_catalog.pg_subscription s \
        JOIN pg_catalog.pg_database d ON d.oid = s.subdbid WHERE d.datname = pg_catalog.current_database()), \
        (SELECT pg_catalog.count(*) FROM pg_catalog.pg_user_mappings)";
    let row = session.query_one(sql, &[]).map_err(|e| failed("the list of subscriptions", &e))?;
    let counts = [("subscriptions", row.get::<_, i64>(0)), ("user mappings", row.get(1))];
    Ok(counts
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(what, count)| holds_secrets(what, count))
        .collect())
}

/// A finding that the bundle holds secrets of the database's own.
fn holds_secrets(what: &str, count: i64) -> Finding {
    Finding::new(
        Severity::Warning,
        format_args!("the database has {count} {what}, and they are packed: passwords in them too"),
    )
    .todo("treat the bundle as one that holds these passwords, or leave them out of the database")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, yes) in [
            ("log_*", "log_2026", true),
            ("log_*", "catalog_2026", false),
            ("*.t?", "a.b.t1", true),
            ("*", "", true),
            ("?", "", false),
            ("é?", "éa", true),
            ("a%", "ab", false),
        ] {
            assert_eq!(like(pattern, name), yes, "{pattern} {name}");
        }
    }
}
