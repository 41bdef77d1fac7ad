//! What a replacement in place would do, and what stands in its way. Read-only.

use super::super::address::Login;
use super::super::connect::{connect, refuse_standby, server_version};
use super::super::error::failed;
use super::super::facts::{Database, Options};
use super::super::index::{self, Row};
use super::super::roles;
use super::super::stage::{archive as read_archive, objects_of};
use super::super::tools::{self, Tool, Version};
use super::super::Postgres;
use super::archive::{entries, Entry};
use super::inventory::{owned, Object};
use super::{objects, ties};
use crate::base::fault::Fault;
use crate::component::{Change, ChangeKind, Error, Finding, Plan, Result, Scope, Severity, StreamSource};
use postgres::Client;
use std::collections::BTreeSet;
use std::fmt::Display;

/// The kind's part of a plan.
pub struct Target {
    /// As whom.
    pub login: Login,
    /// Which database.
    pub name: String,
    /// The run, which the marker is named by.
    pub run: String,
    /// The schema that the marker is made in.
    pub home: String,
    /// What goes aside.
    pub old: Vec<Object>,
    /// Schemas of the new content.
    pub schemas: BTreeSet<String>,
    /// What the database was on the source.
    pub database: Database,
    /// Its tables, sequences and large objects.
    pub rows: Vec<Row>,
    /// The pg_restore for it.
    pub tool: Tool,
    /// Entries of the archive that stay behind.
    pub left_out: BTreeSet<u32>,
    /// How it is restored.
    pub options: Options,
    /// Roles to be made first.
    pub missing_roles: Vec<String>,
    /// Whether tablespaces stay behind.
    pub no_tablespaces: bool,
}

impl Target {
    /// The plan's own part.
    pub fn of(plan: &Plan) -> Result<&Target> {
        plan.detail()
            .ok_or_else(|| Error::new(Fault::Unexpected, "the plan is not one of a replacement in place"))
    }
}

/// Things that have no other name to go aside under.
pub fn cannot_go_aside(database: &str, things: &[String]) -> Error {
    Error::not_ready(format_args!(
        "in database {database} these cannot be replaced in place: {}",
        few(things)
    ))
    .todo("leave mode = \"in-place\" out (an administrator helps, see admin-url), or have these dropped")
}

/// Some of a list, and how many more there are.
pub fn few(names: &[String]) -> String {
    match names {
        [first @ .., _] if names.len() > 6 => {
            format!("{} and {} more", first[..5].join(", "), names.len() - 5)
        }
        all => all.join(", "),
    }
}

/// Looks at the database, and says what an import would do.
pub fn plan(postgres: &Postgres, scope: &Scope<'_>, streams: &dyn StreamSource) -> Result<Plan> {
    let place = postgres.place(scope.host)?;
    let Some(database) = postgres.facts()?.database.clone() else {
        return Err(Error::not_ready(format_args!("{place}: a database cannot be removed in place"))
            .todo("leave mode = \"in-place\" out of this machine's profile"));
    };
    let rows = index::read(streams)?;
    let mut session = connect(&place.login, &place.database)?;
    let old = owned(&mut session)?;
    let server = server_version(&mut session)?;
    let dumper = Version::parse(&database.pg_dump).unwrap_or(server);
    let tool = tools::pg_restore(dumper.major, server.major)?;
    let list = entries(&tool, &read_archive(streams, &|_| ())?)?;
    let shown = place.to_string();
    let mut notes = tool.warnings();
    notes.extend(refuse_standby(&mut session)?);
    let mut look = Look {
        user: &place.login.user,
        name: &place.database,
        database: &database,
        options: &postgres.options,
        list: &list,
        rows: &rows,
        old: &old,
        session: &mut session,
        notes: Notes(notes),
        left_out: BTreeSet::new(),
        schemas: BTreeSet::new(),
    };
    if postgres.keep_previous {
        look.notes.refuse(
            "keep-previous: the old content of a database cannot be kept beside the new one in place",
            "leave keep-previous out; the backup has the old content, and `kbpack rollback` restores it",
        );
    }
    if postgres.of_backup {
        look.leave_to_others()?;
    }
    look.server(server)?;
    look.extensions()?;
    let home = look.schemas()?;
    let missing_roles = look.roles()?;
    look.ties()?;
    look.names_of_others()?;
    look.locks()?;
    let no_tablespaces = look.properties()?;
    look.what_it_means()?;
    let mut changes = look.changes()?;
    let Look { notes, left_out, schemas, .. } = look;
    let executes = format!(
        "what functions, triggers and defaults in {place} do: as {} while it is restored, then as whoever uses it",
        place.login.user
    );
    let made = roles::made(&place.login, &place.database, &missing_roles, scope.logins)?;
    changes.extend(made.changes);
    let mut plan = Plan::new(Target {
        login: place.login.clone(),
        name: place.database.clone(),
        run: scope.run.to_owned(),
        home,
        old,
        schemas,
        database,
        rows,
        tool,
        left_out,
        options: postgres.options.clone(),
        missing_roles,
        no_tablespaces,
    });
    plan.destinations = vec![shown];
    plan.destinations.extend(made.destinations);
    plan.changes = changes;
    plan.findings = notes.0;
    plan.executes = vec![executes];
    Ok(plan)
}

/// What there is to say.
pub struct Notes(pub Vec<Finding>);

impl Notes {
    /// The import does not go on.
    pub fn refuse(&mut self, what: impl Display, remedy: impl Display) {
        self.0.push(Finding::new(Severity::Refusal, what).todo(remedy));
    }

    /// Something will be other than one would expect.
    pub fn warn(&mut self, what: impl Display) {
        self.0.push(Finding::new(Severity::Warning, what));
    }

    /// Worth knowing.
    pub fn note(&mut self, what: impl Display) {
        self.0.push(Finding::new(Severity::Note, what));
    }
}

/// Somebody who looks, and notes what there is to say.
pub struct Look<'a> {
    pub(super) user: &'a str,
    pub(super) name: &'a str,
    pub(super) database: &'a Database,
    pub(super) options: &'a Options,
    pub(super) list: &'a [Entry],
    pub(super) rows: &'a [Row],
    pub(super) old: &'a [Object],
    pub(super) session: &'a mut Client,
    pub(super) notes: Notes,
    pub(super) left_out: BTreeSet<u32>,
    /// Schemas of what comes.
    pub(super) schemas: BTreeSet<String>,
}

impl Look<'_> {
    pub(super) fn names(
        &mut self,
        what: &str,
        sql: &str,
        with: &[&(dyn postgres::types::ToSql + Sync)],
    ) -> Result<Vec<String>> {
        let rows = self.session.query(sql, with).map_err(|e| failed(what, &e))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    /// Of a backup, what belongs to others stays behind: it was not touched.
    pub(super) fn leave_to_others(&mut self) -> Result<()> {
        let roles = self.roles_known();
        let wanted: Vec<&String> = roles.iter().collect();
        let sql = "SELECT rolname::text FROM pg_catalog.pg_roles WHERE rolname = ANY($1) \
            AND pg_catalog.pg_has_role(oid, 'USAGE')";
        let usable: BTreeSet<String> = self.names("the roles", sql, &[&wanted])?.into_iter().collect();
        let casts = ties::casts_of_others(self.session, self.old)?;
        for entry in self.list {
            let ours = match entry.cast() {
                Some(cast) => !casts.iter().any(|other| other == cast),
                None => entry.owner(&roles).is_some_and(|owner| usable.contains(owner)),
            };
            if !ours {
                self.left_out.insert(entry.id);
            }
        }
        Ok(())
    }

    /// Entries of the archive that are restored, as far as is known yet.
    pub(super) fn kept(&self) -> impl Iterator<Item = &Entry> {
        let list = self.list;
        list.iter().filter(|entry| !self.left_out.contains(&entry.id))
    }

    /// Roles that may stand behind an entry.
    pub(super) fn roles_known(&self) -> BTreeSet<String> {
        self.database.roles.iter().cloned().chain([self.user.to_owned()]).collect()
    }

    /// One line a thing with a name of its own.
    pub(super) fn changes(&mut self) -> Result<Vec<Change>> {
        let roles = self.roles_known();
        let mut come = BTreeSet::new();
        for entry in self.kept().filter(|entry| entry.is_named() && entry.kind != Some("INDEX")) {
            if let Some((schema, name)) = entry.name(&self.schemas, &roles) {
                let kind = match entry.kind.unwrap_or_default() {
                    "FUNCTION" | "PROCEDURE" => "routine".to_owned(),
                    kind => kind.to_lowercase(),
                };
                come.insert(format!("{kind} {schema}.{name}"));
            }
        }
        let mut changes: Vec<Change> = Vec::new();
        let mut push = |kind, what: &str| changes.push(Change { kind, what: what.to_owned() });
        for object in self.old.iter().filter(|object| !object.part) {
            let what = object.shown();
            match come.remove(&what) {
                true => push(ChangeKind::Changed, &what),
                false => push(ChangeKind::Removed, &what),
            }
        }
        come.iter().for_each(|what| push(ChangeKind::Added, what));
        // They have no names.
        let (here, there) = (objects::numbers(self.session)?.0.len(), objects_of(self.rows).len());
        let kind = match (here, there) {
            (0, 0) => None,
            (0, _) => Some(ChangeKind::Added),
            (_, 0) => Some(ChangeKind::Removed),
            _ => Some(ChangeKind::Changed),
        };
        kind.into_iter()
            .for_each(|kind| push(kind, &format!("large objects ({here} here, {there} in the bundle)")));
        changes.sort_by(|a, b| a.what.cmp(&b.what));
        Ok(changes)
    }
}

/// An error as a finding that stops the import.
pub fn as_refusal(error: &Error) -> Finding {
    use crate::base::fault::Faulty;
    let finding = Finding::new(Severity::Refusal, error);
    match error.remedy() {
        Some(remedy) => finding.todo(remedy),
        None => finding,
    }
}
