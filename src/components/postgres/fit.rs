//! Target: how the source's roles and security labels fit the server: which are mapped, which stay behind.

use super::facts::{Database, Options};
use super::labels;
use super::plan::Look;
use super::quote;
use super::role_map::RoleMap;
use crate::component::{Finding, Result, Severity};
use std::collections::BTreeSet;

/// Every role that has something of the database, or is something to it.
pub(super) fn named_roles(database: &Database) -> impl Iterator<Item = String> + '_ {
    let granted = database.acl.iter().flatten().filter_map(|grant| grant.to.clone());
    let set = database.settings.iter().filter_map(|setting| setting.role.clone());
    database.roles.iter().cloned().chain(granted).chain(set)
}

impl Look<'_> {
    /// Roles that are missing, and for which the map has no other.
    pub(super) fn refuse_unmapped(&mut self, missing: &[String], options: &Options) {
        let unmapped: Vec<&String> =
            missing.iter().filter(|role| !options.role_map.contains_key(*role)).collect();
        if !unmapped.is_empty() {
            let names: Vec<&str> = unmapped.iter().map(|role| role.as_str()).collect();
            let map: Vec<String> =
                unmapped.iter().map(|role| format!("{} = \"...\"", quote::ident(role))).collect();
            self.refuse(
                format!(
                    "roles are missing on {}, and no other is named for them: {}",
                    self.place.login,
                    names.join(", ")
                ),
                format!("add to role-map in this machine's profile: {}", map.join(", ")),
            );
        }
    }

    /// Which roles hand over to which: those of the map that the database knows.
    pub(super) fn mapped_roles(&mut self, database: &Database, options: &Options) -> Result<RoleMap> {
        if options.no_owner && options.no_acl {
            return Ok(RoleMap::new());
        }
        let wanted: BTreeSet<String> = named_roles(database).collect();
        let knows = |(old, new): &(&String, &String)| wanted.contains(*old) && old != new;
        let map: RoleMap =
            options.role_map.iter().filter(knows).map(|(old, new)| (old.clone(), new.clone())).collect();
        let login = self.place.login.to_string();
        for (old, new) in &map {
            let is_there = "SELECT rolname::text FROM pg_catalog.pg_roles WHERE rolname = $1";
            if !self.names("the roles", is_there, &[&old])?.is_empty() {
                self.refuse(
                    format!("role {old} of role-map is on {login}, too, and may have more there than this database"),
                    "leave it out of role-map; a role that the server has keeps what is its own".to_owned(),
                );
            }
            if self.names("the roles", is_there, &[&new])?.is_empty() {
                self.refuse(
                    format!("role {new}, to which role-map hands over what {old} has, is not on {login}"),
                    format!("run: CREATE ROLE {}; or name another one in role-map", quote::ident(new)),
                );
            }
            let what = format!("what belongs or is granted to role {old} will be role {new}'s");
            self.note(Severity::Note, what);
        }
        Ok(map)
    }

    /// Takes out the labels whose providers the server does not know. True if objects have such.
    pub(super) fn labels(&mut self, database: &mut Database) -> Result<bool> {
        let mut missing = BTreeSet::new();
        let own = database.labels.iter().map(|label| &label.provider);
        for provider in own.chain(&database.label_providers) {
            if !labels::knows(self.session, provider, &self.place.admin.0.user)? {
                missing.insert(provider.clone());
            }
        }
        if missing.is_empty() {
            return Ok(false);
        }
        let names: Vec<&str> = missing.iter().map(String::as_str).collect();
        let names = names.join(", ");
        let what = format!("security labels stay behind: {} has no provider {names}", self.place.login);
        let todo = format!(
            "load it there (shared_preload_libraries) and import again, or do without what {names} does"
        );
        self.findings.push(Finding::new(Severity::Warning, what).todo(todo));
        database.labels.retain(|label| !missing.contains(&label.provider));
        Ok(database.label_providers.iter().any(|provider| missing.contains(provider)))
    }
}
