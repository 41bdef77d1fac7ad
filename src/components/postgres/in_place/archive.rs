//! pg_dump's archive as SQL for a session of ours: pg_restore writes it out, entry by entry as we choose.

use super::super::child;
use super::super::pgpass::PrivateFile;
use super::super::tools::Tool;
use crate::base::fault::Fault;
use crate::component::{Error, Result};
use std::collections::BTreeSet;
use std::fs::{self, File};

/// Kinds of entries that a replacement in place understands. What else there is belongs to the whole database, or could
/// not go aside the next time.
const KNOWN: [&str; 39] = [
    "ACL",
    "AGGREGATE",
    "CAST",
    "CHECK CONSTRAINT",
    "COLLATION",
    "COMMENT",
    "CONSTRAINT",
    "CONVERSION",
    "DEFAULT",
    "DEFAULT ACL",
    "DOMAIN",
    "EXTENSION",
    "FK CONSTRAINT",
    "FOREIGN TABLE",
    "FUNCTION",
    "INDEX",
    "INDEX ATTACH",
    "MATERIALIZED VIEW",
    "MATERIALIZED VIEW DATA",
    "POLICY",
    "PROCEDURE",
    "ROW SECURITY",
    "RULE",
    "SCHEMA",
    "SECURITY LABEL",
    "SEQUENCE",
    "SEQUENCE OWNED BY",
    "SEQUENCE SET",
    "SHELL TYPE",
    "STATISTICS",
    "TABLE",
    "TABLE ATTACH",
    "TABLE DATA",
    "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY",
    "TRIGGER",
    "TYPE",
    "VIEW",
    "STATISTICS DATA",
];

/// Entries that need a name in their schema.
const NAMING: [&str; 16] = [
    "AGGREGATE",
    "COLLATION",
    "CONVERSION",
    "DOMAIN",
    "FOREIGN TABLE",
    "FUNCTION",
    "INDEX",
    "MATERIALIZED VIEW",
    "PROCEDURE",
    "SEQUENCE",
    "STATISTICS",
    "TABLE",
    "TEXT SEARCH CONFIGURATION",
    "TEXT SEARCH DICTIONARY",
    "TYPE",
    "VIEW",
];

/// One line of the table of contents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub id: u32,
    /// What it is; `None` for what is not known here.
    pub kind: Option<&'static str>,
    /// Kind, schema (`-`: none), name and owner, as the list has them.
    pub text: String,
}

impl Entry {
    /// `215; 1259 16390 TABLE public accounts ada`
    fn read(line: &str) -> Option<Entry> {
        let (id, rest) = line.split_once("; ")?;
        let (_, rest) = rest.split_once(' ')?;
        let (_, text) = rest.split_once(' ')?;
        let is = |kind: &&&'static str| text.strip_prefix(**kind).is_some_and(|rest| rest.starts_with(' '));
        let kind = KNOWN.iter().filter(is).max_by_key(|kind| kind.len()).copied();
        Some(Entry { id: id.parse().ok()?, kind, text: text.to_owned() })
    }

    /// What stands behind the kind.
    fn rest(&self) -> &str {
        let kind = self.kind.map_or(0, str::len);
        self.text[kind..].trim_start()
    }

    /// Whether it is a thing with a name in its schema.
    pub fn is_named(&self) -> bool {
        self.kind.is_some_and(|kind| NAMING.contains(&kind))
    }

    /// The owner, if it is one of `roles`.
    pub fn owner<'r>(&self, roles: &'r BTreeSet<String>) -> Option<&'r String> {
        let ends =
            |role: &&String| self.text.strip_suffix(role.as_str()).is_some_and(|rest| rest.ends_with(' '));
        roles.iter().filter(ends).max_by_key(|role| role.len())
    }

    /// The schema that it makes, if its owner is one of `roles`.
    pub fn schema(&self, roles: &BTreeSet<String>) -> Option<String> {
        let named = self.text.strip_prefix("SCHEMA - ")?.strip_suffix(self.owner(roles)?)?;
        Some(named.strip_suffix(' ')?.to_owned())
    }

    /// The schema and the name, if it has one of `schemas` and one of `roles` for its owner.
    pub fn name<'s>(
        &self,
        schemas: &'s BTreeSet<String>,
        roles: &BTreeSet<String>,
    ) -> Option<(&'s String, &str)> {
        let rest = self.rest();
        let starts =
            |schema: &&String| rest.strip_prefix(schema.as_str()).is_some_and(|rest| rest.starts_with(' '));
        let schema = schemas.iter().filter(starts).max_by_key(|schema| schema.len())?;
        let owner = self.owner(roles)?;
        rest.get(schema.len() + 1..rest.len() - owner.len() - 1).map(|name| (schema, name))
    }

    /// The cast that it makes, or is a comment on: `CAST (a AS b)`.
    pub fn cast(&self) -> Option<&str> {
        let text = self.text.strip_prefix("CAST - ").or_else(|| self.text.strip_prefix("COMMENT - "))?;
        text.starts_with("CAST (").then(|| text.trim_end())
    }

    /// Whether it is about the extension or schema (`what`) called `name`, or a comment or privileges of it.
    pub fn is_of(&self, what: &str, name: &str) -> bool {
        let own = format!("{what} - {name} ");
        ["", "COMMENT - ", "ACL - ", "SECURITY LABEL - "].iter().any(|part| {
            let rest = self.text.strip_prefix(part);
            let wanted = if part.is_empty() { own.clone() } else { format!("{what} {name} ") };
            rest.is_some_and(|rest| rest.starts_with(&wanted))
        })
    }
}

/// The table of contents.
pub fn entries(tool: &Tool, archive: &File) -> Result<Vec<Entry>> {
    let list = child::list(tool, archive)?;
    Ok(list
        .lines()
        .filter(|line| line.starts_with(|c: char| c.is_ascii_digit()))
        .filter_map(Entry::read)
        .collect())
}

/// The SQL of one section's entries but those `left_out`, without what would change the session's own settings.
pub fn statements(
    tool: &Tool,
    archive: &File,
    list: &[Entry],
    left_out: &BTreeSet<u32>,
    private: &PrivateFile,
    encoding: &str,
    args: &[&str],
) -> Result<String> {
    // Names of things are the bundle's content: the list goes where the password goes.
    let path = private.path().with_file_name("list");
    let kept = list.iter().filter(|entry| !left_out.contains(&entry.id));
    let lines: String =
        kept.map(|entry| format!("{}; 0 0 {}\n", entry.id, entry.kind.unwrap_or("-"))).collect();
    fs::write(&path, lines).map_err(|e| Error::io("a private list", e))?;
    let list = format!("--use-list={}", path.display());
    let args = [&[list.as_str()], args].concat();
    let script = child::script(tool, archive, &args)?;
    // The archive is in its database's encoding. What is not UTF-8 there may look like it.
    let ours = |text: &&str| encoding == "UTF8" || text.is_ascii();
    let script = std::str::from_utf8(script.expose()).ok().filter(ours).ok_or_else(|| {
        Error::not_ready(format_args!("the bundle's definitions are not in UTF8, but in {encoding}"))
            .todo(NOT_UTF8)
    })?;
    Ok(plain(script))
}

/// What to do about definitions in another encoding.
pub const NOT_UTF8: &str = "leave mode = \"in-place\" out, or move the database to UTF8 first";

/// Without psql's own commands and the settings that pg_restore makes first: how long to wait for a lock is ours to say,
/// and a session of ours speaks UTF-8.
fn plain(script: &str) -> String {
    let (head, body) = match script.find("\n-- Name: ").or_else(|| script.find("\n-- Data for Name: ")) {
        Some(at) => script.split_at(at),
        None => (script, ""),
    };
    let mut token = None;
    let mut plain = String::with_capacity(script.len());
    for line in head.split_inclusive('\n') {
        if let Some(rest) = line.strip_prefix("\\restrict ") {
            token = Some(rest.trim_end());
        } else if !line.starts_with("\\unrestrict ")
            && !["SET lock_timeout", "SET client_encoding"].iter().any(|set| line.starts_with(set))
        {
            plain += line;
        }
    }
    let end = token.and_then(|token| body.rfind(&format!("\n\\unrestrict {token}\n")));
    plain += &body[..end.unwrap_or(body.len())];
    plain
}

/// An error if `sql` ended the transaction `id` that it was run in, or is in another: then it was no definition.
pub fn still_in(session: &mut postgres::Client, id: i64) -> Result<()> {
    let row = session.query_one("SELECT pg_catalog.txid_current()", &[]);
    let now: i64 = row.map_err(|e| super::super::error::failed("the transaction", &e))?.get(0);
    match now == id {
        true => Ok(()),
        false => Err(Error::new(
            Fault::Rule,
            "the bundle's definitions end the transaction that they are restored in",
        )
        .todo("do not trust this bundle's source before it has explained that")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn entries_are_read_with_the_schemas_and_roles_that_there_are() {
        let entry = |line: &str| Entry::read(line).unwrap();
        let (schemas, roles) = (set(&["public", "a", "a b"]), set(&["ada", "of ada"]));
        let table = entry("218; 1259 16500 TABLE a b x y of ada");
        assert_eq!((table.id, table.kind), (218, Some("TABLE")));
        assert_eq!(table.owner(&roles).unwrap(), "of ada");
        assert_eq!(table.name(&schemas, &roles).unwrap(), (&"a b".to_owned(), "x y"));
        assert_eq!(entry("3405; 0 16479 TABLE DATA public k3 ada").kind, Some("TABLE DATA"));
        assert_eq!(entry("3405; 0 16479 EVENT TRIGGER - k3 ada").kind, None);
        assert_eq!(
            entry("9; 2605 1 CAST - CAST (public.p AS text) ").cast(),
            Some("CAST (public.p AS text)")
        );
        assert!(entry("3412; 0 0 ACL - SCHEMA public pg_database_owner").is_of("SCHEMA", "public"));
        assert!(entry("2; 3079 16386 EXTENSION - pg_trgm ").is_of("EXTENSION", "pg_trgm"));
        assert!(entry("3413; 0 0 COMMENT - EXTENSION pg_trgm ").is_of("EXTENSION", "pg_trgm"));
        assert!(!entry("7; 2615 1 SCHEMA - public2 ada").is_of("SCHEMA", "public"));
    }

    #[test]
    fn psqls_commands_go_and_bodies_stay() {
        let script = "--\n-- dump\n--\n\n\\restrict abc\n\nSET lock_timeout = 0;\nSET client_encoding = 'UTF8';\nSET x = 1;\n\n--\n-- Name: f; Type: FUNCTION\n--\n\n\
            CREATE FUNCTION f() AS $$\nSET lock_timeout = 0;\n\\unrestrict abd\n$$;\n\n--\n-- done\n--\n\n\\unrestrict abc\n\n";
        let plain = plain(script);
        assert!(
            plain.contains("SET x = 1;")
                && plain.contains("$$\nSET lock_timeout = 0;\n\\unrestrict abd\n$$;"),
            "{plain}"
        );
        assert!(
            !plain.contains("restrict abc")
                && !plain.contains("client_encoding")
                && plain.ends_with("-- done\n--\n"),
            "{plain}"
        );
    }
}
