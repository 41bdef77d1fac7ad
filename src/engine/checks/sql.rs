//! `sql`: what a PostgreSQL server answers, in a read-only transaction.
//!
//! The query stands in a subquery of ours: so it is one query that reads, whatever its text says. A role that may do
//! anything could still do something by a function, so a bundle that may not have commands run gets no superuser, nor a role that
//! may become one.

use super::address::Address;
use super::{Site, Trial, Tried};
use crate::base::libpq::address::{Address as Said, Login, DEFAULT_PORT};
use crate::base::libpq::pgpass::Found;
use crate::base::libpq::session::Way;
use crate::base::libpq::{url, Error};
use crate::format::SqlProbe;
use postgres::Client;
use std::net::IpAddr;

/// So that two servers write the same value in the same way.
const SETTINGS: &str = "SET LOCAL datestyle = 'ISO, MDY'; SET LOCAL intervalstyle = 'postgres'; \
    SET LOCAL timezone = 'UTC'; SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1";

/// A query, and what it must answer.
pub(super) struct Sql {
    probe: SqlProbe,
    said: Said,
    /// `None` for a socket.
    address: Option<Address>,
}

impl Sql {
    pub(super) fn new(probe: &SqlProbe) -> Result<Self, String> {
        let said = url::parse(&probe.url).map_err(|why| format!("its url cannot be used: {why}"))?;
        let address = match said.host.as_deref() {
            Some(host) if !host.starts_with('/') => {
                let port = said.port.unwrap_or(DEFAULT_PORT);
                Some(Address::new(host, port).ok_or("its url names no server")?)
            }
            _ => None,
        };
        Ok(Sql { probe: probe.clone(), said, address })
    }

    fn expected(&self) -> Option<&str> {
        self.probe.equals.as_deref().or(self.probe.source_value.as_deref())
    }
}

impl Trial for Sql {
    fn what(&self) -> String {
        let wants = match (&self.probe.equals, &self.probe.source_value) {
            (Some(value), _) => format!("expects {value}"),
            (None, Some(value)) => format!("expects {value}, as the source has"),
            (None, None) => "expects what the source has".to_owned(),
        };
        format!("asks {}: {}; {wants}", self.probe.url, self.probe.query.trim())
    }

    fn needs_trust(&self) -> Option<String> {
        let address = self.address.as_ref().filter(|address| !address.is_loopback())?;
        Some(format!("it connects to {address}"))
    }

    fn attempt(&self, site: &Site) -> Tried {
        match (self.ask(site), self.expected()) {
            (Err(tried), _) => tried,
            (Ok(value), Some(expected)) if value == expected => {
                Tried::passed().with([format!("the value is {value}")])
            }
            (Ok(value), Some(expected)) => Tried::failed(format!("the value is {value}, not {expected}")),
            (Ok(_), None) => Tried::skipped("nothing says what the value should be"),
        }
    }

    fn value(&self, site: &Site) -> Result<String, String> {
        self.ask(site).map_err(|tried| tried.why.unwrap_or_default())
    }
}

impl Sql {
    /// The first column of the only row, as the server writes it.
    fn ask(&self, site: &Site) -> Result<String, Tried> {
        let said = |error: postgres::Error| Tried::failed(words(&error));
        let mut client = self.connect(site)?;
        if !site.trusted && is_mighty(&mut client).map_err(said)? {
            let why =
                "the role is a superuser or may become one, or may reach the server's files and programs, \
                       and its signer may not have commands run here";
            return Err(Tried::skipped(why));
        }
        let mut transaction = client.build_transaction().read_only(true).start().map_err(said)?;
        let limit = site.limit.as_millis();
        transaction
            .batch_execute(&format!("SET LOCAL statement_timeout = {limit}; {SETTINGS}"))
            .map_err(said)?;
        let query = self.probe.query.trim_end_matches(|c: char| c.is_whitespace() || c == ';');
        // A line of its own, so that a comment at the query's end does not swallow the rest.
        let wrapped =
            format!("SELECT pg_catalog.format('%s', q.v), q.v IS NULL FROM (\n{query}\n) AS q(v) LIMIT 2");
        let rows = transaction.query(&wrapped, &[]).map_err(said)?;
        let [row] = &rows[..] else {
            let many = if rows.is_empty() { "no row" } else { "more than one row" };
            return Err(Tried::failed(format!("the query gives {many}")));
        };
        match row.try_get::<_, bool>(1).map_err(said)? {
            true => Err(Tried::failed("the value is NULL")),
            false => row.try_get(0).map_err(said),
        }
    }

    /// Connects to the first address that answers. A name is resolved once, by us, and must lead to where it says.
    fn connect(&self, site: &Site) -> Result<Client, Tried> {
        let settled = self.said.clone().settle(&site.host.home, site.host.uid);
        let (login, database) = settled.map_err(|error| Tried::failed(error.to_string()))?;
        let found = password(&login, &database, site)?;
        let numbers: Vec<Option<IpAddr>> = match &self.address {
            Some(address) => address.resolve(site.trusted)?.iter().map(|found| Some(found.ip())).collect(),
            None => vec![None],
        };
        let mut why = String::new();
        for at in numbers {
            let password = found.as_ref().map(|found| &found.password);
            let way = Way { login: &login, database: &database, password, limit: site.limit, at };
            match way.open() {
                Ok(client) => return Ok(client),
                Err(error) => why = error.to_string(),
            }
        }
        Err(Tried::failed(why))
    }
}

/// The password, if there is one and it may be used.
fn password(login: &Login, database: &str, site: &Site) -> Result<Option<Found>, Tried> {
    match login.password(database).map_err(|error| Tried::failed(error.to_string()))? {
        Some(found) if !found.names_server && !site.trusted => Err(Tried::skipped(
            "its password is one for any host or port, and its signer may not have commands run here",
        )),
        found => Ok(found),
    }
}

/// Whether a function could do what only a superuser may, with the role as it is or by `SET ROLE`; the same by those roles that
/// a server has for its files and programs. What the database has for names and operators is not asked.
fn is_mighty(client: &mut Client) -> Result<bool, postgres::Error> {
    let row = client.query_one(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_roles AS r WHERE pg_catalog.pg_has_role(r.oid, 'MEMBER') \
             AND (r.rolsuper OR r.rolname OPERATOR(pg_catalog.=) ANY (ARRAY['pg_execute_server_program', \
             'pg_read_server_files', 'pg_write_server_files']::pg_catalog.name[])))",
        &[],
    )?;
    row.try_get(0)
}

/// What a server says.
fn words(error: &postgres::Error) -> String {
    Error::of("the query", error).to_string()
}
