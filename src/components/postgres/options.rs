//! The options of a postgres component, as a profile has them.

use super::address::{Address, SslMode};
use super::facts::{Mode, Options, Roles};
use super::role_map::RoleMap;
use super::select::Select;
use super::url;
use crate::component::{Error, Result};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// A component's table. In the target's own profile every word overrides the bundle's.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Table {
    url: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    database: Option<String>,
    user: Option<String>,
    sslmode: Option<SslMode>,
    service: Option<String>,
    admin_url: Option<String>,
    refuse_when: Option<String>,
    assert: BTreeMap<String, String>,
    exclude_schema: Vec<String>,
    exclude_table_data: Vec<String>,
    roles: Option<Roles>,
    role_map: Option<RoleMap>,
    mode: Option<Mode>,
    no_owner: Option<bool>,
    no_acl: Option<bool>,
    keep_previous: bool,
    absent: Absent,
}

/// What happens where the source has no such database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Absent {
    /// An export stops, and so does an import that would remove a database.
    #[default]
    Refuse,
    /// An export says so in the bundle; an import leaves a database alone that is there.
    Ok,
    /// An import removes it.
    Remove,
}

/// What a profile says.
pub struct Profile {
    /// Where and as whom.
    pub address: Address,
    /// For what the user of `address` may not do.
    pub admin: Option<Address>,
    /// See [`Select`].
    pub select: Select,
    /// A query: an answer other than 0, false or nothing stops the export.
    pub refuse_when: Option<String>,
    /// Queries whose answers must be the same on both sides.
    pub assertions: BTreeMap<String, String>,
    /// Whether the old database stays after an import.
    pub keep_previous: bool,
    /// See [`Absent`].
    pub absent: Absent,
    no_owner: Option<bool>,
    no_acl: Option<bool>,
    roles: Option<Roles>,
    role_map: Option<RoleMap>,
    mode: Option<Mode>,
}

impl Profile {
    /// Reads the options of a component's table.
    pub fn read(options: &Value) -> Result<Profile> {
        let usage = |why: &dyn std::fmt::Display| Error::usage(why);
        let table = Table::deserialize(options).map_err(|e| usage(&e))?;
        let of_url = |name: &str, url: &str| {
            url::parse(url).map_err(|why| {
                usage(&format_args!("{name}: {why}"))
                    .todo("write postgresql://USER@HOST:PORT/DATABASE, and the password into ~/.pgpass")
            })
        };
        let said = Address {
            host: table.host,
            port: table.port,
            user: table.user,
            database: table.database,
            sslmode: table.sslmode,
            service: table.service,
        };
        let address = match &table.url {
            None => said,
            Some(_) if said != Address::default() => {
                return Err(usage(&"both a url and its parts are given").todo("leave one of them out"))
            }
            Some(url) => of_url("url", url)?,
        };
        // A map alone says what it is for.
        let roles = table.roles.or(table.role_map.as_ref().map(|_| Roles::Map));
        if table.role_map.is_some() && roles != Some(Roles::Map) {
            return Err(usage(&"it has a role-map, and roles is not \"map\"")
                .todo("say roles = \"map\", or leave one of them out"));
        }
        Ok(Profile {
            address,
            admin: table.admin_url.map(|url| of_url("admin-url", &url)).transpose()?,
            select: Select {
                exclude_schema: table.exclude_schema,
                exclude_table_data: table.exclude_table_data,
                own_only: false,
            },
            refuse_when: table.refuse_when,
            assertions: table.assert,
            keep_previous: table.keep_previous,
            absent: table.absent,
            no_owner: table.no_owner,
            no_acl: table.no_acl,
            roles,
            role_map: table.role_map,
            mode: table.mode,
        })
    }

    /// These options, and `base` where they say nothing.
    pub fn over(&self, base: Options) -> Options {
        Options {
            no_owner: self.no_owner.unwrap_or(base.no_owner),
            no_acl: self.no_acl.unwrap_or(base.no_acl),
            roles: self.roles.unwrap_or(base.roles),
            role_map: match (&self.role_map, self.roles) {
                (Some(map), _) => map.clone(),
                (None, None | Some(Roles::Map)) => base.role_map,
                (None, Some(_)) => RoleMap::new(),
            },
            mode: self.mode.unwrap_or(base.mode),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_url_or_its_parts() {
        let read = |options| Profile::read(&options);
        let by_url = read(json!({ "url": "postgresql://u@h:1/d" })).ok().unwrap();
        let parts = read(json!({ "host": "h", "port": 1, "user": "u", "database": "d" })).ok().unwrap();
        assert_eq!(by_url.address, parts.address);
        for (options, part) in [
            (json!({ "url": "postgresql://u@h/d", "port": 1 }), "both a url and its parts"),
            (json!({ "url": "postgresql://u:hunter2@h/d" }), "url: it holds a password"),
            (json!({ "url": "postgresql://u@h/d", "admin-url": "x" }), "admin-url: it does not begin"),
            (json!({ "databse": "d" }), "unknown field `databse`"),
            (json!({ "sslmode": "maybe" }), "unknown variant `maybe`"),
            (json!({ "roles": "create", "role-map": { "a": "b" } }), "roles is not \"map\""),
        ] {
            let error = read(options).err().unwrap().to_string();
            assert!(error.contains(part) && !error.contains("hunter2"), "{error}");
        }
    }
}
