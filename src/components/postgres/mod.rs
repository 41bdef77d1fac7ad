//! The kind `postgres`: a database of a PostgreSQL server.
//!
//! Where: [`options`], [`url`], [`service`] and [`pgpass`] say it, [`address`] settles it, [`connect`] goes there, by [`tls`] if need be.
//! Source: [`snapshot`] holds the state, [`catalog`] and [`select`] say what there is, [`child`] runs the pg_dump that
//! [`tools`] found, [`copying`] copies the [`rows`] and [`hash`]es them, [`contents`] makes sure that nothing fell in between;
//! [`facts`] and [`index`] record it. Target: [`plan`] looks, [`stage`] builds a side database ([`load`],
//! [`large_objects`], [`properties`]), [`verify`] holds it against the index, [`swap`] renames. Or all of it is done [`in_place`].

mod address;
mod capture;
mod catalog;
mod child;
mod connect;
mod contents;
mod copying;
mod error;
mod facts;
mod hash;
mod in_place;
mod index;
mod large_objects;
mod load;
mod options;
mod pgpass;
mod plan;
mod properties;
mod quote;
mod rows;
mod select;
mod service;
mod snapshot;
mod stage;
mod swap;
mod tls;
mod tools;
mod url;
mod verify;

use crate::base::fault::Fault;
use crate::base::name::ComponentName;
use crate::component::{
    Act, Captured, CheckResult, Claim, Component, Error, Finding, Host, Journal, Kind, Listed, NamedSecret,
    Plan, Result, Scope, StreamSink, StreamSource, Survey, UndoStrength,
};
use address::{Address, Login};
use facts::{Facts, Mode, Options};
use options::{Absent, Profile};
use select::Select;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

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
    refuse_when: Option<String>,
    assertions: BTreeMap<String, String>,
    keep_previous: bool,
    /// Whether a database that is not there is a state to capture.
    may_be_absent: bool,
    /// What the bundle says; `None` on the source.
    facts: Option<Facts>,
    /// Whether that is a backup of this machine's own.
    of_backup: bool,
    /// The transaction of a replacement in place, between its stage and its commit.
    held: in_place::Held,
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

    fn from_options(&self, name: &ComponentName, options: &Value, host: &Host) -> Result<Box<dyn Component>> {
        let profile = Profile::read(name.as_str(), options)?;
        if profile.address.database.is_none() && profile.address.service.is_none() {
            return Err(Error::usage(format_args!("component {name}: it names no database"))
                .todo("add url = \"postgresql://USER@HOST/DATABASE\", or database = \"...\""));
        }
        Ok(Box::new(Postgres {
            options: profile.over(Options::default()),
            address: profile.address,
            admin: profile.admin,
            host: host.clone(),
            select: profile.select,
            refuse_when: profile.refuse_when,
            assertions: profile.assertions,
            keep_previous: profile.keep_previous,
            may_be_absent: profile.absent == Absent::Ok,
            facts: None,
            of_backup: false,
            held: in_place::Held::default(),
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
        let own = Profile::read(name.as_str(), overrides.unwrap_or(&Value::Object(Default::default())))?;
        Ok(Box::new(Postgres::on_target(facts, own, host)))
    }

    fn from_backup(
        &self,
        name: &ComponentName,
        facts: &Value,
        own: Option<&Value>,
        host: &Host,
    ) -> Result<Box<dyn Component>> {
        let own = Profile::read(name.as_str(), own.unwrap_or(&Value::Object(Default::default())))?;
        let mut postgres = Postgres::on_target(Facts::read(name.as_str(), facts)?, own, host);
        postgres.of_backup = true;
        if postgres.is_in_place() {
            // What is put back was this machine's own: its roles are here.
            (postgres.options.no_owner, postgres.options.no_acl) = (false, false);
        }
        Ok(Box::new(postgres))
    }
}

impl Postgres {
    fn on_target(facts: Facts, own: Profile, host: &Host) -> Postgres {
        let options = own.over(facts.options.clone());
        Postgres {
            // Captured is here only what an import is about to touch.
            select: Select { own_only: options.mode == Mode::InPlace, ..Select::default() },
            options,
            address: own.address,
            admin: own.admin,
            host: host.clone(),
            refuse_when: None,
            assertions: BTreeMap::new(),
            keep_previous: own.keep_previous,
            may_be_absent: true,
            facts: Some(facts),
            of_backup: false,
            held: in_place::Held::default(),
        }
    }

    fn is_in_place(&self) -> bool {
        self.options.mode == Mode::InPlace
    }

    fn place(&self, host: &Host) -> Result<Place> {
        let mut address = self.address.clone().with_service(host)?;
        if let Some(facts) = &self.facts {
            address = address.over(&facts.address);
        }
        let (login, database) = address.clone().settle(host)?;
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
                let (login, _) = admin.clone().or(address.clone()).settle(host)?;
                (login, named)
            }
        };
        Ok(Place { login, database, admin, address })
    }

    fn facts(&self) -> Result<&Facts> {
        let none = || Error::new(Fault::Unexpected, "a component of a profile has nothing to restore");
        self.facts.as_ref().ok_or_else(none)
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
        let password = place.login.password(&place.database)?;
        let name = format!("the password of {} for {place}", place.login.user);
        Ok(password.map(|value| NamedSecret { name, value }).into_iter().collect())
    }

    fn survey(&self, scope: &Scope<'_>) -> Result<Survey> {
        scope.require_whole("postgres")?;
        capture::survey(self, scope)
    }

    fn capture(&self, scope: &Scope<'_>, sink: &dyn StreamSink) -> Result<Captured> {
        scope.require_whole("postgres")?;
        capture::capture(self, scope, sink)
    }

    /// By the administrator, if one is named: whoever may not read the old database must not keep it from its backup. In
    /// place nothing is touched but what the user owns.
    fn back_up(&self, scope: &Scope<'_>, _plan: &Plan, sink: &dyn StreamSink) -> Result<Captured> {
        scope.require_whole("postgres")?;
        let place = self.place(scope.host)?;
        if self.is_in_place() {
            return capture::capture_from(self, place, scope, sink);
        }
        let login = place.admin.0.clone();
        capture::capture_from(self, Place { login, ..place }, scope, sink)
    }

    fn list(&self, streams: &dyn StreamSource, each: &mut dyn FnMut(Listed)) -> Result<()> {
        if self.facts()?.database.is_some() {
            index::read(streams)?.iter().for_each(|row| each(row.listed()));
        }
        Ok(())
    }

    fn plan(&self, scope: &Scope<'_>, streams: &dyn StreamSource) -> Result<Plan> {
        scope.require_whole("postgres")?;
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

    fn commit(&self, _scope: &Scope<'_>, plan: &Plan, journal: &mut dyn Journal) -> Result<()> {
        if self.is_in_place() {
            return in_place::commit(in_place::Target::of(plan)?, &self.held, journal);
        }
        swap::commit(plan::Target::of(plan)?, journal)
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

    fn finalise(&self, scope: &Scope<'_>, acts: &[Act]) -> Result<()> {
        if self.is_in_place() {
            return in_place::finalise(&self.place(scope.host)?, self.options.roles, scope.run);
        }
        swap::finalise(&self.place(scope.host)?, self.keep_previous, scope.run, acts)
    }
}

/// Runs `work` on several threads at once; the first error wins.
fn parallel(threads: usize, work: impl Fn() -> Result<()> + Sync) -> Result<()> {
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(&work)).collect();
        let panicked = || Error::new(Fault::Unexpected, "a worker thread panicked");
        let ends: Vec<_> =
            workers.into_iter().map(|w| w.join().unwrap_or_else(|_| Err(panicked()))).collect();
        ends.into_iter().collect()
    })
}
