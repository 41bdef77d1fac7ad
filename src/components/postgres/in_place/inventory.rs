//! What the session's role owns in a database, thing by thing, and the SQL that calls it otherwise or drops it.

use super::super::error::failed;
use super::super::quote::{ident, qualified};
use super::marker;
use super::session::{Tried, Trouble};
use crate::component::Result;
use postgres::Client;

/// One thing with a name of its own. What hangs on it (columns, triggers, constraints, policies, row types) goes with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object {
    /// The catalog that has it, by number.
    pub class: u32,
    /// Its number there.
    pub oid: u32,
    /// What it is: the word behind `ALTER` and `DROP`.
    pub kind: String,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// The types that tell routines of one name apart, with their parentheses, as pg_dump has them; else nothing.
    pub args: String,
    /// Whether it is dropped with another one: an index, what belongs to a range type.
    pub part: bool,
}

/// Kinds in an order in which they can be dropped.
const DROPPED: [&str; 14] = [
    "MATERIALIZED VIEW",
    "VIEW",
    "FOREIGN TABLE",
    "TABLE",
    "SEQUENCE",
    "STATISTICS",
    "AGGREGATE",
    "ROUTINE",
    "DOMAIN",
    "TYPE",
    "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY",
    "CONVERSION",
    "COLLATION",
];

/// Everything of that sort, of whomever: class, oid, kind, schema's number, name, args, part, owner, and the thing that
/// an extension would have it by (an index is its table's).
pub const NAMED: &str = "\
    SELECT 'pg_catalog.pg_class'::pg_catalog.regclass::oid, c.oid, CASE c.relkind WHEN 'v' THEN 'VIEW' \
        WHEN 'm' THEN 'MATERIALIZED VIEW' WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'S' THEN 'SEQUENCE' \
        WHEN 'i' THEN 'INDEX' WHEN 'I' THEN 'INDEX' ELSE 'TABLE' END, c.relnamespace, c.relname::text, '', \
        c.relkind IN ('i', 'I'), c.relowner, coalesce(i.indrelid, c.oid) \
        FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = c.oid \
        WHERE c.relkind NOT IN ('t', 'c') AND c.relpersistence <> 't' \
    UNION ALL SELECT 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, CASE t.typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, \
        t.typnamespace, t.typname::text, '', t.typtype = 'm', t.typowner, t.oid FROM pg_catalog.pg_type t \
        WHERE (t.typrelid = 0 OR EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.oid = t.typrelid AND c.relkind = 'c')) \
        AND NOT EXISTS (SELECT FROM pg_catalog.pg_type e WHERE e.typarray = t.oid) \
    UNION ALL SELECT 'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid, CASE p.prokind WHEN 'a' THEN 'AGGREGATE' ELSE 'ROUTINE' END, \
        p.pronamespace, p.proname::text, '(' || CASE WHEN p.prokind = 'a' AND p.pronargs = 0 THEN '*' \
        ELSE pg_catalog.array_to_string(ARRAY(SELECT pg_catalog.format_type(a.type, NULL) \
            FROM pg_catalog.unnest(p.proargtypes::oid[]) WITH ORDINALITY a(type, n) ORDER BY a.n), ', ') END || ')', EXISTS (SELECT FROM pg_catalog.pg_depend d \
            WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid AND d.deptype = 'i'), \
        p.proowner, p.oid FROM pg_catalog.pg_proc p \
    UNION ALL SELECT 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass, s.oid, 'STATISTICS', s.stxnamespace, s.stxname::text, '', \
        false, s.stxowner, s.oid FROM pg_catalog.pg_statistic_ext s \
    UNION ALL SELECT 'pg_catalog.pg_collation'::pg_catalog.regclass, l.oid, 'COLLATION', l.collnamespace, l.collname::text, '', \
        false, l.collowner, l.oid FROM pg_catalog.pg_collation l \
    UNION ALL SELECT 'pg_catalog.pg_conversion'::pg_catalog.regclass, v.oid, 'CONVERSION', v.connamespace, v.conname::text, '', \
        false, v.conowner, v.oid FROM pg_catalog.pg_conversion v \
    UNION ALL SELECT 'pg_catalog.pg_ts_config'::pg_catalog.regclass, g.oid, 'TEXT SEARCH CONFIGURATION', g.cfgnamespace, \
        g.cfgname::text, '', false, g.cfgowner, g.oid FROM pg_catalog.pg_ts_config g \
    UNION ALL SELECT 'pg_catalog.pg_ts_dict'::pg_catalog.regclass, k.oid, 'TEXT SEARCH DICTIONARY', k.dictnamespace, \
        k.dictname::text, '', false, k.dictowner, k.oid FROM pg_catalog.pg_ts_dict k";

/// Of `owner` (an expression) is whoever the session's role is, or is a member of; nothing of an extension or the server.
pub fn ours(class: &str, oid: &str, owner: &str) -> String {
    format!(
        "{oid} >= 16384 AND pg_catalog.pg_has_role({owner}, 'USAGE') AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend e \
         WHERE e.classid = {class} AND e.objid = {oid} AND e.deptype = 'e')"
    )
}

/// All that the session's role owns, without the marker of an import.
pub fn owned(session: &mut Client) -> Result<Vec<Object>> {
    let sql = format!(
        "SELECT x.class, x.oid, x.kind, n.nspname::text, x.name, x.args, x.part FROM ({NAMED}) \
         AS x(class, oid, kind, ns, name, args, part, owner, of) JOIN pg_catalog.pg_namespace n ON n.oid = x.ns \
         WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND pg_catalog.left(x.name, {}) <> '{}' AND {} \
         ORDER BY 1, 2",
        marker::PREFIX.len(),
        marker::PREFIX,
        ours("x.class", "x.of", "x.owner")
    );
    let rows = session.query(&sql, &[]).map_err(|e| failed("what the role owns", &e))?;
    let object = |row: &postgres::Row| Object {
        class: row.get(0),
        oid: row.get(1),
        kind: row.get(2),
        schema: row.get(3),
        name: row.get(4),
        args: row.get(5),
        part: row.get(6),
    };
    Ok(rows.iter().map(object).collect())
}

/// Schemas that the session's role owns: number and name.
pub fn schemas(session: &mut Client) -> Result<Vec<(u32, String)>> {
    let sql = format!(
        "SELECT n.oid, n.nspname::text FROM pg_catalog.pg_namespace n WHERE n.nspname !~ '^pg_' AND {} ORDER BY 2",
        ours("'pg_catalog.pg_namespace'::pg_catalog.regclass", "n.oid", "n.nspowner")
    );
    let rows = session.query(&sql, &[]).map_err(|e| failed("the schemas of the role", &e))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

impl Object {
    /// For people.
    pub fn shown(&self) -> String {
        format!("{} {}.{}{}", self.kind.to_lowercase(), self.schema, self.name, self.args)
    }

    fn sql(&self) -> String {
        format!("{}{}", qualified(&self.schema, &self.name), self.args)
    }

    /// `ALTER ... RENAME`.
    pub fn rename(&self, to: &str) -> String {
        format!("ALTER {} {} RENAME TO {}", self.kind, self.sql(), ident(to))
    }
}

/// In the order of their renames: arguments are of types, so routines come first, while these are called as before.
pub fn renamed(objects: &mut [Object]) {
    objects.sort_by_key(|object| !matches!(object.kind.as_str(), "ROUTINE" | "AGGREGATE"));
}

/// Drops `objects`, in an order that works. What hangs on them must be among them: see [`super::ties::others`].
pub fn drop_all(session: &mut Client, objects: &[Object]) -> Tried<()> {
    let mut whole: Vec<&Object> = objects.iter().filter(|object| !object.part).collect();
    whole.sort_by_key(|object| DROPPED.iter().position(|kind| *kind == object.kind));
    let drop = |object: &&Object| format!("DROP {} IF EXISTS {} CASCADE", object.kind, object.sql());
    let statements: Vec<String> = whole.iter().map(drop).collect();
    session.batch_execute(&statements.join(";\n")).map_err(|e| Trouble::of("dropping what was replaced", &e))
}
