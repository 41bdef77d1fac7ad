//! Target: what an import would do, and what stands in its way. Read-only.

use super::address::Login;
use super::catalog;
use super::connect::{connect, database_oid, refuse_standby, server_version};
use super::error::failed;
use super::facts::{Database, Options, Roles};
use super::fit;
use super::index::{self, Row};
use super::locale;
use super::options::Absent;
use super::previous;
use super::quote;
use super::role_map::{self, RoleMap};
use super::roles;
use super::room;
use super::swap::Names;
use super::tools::{self, Tool, Version};
use super::{Place, Postgres};
use crate::base::fault::Fault;
use crate::component::{Change, ChangeKind, Error, Finding, Plan, Result, Scope, Severity, StreamSource};
use postgres::Client;

/// The kind's part of a plan: all that staging and commit need.
pub struct Target {
    /// Where.
    pub place: Place,
    /// Names of the side database and of the old one, once it is aside.
    pub names: Names,
    /// The database there now.
    pub live: Option<u32>,
    /// How it is restored.
    pub options: Options,
    /// What is put there; `None`: nothing, the database goes.
    pub new: Option<New>,
    /// Whether the database stays as it is, though the source had none.
    pub stays: bool,
    /// Whether the side database is the old one, which was kept: it is renamed, and not made.
    pub kept: bool,
}

/// The database that is put there.
pub struct New {
    /// What it is.
    pub database: Database,
    /// Its tables, sequences and large objects.
    pub rows: Vec<Row>,
    /// As whom it is restored: the user of the profile, if that role may do all of it.
    pub restorer: Login,
    /// The pg_restore for it.
    pub tool: Tool,
    /// Roles to be made first.
    pub missing_roles: Vec<String>,
    /// Roles of the source that hand over what they have to others here.
    pub mapped: RoleMap,
    /// Whether security labels of objects stay behind.
    pub no_labels: bool,
    /// Whether tablespaces stay behind.
    pub no_tablespaces: bool,
}

impl Target {
    /// The plan's own part.
    pub fn of(plan: &Plan) -> Result<&Target> {
        plan.detail().ok_or_else(|| Error::new(Fault::Unexpected, "the plan is not one of kind postgres"))
    }
}

/// Looks at the server, and says what an import would do.
pub fn plan(postgres: &Postgres, scope: &Scope<'_>, streams: &dyn StreamSource) -> Result<Plan> {
    let place = postgres.place(scope.host)?;
    let mut session = place.administer()?;
    let server = server_version(&mut session)?;
    let live = database_oid(&mut session, &place.database)?;
    let findings = refuse_standby(&mut session)?.into_iter().collect();
    let mut look = Look { place: &place, session: &mut session, findings, executes: Vec::new() };
    let rights = look.rights(&place.login.user)?;
    let admin = look.rights(&place.admin.0.user)?;
    look.may_swap(&admin, live)?;
    if let Some(oid) = live {
        look.what_is_there(oid)?;
    }
    let new = match &postgres.facts()?.database {
        None if !streams.list().is_empty() => {
            return Err(Error::rule("D2", "a database that was not there has streams"));
        }
        None => {
            match postgres.absent {
                _ if live.is_none() => {}
                Absent::Refuse => look.removal(),
                Absent::Ok => {
                    look.note(Severity::Note, "it did not exist on the source; nothing to do".to_owned());
                }
                Absent::Remove => {}
            }
            None
        }
        Some(database) => {
            let rows = index::read(streams)?;
            Some(look.what_comes(database, rows, &postgres.options, server, rights.superuser)?)
        }
    };
    let Look { mut findings, executes, .. } = look;
    let shown = place.to_string();
    let stays = new.is_none() && postgres.absent == Absent::Ok;
    let kind = match (&new, live) {
        (Some(_), None) => Some(ChangeKind::Added),
        (Some(_), Some(_)) => Some(ChangeKind::Changed),
        (None, Some(_)) if !stays => Some(ChangeKind::Removed),
        (None, _) => None,
    };
    let mut changes: Vec<Change> =
        kind.map(|kind| Change { kind, what: shown.clone() }).into_iter().collect();
    let mut destinations = vec![shown];
    if let Some(new) = &new {
        let made = roles::made(&place.login, &place.database, &new.missing_roles, scope.logins)?;
        changes.extend(made.changes);
        destinations.extend(made.destinations);
    }
    let mut names = Names::new(&place.database, scope.run);
    let kept = previous::still_kept(&mut session, postgres.facts()?, &mut findings)?;
    let is_kept = kept.is_some();
    if let Some(kept) = kept {
        names.side = kept;
    }
    let mut needs = Vec::new();
    if let Some(new) = new.as_ref().filter(|_| !is_kept) {
        let rows = streams.list().iter().map(|stream| stream.size).sum();
        let room = room::look(&mut session, &place.login, &new.database, new.no_tablespaces, rows)?;
        (needs, findings) = (room.needs, findings.into_iter().chain(room.findings).collect());
    }
    let detail = Target { place, names, live, options: postgres.options.clone(), new, stays, kept: is_kept };
    let mut plan = Plan::new(detail);
    if let Some(oid) = live.filter(|_| !stays) {
        plan.late_backup = Some(previous::late_backup(&mut session, oid, server)?);
    }
    plan.destinations = destinations;
    plan.changes = changes;
    plan.findings = findings;
    plan.room = needs;
    plan.executes = executes;
    Ok(plan)
}

/// What a role may do.
struct Rights {
    user: String,
    superuser: bool,
    create_db: bool,
}

/// Somebody who looks, and notes what there is to say.
pub(super) struct Look<'a> {
    pub(super) place: &'a Place,
    pub(super) session: &'a mut Client,
    pub(super) findings: Vec<Finding>,
    executes: Vec<String>,
}

impl Look<'_> {
    pub(super) fn refuse(&mut self, what: String, remedy: String) {
        self.findings.push(Finding::new(Severity::Refusal, what).todo(remedy));
    }

    pub(super) fn note(&mut self, severity: Severity, what: String) {
        self.findings.push(Finding::new(severity, what));
    }

    pub(super) fn names(
        &mut self,
        what: &str,
        sql: &str,
        with: &[&(dyn postgres::types::ToSql + Sync)],
    ) -> Result<Vec<String>> {
        let rows = self.session.query(sql, with).map_err(|e| failed(what, &e))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    fn rights(&mut self, user: &str) -> Result<Rights> {
        let sql = "SELECT rolsuper, rolcreatedb FROM pg_catalog.pg_roles WHERE rolname = $1";
        let row = self.session.query_opt(sql, &[&user]).map_err(|e| failed("the roles", &e))?;
        let (superuser, create_db) = row.map_or((false, false), |row| (row.get(0), row.get(1)));
        Ok(Rights { user: user.to_owned(), superuser, create_db })
    }

    /// Whether the administrator may make a database, rename the old one and end its sessions.
    fn may_swap(&mut self, admin: &Rights, live: Option<u32>) -> Result<()> {
        if admin.superuser {
            return Ok(());
        }
        let user = &admin.user;
        let otherwise =
            "or name an administrator with admin-url = \"postgresql://...\" in this machine's profile, or set \
             mode = \"in-place\" there: what the role owns is replaced inside the database";
        if !admin.create_db {
            let grant = format!("ALTER ROLE {} CREATEDB;", quote::ident(user));
            self.refuse(
                format!("role {user} may not create databases on {}", self.place.login),
                format!("have an administrator of the server run: {grant} {otherwise}"),
            );
        }
        let Some(oid) = live else { return Ok(()) };
        let sql =
            "SELECT pg_catalog.pg_get_userbyid(datdba)::text FROM pg_catalog.pg_database WHERE oid = $1 \
            AND NOT pg_catalog.pg_has_role($2::text::name, datdba, 'USAGE')";
        let owner = self.names("the database's owner", sql, &[&oid, &user])?;
        for owner in owner {
            let grant = format!("GRANT {} TO {};", quote::ident(&owner), quote::ident(user));
            self.refuse(
                format!(
                    "role {user} may not rename database {}, which belongs to {owner}",
                    self.place.database
                ),
                format!("have an administrator of the server run: {grant} {otherwise}"),
            );
        }
        let sql = "SELECT DISTINCT usename::text FROM pg_catalog.pg_stat_activity WHERE datid = $1 \
            AND usename IS NOT NULL AND NOT pg_catalog.pg_has_role($2::text::name, usesysid, 'USAGE') \
            AND NOT pg_catalog.pg_has_role($2::text::name, 'pg_signal_backend', 'USAGE')";
        for other in self.names("the database's sessions", sql, &[&oid, &user])? {
            let grant = format!("GRANT pg_signal_backend TO {};", quote::ident(user));
            self.refuse(
                format!("role {user} may not end sessions of {other} in database {}", self.place.database),
                format!("have an administrator of the server run: {grant} {otherwise}"),
            );
        }
        Ok(())
    }

    /// Sessions that will be ended, and what a swap would lose.
    fn what_is_there(&mut self, oid: u32) -> Result<()> {
        let database = self.place.database.clone();
        let sql = "SELECT pg_catalog.format('%s (%s)', coalesce(usename, '?'), pg_catalog.count(*)) \
            FROM pg_catalog.pg_stat_activity WHERE datid = $1 AND backend_type = 'client backend' \
            GROUP BY usename ORDER BY 1";
        let sessions = self.names("the database's sessions", sql, &[&oid])?;
        if !sessions.is_empty() {
            self.note(
                Severity::Note,
                format!("sessions in {database} will be ended: {}", sessions.join(", ")),
            );
        }
        let kept = [
            (
                "replication slots",
                "SELECT slot_name::text FROM pg_catalog.pg_replication_slots WHERE datoid = $1",
            ),
            (
                "prepared transactions",
                "SELECT gid FROM pg_catalog.pg_prepared_xacts x \
                 JOIN pg_catalog.pg_database d ON d.datname = x.database WHERE d.oid = $1",
            ),
            ("subscriptions", "SELECT subname::text FROM pg_catalog.pg_subscription WHERE subdbid = $1"),
        ];
        for (what, sql) in kept {
            let names = self.names(what, sql, &[&oid])?;
            if !names.is_empty() {
                let names = names.join(", ");
                self.refuse(
                    format!("database {database} has {what}, which would be lost with it: {names}"),
                    format!("drop or end these {what} first"),
                );
            }
        }
        let allowed = "SELECT datname::text FROM pg_catalog.pg_database WHERE oid = $1 AND NOT datallowconn";
        if !self.names("the database", allowed, &[&oid])?.is_empty() {
            let sql = format!("ALTER DATABASE {} ALLOW_CONNECTIONS true;", quote::ident(&database));
            self.refuse(format!("database {database} takes no connections"), format!("run: {sql}"));
            return Ok(());
        }
        let mut inside = connect(&self.place.admin.0, &database)?;
        let extensions = catalog::extensions(&mut inside)?;
        if let Err(error) = super::select::refuse_extensions(extensions.keys()) {
            self.refuse(
                format!("database {database}: {error}"),
                "move it with the extension's own tools".into(),
            );
        }
        Ok(())
    }

    /// A bundle that says that there was no database needs this machine's own word to remove one.
    fn removal(&mut self) {
        let what = format!("the bundle says that there is no database, and would remove {}", self.place);
        let todo = "set absent = \"remove\" for this component in this machine's own profile to remove it, or absent = \"ok\" to keep it";
        self.refuse(what, todo.to_owned());
    }

    /// What the server lacks for the database that comes, and who restores it.
    fn what_comes(
        &mut self,
        database: &Database,
        rows: Vec<Row>,
        options: &Options,
        server: Version,
        superuser: bool,
    ) -> Result<New> {
        let source = Version::parse(&database.server).unwrap_or(server);
        if source.major > server.major {
            self.refuse(
                format!("the server on {} is {server}, older than the source's {source}", self.place.login),
                format!("update the server to {} or later", source.major),
            );
        }
        let dumper = Version::parse(&database.pg_dump).unwrap_or(source);
        let tool = tools::pg_restore(dumper.major, server.major)?;
        self.findings.extend(tool.warnings());
        let mut missing_roles = self.missing_roles(database, options)?;
        let mapped = self.mapped_roles(database, options)?;
        let untrusted = self.extensions(database)?;
        let no_tablespaces = self.tablespaces(database)?;
        let restorer = self.restorer(database, options, superuser, &untrusted, &missing_roles)?;
        self.executes.push(format!(
            "what functions, triggers and defaults in {} do: as {} while it is restored, then as whoever uses it",
            self.place, restorer.user
        ));
        missing_roles.retain(|role| !mapped.contains_key(role));
        self.findings.extend(locale::look(self.session, database, server)?);
        let mut database = role_map::renamed(database, &mapped);
        let no_labels = self.labels(&mut database)?;
        Ok(New { database, rows, restorer, tool, missing_roles, mapped, no_labels, no_tablespaces })
    }

    fn missing_roles(&mut self, database: &Database, options: &Options) -> Result<Vec<String>> {
        if options.no_owner && options.no_acl {
            return Ok(Vec::new());
        }
        let wanted: Vec<String> = fit::named_roles(database).collect();
        let sql = "SELECT DISTINCT name FROM pg_catalog.unnest($1::text[]) wanted(name) WHERE NOT EXISTS \
            (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted.name) ORDER BY 1";
        let missing = self.names("the roles", sql, &[&wanted])?;
        if options.roles == Roles::Map {
            self.refuse_unmapped(&missing, options);
        }
        if !missing.is_empty() && options.roles == Roles::Refuse {
            let sql: Vec<String> =
                missing.iter().map(|role| format!("CREATE ROLE {};", quote::ident(role))).collect();
            self.refuse(
                format!("roles are missing on {}: {}", self.place.login, missing.join(", ")),
                format!("run: {} or set roles = \"create\", or no-owner and no-acl", sql.join(" ")),
            );
        }
        Ok(missing)
    }

    /// Extensions that the server does not have are refused; those that only a superuser makes are returned.
    fn extensions(&mut self, database: &Database) -> Result<Vec<String>> {
        let wanted: Vec<&String> = database.extensions.keys().collect();
        let sql = "SELECT name FROM pg_catalog.unnest($1::text[]) wanted(name) WHERE NOT EXISTS \
            (SELECT FROM pg_catalog.pg_available_extensions a WHERE a.name = wanted.name)";
        for name in self.names("the extensions", sql, &[&wanted])? {
            self.refuse(
                format!("the server on {} has no extension {name}", self.place.login),
                format!("install the package of the extension {name} on the server"),
            );
        }
        // `trusted` came with version 13: before, every extension is a superuser's to make.
        let sql = "SELECT DISTINCT v.name::text FROM pg_catalog.pg_available_extension_versions v \
            WHERE v.name = ANY($1) AND v.name <> 'plpgsql' AND v.superuser \
            AND NOT coalesce((pg_catalog.to_jsonb(v)->>'trusted')::bool, false)";
        self.names("the extensions", sql, &[&wanted])
    }

    fn tablespaces(&mut self, database: &Database) -> Result<bool> {
        let mut wanted: Vec<&String> = database.tablespaces.iter().collect();
        wanted.push(&database.tablespace);
        let sql = "SELECT name FROM pg_catalog.unnest($1::text[]) wanted(name) WHERE NOT EXISTS \
            (SELECT FROM pg_catalog.pg_tablespace WHERE spcname = wanted.name)";
        let missing = self.names("the tablespaces", sql, &[&wanted])?;
        if !missing.is_empty() {
            let what =
                format!("there is no tablespace {}: all goes into the default one", missing.join(", "));
            self.note(Severity::Warning, what);
        }
        Ok(!missing.is_empty())
    }

    /// The profile's own user, if it may; else the administrator.
    fn restorer(
        &mut self,
        database: &Database,
        options: &Options,
        superuser: bool,
        untrusted: &[String],
        missing: &[String],
    ) -> Result<Login> {
        let user = self.place.login.user.clone();
        if superuser {
            return Ok(self.place.login.clone());
        }
        let is_there = "SELECT rolname::text FROM pg_catalog.pg_roles WHERE rolname = $1";
        let is_there = !self.names("the roles", is_there, &[&user])?.is_empty();
        if !is_there && !missing.contains(&user) {
            self.refuse(
                format!("there is no role {user} on {}, as which the profile logs in", self.place.login),
                format!(
                    "have an administrator of the server run: CREATE ROLE {} LOGIN;",
                    quote::ident(&user)
                ),
            );
            return Ok(self.place.login.clone());
        }
        let sql = "SELECT name FROM pg_catalog.unnest($1::text[]) wanted(name) JOIN pg_catalog.pg_roles \
            ON rolname = wanted.name WHERE NOT pg_catalog.pg_has_role($2::text::name, oid, 'USAGE')";
        let owners: Vec<String> = if options.no_owner { Vec::new() } else { database.roles.clone() };
        let mut foreign = match is_there {
            true => self.names("the roles", sql, &[&owners, &user])?,
            false => owners.clone(),
        };
        // A role that is made for this import has no members.
        foreign.extend(owners.into_iter().filter(|owner| missing.contains(owner)));
        // One that is mapped hands over what it has, and only a superuser may do that for it.
        foreign.extend(missing.iter().filter(|role| options.role_map.contains_key(*role)).cloned());
        foreign.sort();
        foreign.dedup();
        if is_there && foreign.is_empty() && untrusted.is_empty() {
            return Ok(self.place.login.clone());
        }
        let admin = self.place.admin.0.clone();
        if self.rights(&admin.user)?.superuser {
            return Ok(admin);
        }
        let why = match untrusted {
            [] => format!("objects belong to {}", foreign.join(", ")),
            some => format!("only a superuser may make the extension {}", some.join(", ")),
        };
        let there = foreign.iter().filter(|role| !missing.contains(role));
        let grants: Vec<String> =
            there.map(|role| format!("GRANT {} TO {};", quote::ident(role), quote::ident(&user))).collect();
        self.refuse(
            format!("role {user} cannot restore {}: {why}", self.place.database),
            format!(
                "name a superuser with admin-url in this machine's profile{}",
                if grants.is_empty() {
                    String::new()
                } else {
                    format!(", or have one run: {}", grants.join(" "))
                }
            ),
        );
        Ok(self.place.login.clone())
    }
}
