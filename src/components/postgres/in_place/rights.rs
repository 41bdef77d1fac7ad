//! What a replacement in place needs that only somebody else may give: extensions, schemas, roles.

use super::super::catalog;
use super::super::facts::Roles;
use super::super::quote::ident;
use super::super::select;
use super::super::stage::objects_of;
use super::plan::{few, Look};
use crate::component::Result;
use std::collections::BTreeSet;

impl Look<'_> {
    /// Extensions that are there stay; one that is not is made, if the role may.
    pub(super) fn extensions(&mut self) -> Result<()> {
        let there = catalog::extensions(self.session)?;
        if let Err(error) = select::refuse_extensions(there.keys()) {
            self.notes.refuse(
                error,
                "leave mode = \"in-place\" out, or move the database with the extension's own tools",
            );
        }
        for name in there.keys() {
            let ids: Vec<u32> = self
                .list
                .iter()
                .filter(|entry| entry.is_of("EXTENSION", name))
                .map(|entry| entry.id)
                .collect();
            self.left_out.extend(ids);
        }
        let stay: Vec<&String> =
            there.keys().filter(|name| !self.database.extensions.contains_key(*name)).collect();
        for name in stay {
            self.notes.note(format_args!("the extension {name} stays; it is not in the bundle"));
        }
        let mut comes = false;
        for (name, version) in &self.database.extensions {
            match there.get(name) {
                Some(is) if is != version => self.notes.note(format_args!(
                    "the extension {name} stays at version {is}; the source had {version}"
                )),
                Some(_) => {}
                None => {
                    comes = true;
                    self.may_make_extension(name)?;
                }
            }
        }
        self.rows_of_extensions(comes);
        Ok(())
    }

    fn may_make_extension(&mut self, name: &String) -> Result<()> {
        // `trusted` came with version 13.
        let sql = "SELECT CASE WHEN r.rolsuper OR (NOT v.superuser OR coalesce((pg_catalog.to_jsonb(v)->>'trusted')::bool, false)) \
            AND pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE') THEN 'yes' ELSE 'no' END \
            FROM pg_catalog.pg_available_extensions a JOIN pg_catalog.pg_available_extension_versions v \
            ON v.name = a.name AND v.version = a.default_version, pg_catalog.pg_roles r \
            WHERE a.name = $1 AND r.rolname = current_user";
        match self.names("the extensions", sql, &[name])?.first().map(String::as_str) {
            Some("yes") => {}
            Some(_) => self.notes.refuse(
                format_args!(
                    "database {} has no extension {name}, and role {} may not make it",
                    self.name, self.user
                ),
                format_args!(
                    "have an administrator run in database {}: CREATE EXTENSION {};",
                    self.name,
                    ident(name)
                ),
            ),
            None => self.notes.refuse(
                format_args!("the server has no extension {name}"),
                format_args!("install the package of the extension {name} on the server"),
            ),
        }
        Ok(())
    }

    /// The archive has rows only of extensions' tables. Those of one that is there stay as they are.
    fn rows_of_extensions(&mut self, comes: bool) {
        let of_extensions: Vec<(u32, String)> = self
            .kept()
            .filter(|entry| entry.kind == Some("TABLE DATA"))
            .map(|entry| (entry.id, entry.text.clone()))
            .collect();
        if !of_extensions.is_empty() {
            let names: Vec<String> = of_extensions.iter().map(|(_, text)| text.clone()).collect();
            let what = format!("rows of the extensions' own tables stay as they are here: {}", few(&names));
            match comes {
                false => self.notes.warn(what),
                true => self.notes.refuse(
                    what,
                    "have an administrator make the missing extensions first, and run it again",
                ),
            }
            self.left_out.extend(of_extensions.into_iter().map(|(id, _)| id));
        }
    }

    /// Schemas that are there stay as they are; one that is not is made, if the role may. Returns one for the marker.
    pub(super) fn schemas(&mut self) -> Result<String> {
        let sql = "SELECT nspname::text FROM pg_catalog.pg_namespace";
        let there: BTreeSet<String> = self.names("the schemas", sql, &[])?.into_iter().collect();
        let roles = self.roles_known();
        let of_rows = self.rows.iter().filter_map(|row| Some(row.name()?.0.to_owned()));
        let mut wanted: BTreeSet<String> = self.kept().filter_map(|entry| entry.schema(&roles)).collect();
        let made = wanted.iter().any(|name| !there.contains(name));
        wanted.extend(of_rows);
        for name in &there {
            let about = self.list.iter().filter(|entry| entry.is_of("SCHEMA", name));
            self.left_out.extend(about.map(|entry| entry.id));
        }
        let known: BTreeSet<String> = there.union(&wanted).cloned().collect();
        wanted.extend(self.kept().filter_map(|entry| Some(entry.name(&known, &roles)?.0.clone())));
        if made && !self.may_make_in_database()? {
            self.notes.refuse(
                format_args!("role {} may not make schemas in database {}", self.user, self.name),
                format_args!(
                    "have an administrator run: GRANT CREATE ON DATABASE {} TO {};",
                    ident(self.name),
                    ident(self.user)
                ),
            );
        }
        let mut touched: BTreeSet<String> = wanted.intersection(&there).cloned().collect();
        touched.extend(self.old.iter().map(|object| object.schema.clone()));
        self.schemas = wanted;
        self.home(&touched)
    }

    /// Whether the role may make schemas and extensions.
    fn may_make_in_database(&mut self) -> Result<bool> {
        let sql =
            "SELECT 'x' WHERE pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')";
        Ok(!self.names("the role's privileges", sql, &[])?.is_empty())
    }

    /// Renaming and making need the same privilege in each schema that is `touched`.
    fn home(&mut self, touched: &BTreeSet<String>) -> Result<String> {
        let sql = "SELECT nspname::text FROM pg_catalog.pg_namespace WHERE nspname !~ '^pg_' \
            AND nspname <> 'information_schema' AND pg_catalog.has_schema_privilege(oid, 'CREATE') \
            AND pg_catalog.has_schema_privilege(oid, 'USAGE') ORDER BY 1";
        let may = self.names("the role's privileges", sql, &[])?;
        for name in touched.iter().filter(|name| !may.contains(name)) {
            self.notes.refuse(
                format_args!(
                    "role {} may make nothing in schema {name} of database {}",
                    self.user, self.name
                ),
                format_args!(
                    "have an administrator run in that database: GRANT CREATE, USAGE ON SCHEMA {} TO {};",
                    ident(name),
                    ident(self.user)
                ),
            );
        }
        // In one that stays, if there is one.
        let home = may.iter().find(|name| self.schemas.contains(*name)).or(may.last()).cloned();
        if home.is_none() {
            self.notes.refuse(
                format_args!(
                    "there is no schema in database {} that role {} may make a table in",
                    self.name, self.user
                ),
                format_args!(
                    "have an administrator run in that database: GRANT CREATE ON SCHEMA public TO {};",
                    ident(self.user)
                ),
            );
        }
        Ok(home.unwrap_or_default())
    }

    /// Roles that are missing are returned; owners whom the role cannot be are refused.
    pub(super) fn roles(&mut self) -> Result<Vec<String>> {
        let known = self.roles_known();
        let mut owners: BTreeSet<String> =
            self.kept().filter_map(|entry| entry.owner(&known)).cloned().collect();
        owners.extend(objects_of(self.rows).into_iter().map(|object| object.owner));
        // The owner of the source's database, who may have nothing in it.
        let wanted: Vec<&String> = self
            .database
            .roles
            .iter()
            .filter(|role| **role != self.database.owner || owners.contains(*role))
            .collect();
        let sql = "SELECT name FROM pg_catalog.unnest($1::text[]) wanted(name) WHERE NOT EXISTS \
            (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted.name) ORDER BY 1";
        let unneeded = self.options.no_owner && self.options.no_acl;
        let missing = if unneeded { Vec::new() } else { self.names("the roles", sql, &[&wanted])? };
        if !missing.is_empty() && self.options.roles == Roles::Map {
            self.notes.refuse(
                format_args!(
                    "roles are missing on the server, and none is mapped in place: {}",
                    missing.join(", ")
                ),
                "have them made, or import with mode = \"swap\"",
            );
        } else if !missing.is_empty() && self.options.roles == Roles::Refuse {
            let sql: Vec<String> =
                missing.iter().map(|role| format!("CREATE ROLE {};", ident(role))).collect();
            self.notes.refuse(
                format_args!("roles are missing on the server: {}", missing.join(", ")),
                format_args!("run: {} or set roles = \"create\", or no-owner and no-acl", sql.join(" ")),
            );
        }
        if self.options.no_owner {
            return Ok(missing);
        }
        let sql = "SELECT name FROM pg_catalog.unnest($1::text[]) wanted(name) WHERE NOT EXISTS (SELECT FROM \
            pg_catalog.pg_roles WHERE rolname = wanted.name AND pg_catalog.pg_has_role(oid, 'USAGE')) ORDER BY 1";
        let owners: Vec<String> = owners.into_iter().collect();
        let foreign = self.names("the roles", sql, &[&owners])?;
        if !foreign.is_empty() {
            let grants: Vec<String> = foreign
                .iter()
                .map(|role| format!("GRANT {} TO {};", ident(role), ident(self.user)))
                .collect();
            self.notes.refuse(
                format_args!("role {} cannot make what belongs to {}", self.user, foreign.join(", ")),
                format_args!(
                    "set no-owner = true (all will belong to {}), or have an administrator run: {}",
                    self.user,
                    grants.join(" ")
                ),
            );
        }
        Ok(missing)
    }
}
