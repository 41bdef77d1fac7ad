//! A session on a server: how it is opened, and what is pinned in it.

use super::address::Login;
use super::error::failed;
use super::facts::OLDEST_SERVER;
use super::tools::Version;
use crate::base::libpq;
use crate::base::libpq::reader::Reader;
use crate::base::libpq::session::Way;
use crate::component::{Error, Finding, Result, Severity};
use postgres::Client;
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// Databases that a server has for sessions which want none in particular.
const MAINTENANCE: [&str; 2] = ["postgres", "template1"];

/// What decides how values look as text is the same in every session of ours, on both sides: DateStyle and the like,
/// and `search_path`, which decides whether names in `reg...` columns are qualified. No time-outs; rows that row
/// security would hide are an error and not left out.
const PINNED: &str = "SET DateStyle = ISO; SET IntervalStyle = postgres; SET TimeZone = 'UTC'; \
    SET extra_float_digits = 3; SET bytea_output = hex; SET xmloption = content; SET lc_monetary = 'C'; \
    SET quote_all_identifiers = off; SET synchronize_seqscans = off; SET row_security = off; \
    SET client_min_messages = warning; SET search_path = ''; \
    SELECT set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name IN ('statement_timeout', \
    'lock_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout', 'transaction_timeout')";

/// A pinned session in `database`.
pub fn connect(login: &Login, database: &str) -> Result<Client> {
    let mut client = open(login, database, |way| way.open())?;
    pinned(login, database, client.batch_execute(PINNED))?;
    Ok(client)
}

/// The same, for one who reads large tables.
pub fn connect_reader(login: &Login, database: &str) -> Result<Reader> {
    let mut reader = open(login, database, Reader::open)?;
    pinned(login, database, reader.batch_execute(PINNED))?;
    Ok(reader)
}

fn open<T>(login: &Login, database: &str, with: impl FnOnce(&Way<'_>) -> libpq::Result<T>) -> Result<T> {
    let found = login.password(database)?;
    let password = found.as_ref().map(|found| &found.password);
    Ok(with(&Way { login, database, password, limit: CONNECT_TIMEOUT, at: None })?)
}

fn pinned(login: &Login, database: &str, done: std::result::Result<(), postgres::Error>) -> Result<()> {
    done.map_err(|error| failed(format_args!("database {database} on {login}"), &error))
}

/// A session in a database that is neither the old nor the new one: `named`, else one of those that every server has.
pub fn connect_maintenance(login: &Login, named: Option<&str>) -> Result<Client> {
    if let Some(named) = named {
        return connect(login, named);
    }
    let [first, second] = MAINTENANCE;
    connect(login, first).or_else(|error| connect(login, second).map_err(|_| error))
}

/// The server's release.
pub fn server_version(session: &mut Client) -> Result<Version> {
    let row = session.query_one("SELECT pg_catalog.current_setting('server_version')", &[]);
    let text: String = row.map_err(|e| failed("the server's version", &e))?.get(0);
    let version =
        Version::parse(&text).ok_or_else(|| Error::not_ready(format_args!("no version is in {text:?}")))?;
    match version.major < OLDEST_SERVER {
        true => Err(Error::not_ready(format_args!("the server is of version {version}"))
            .todo(format_args!("update it to {OLDEST_SERVER} or later"))),
        false => Ok(version),
    }
}

/// Whether the server is a standby, which follows another one and takes no writes.
pub fn is_standby(session: &mut Client) -> Result<bool> {
    let row = session.query_one("SELECT pg_catalog.pg_is_in_recovery()", &[]);
    Ok(row.map_err(|e| failed("whether the server is a standby", &e))?.get(0))
}

/// A refusal if it is one.
pub fn refuse_standby(session: &mut Client) -> Result<Option<Finding>> {
    let refusal = || {
        Finding::new(
            Severity::Refusal,
            "the server is a standby: it takes no writes but those of its primary",
        )
        .todo("name the primary in this machine's profile")
    };
    Ok(is_standby(session)?.then(refusal))
}

/// The number of the database called `name`; `None` if there is none.
pub fn database_oid(session: &mut Client, name: &str) -> Result<Option<u32>> {
    let sql = "SELECT oid FROM pg_catalog.pg_database WHERE datname = $1";
    let row = session.query_opt(sql, &[&name]).map_err(|e| failed("the list of databases", &e))?;
    Ok(row.map(|row| row.get(0)))
}

/// The name of the database with this number; `None` if there is none.
pub fn database_name(session: &mut Client, oid: u32) -> Result<Option<String>> {
    let sql = "SELECT datname::text FROM pg_catalog.pg_database WHERE oid = $1";
    let row = session.query_opt(sql, &[&oid]).map_err(|e| failed("the list of databases", &e))?;
    Ok(row.map(|row| row.get(0)))
}
