//! A session on a server, opened as libpq would.

use super::address::{Login, Place, SslMode};
use super::reader::Line;
use super::{tls, Error, Result};
use crate::base::secret::Secret;
use postgres::config::SslMode as Tls;
use postgres::tls::{MakeTlsConnect, TlsConnect};
use postgres::{Client, NoTls, Socket};
use std::net::IpAddr;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio_postgres::Config;

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
        let config = postgres::Config::from(self.config());
        let connected = match self.sealed() {
            false => config.connect(NoTls),
            true => config.connect(tls::connector(self.login)?),
        };
        connected.map_err(|error| self.failed(&error))
    }

    /// Opens it for one who drives the connection.
    pub(super) fn open_apart(&self) -> Result<(tokio_postgres::Client, Line)> {
        match self.sealed() {
            false => self.open_with(NoTls),
            true => self.open_with(tls::connector(self.login)?),
        }
    }

    fn open_with<T>(&self, tls: T) -> Result<(tokio_postgres::Client, Line)>
    where
        T: MakeTlsConnect<Socket>,
        T::Stream: Send + 'static,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| Error::Unreachable { what: self.what(), why: error.to_string() })?;
        let connected = runtime.block_on(self.config().connect(tls));
        let (client, connection) = connected.map_err(|error| self.failed(&error))?;
        Ok((client, Line { runtime, connection: Box::pin(connection) }))
    }

    fn config(&self) -> Config {
        let Way { login, database, .. } = self;
        let mut config = Config::new();
        config.user(&login.user).dbname(*database).port(login.port);
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
            _ if !self.sealed() => Tls::Disable,
            SslMode::Disable | SslMode::Allow | SslMode::Prefer => Tls::Prefer,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => Tls::Require,
        });
        config
    }

    /// Whether TLS is tried. libpq: sslmode says nothing about sockets.
    fn sealed(&self) -> bool {
        matches!(self.login.place, Place::Tcp(_)) && self.login.sslmode != SslMode::Disable
    }

    fn what(&self) -> String {
        format!("database {} on {}", self.database, self.login)
    }

    fn failed(&self, error: &postgres::Error) -> Error {
        Error::of(self.what(), error)
    }
}
