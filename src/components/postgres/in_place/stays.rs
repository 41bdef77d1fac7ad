//! What a replacement in place leaves as it is, and what it means for whoever is connected.

use super::super::catalog::{self, DatabaseRow};
use super::super::facts::{Database, Setting};
use super::archive::NOT_UTF8;
use super::plan::Look;
use crate::component::Result;

impl Look<'_> {
    /// What belongs to the database itself, which stays as it is. Whether tablespaces stay behind is returned.
    pub(super) fn properties(&mut self) -> Result<bool> {
        let here = catalog::database(self.session)?;
        if here.encoding != self.database.encoding {
            self.notes.refuse(
                format_args!(
                    "database {} is in {}, and the bundle's in {}",
                    self.name, here.encoding, self.database.encoding
                ),
                NOT_UTF8,
            );
        }
        let settings = catalog::settings(self.session, here.oid)?;
        let acl = catalog::database_acl(self.session, here.oid)?;
        let differs = different(&here, &settings, acl != self.database.acl, self.database);
        if !differs.is_empty() {
            self.notes.warn(format_args!(
                "the database's own properties stay as they are; other than in the bundle: {}",
                differs.join(", ")
            ));
        }
        let wanted = &self.database.tablespaces;
        let sql = "SELECT name FROM pg_catalog.unnest($1::text[]) wanted(name) WHERE NOT EXISTS (SELECT FROM \
            pg_catalog.pg_tablespace t WHERE t.spcname = wanted.name AND pg_catalog.has_tablespace_privilege(t.oid, 'CREATE'))";
        let missing = self.names("the tablespaces", sql, &[wanted])?;
        if !missing.is_empty() {
            self.notes.warn(format_args!(
                "tablespace {} is not to be had: all goes into the default one",
                missing.join(", ")
            ));
        }
        Ok(!missing.is_empty())
    }

    /// What is different from a swap.
    pub(super) fn what_it_means(&mut self) -> Result<()> {
        let sql = "SELECT pg_catalog.format('%s (%s)', usename, pg_catalog.count(*)) FROM pg_catalog.pg_stat_activity \
            WHERE datname = pg_catalog.current_database() AND backend_type = 'client backend' \
            AND pid <> pg_catalog.pg_backend_pid() GROUP BY usename ORDER BY 1";
        let sessions = self.names("the database's sessions", sql, &[])?;
        let who = if sessions.is_empty() { "".into() } else { format!(" (now {})", sessions.join(", ")) };
        self.notes.note(format_args!(
            "in place: sessions stay{who}, but whoever uses what is replaced waits until it is committed"
        ));
        self.notes.note(
            "in place: until the import is final the old content stays in the database under names that begin with kbpack_old_; \
             an undo loses what was written after the commit",
        );
        let stays = self.kept_schemas();
        if !stays.is_empty() {
            self.notes
                .note(format_args!("schemas keep their owner, privileges and comment: {}", stays.join(", ")));
        }
        Ok(())
    }

    /// Schemas that the bundle describes and that are there already.
    pub(super) fn kept_schemas(&self) -> Vec<String> {
        let about = |name: &&String| {
            let mut out = self.list.iter().filter(|entry| self.left_out.contains(&entry.id));
            out.any(|entry| entry.is_of("SCHEMA", name))
        };
        self.schemas.iter().filter(about).cloned().collect()
    }
}

/// What of a database differs from the bundle's, in words.
fn different(here: &DatabaseRow, settings: &[Setting], acl: bool, there: &Database) -> Vec<String> {
    let mut differs = Vec::new();
    let pairs = [
        ("owner", &here.owner, &there.owner),
        ("collation", &here.collate, &there.collate),
        ("ctype", &here.ctype, &there.ctype),
        ("tablespace", &here.tablespace, &there.tablespace),
    ];
    for (what, here, there) in pairs {
        if here != there {
            differs.push(format!("{what} ({here} here, {there} there)"));
        }
    }
    let words = [
        ("locale provider", (&here.provider, &here.locale) != (&there.provider, &there.locale)),
        ("connection limit", here.connection_limit != there.connection_limit),
        ("comment", here.comment != there.comment),
        ("settings", settings != there.settings),
        ("privileges", acl),
    ];
    differs.extend(words.iter().filter(|(_, other)| *other).map(|(what, _)| (*what).to_owned()));
    differs
}
