//! Where a database is and as whom to speak to it: what a profile and the facts say, and what it means here.

use super::pgpass::{self, Found, Line};
use super::service;
use super::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Folders in which servers put their sockets when nobody says otherwise: Debian's, and PostgreSQL's own.
pub const SOCKET_FOLDERS: [&str; 2] = ["/var/run/postgresql", "/tmp"];
/// The port of a server when nobody says otherwise.
pub const DEFAULT_PORT: u16 = 5432;

/// How much TLS (libpq's `sslmode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// None.
    Disable,
    /// None, unless the server insists.
    Allow,
    /// If the server has it.
    Prefer,
    /// Always; whoever the server is.
    Require,
    /// Always; the certificate is signed by a known authority.
    VerifyCa,
    /// The same, and it is that host's.
    VerifyFull,
}

impl SslMode {
    /// libpq's word for it.
    pub fn word(self) -> &'static str {
        match self {
            SslMode::Disable => "disable",
            SslMode::Allow => "allow",
            SslMode::Prefer => "prefer",
            SslMode::Require => "require",
            SslMode::VerifyCa => "verify-ca",
            SslMode::VerifyFull => "verify-full",
        }
    }

    /// The mode of that word.
    pub fn named(word: &str) -> Option<SslMode> {
        use SslMode::*;
        [Disable, Allow, Prefer, Require, VerifyCa, VerifyFull].into_iter().find(|mode| mode.word() == word)
    }
}

/// What is said of a connection. What is not said is the machine's own default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Address {
    /// A host's name or address, or the absolute path of a folder with the server's socket.
    #[serde(deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// TCP port, or the number in the socket's name.
    #[serde(deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The role.
    #[serde(deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The database.
    #[serde(deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// See [`SslMode`].
    #[serde(deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub sslmode: Option<SslMode>,
    /// A section of the service file, for what is not said here.
    #[serde(deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}

impl Address {
    /// This, and `base` where this says nothing.
    pub fn or(self, base: Address) -> Address {
        Address {
            host: self.host.or(base.host),
            port: self.port.or(base.port),
            user: self.user.or(base.user),
            database: self.database.or(base.database),
            sslmode: self.sslmode.or(base.sslmode),
            service: self.service.or(base.service),
        }
    }

    /// This machine's word, and the bundle's where it says nothing: a server is named by either, not by both.
    pub fn over(self, bundle: &Address) -> Address {
        let elsewhere = self.host.is_some() || self.port.is_some();
        let mut base = bundle.clone();
        if elsewhere {
            (base.host, base.port, base.sslmode) = (None, None, None);
        }
        self.or(base)
    }

    /// With what its service says.
    pub fn with_service(mut self, home: &Path) -> Result<Address> {
        match self.service.take() {
            None => Ok(self),
            Some(name) => Ok(self.or(service::find(&name, home)?)),
        }
    }

    /// What it means for the user `uid`, whose home is `home`: the server and the role, and the database.
    pub fn settle(self, home: &Path, uid: u32) -> Result<(Login, String)> {
        let address = self.with_service(home)?;
        let user = match address.user {
            Some(user) => user,
            None => user_of(uid)?,
        };
        let place = match address.host.as_deref() {
            None => Place::Socket(default_folder()),
            Some(path) if path.starts_with('/') => Place::Socket(path.into()),
            Some(name) => Place::Tcp(name.to_owned()),
        };
        let sslmode = address.sslmode.unwrap_or(SslMode::Prefer);
        let port = address.port.unwrap_or(DEFAULT_PORT);
        let login = Login { place, port, user, sslmode, home: home.to_owned(), known: Known::default() };
        let database = address.database.unwrap_or_else(|| login.user.clone());
        Ok((login, database))
    }
}

fn default_folder() -> PathBuf {
    SOCKET_FOLDERS.iter().map(PathBuf::from).find(|folder| folder.is_dir()).unwrap_or_else(|| "/tmp".into())
}

fn user_of(uid: u32) -> Result<String> {
    let user = nix::unistd::User::from_uid(uid.into()).ok().flatten();
    user.map(|user| user.name).ok_or(Error::NoName(uid))
}

/// The way to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// By the socket in this folder.
    Socket(PathBuf),
    /// By TCP, to this host.
    Tcp(String),
}

/// A server, and a role on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The way to it.
    pub place: Place,
    /// TCP port, or the number in the socket's name.
    pub port: u16,
    /// The role.
    pub user: String,
    /// See [`SslMode`].
    pub sslmode: SslMode,
    home: PathBuf,
    known: Known,
}

/// Lines of `.pgpass` that count where the file has none.
#[derive(Debug, Clone, Default)]
pub struct Known(Arc<[Line]>);

impl FromIterator<Line> for Known {
    fn from_iter<I: IntoIterator<Item = Line>>(lines: I) -> Self {
        Known(lines.into_iter().collect())
    }
}

/// Who knows more is the same.
impl PartialEq for Known {
    fn eq(&self, _: &Known) -> bool {
        true
    }
}

impl Eq for Known {}

impl Login {
    /// The same, with lines that count where `.pgpass` has none.
    pub fn knowing(self, known: &Known) -> Login {
        Login { known: known.clone(), ..self }
    }

    /// Its password: of `PGPASSFILE` or `~/.pgpass`, else of what is known besides; `None` if there is no line for it.
    pub fn password(&self, database: &str) -> Result<Option<Found>> {
        let (hosts, port) = (self.pgpass_hosts(), self.port.to_string());
        let connection = [port.as_str(), database, &self.user];
        let file = pgpass::read_lines(&pgpass::place(&self.home))?;
        let found = pgpass::pick(file.iter(), &hosts, connection);
        Ok(found.or_else(|| pgpass::pick(self.known.0.iter(), &hosts, connection)))
    }

    /// A default socket's server is `localhost` there, another one is its folder.
    pub fn pgpass_hosts(&self) -> Vec<String> {
        match &self.place {
            Place::Tcp(name) => vec![name.clone()],
            Place::Socket(folder) => {
                let path = folder.to_string_lossy().into_owned();
                match SOCKET_FOLDERS.iter().any(|default| folder == Path::new(default)) {
                    true => vec!["localhost".to_owned(), path],
                    false => vec![path],
                }
            }
        }
    }

    /// The user's home, where libpq's files are.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// As `PGHOST` has it.
    pub fn host(&self) -> String {
        match &self.place {
            Place::Tcp(name) => name.clone(),
            Place::Socket(folder) => folder.to_string_lossy().into_owned(),
        }
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host(), self.port)
    }
}
