//! The checks of a bundle (rules M7 and M8). They stand in a profile in the same words, so both read these shapes.

use super::template;
use crate::base::digest::Digest;
use crate::base::json;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Seconds that a check may take where it does not say.
const TIMEOUT: u64 = 10;

/// One check: what it is called, what its failure means, and what it looks at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Table", into = "Table")]
pub struct Check {
    /// Its name, unique in the list.
    pub name: String,
    /// What its failure means.
    pub severity: CheckSeverity,
    /// Seconds that one attempt may take.
    pub timeout: u64,
    /// Seconds for which a failed attempt is repeated; 0 for one attempt.
    pub retry_for: u64,
    /// What it looks at.
    pub probe: Probe,
}

/// What the failure of a check means.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CheckSeverity {
    /// An import is undone.
    #[default]
    Error,
    /// It is said.
    Warn,
}

/// What a check looks at: one kind of check each.
#[derive(Debug, Clone, PartialEq)]
pub enum Probe {
    /// Runs a program.
    Command(CommandProbe),
    /// Sends an HTTP request.
    Http(HttpProbe),
    /// Asks a database.
    Sql(SqlProbe),
    /// Looks at a file.
    File(FileProbe),
    /// Connects.
    Tcp(TcpProbe),
    /// Asks a tool for its version.
    Version(VersionProbe),
    /// Looks for an environment variable.
    Env(EnvProbe),
    /// Asks for a value in a JSON file.
    Json(JsonProbe),
}

/// How a program must end, and what it must say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CommandProbe {
    /// The program and its arguments; no shell.
    pub run: Vec<String>,
    /// Where it starts; the home if not said.
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// Its exit status; 0 if not said.
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    pub exit: Option<u8>,
    /// A regular expression that its standard output must match.
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    pub stdout_matches: Option<String>,
}

/// A request, and what its response must be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct HttpProbe {
    /// `http://...` or `https://...`
    pub url: String,
    /// `GET` if not said.
    #[serde(default, skip_serializing_if = "is_default")]
    pub method: Method,
    /// The request's headers; `$NAME` stands for a variable's value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub header: BTreeMap<String, String>,
    /// The request's body; `$NAME` stands for a variable's value.
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// The response's status; 200 if not said.
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Headers that the response must have, with these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub expect_header: BTreeMap<String, String>,
    /// Fields that the response's JSON must have, by dotted path, with these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub json: BTreeMap<String, Value>,
}

/// The method of an HTTP request.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(missing_docs)] // RFC 9110 has them
pub enum Method {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
}

impl Method {
    /// As it stands in a request.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
            Method::Options => "OPTIONS",
        }
    }
}

/// A query, and what its only row must begin with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SqlProbe {
    /// `postgresql://user@host/database`, without a password.
    pub url: String,
    /// A query that may stand after `FROM (`.
    pub query: String,
    /// The value, as the server writes it.
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    pub equals: Option<String>,
    /// The value is the one that the source had.
    #[serde(default, skip_serializing_if = "is_default")]
    pub recorded: bool,
    /// The value that the source had; an export writes it.
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    pub source_value: Option<String>,
}

/// What a file must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct FileProbe {
    /// Absolute, or `~` or `~/...`.
    pub path: String,
    /// False if there must be nothing; true if not said.
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    pub exists: Option<bool>,
    /// Whether there may be nothing: what stands there must be as the rest says.
    #[serde(default, skip_serializing_if = "is_default")]
    pub absent: Absent,
    /// What it must be.
    #[serde(
        default,
        rename = "type",
        deserialize_with = "json::set",
        skip_serializing_if = "Option::is_none"
    )]
    pub kind: Option<FileType>,
    /// Its permission bits, in octal.
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// The name of the user to whom it belongs.
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Bytes that it must have at least.
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    pub min_size: Option<u64>,
    /// The digest of its content.
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Digest>,
}

/// What it means that a file is not there.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Absent {
    /// The check fails.
    #[default]
    Refuse,
    /// It passes.
    Ok,
}

/// The type of a file. A symlink is followed unless `symlink` is what is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum FileType {
    File,
    Directory,
    Symlink,
}

/// Where something must listen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct TcpProbe {
    /// `host:port`; an IPv6 address stands in brackets.
    pub address: String,
}

/// Which version a tool must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct VersionProbe {
    /// The program and its arguments; no shell.
    pub run: Vec<String>,
    /// The lowest version that will do.
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    pub at_least: Option<String>,
    /// The version is the one that the source had.
    #[serde(default, skip_serializing_if = "is_default")]
    pub equal_to_source: bool,
    /// The version that the source had; an export writes it.
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    pub source_value: Option<String>,
}

/// A variable that a fresh login shell must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EnvProbe {
    /// Its name.
    pub name: String,
    /// Its value; any but the empty one if not said. Not for secrets.
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    pub equals: Option<String>,
}

/// A question about one value in a JSON file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct JsonProbe {
    /// Absolute, or `~/...`.
    pub file: String,
    /// Where in it: keys and numbers of elements joined by dots. The whole document if not said.
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Not the value, but how many members or elements it has.
    #[serde(default, skip_serializing_if = "is_default")]
    pub count: bool,
    /// Only those that are this text, number or truth value.
    #[serde(
        default,
        rename = "where",
        deserialize_with = "json::set",
        skip_serializing_if = "Option::is_none"
    )]
    pub only: Option<Value>,
    /// Whether it must be there at all, or must not.
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    pub exists: Option<bool>,
    /// The text, number or truth value that it must be.
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    pub equals: Option<Value>,
    /// It is what the source has.
    #[serde(default, skip_serializing_if = "is_default")]
    pub equal_to_source: bool,
    /// What the source had, in JSON; an export writes it.
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    pub source_value: Option<String>,
}

impl Check {
    /// Whether its value is the one that the source has.
    pub fn records(&self) -> bool {
        match &self.probe {
            Probe::Sql(sql) => sql.recorded,
            Probe::Version(version) => version.equal_to_source,
            Probe::Json(json) => json.equal_to_source,
            _ => false,
        }
    }

    /// The value that the source had.
    pub fn source_value(&self) -> Option<&str> {
        match &self.probe {
            Probe::Sql(sql) => sql.source_value.as_deref(),
            Probe::Version(version) => version.source_value.as_deref(),
            Probe::Json(json) => json.source_value.as_deref(),
            _ => None,
        }
    }

    /// The same with the value that the source has.
    pub fn with_source_value(mut self, value: String) -> Self {
        match &mut self.probe {
            Probe::Sql(sql) => sql.source_value = Some(value),
            Probe::Version(version) => version.source_value = Some(value),
            Probe::Json(json) => json.source_value = Some(value),
            _ => {}
        }
        self
    }
}

impl HttpProbe {
    /// The variables that its headers and its body stand for, each once.
    pub fn variables(&self) -> Vec<&str> {
        let texts = self.header.values().chain(&self.body);
        let mut names: Vec<&str> = texts.flat_map(|text| template::variables(text)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// A check as it is written: exactly one of the kinds is there.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Table {
    name: String,
    #[serde(default, skip_serializing_if = "is_default")]
    severity: CheckSeverity,
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    timeout: Option<u64>,
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    retry_for: Option<u64>,
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    command: Option<CommandProbe>,
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    http: Option<HttpProbe>,
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    sql: Option<SqlProbe>,
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    file: Option<FileProbe>,
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    tcp: Option<TcpProbe>,
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    version: Option<VersionProbe>,
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    env: Option<EnvProbe>,
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    json: Option<JsonProbe>,
}

impl TryFrom<Table> for Check {
    type Error = &'static str;

    fn try_from(table: Table) -> Result<Self, Self::Error> {
        let Table { command, http, sql, file, tcp, version, env, json, .. } = table;
        let kinds = [
            command.map(Probe::Command),
            http.map(Probe::Http),
            sql.map(Probe::Sql),
            file.map(Probe::File),
            tcp.map(Probe::Tcp),
            version.map(Probe::Version),
            env.map(Probe::Env),
            json.map(Probe::Json),
        ];
        let mut kinds = kinds.into_iter().flatten();
        let (Some(probe), None) = (kinds.next(), kinds.next()) else {
            return Err("a check has exactly one of command, http, sql, file, tcp, version, env and json");
        };
        Ok(Check {
            name: table.name,
            severity: table.severity,
            timeout: table.timeout.unwrap_or(TIMEOUT),
            retry_for: table.retry_for.unwrap_or(0),
            probe,
        })
    }
}

impl From<Check> for Table {
    fn from(check: Check) -> Self {
        let mut table = Table {
            name: check.name,
            severity: check.severity,
            timeout: Some(check.timeout).filter(|seconds| *seconds != TIMEOUT),
            retry_for: Some(check.retry_for).filter(|seconds| *seconds != 0),
            command: None,
            http: None,
            sql: None,
            file: None,
            tcp: None,
            version: None,
            env: None,
            json: None,
        };
        match check.probe {
            Probe::Command(probe) => table.command = Some(probe),
            Probe::Http(probe) => table.http = Some(probe),
            Probe::Sql(probe) => table.sql = Some(probe),
            Probe::File(probe) => table.file = Some(probe),
            Probe::Tcp(probe) => table.tcp = Some(probe),
            Probe::Version(probe) => table.version = Some(probe),
            Probe::Env(probe) => table.env = Some(probe),
            Probe::Json(probe) => table.json = Some(probe),
        }
        table
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
