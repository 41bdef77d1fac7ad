//! What the catalogs of a server say, read in one snapshot.

use super::error::failed;
use super::facts::{Grant, Setting};
use super::index::Sequence;
use super::quote;
use crate::component::Result;
use postgres::GenericClient;
use std::collections::{BTreeMap, BTreeSet};

/// An ordinary table or a leaf partition.
#[derive(Debug, Clone)]
pub struct Relation {
    /// Its number.
    pub oid: u32,
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Columns in their order, without generated ones.
    pub columns: Vec<String>,
    /// Bytes of its rows on disk, roughly; but 0 is 0.
    pub bytes: u64,
    /// The file of its rows, in the snapshot. A TRUNCATE or rewrite gives it another one.
    pub file: u32,
    /// Whether its rows lie in pages that can be read by number.
    pub heap: bool,
    /// The partitioned table above it through which its rows must be loaded: its rows are spread by the hash of an
    /// enum's value (or of an expression, which may have one in it), and that differs from database to database.
    pub root: Option<(String, String)>,
}

impl Relation {
    /// As SQL names it.
    pub fn sql(&self) -> String {
        quote::qualified(&self.schema, &self.name)
    }

    /// Whether it has not even a page to hold a row, in the file that `bytes` was asked of.
    pub fn without_pages(&self) -> bool {
        self.heap && self.bytes == 0
    }

    /// The list of its columns for a COPY, with parentheses; empty for a table without columns.
    pub fn column_list(&self) -> String {
        column_list(&self.columns)
    }
}

/// A list of columns for a COPY.
pub fn column_list(columns: &[String]) -> String {
    match columns.is_empty() {
        true => String::new(),
        false => {
            let quoted: Vec<String> = columns.iter().map(|column| quote::ident(column)).collect();
            format!(" ({})", quoted.join(", "))
        }
    }
}

/// Sequences that are locked at once, for a moment.
const SEQUENCES_AT_ONCE: usize = 500;

/// Objects of users, not the server's own, temporary ones or an extension's.
const OF_USERS: &str = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relpersistence <> 't' \
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass \
    AND d.objid = c.oid AND d.deptype = 'e')";

/// Every table whose rows are ours to move, the largest first.
pub fn tables(client: &mut impl GenericClient) -> Result<Vec<Relation>> {
    // A standby has no rows of unlogged tables; pg_dump leaves them out there too.
    let sql = format!(
        "SELECT c.oid, n.nspname::text, c.relname::text, c.relfilenode, \
         coalesce(pg_catalog.pg_relation_size(c.oid), 0), coalesce(am.amname = 'heap', false), \
         ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 \
               AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum), root.nspname, root.relname \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         LEFT JOIN pg_catalog.pg_am am ON am.oid = c.relam \
         LEFT JOIN LATERAL (SELECT rn.nspname::text, r.relname::text \
             FROM pg_catalog.pg_partition_ancestors(c.oid) WITH ORDINALITY above(oid, level) \
             JOIN pg_catalog.pg_partitioned_table p ON p.partrelid = above.oid AND p.partstrat = 'h' \
             JOIN pg_catalog.pg_class r ON r.oid = above.oid JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace \
             WHERE EXISTS (SELECT FROM pg_catalog.unnest(p.partattrs::int2[]) k \
                 LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = k \
                 LEFT JOIN pg_catalog.pg_type t ON t.oid = a.atttypid WHERE k = 0 OR t.typtype = 'e') \
             ORDER BY above.level DESC LIMIT 1) root ON c.relispartition \
         WHERE c.relkind = 'r' AND {OF_USERS} AND NOT (c.relpersistence = 'u' AND pg_catalog.pg_is_in_recovery()) \
         ORDER BY 5 DESC, 2, 3"
    );
    let rows = client.query(&sql, &[]).map_err(|e| failed("the list of tables", &e))?;
    let relation = |row: &postgres::Row| Relation {
        oid: row.get(0),
        schema: row.get(1),
        name: row.get(2),
        file: row.get(3),
        bytes: u64::try_from(row.get::<_, i64>(4)).unwrap_or(0),
        heap: row.get(5),
        columns: row.get(6),
        root: row.get::<_, Option<String>>(7).zip(row.get(8)),
    };
    Ok(rows.iter().map(relation).collect())
}

/// Every relation of users that the session's role does not own, and is no member of a role that does: schema and name.
pub fn of_others(client: &mut impl GenericClient) -> Result<BTreeSet<(String, String)>> {
    let sql = format!(
        "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') \
         AND {OF_USERS} AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')"
    );
    let rows = client.query(&sql, &[]).map_err(|e| failed("the list of tables", &e))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Every sequence of users, with its last value. Sequences stand outside of snapshots. In a transaction: the server locks
/// each sequence that it is asked of, and its table of locks has an end, so the locks are given back in between.
pub fn sequences(client: &mut impl GenericClient) -> Result<Vec<Sequence>> {
    let place = |e: postgres::Error| failed("the list of sequences", &e);
    let sql = format!(
        "SELECT c.oid, n.nspname::text, c.relname::text \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind = 'S' AND {OF_USERS} ORDER BY 2, 3"
    );
    let rows = client.query(&sql, &[]).map_err(place)?;
    let last = "SELECT CASE WHEN pg_catalog.has_sequence_privilege(s.oid, 'USAGE,SELECT') \
         THEN pg_catalog.pg_sequence_last_value(s.oid) END \
         FROM pg_catalog.unnest($1::oid[]) WITH ORDINALITY s(oid, number) ORDER BY s.number";
    let mut sequences = Vec::with_capacity(rows.len());
    for some in rows.chunks(SEQUENCES_AT_ONCE) {
        let oids: Vec<u32> = some.iter().map(|row| row.get(0)).collect();
        client.batch_execute("SAVEPOINT sequences").map_err(place)?;
        let values = client.query(last, &[&oids]).map_err(place)?;
        client
            .batch_execute("ROLLBACK TO SAVEPOINT sequences; RELEASE SAVEPOINT sequences")
            .map_err(place)?;
        sequences.extend(some.iter().zip(values).map(|(row, value)| Sequence {
            schema: row.get(1),
            name: row.get(2),
            last: value.get(0),
            moved: false,
        }));
    }
    Ok(sequences)
}

/// Names of the schemas that users made, and `public`.
pub fn schemas(client: &mut impl GenericClient) -> Result<Vec<String>> {
    let sql = "SELECT nspname::text FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_' \
               AND nspname <> 'information_schema' ORDER BY 1";
    let rows = client.query(sql, &[]).map_err(|e| failed("the list of schemas", &e))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The database of this session.
pub struct DatabaseRow {
    /// Its number.
    pub oid: u32,
    /// See the facts of the same names.
    pub encoding: String,
    pub collate: String,
    pub ctype: String,
    pub provider: String,
    pub locale: Option<String>,
    pub owner: String,
    pub connection_limit: i32,
    pub comment: Option<String>,
    pub tablespace: String,
    pub bytes: u64,
}

/// What `pg_database` says of the session's database.
pub fn database(client: &mut impl GenericClient) -> Result<DatabaseRow> {
    // Columns that not every version has are read by their names in JSON.
    let sql = "SELECT d.oid, pg_catalog.pg_encoding_to_char(d.encoding)::text, d.datcollate::text, d.datctype::text, \
        coalesce(pg_catalog.to_jsonb(d)->>'datlocprovider', 'c'), \
        coalesce(pg_catalog.to_jsonb(d)->>'datlocale', pg_catalog.to_jsonb(d)->>'daticulocale'), \
        pg_catalog.pg_get_userbyid(d.datdba)::text, d.datconnlimit, \
        pg_catalog.shobj_description(d.oid, 'pg_database'), t.spcname::text, pg_catalog.pg_database_size(d.oid) \
        FROM pg_catalog.pg_database d JOIN pg_catalog.pg_tablespace t ON t.oid = d.dattablespace \
        WHERE d.datname = pg_catalog.current_database()";
    let row = client.query_one(sql, &[]).map_err(|e| failed("the database's properties", &e))?;
    Ok(DatabaseRow {
        oid: row.get(0),
        encoding: row.get(1),
        collate: row.get(2),
        ctype: row.get(3),
        provider: row.get(4),
        locale: row.get(5),
        owner: row.get(6),
        connection_limit: row.get(7),
        comment: row.get(8),
        tablespace: row.get(9),
        bytes: u64::try_from(row.get::<_, i64>(10)).unwrap_or(0),
    })
}

/// Privileges on a database; `None` where nobody changed them.
pub fn database_acl(client: &mut impl GenericClient, oid: u32) -> Result<Option<Vec<Grant>>> {
    let sql = "SELECT d.datacl IS NULL, CASE WHEN a.grantee = 0 THEN NULL \
        ELSE pg_catalog.pg_get_userbyid(a.grantee)::text END, a.privilege_type, a.is_grantable \
        FROM pg_catalog.pg_database d LEFT JOIN LATERAL pg_catalog.aclexplode(d.datacl) a ON true \
        WHERE d.oid = $1 ORDER BY 2 NULLS FIRST, 3";
    let rows = client.query(sql, &[&oid]).map_err(|e| failed("the database's privileges", &e))?;
    if rows.first().is_some_and(|row| row.get(0)) {
        return Ok(None);
    }
    let rows = rows.iter().filter(|row| row.get::<_, Option<String>>(2).is_some());
    let grant = |row: &postgres::Row| Grant { to: row.get(1), privilege: row.get(2), grantable: row.get(3) };
    Ok(Some(rows.map(grant).collect()))
}

/// Parameters set for sessions in a database, for all roles and for single ones.
pub fn settings(client: &mut impl GenericClient, oid: u32) -> Result<Vec<Setting>> {
    let sql = "SELECT r.rolname::text, u.setting FROM pg_catalog.pg_db_role_setting s \
        CROSS JOIN LATERAL pg_catalog.unnest(s.setconfig) u(setting) \
        LEFT JOIN pg_catalog.pg_roles r ON r.oid = s.setrole WHERE s.setdatabase = $1 ORDER BY 1 NULLS FIRST, 2";
    let rows = client.query(sql, &[&oid]).map_err(|e| failed("the database's settings", &e))?;
    let setting = |row: &postgres::Row| {
        let text: String = row.get(1);
        let (name, value) = text.split_once('=')?;
        Some(Setting { role: row.get(0), name: name.to_owned(), value: value.to_owned() })
    };
    Ok(rows.iter().filter_map(setting).collect())
}

/// Extensions and their versions; `plpgsql`, which every new database has, too.
pub fn extensions(client: &mut impl GenericClient) -> Result<BTreeMap<String, String>> {
    let sql = "SELECT extname::text, extversion FROM pg_catalog.pg_extension";
    let rows = client.query(sql, &[]).map_err(|e| failed("the list of extensions", &e))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Roles that own something in the database or have a privilege there.
pub fn roles(client: &mut impl GenericClient) -> Result<Vec<String>> {
    // The catalog of shared dependencies says nothing of the first role (number 10), which nobody can drop.
    let sql = "WITH own AS (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()) \
        SELECT r.rolname::text FROM pg_catalog.pg_roles r WHERE r.rolname !~ '^pg_' AND (EXISTS \
          (SELECT FROM pg_catalog.pg_shdepend d, own WHERE d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass \
           AND d.refobjid = r.oid AND (d.dbid = own.oid OR d.dbid = 0 AND d.objid = own.oid \
           AND d.classid = 'pg_catalog.pg_database'::pg_catalog.regclass)) \
        OR EXISTS (SELECT FROM (SELECT oid, relowner, 'pg_catalog.pg_class'::pg_catalog.regclass FROM pg_catalog.pg_class \
             UNION ALL SELECT oid, proowner, 'pg_catalog.pg_proc'::pg_catalog.regclass FROM pg_catalog.pg_proc \
             UNION ALL SELECT oid, typowner, 'pg_catalog.pg_type'::pg_catalog.regclass FROM pg_catalog.pg_type \
             UNION ALL SELECT oid, nspowner, 'pg_catalog.pg_namespace'::pg_catalog.regclass FROM pg_catalog.pg_namespace) \
             o(oid, owner, class) WHERE o.oid >= 16384 AND o.owner = r.oid AND r.oid = 10 AND NOT EXISTS \
             (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = o.class AND d.objid = o.oid AND d.deptype IN ('e', 'i'))) \
        OR r.oid = (SELECT datdba FROM pg_catalog.pg_database, own WHERE pg_database.oid = own.oid)) ORDER BY 1";
    let rows = client.query(sql, &[]).map_err(|e| failed("the list of roles", &e))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Tablespaces of objects that are not in the database's own.
pub fn tablespaces(client: &mut impl GenericClient) -> Result<Vec<String>> {
    let sql = "SELECT DISTINCT t.spcname::text FROM pg_catalog.pg_class c \
        JOIN pg_catalog.pg_tablespace t ON t.oid = c.reltablespace WHERE t.spcname <> 'pg_global' ORDER BY 1";
    let rows = client.query(sql, &[]).map_err(|e| failed("the list of tablespaces", &e))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// A single value as text, from a query of somebody else's that must change nothing: one statement, a SELECT, in what
/// should be a transaction that only reads. Names in it are looked up in `path`, as in the sessions of people.
pub fn answer(client: &mut impl GenericClient, name: &str, sql: &str, path: &str) -> Result<String> {
    let mut look_up_in = |path: &str| {
        let set = client.execute("SELECT pg_catalog.set_config('search_path', $1, true)", &[&path]);
        set.map_err(|e| failed("search_path", &e))
    };
    look_up_in(path)?;
    let sql = sql.trim().trim_end_matches(';');
    // The line feed ends a comment at the query's end.
    let sql = format!("SELECT answer.value::pg_catalog.text FROM ({sql}\n) AS answer(value)");
    let rows = client.query(&sql, &[]).map_err(|e| {
        failed(format_args!("the query '{name}'"), &e).todo("correct the query in the profile")
    })?;
    let set = client.execute("SELECT pg_catalog.set_config('search_path', '', true)", &[]);
    set.map_err(|e| failed("search_path", &e))?;
    Ok(rows.first().and_then(|row| row.get::<_, Option<String>>(0)).unwrap_or_default())
}
