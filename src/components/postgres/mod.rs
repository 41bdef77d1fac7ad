//! The kind `postgres`: a database of a PostgreSQL server.
//!
//! Where: [`options`] say it, [`address`] settles it (libpq's rules stand in [`base`](crate::base::libpq)), [`connect`] goes there.
//! Source: [`snapshot`] holds the state, [`catalog`] and [`select`] say what there is, [`child`] runs the pg_dump that
//! [`tools`] found ([`patterns`] tell it what to leave out), [`copying`] copies the [`rows`] and [`hash`]es them, [`contents`] makes sure that nothing fell in between;
//! [`facts`] and [`index`] record it. Target: [`plan`] looks ([`fit`], [`room`], [`locale`], [`labels`]; at the [`previous`] one, too), [`stage`] builds a side
//! database ([`load`], [`large_objects`], [`properties`], [`roles`], [`role_map`]), [`verify`] holds it against the index, [`swap`] renames, and [`written`]
//! tells an undo whether somebody wrote to it since. Or all of it is done [`in_place`].

mod capture;
mod catalog;
mod child;
mod connect;
mod contents;
mod copying;
mod error;
mod facts;
mod fit;
mod hash;
mod in_place;
mod index;
mod labels;
mod large_objects;
mod load;
mod locale;
mod options;
mod patterns;
mod pgpass;
mod plan;
mod previous;
mod properties;
mod quote;
mod role_map;
mod roles;
mod room;
mod rows;
mod select;
mod snapshot;
mod stage;
mod subscriptions;
mod suggest;
mod swap;
#[cfg(test)]
mod tests;
mod things;
mod tools;
mod verify;
mod written;

use crate::base::libpq::{address, pgpass as passfile, url};
use crate::base::name::ComponentName;
use crate::component::{
    Act, Against, Captured, CheckResult, Claim, Component, Error, Finding, Host, Journal, Kind, Listed,
    NamedSecret, Near, Plan, Result, Scope, StreamSink, StreamSource, Suggestion, Survey, Thing,
    UndoStrength, LONGEST_LIST,
};
use address::{Address, Known, Login};
use facts::{Facts, Kept, Mode, Options, Roles};
use options::{Absent, Profile};
use role_map::RoleMap;
use select::Select;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

/// The kind `postgres`.
pub struct PostgresKind;

/// One component of the kind `postgres`.
struct Postgres {
    /// Where, as this machine's profile says.
    address: Address,
    admin: Option<Address>,
    host: Host,
    options: Options,
    select: Select,
    /// What this machine's profile leaves out: no backup does, but a list of what is there.
    leaves: Select,
    refuse_when: Option<String>,
    assertions: BTreeMap<String, String>,
    keep_previous: bool,
    /// What this machine says to a database that the source does not have.
    absent: Absent,
    /// What the bundle says; `None` on the source.
    facts: Option<Facts>,
    /// Whether that is a backup of this machine's own.
    of_backup: bool,
    /// The transaction of a replacement in place, between its stage and its commit.
    held: in_place::Held,
    /// The passwords that there were when it was planned.
    known: OnceLock<Known>,
}

/// Where a component's database is on this machine.
struct Place {
    /// The way to it, and the role.
    login: Login,
    /// Its name.
    database: String,
    /// The role for what the other may not do, and the database that its URL names. The same, where none was named.
    admin: (Login, Option<String>),
    /// For the facts.
    address: Address,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgresql://{}/{}", self.login, self.database)
    }
}

impl Place {
    /// A session of the administrator's, in a database that is neither the old nor the new one.
    fn administer(&self) -> Result<postgres::Client> {
        connect::connect_maintenance(&self.admin.0, self.admin.1.as_deref())
    }
}

impl Kind for PostgresKind {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn suggest(&self, host: &Host, _near: &Near) -> Vec<Suggestion> {
        suggest::suggest(host)
    }

    fn from_options(
        &self,
        _name: &ComponentName,
        options: &Value,
        host: &Host,
    ) -> Result<Box<dyn Component>> {
        let profile = Profile::read(options)?;
        if profile.address.database.is_none() && profile.address.service.is_none() {
            return Err(Error::usage("it names no database")
                .todo("add url = \"postgresql://USER@HOST/DATABASE\", or database = \"...\""));
        }
        Ok(Box::new(Postgres {
            options: profile.over(Options::default()),
            address: profile.address,
            admin: profile.admin,
            host: host.clone(),
            leaves: profile.select.clone(),
            select: profile.select,
            refuse_when: profile.refuse_when,
            assertions: profile.assertions,
            keep_previous: profile.keep_previous,
            absent: profile.absent,
            facts: None,
            of_backup: false,
            held: in_place::Held::default(),
            known: OnceLock::new(),
        }))
    }

    fn from_facts(
        &self,
        name: &ComponentName,
        facts: &Value,
        overrides: Option<&Value>,
        host: &Host,
    ) -> Result<Box<dyn Component>> {
        let facts = Facts::read(name.as_str(), facts)?;
        let own = Profile::read(overrides.unwrap_or(&Value::Object(Default::default())))?;
        let absent = own.absent;
        Ok(Box::new(Postgres::on_target(facts, own, absent, host)))
    }

    fn measure(&self, facts: &Value) -> Vec<(&'static str, u64)> {
        let database = Facts::read("", facts).ok().and_then(|facts| facts.database);
        let (tables, rows) = database.map_or((0, 0), |database| (database.tables, database.rows));
        vec![("tables", tables), ("rows", rows)]
    }

    fn lists(&self) -> &'static [(&'static str, usize)] {
        &[("index", LONGEST_LIST)]
    }

    fn from_backup(
        &self,
        name: &ComponentName,
        facts: &Value,
        own: Option<&Value>,
        host: &Host,
    ) -> Result<Box<dyn Component>> {
        let own = Profile::read(own.unwrap_or(&Value::Object(Default::default())))?;
        let facts = Facts::of_backup(name.as_str(), facts)?;
        let mut postgres = Postgres::on_target(facts, own, Absent::Remove, host);
        // Its roles are those of this server.
        (postgres.options.roles, postgres.options.role_map) = (Roles::Refuse, RoleMap::new());
        postgres.of_backup = true;
        if postgres.is_in_place() {
            // What is put back was this machine's own: its roles are here.
            (postgres.options.no_owner, postgres.options.no_acl) = (false, false);
        }
        Ok(Box::new(postgres))
    }
}

impl Postgres {
    fn on_target(facts: Facts, own: Profile, absent: Absent, host: &Host) -> Postgres {
        let options = own.over(facts.options.clone());
        Postgres {
            // Captured is here only what an import is about to touch.
            select: Select { own_only: options.mode == Mode::InPlace, ..Select::default() },
            leaves: own.select,
            options,
            address: own.address,
            admin: own.admin,
            host: host.clone(),
            refuse_when: None,
            assertions: BTreeMap::new(),
            keep_previous: own.keep_previous,
            absent,
            facts: Some(facts),
            of_backup: false,
            held: in_place::Held::default(),
            known: OnceLock::new(),
        }
    }

    fn is_in_place(&self) -> bool {
        self.options.mode == Mode::InPlace
    }

    fn place(&self, host: &Host) -> Result<Place> {
        let mut address = self.address.clone().with_service(&host.home)?;
        if let Some(facts) = &self.facts {
            let mut there = facts.address.clone();
            there.user = there.user.map(|user| role_map::mapped(&self.options.role_map, &user));
            address = address.over(&there);
        }
        let (login, database) = address.clone().settle(&host.home, host.uid)?;
        if database.is_empty() || database.len() > facts::MAX_NAME || database.contains('\0') {
            return Err(Error::usage(format_args!("{database:?} is no name of a database"))
                .todo("a name has 1 to 63 bytes"));
        }
        address.database = Some(database.clone());
        let admin = match &self.admin {
            None => (login.clone(), None),
            Some(admin) => {
                let named = admin.database.clone();
                // What it does not say is as for the other.
                let (login, _) = admin.clone().or(address.clone()).settle(&host.home, host.uid)?;
                (login, named)
            }
        };
        let (login, admin) = match self.known.get() {
            Some(known) => (login.knowing(known), (admin.0.knowing(known), admin.1)),
            None => (login, admin),
        };
        Ok(Place { login, database, admin, address })
    }

    /// Keeps the passwords that there are when an import is planned, and those that it brings itself: `.pgpass` is there
    /// only when it is committed, and a rollback takes it away again.
    fn remember_passwords(&self, scope: &Scope<'_>) {
        // A file that cannot be used is told where a password is looked for.
        let here = passfile::read_lines(&passfile::place(&scope.host.home)).unwrap_or_default();
        let brought =
            scope.logins.iter().filter_map(|login| Some((login.line.clone(), login.password.clone()?)));
        let _ = self.known.set(here.into_iter().chain(brought).collect());
    }

    fn facts(&self) -> Result<&Facts> {
        self.facts.as_ref().ok_or_else(Error::not_of_a_bundle)
    }
}

impl Component for Postgres {
    fn claims(&self) -> Result<Vec<Claim>> {
        Ok(vec![Claim::Database(self.place(&self.host)?.to_string())])
    }

    fn undo_strength(&self) -> UndoStrength {
        match self.options.mode {
            Mode::Swap => UndoStrength::Exact,
            Mode::InPlace => UndoStrength::ExactUntilWrittenTo,
        }
    }

    fn secrets(&self) -> Result<Vec<NamedSecret>> {
        let place = self.place(&self.host)?;
        let password = place.login.password(&place.database)?.map(|found| found.password);
        let name = format!("the password of {} for {place}", place.login.user);
        Ok(password.map(|value| NamedSecret { name, value }).into_iter().collect())
    }

    fn holds(&self, streams: &dyn StreamSource, _against: &Against<'_>) -> Result<Vec<Thing>> {
        things::held(self, streams)
    }

    fn present(&self, scope: &Scope<'_>, against: &Against<'_>) -> Result<Option<Vec<Thing>>> {
        scope.require_whole("postgres")?;
        things::present(self, scope, against)
    }

    fn survey(&self, scope: &Scope<'_>) -> Result<Survey> {
        scope.require_whole("postgres")?;
        capture::survey(self, scope)
    }

    fn capture(&self, scope: &Scope<'_>, sink: &dyn StreamSink) -> Result<Captured> {
        scope.require_whole("postgres")?;
        capture::capture(self, scope, sink)
    }

    /// The database that the plan saw, under the name that it has by now: it is called as before in what is written. By the
    /// administrator, if one is named: whoever may not read the old database must not keep it from its backup. In
    /// place nothing is touched but what the user owns.
    fn back_up(&self, scope: &Scope<'_>, plan: &Plan, sink: &dyn StreamSink) -> Result<Captured> {
        scope.require_whole("postgres")?;
        let place = self.place(scope.host)?;
        if self.is_in_place() {
            return capture::present(self, &place, None, scope, sink);
        }
        let login = place.admin.0.clone();
        let target = plan::Target::of(plan)?;
        let Some(oid) = target.live else {
            return capture::absent(self, place);
        };
        let gone =
            || Error::not_ready(format_args!("database {} was dropped since the plan", place.database));
        let database = connect::database_name(&mut place.administer()?, oid)?.ok_or_else(gone)?;
        let kept = self.keep_previous.then(|| Kept { name: target.names.old.clone(), number: oid });
        capture::present(self, &Place { login, database, ..place }, kept, scope, sink)
    }

    fn list(&self, streams: &dyn StreamSource, each: &mut dyn FnMut(Listed)) -> Result<()> {
        if self.facts()?.database.is_some() {
            index::read(streams)?.iter().for_each(|row| each(row.listed()));
        }
        Ok(())
    }

    fn plan(&self, scope: &Scope<'_>, streams: &dyn StreamSource) -> Result<Plan> {
        scope.require_whole("postgres")?;
        self.remember_passwords(scope);
        if self.is_in_place() {
            return in_place::plan(self, scope, streams);
        }
        plan::plan(self, scope, streams)
    }

    fn stage(&self, scope: &Scope<'_>, plan: &Plan, streams: &dyn StreamSource) -> Result<()> {
        if self.is_in_place() {
            let place = self.place(scope.host)?;
            return in_place::stage(in_place::Target::of(plan)?, &place, &self.held, scope, streams);
        }
        stage::stage(plan::Target::of(plan)?, scope, streams)
    }

    fn check_staged(&self, scope: &Scope<'_>, plan: &Plan) -> Result<Vec<CheckResult>> {
        if self.is_in_place() {
            return in_place::check_staged(in_place::Target::of(plan)?, &self.held);
        }
        verify::staged(plan::Target::of(plan)?, scope)
    }

    fn commit(&self, scope: &Scope<'_>, plan: &Plan, journal: &mut dyn Journal) -> Result<()> {
        if self.is_in_place() {
            return in_place::commit(in_place::Target::of(plan)?, &self.held, journal);
        }
        swap::commit(plan::Target::of(plan)?, scope.run, journal)
    }

    fn describe(&self, act: &Act) -> String {
        in_place::describe(act).unwrap_or_else(|| swap::describe(act))
    }

    fn undo(&self, scope: &Scope<'_>, acts: &[Act]) -> Result<Vec<Finding>> {
        if self.is_in_place() {
            return in_place::undo(&self.place(scope.host)?, &self.held, self.options.roles, scope.run);
        }
        swap::undo(&self.place(scope.host)?, scope.run, acts)
    }

    fn check(&self, _scope: &Scope<'_>, plan: &Plan) -> Result<Vec<CheckResult>> {
        if self.is_in_place() {
            return in_place::in_place(in_place::Target::of(plan)?);
        }
        verify::in_place(plan::Target::of(plan)?)
    }

    fn compare(&self, scope: &Scope<'_>, plan: &Plan) -> Result<Option<Vec<CheckResult>>> {
        if self.is_in_place() {
            return in_place::live(in_place::Target::of(plan)?).map(Some);
        }
        verify::live(plan::Target::of(plan)?, scope).map(Some)
    }

    fn finalise(&self, scope: &Scope<'_>, acts: &[Act]) -> Result<()> {
        if self.is_in_place() {
            return in_place::finalise(&self.place(scope.host)?, self.options.roles, scope.run);
        }
        swap::finalise(&self.place(scope.host)?, self.keep_previous, scope.run, acts)
    }
}
