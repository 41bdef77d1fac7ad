//! A session on a server, opened as libpq would.

use super::address::{Login, Place, SslMode};
use super::{tls, Error, Result};
use crate::base::secret::Secret;
use postgres::config::SslMode as Tls;
use postgres::{Client, Config, NoTls};
use std::net::IpAddr;
use std::time::Duration;

/// How a session is opened.
pub struct Way<'a> {
    /// Where and as whom.
    pub login: &'a Login,
    /// In which database.
    pub database: &'a str,
    /// With which password, if the server asks for one.
    pub password: Option<&'a Secret>,
    /// How long a connection may take.
    pub limit: Duration,
    /// The address that its host's name was found to have, where that was looked up before.
    pub at: Option<IpAddr>,
}

impl Way<'_> {
    /// Opens it.
    pub fn open(&self) -> Result<Client> {
        let Way { login, database, .. } = self;
        let mut config = Config::new();
        config.user(&login.user).dbname(database).port(login.port);
        config.application_name("kbpack").connect_timeout(self.limit);
        match &login.place {
            Place::Tcp(name) => config.host(name),
            Place::Socket(folder) => config.host_path(folder),
        };
        if let Some(number) = self.at {
            config.hostaddr(number);
        }
        if let Some(password) = self.password {
            config.password(password.expose());
        }
        config.ssl_mode(match login.sslmode {
            SslMode::Disable => Tls::Disable,
            SslMode::Allow | SslMode::Prefer => Tls::Prefer,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => Tls::Require,
        });
        let connected = match &login.place {
            // libpq: sslmode says nothing about sockets.
            Place::Socket(_) => config.ssl_mode(Tls::Disable).connect(NoTls),
            Place::Tcp(_) if login.sslmode == SslMode::Disable => config.connect(NoTls),
            Place::Tcp(_) => config.connect(tls::connector(login)?),
        };
        connected.map_err(|error| Error::of(format_args!("database {database} on {login}"), &error))
    }
}
