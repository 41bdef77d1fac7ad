//! Target: whether the server can make a database of this encoding and locale. What CREATE DATABASE would say, before
//! anything is staged.

use super::error::{code_of, failed};
use super::facts::Database;
use super::tools::Version;
use crate::component::{Finding, Result, Severity};
use postgres::Client;

/// What stands in the way.
pub fn look(session: &mut Client, database: &Database, server: Version) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut refuse =
        |what: String, remedy: String| findings.push(Finding::new(Severity::Refusal, what).todo(remedy));
    let sql = "SELECT pg_catalog.pg_char_to_encoding($1::text::name)";
    let row = session.query_one(sql, &[&database.encoding]).map_err(|e| failed("the encodings", &e))?;
    if row.get::<_, i32>(0) < 0 {
        refuse(
            format!("the server of version {server} has no encoding {}", database.encoding),
            "move it to a server of the source's version, and convert it there".to_owned(),
        );
    }
    let mut names = vec![&database.collate, &database.ctype];
    names.dedup();
    for name in names {
        // A parameter that takes any locale of the machine: it is asked like this by whoever sets it, for one statement.
        let sql = "SELECT pg_catalog.set_config('lc_monetary', $1, true)";
        match session.query(sql, &[name]) {
            Ok(_) => {}
            Err(error) if code_of(&error) == "22023" => refuse(
                format!("the server's machine has no locale {name}"),
                format!("as root, there: locale-gen {name} (or: dpkg-reconfigure locales)"),
            ),
            Err(error) => return Err(failed(format_args!("the locale {name}"), &error)),
        }
    }
    match database.provider.as_str() {
        "i" => {
            let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_collation WHERE collprovider = 'i')";
            let has: bool = session.query_one(sql, &[]).map_err(|e| failed("the collations", &e))?.get(0);
            if server.major < 15 || !has {
                refuse(
                    format!("the server of version {server} has no databases with locales of ICU"),
                    "use a server of version 15 or later that is built with ICU".to_owned(),
                );
            }
        }
        "b" if server.major < 17 => refuse(
            format!("the server of version {server} has no builtin locales"),
            "use a server of version 17 or later".to_owned(),
        ),
        _ => {}
    }
    Ok(findings)
}
