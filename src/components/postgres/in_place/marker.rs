//! The marker: a table that the transaction leaves in the database, with all that an undo needs.
//!
//! It is there if, and only if, the transaction was committed and neither undone nor made final: it comes and goes with
//! what it tells of. So after a crash nothing has to be guessed.

use super::super::error::failed;
use super::super::facts::MAX_NAME;
use super::super::quote::{literal, qualified};
use super::inventory::Object;
use super::session::{Tried, Trouble};
use crate::component::Result;
use postgres::Client;

/// Names of markers begin so; then comes the run.
pub const PREFIX: &str = "kbpack_in_place_";

/// The marker of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    schema: String,
    name: String,
}

/// What a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A thing that went aside, with the name that it had.
    Old,
    /// A thing that came.
    New,
    /// A schema that is to go in the end.
    OldSchema,
    /// A schema that came.
    NewSchema,
    /// An extension that came.
    NewExtension,
    /// SQL that brings something back which has no name.
    Back,
    /// A large object that went aside: its number, and the copy's as its class.
    OldObject,
    /// A large object that came, or that is to go in the end.
    NewObject,
    /// A large object that is to go in the end.
    Unwanted,
}

impl Part {
    fn word(self) -> &'static str {
        match self {
            Part::Old => "old",
            Part::New => "new",
            Part::OldSchema => "old schema",
            Part::NewSchema => "new schema",
            Part::NewExtension => "new extension",
            Part::Back => "back",
            Part::OldObject => "old object",
            Part::NewObject => "new object",
            Part::Unwanted => "unwanted",
        }
    }
}

/// One line, but for what it is about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    /// The catalog's number.
    pub class: u32,
    /// The thing's number.
    pub oid: u32,
    /// A name, or SQL.
    pub text: String,
}

impl Marker {
    /// What the marker of the run `run` is called in the schema `schema`.
    pub fn new(schema: &str, run: &str) -> Marker {
        Marker { schema: schema.to_owned(), name: format!("{PREFIX}{run}") }
    }

    /// That of `run`, if there is one.
    pub fn find(session: &mut Client, run: &str) -> Result<Option<Marker>> {
        let name = format!("{PREFIX}{run}");
        Ok(Marker::all(session)?.into_iter().find(|marker| marker.name == name))
    }

    /// Those of all runs.
    pub fn all(session: &mut Client) -> Result<Vec<Marker>> {
        let sql = format!(
            "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r' \
             AND pg_catalog.left(c.relname, {}) = '{PREFIX}' AND pg_catalog.pg_has_role(c.relowner, 'USAGE')",
            PREFIX.len()
        );
        let rows = session.query(&sql, &[]).map_err(|e| failed("the list of tables", &e))?;
        Ok(rows.iter().map(|row| Marker { schema: row.get(0), name: row.get(1) }).collect())
    }

    /// Its run.
    pub fn run(&self) -> &str {
        self.name.strip_prefix(PREFIX).unwrap_or_default()
    }

    fn sql(&self) -> String {
        qualified(&self.schema, &self.name)
    }

    /// Makes it, empty.
    pub fn create(&self, session: &mut Client) -> Result<()> {
        let sql = format!(
            "CREATE TABLE {0} (part text, class oid, oid oid, text text); \
             REVOKE ALL ON {0} FROM PUBLIC; COMMENT ON TABLE {0} IS {1}",
            self.sql(),
            literal("an import by kbpack that is not over: `kbpack recover` ends it")
        );
        session.batch_execute(&sql).map_err(|e| failed(format_args!("table {}", self.name), &e))
    }

    /// Adds `lines`.
    pub fn add(&self, session: &mut Client, part: Part, lines: &[Line]) -> Result<()> {
        let classes: Vec<u32> = lines.iter().map(|line| line.class).collect();
        let oids: Vec<u32> = lines.iter().map(|line| line.oid).collect();
        let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        let sql = format!(
            "INSERT INTO {} (part, class, oid, text) \
             SELECT $1, l.* FROM unnest($2::oid[], $3::oid[], $4::text[]) l(class, oid, text)",
            self.sql()
        );
        let added = session.execute(&sql, &[&part.word(), &classes, &oids, &texts]);
        added.map(|_| ()).map_err(|e| failed(format_args!("table {}", self.name), &e))
    }

    /// Adds things by their names.
    pub fn add_objects(&self, session: &mut Client, part: Part, objects: &[Object]) -> Result<()> {
        let line = |object: &Object| Line { class: object.class, oid: object.oid, text: object.name.clone() };
        self.add(session, part, &objects.iter().map(line).collect::<Vec<_>>())
    }

    /// Its lines about `part`.
    pub fn lines(&self, session: &mut Client, part: Part) -> Result<Vec<Line>> {
        let sql = format!("SELECT class, oid, text FROM {} WHERE part = $1", self.sql());
        let rows = session.query(&sql, &[&part.word()]);
        let rows = rows.map_err(|e| failed(format_args!("table {}", self.name), &e))?;
        Ok(rows.iter().map(|row| Line { class: row.get(0), oid: row.get(1), text: row.get(2) }).collect())
    }

    /// Drops it, as the last act of an undo or a finalise.
    pub fn drop(&self, session: &mut Client) -> Tried<()> {
        let sql = format!("DROP TABLE {}", self.sql());
        session.batch_execute(&sql).map_err(|e| Trouble::of(format_args!("table {}", self.name), &e))
    }

    /// What the thing number `n`, called `name`, is called while it is aside.
    pub fn aside(&self, n: usize, name: &str) -> String {
        self.called("old", n, name)
    }

    /// What a thing that somebody made in between is called when its name is needed.
    pub fn kept(&self, n: usize, name: &str) -> String {
        self.called("kept", n, name)
    }

    /// Cut so that 63 bytes hold.
    fn called(&self, what: &str, n: usize, name: &str) -> String {
        let mut full = format!("kbpack_{what}_{}_{n}_{name}", self.run());
        while full.len() > MAX_NAME {
            full.pop();
        }
        full
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_aside_hold_63_bytes_and_differ() {
        let marker = Marker::new("public", "0123456789abcdef");
        let long = "é".repeat(31);
        assert!(marker.aside(12_345, &long).len() <= 63 && marker.aside(1, &long) != marker.aside(2, &long));
        assert_eq!(marker.aside(7, "t"), "kbpack_old_0123456789abcdef_7_t");
        assert_eq!(marker.kept(7, "t"), "kbpack_kept_0123456789abcdef_7_t");
        assert_eq!(marker.run(), "0123456789abcdef");
    }
}
