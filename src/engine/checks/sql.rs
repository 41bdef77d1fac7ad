//! `sql`: what a PostgreSQL server answers, in a read-only transaction.
//!
//! The query stands in a subquery of ours: so it is one query that reads, whatever its text says. A role that may do
//! anything could still do something by a function, so a bundle that may not have commands run gets no superuser.

use super::address::Address;
use super::{Site, Trial, Tried};
use crate::components::secrets::password_for;
use crate::format::SqlProbe;
use postgres::config::{Host, SslMode};
use postgres::{Client, Config, NoTls};
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where the server's socket is if the URL names no host.
const SOCKETS: &str = "/var/run/postgresql";
/// So that two servers write the same value in the same way.
const SETTINGS: &str = "SET LOCAL datestyle = 'ISO, MDY'; SET LOCAL intervalstyle = 'postgres'; \
    SET LOCAL timezone = 'UTC'; SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1";

/// A query, and what it must answer.
pub(super) struct Sql {
    probe: SqlProbe,
    config: Config,
    /// `None` for a socket.
    address: Option<Address>,
}

impl Sql {
    pub(super) fn new(probe: &SqlProbe) -> Result<Self, String> {
        let mut config: Config =
            probe.url.parse().map_err(|error| format!("its url cannot be read: {error}"))?;
        if config.get_password().is_some() {
            return Err("its url has a password: let it stand in ~/.pgpass".to_owned());
        }
        if config.get_ssl_mode() == SslMode::Require {
            return Err("it wants TLS, which this version does not have yet for SQL".to_owned());
        }
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            config.host_path(SOCKETS);
        }
        let port = config.get_ports().first().copied().unwrap_or(5432);
        let one = "its url names not just one server";
        let address = match (config.get_hosts(), config.get_hostaddrs()) {
            ([Host::Unix(_)], []) => None,
            ([Host::Tcp(host)], []) => Address::new(host, port).map(Some).ok_or(one)?,
            ([Host::Tcp(_)] | [], [number]) => {
                Address::new(&number.to_string(), port).map(Some).ok_or(one)?
            }
            _ => return Err(one.to_owned()),
        };
        Ok(Sql { probe: probe.clone(), config, address })
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
        if !site.trusted && is_superuser(&mut client).map_err(said)? {
            let why = "the role is a superuser, and its signer may not have commands run here";
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
        let config = self.config(site)?;
        let numbers: Vec<Option<IpAddr>> = match &self.address {
            Some(address) if config.get_hostaddrs().is_empty() => {
                address.resolve(site.trusted)?.iter().map(|found| Some(found.ip())).collect()
            }
            _ => vec![None],
        };
        let mut why = String::new();
        for number in numbers {
            let mut config = config.clone();
            if let Some(number) = number {
                config.hostaddr(number);
            }
            match config.connect(NoTls) {
                Ok(client) => return Ok(client),
                Err(error) => why = words(&error),
            }
        }
        Err(Tried::failed(why))
    }

    /// Where to connect to, as whom, and with which password.
    fn config(&self, site: &Site) -> Result<Config, Tried> {
        let mut config = self.config.clone();
        config.connect_timeout(site.limit).application_name("kbpack");
        if config.get_user().is_none() {
            let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten();
            config.user(&user.map(|user| user.name).unwrap_or_default());
        }
        let (user, host) = (config.get_user().unwrap_or_default(), self.address.as_ref());
        let database = config.get_dbname().unwrap_or(user);
        let port = config.get_ports().first().copied().unwrap_or(5432).to_string();
        // By libpq's rules the standard socket counts as localhost, another one by its directory.
        let socket = match config.get_hosts() {
            [Host::Unix(path)] if path != Path::new(SOCKETS) => path.to_string_lossy().into_owned(),
            _ => "localhost".to_owned(),
        };
        let host = host.map_or(socket.as_str(), |address| address.host.as_str());
        let file = pgpass(site);
        let found = file.and_then(|file| password_for(&file, [host, &port, database, user]));
        match found {
            Some((_, false)) if !site.trusted => Err(Tried::skipped(
                "its password is one for any host or port, and its signer may not have commands run here",
            )),
            Some((password, _)) => {
                config.password(password.expose());
                Ok(config)
            }
            None => Ok(config),
        }
    }
}

fn is_superuser(client: &mut Client) -> Result<bool, postgres::Error> {
    let row = client.query_one("SELECT pg_catalog.current_setting('is_superuser') = 'on'", &[])?;
    row.try_get(0)
}

/// The file of passwords: `PGPASSFILE`, else `~/.pgpass`. As libpq does, one that others can read is passed over.
fn pgpass(site: &Site) -> Option<zeroize::Zeroizing<Vec<u8>>> {
    let named = std::env::var_os("PGPASSFILE").filter(|path| !path.is_empty()).map(PathBuf::from);
    let path = named.unwrap_or_else(|| site.host.home.join(".pgpass"));
    let meta = std::fs::metadata(&path).ok()?;
    let ours = meta.is_file() && meta.mode() & 0o077 == 0;
    ours.then(|| std::fs::read(&path).ok().map(zeroize::Zeroizing::new)).flatten()
}

/// What a server, or the way to it, says.
fn words(error: &postgres::Error) -> String {
    if let Some(error) = error.as_db_error() {
        return format!("{} (SQLSTATE {})", error.message(), error.code().code());
    }
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.filter(|cause| !error.to_string().contains(cause)).unwrap_or_default())
}
