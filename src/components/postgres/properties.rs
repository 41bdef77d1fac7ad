//! What a database is beside its content: made, and put on.

use super::error::failed;
use super::facts::{Database, Options, Setting};
use super::labels;
use super::plan::{New, Target};
use super::quote::{ident, literal};
use super::tools::Version;
use crate::base::fault::{Fault, Faulty};
use crate::base::secret::Secret;
use crate::component::{Error, Result};
use postgres::Client;
use postgres_protocol::password::scram_sha_256;

/// Parameters whose value is a list of names, each of them quoted for itself (`GUC_LIST_QUOTE` in the server).
const LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// `CREATE DATABASE`, from the template that holds nothing.
pub fn create(admin: &mut Client, target: &Target, new: &New, server: Version) -> Result<()> {
    let database = &new.database;
    let mut sql = format!(
        "CREATE DATABASE {} TEMPLATE template0 OWNER {} ENCODING {} LC_COLLATE {} LC_CTYPE {}",
        ident(&target.names.side),
        ident(&new.restorer.user),
        literal(&database.encoding),
        literal(&database.collate),
        literal(&database.ctype),
    );
    if server.major >= 15 && database.provider != "c" {
        let (provider, word) = match database.provider.as_str() {
            "i" => ("icu", "ICU_LOCALE"),
            _ => ("builtin", "BUILTIN_LOCALE"),
        };
        sql += &format!(" LOCALE_PROVIDER {provider}");
        if let Some(locale) = &database.locale {
            sql += &format!(" {word} {}", literal(locale));
        }
    }
    if !new.no_tablespaces && database.tablespace != "pg_default" {
        sql += &format!(" TABLESPACE {}", ident(&database.tablespace));
    }
    admin.batch_execute(&sql).map_err(|e| {
        let error = failed(format_args!("making database {}", target.names.side), &e);
        match error.fault() {
            Fault::Unexpected => Error::not_ready(error)
                .todo("the server has to know the encoding and the locale: make the locale (locale-gen), restart the server, and run it again"),
            _ => error,
        }
    })
}

/// What is said of a role, or of a database where none was, that the run `run` made, until the import is final.
pub fn not_final(run: &str) -> String {
    format!("made by the kbpack import {run}")
}

/// `COMMENT ON DATABASE`.
pub fn comment(name: &str, text: Option<&str>) -> String {
    let text = text.map_or_else(|| "NULL".to_owned(), literal);
    format!("COMMENT ON DATABASE {} IS {text}", ident(name))
}

/// What `COMMENT ON DATABASE` said of the database with this number.
pub fn comment_of(admin: &mut Client, oid: u32) -> Result<Option<String>> {
    let sql = "SELECT pg_catalog.shobj_description($1::oid, 'pg_database')";
    Ok(admin.query_one(sql, &[&oid]).map_err(|e| failed("a database's comment", &e))?.get(0))
}

/// `CREATE ROLE`; marked, so that an undo finds it. Without a password it may not log in either. The password itself never
/// reaches the server, nor its log: only what it holds logins against.
pub fn create_roles(admin: &mut Client, roles: &[(String, Option<Secret>)], run: &str) -> Result<()> {
    for (role, password) in roles {
        let login = password
            .as_ref()
            .filter(|password| !password.is_empty())
            .map(|password| format!(" LOGIN PASSWORD {}", literal(&scram_sha_256(password.expose()))));
        // Sent at once, it is one transaction.
        let login = login.unwrap_or_default();
        let mark = literal(&not_final(run));
        let sql = format!("CREATE ROLE {0}{login}; COMMENT ON ROLE {0} IS {mark}", ident(role));
        admin.batch_execute(&sql).map_err(|e| failed(format_args!("making role {role}"), &e))?;
    }
    Ok(())
}

/// Drops the roles that the run made, or lets them stay for good.
pub fn settle_roles(admin: &mut Client, run: &str, stay: bool) -> Result<()> {
    let sql = format!(
        "SELECT rolname::text FROM pg_catalog.pg_roles \
         WHERE pg_catalog.shobj_description(oid, 'pg_authid') = {}",
        literal(&not_final(run))
    );
    for row in admin.query(&sql, &[]).map_err(|e| failed("the roles", &e))? {
        let role = ident(row.get(0));
        let sql = if stay { format!("COMMENT ON ROLE {role} IS NULL") } else { format!("DROP ROLE {role}") };
        admin.batch_execute(&sql).map_err(|e| failed(format_args!("role {role}"), &e))?;
    }
    Ok(())
}

/// Takes out of a new database what the source's does not have.
pub fn bare(side: &mut Client, database: &Database) -> Result<()> {
    let mut sql = String::new();
    if !database.public_schema {
        sql += "DROP SCHEMA public;";
    }
    if !database.extensions.contains_key("plpgsql") {
        sql += "DROP EXTENSION plpgsql;";
    }
    side.batch_execute(&sql).map_err(|e| failed("the side database", &e))
}

/// Owner, privileges, settings and comment. The limit of connections comes with the swap, for it may be 0.
pub fn apply(admin: &mut Client, name: &str, database: &Database, options: &Options) -> Result<()> {
    let sql = statements(name, database, options).join(";");
    admin
        .batch_execute(&sql)
        .map_err(|e| failed(format_args!("owner, privileges and settings of {name}"), &e))
}

/// `ALTER DATABASE ... CONNECTION LIMIT`.
pub fn limit(name: &str, database: &Database) -> String {
    format!("ALTER DATABASE {} CONNECTION LIMIT {}", ident(name), database.connection_limit)
}

fn statements(name: &str, database: &Database, options: &Options) -> Vec<String> {
    let mut sql = Vec::new();
    if let Some(text) = &database.comment {
        sql.push(comment(name, Some(text)));
    }
    let name = ident(name);
    for setting in &database.settings {
        sql.push(set(&name, setting));
    }
    sql.extend(database.labels.iter().map(|label| labels::statement(&name, label)));
    if !options.no_owner {
        sql.push(format!("ALTER DATABASE {name} OWNER TO {}", ident(&database.owner)));
    }
    if let Some(acl) = database.acl.as_ref().filter(|_| !options.no_acl) {
        sql.push(format!("REVOKE ALL ON DATABASE {name} FROM PUBLIC"));
        if !options.no_owner {
            sql.push(format!("REVOKE ALL ON DATABASE {name} FROM {}", ident(&database.owner)));
        }
        for grant in acl {
            let to = grant.to.as_ref().map_or_else(|| "PUBLIC".to_owned(), |role| ident(role));
            let option = if grant.grantable { " WITH GRANT OPTION" } else { "" };
            sql.push(format!("GRANT {} ON DATABASE {name} TO {to}{option}", grant.privilege));
        }
    }
    sql
}

fn set(name: &str, Setting { role, name: parameter, value }: &Setting) -> String {
    let who = match role {
        None => format!("ALTER DATABASE {name}"),
        Some(role) => format!("ALTER ROLE {} IN DATABASE {name}", ident(role)),
    };
    let parameter = parameter.split('.').map(ident).collect::<Vec<_>>().join(".");
    let lower = parameter.trim_matches('"').to_ascii_lowercase();
    let value = match LISTS.contains(&lower.as_str()) {
        true => names(value).iter().map(|name| literal(name)).collect::<Vec<_>>().join(", "),
        false => literal(value),
    };
    // `SET x TO` with nothing behind it is not SQL; an empty list is an empty name.
    format!("{who} SET {parameter} TO {}", if value.is_empty() { "''".to_owned() } else { value })
}

/// The names of a list as the server stores it: `"$user", public`.
fn names(list: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut name = String::new();
    let mut quoted = false;
    let mut chars = list.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                name.push('"');
                chars.next();
            }
            '"' => quoted = !quoted,
            ',' if !quoted => names.push(std::mem::take(&mut name)),
            c if c.is_whitespace() && !quoted => {}
            c => name.push(c),
        }
    }
    if !name.is_empty() || !names.is_empty() {
        names.push(name);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_quoted_as_what_they_are() {
        let set = |name: &str, value: &str| {
            set("\"d\"", &Setting { role: None, name: name.into(), value: value.into() })
        };
        assert_eq!(
            set("search_path", "\"$user\", public, \"a, \"\"b\""),
            "ALTER DATABASE \"d\" SET \"search_path\" TO '$user', 'public', 'a, \"b'"
        );
        assert_eq!(set("search_path", ""), "ALTER DATABASE \"d\" SET \"search_path\" TO ''");
        assert_eq!(set("work_mem", "4MB"), "ALTER DATABASE \"d\" SET \"work_mem\" TO '4MB'");
        assert_eq!(set("my.x", "a'b"), "ALTER DATABASE \"d\" SET \"my\".\"x\" TO 'a''b'");
    }
}
