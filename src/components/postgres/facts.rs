//! The component's part of the manifest (`docs/FORMAT.md`, chapter D): what the database was, beside its objects and rows.

use super::address::Address;
use super::role_map::RoleMap;
use crate::component::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Bytes of a name on a server (`NAMEDATALEN` less one).
pub const MAX_NAME: usize = 63;
/// Oldest server that is understood.
pub const OLDEST_SERVER: u32 = 12;

/// All of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Facts {
    /// Where it was, without what a machine decides for itself.
    pub address: Address,
    /// How it is to be restored.
    pub options: Options,
    /// The database; absent if there was none.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub database: Option<Database>,
    /// In a backup only: where the database itself still stands, under another name.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
}

/// A database that was moved aside, and is to stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Kept {
    /// Its name by now.
    pub name: String,
    /// Its number on the server.
    pub number: u32,
}

/// What can be chosen, in a profile and in the facts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Options {
    /// Objects belong to the role that restores, and not to those that owned them.
    pub no_owner: bool,
    /// Privileges are not restored.
    pub no_acl: bool,
    /// What becomes of roles that the target does not have.
    pub roles: Roles,
    /// See [`Roles::Map`].
    #[serde(skip_serializing_if = "RoleMap::is_empty")]
    pub role_map: RoleMap,
    /// How the new content takes the old one's place.
    pub mode: Mode,
}

/// How the new content takes the old one's place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// In a database of its own, which then takes the old one's name.
    #[default]
    Swap,
    /// In the database that is there, in one transaction: what the role owns is replaced.
    InPlace,
}

/// What an import does about roles that objects belong to, or that have privileges on them, and that are not there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Roles {
    /// Stops, with the SQL that makes them.
    #[default]
    Refuse,
    /// Makes them: with a login where a line of `.pgpass` names them, else without a password and without the right to
    /// log in.
    Create,
    /// What belongs or is granted to them goes to others, which are there.
    Map,
}

/// What a database is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Database {
    /// The server: `15.18`.
    pub server: String,
    /// The pg_dump that wrote the archive.
    pub pg_dump: String,
    /// Encoding, as the server names it.
    pub encoding: String,
    /// `LC_COLLATE`.
    pub collate: String,
    /// `LC_CTYPE`.
    pub ctype: String,
    /// Provider of the locale: `c` (libc), `i` (ICU), `b` (builtin).
    pub provider: String,
    /// The provider's own locale, where it has one.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// The role that owns it.
    pub owner: String,
    /// Privileges on it; absent where nobody changed them.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub acl: Option<Vec<Grant>>,
    /// `ALTER DATABASE SET` and `ALTER ROLE IN DATABASE SET`.
    pub settings: Vec<Setting>,
    /// How many may connect; -1 for no limit.
    pub connection_limit: i32,
    /// What `COMMENT ON DATABASE` said.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Tablespace of the database.
    pub tablespace: String,
    /// Other tablespaces that its objects are in.
    pub tablespaces: Vec<String>,
    /// Its extensions, with their versions.
    pub extensions: BTreeMap<String, String>,
    /// Whether it has the schema `public`, which a new database has.
    pub public_schema: bool,
    /// Security labels of the database itself.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Label>,
    /// Whose security labels its objects have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub label_providers: Vec<String>,
    /// Roles that own an object or have a privilege on one.
    pub roles: Vec<String>,
    /// What the profile claims of the content.
    pub assertions: Vec<Assertion>,
    /// Tables with rows of ours.
    pub tables: u64,
    /// Their rows.
    pub rows: u64,
    /// Bytes of the database on the source's disk.
    pub bytes: u64,
}

/// What `SECURITY LABEL ON DATABASE` said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Label {
    /// Who looks at it.
    pub provider: String,
    /// What it says.
    pub label: String,
}

/// One privilege on the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Grant {
    /// To whom; absent: to everyone.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// `CONNECT`, `CREATE` or `TEMPORARY`.
    pub privilege: String,
    /// Whether it may be handed on.
    pub grantable: bool,
}

/// One parameter's value for sessions in the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Setting {
    /// Of this role only.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The parameter.
    pub name: String,
    /// Its value, as the server stores it.
    pub value: String,
}

/// Where the sessions of a database look names up, as far as its own settings say.
pub fn search_path(settings: &[Setting]) -> &str {
    let set = settings.iter().find(|set| set.name == "search_path" && set.role.is_none());
    set.map_or("\"$user\", public", |set| &set.value)
}

/// A query whose answer must be the same on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Assertion {
    /// Its name in the profile.
    pub name: String,
    /// The query: one value.
    pub sql: String,
    /// Its answer as text.
    pub value: String,
}

impl Facts {
    /// From a bundle's manifest, which says nothing of what is on this machine.
    pub fn read(component: &str, facts: &Value) -> Result<Facts> {
        let facts = Facts::of_backup(component, facts)?;
        match facts.kept {
            None => Ok(facts),
            Some(_) => Err(Error::rule(
                "D1",
                format_args!("facts of component {component}: they are those of a backup"),
            )),
        }
    }

    /// From the manifest of a bundle or a backup, held to the rules.
    pub fn of_backup(component: &str, facts: &Value) -> Result<Facts> {
        let bad = |why: &dyn std::fmt::Display| {
            Error::rule("D1", format_args!("facts of component {component}: {why}"))
        };
        let facts = Facts::deserialize(facts).map_err(|e| bad(&e))?;
        if facts.address.database.is_none() || facts.address.service.is_some() {
            return Err(bad(&"an address names its database and no service"));
        }
        let wrong_name = |name: &str| name.is_empty() || name.len() > MAX_NAME || name.contains('\0');
        let Options { roles, role_map, .. } = &facts.options;
        let no_names = role_map.iter().any(|(old, new)| wrong_name(old) || wrong_name(new));
        if no_names || !role_map.is_empty() && *roles != Roles::Map {
            return Err(bad(&"a role-map has names of roles, and goes with roles = \"map\""));
        }
        let Some(database) = &facts.database else { return Ok(facts) };
        if super::tools::Version::parse(&database.pg_dump).is_none() {
            return Err(bad(&"pg_dump has no version"));
        }
        let address = [&facts.address.database, &facts.address.user].into_iter().flatten();
        let extensions = database.extensions.keys();
        let names = database.roles.iter().chain([&database.owner]).chain(extensions).chain(address);
        if let Some(name) = names.into_iter().find(|name| wrong_name(name)) {
            return Err(bad(&format_args!("{name:?} is no name on a server")));
        }
        let privileges = ["CONNECT", "CREATE", "TEMPORARY"];
        let mut grants = database.acl.iter().flatten();
        if let Some(grant) = grants.find(|grant| !privileges.contains(&grant.privilege.as_str())) {
            return Err(bad(&format_args!("there is no privilege {:?} on a database", grant.privilege)));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
        if let Some(setting) =
            database.settings.iter().find(|s| !s.name.chars().all(plain) || s.name.is_empty())
        {
            return Err(bad(&format_args!("there is no parameter {:?}", setting.name)));
        }
        Ok(facts)
    }
}
