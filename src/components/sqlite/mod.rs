//! The kind `sqlite`: one database.
//!
//! Source: [`capture`] streams the pages of one moment ([`snapshot`]) and says what its tables hold ([`content`]).
//! Target: [`plan`] compares table by table; [`stage`] writes the new database, and a copy of the old one, into a side
//! folder; [`check`] has SQLite look at it; [`commit`] writes it into the live one ([`transfer`]), or renames it to where
//! nothing was; [`undo`] takes that back from the acts ([`act`]).

mod act;
mod capture;
mod check;
mod commit;
mod content;
mod facts;
mod left;
mod open;
mod plan;
mod site;
mod snapshot;
mod stage;
mod suggest;
mod things;
mod transfer;
mod undo;

#[cfg(test)]
mod tests;

use self::facts::{Facts, Profile, State};
use self::left::Left;
use self::open::SIDE_FILES;
use crate::base::change::beside;
use crate::base::name::ComponentName;
use crate::base::path::shown;
use crate::component::{
    stream_name, Act, Against, Captured, CheckResult, Claim, Component, Error, Finding, Host, Journal, Kind,
    Listed, Near, Plan, Result, Scope, StreamSink, StreamSource, Suggestion, Survey, Thing, UndoStrength,
    LONGEST_LIST,
};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

/// The stream with the database file.
const DATABASE: &str = "database";
/// The stream with one row a table.
const TABLES: &str = "tables";

/// The kind `sqlite`.
pub struct SqliteKind;

/// One database.
struct Sqlite {
    name: ComponentName,
    /// Where it is on this machine, absolute, as written.
    path: PathBuf,
    /// The same for a manifest.
    path_text: String,
    /// How long a busy database is waited for.
    timeout: Duration,
    /// What the bundle says; `None` on the source.
    facts: Option<Facts>,
}

impl Kind for SqliteKind {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn suggest(&self, host: &Host, near: &Near) -> Vec<Suggestion> {
        suggest::suggest(host, near)
    }

    fn from_options(&self, name: &ComponentName, options: &Value, host: &Host) -> Result<Box<dyn Component>> {
        let profile = Profile::read(options)?;
        let place = host.place_in_profile(profile.path.as_deref(), "file")?;
        Ok(Box::new(Sqlite::new(name, place, profile.busy_timeout(), None)))
    }

    fn from_facts(
        &self,
        name: &ComponentName,
        facts: &Value,
        overrides: Option<&Value>,
        host: &Host,
    ) -> Result<Box<dyn Component>> {
        let facts = Facts::read(facts)?;
        if facts.database.is_none() || facts.left.is_some() {
            return Err(Error::rule("L1", "the facts are those of a backup"));
        }
        let own = overrides.map(Profile::read).transpose()?.unwrap_or_default();
        let place = host.place_in_bundle(&facts.path, own.path.as_deref(), "file", "L1")?;
        Ok(Box::new(Sqlite::new(name, place, own.busy_timeout(), Some(facts))))
    }

    fn measure(&self, facts: &Value) -> Vec<(&'static str, u64)> {
        let database = Facts::read(facts).ok().and_then(|facts| facts.database);
        vec![("tables", database.map_or(0, |database| database.tables))]
    }

    fn lists(&self) -> &'static [(&'static str, usize)] {
        &[(TABLES, LONGEST_LIST)]
    }

    fn from_backup(
        &self,
        name: &ComponentName,
        facts: &Value,
        own: Option<&Value>,
        host: &Host,
    ) -> Result<Box<dyn Component>> {
        let facts = Facts::read(facts)?;
        if facts.left.is_none() {
            return Err(Error::rule("L1", "the facts are not those of a backup"));
        }
        let timeout = own.map(Profile::read).transpose()?.unwrap_or_default().busy_timeout();
        let place = host.place(&facts.path, "file")?;
        Ok(Box::new(Sqlite::new(name, place, timeout, Some(facts))))
    }
}

impl Sqlite {
    fn new(
        name: &ComponentName,
        (path, path_text): (PathBuf, String),
        timeout: Duration,
        facts: Option<Facts>,
    ) -> Sqlite {
        Sqlite { name: name.clone(), path, path_text, timeout, facts }
    }

    fn facts(&self) -> Result<&Facts> {
        self.facts.as_ref().ok_or_else(Error::not_of_a_bundle)
    }

    /// The database to be read; `None` if nothing is there, which only a backup takes for a state.
    fn source(&self) -> Result<Option<PathBuf>> {
        let place = site::resolve(&self.path)?;
        match (place.exists, &self.facts) {
            (true, _) => Ok(Some(place.real)),
            (false, Some(_)) => Ok(None),
            (false, None) => {
                let what = format!("{}: there is no database", shown(&self.path));
                Err(Error::not_ready(what)
                    .todo("correct the path in the profile, or leave the component out with --skip"))
            }
        }
    }

    /// Writes the streams. Returns the facts of a bundle, and what was noticed.
    fn read(&self, scope: &Scope<'_>, sink: &dyn StreamSink) -> Result<(Facts, Vec<Finding>)> {
        scope.require_whole("sqlite")?;
        match self.source()? {
            Some(path) => capture::capture(&path, &self.path_text, self.timeout, scope, sink),
            None => Ok((Facts::absent(&self.path_text), Vec::new())),
        }
    }
}

/// Rule L3: the streams are those that the facts call for.
fn require_streams(facts: &Facts, streams: &dyn StreamSource) -> Result<()> {
    let names: Vec<&str> = streams.list().iter().map(|stream| stream.name.as_str()).collect();
    let right = match &facts.database {
        None => names.is_empty(),
        Some(database) => names == [TABLES, DATABASE] && streams.list()[1].size == database.size,
    };
    match right {
        true => Ok(()),
        false => Err(Error::rule("L3", "the streams are not those that the facts call for")),
    }
}

impl Component for Sqlite {
    fn claims(&self) -> Result<Vec<Claim>> {
        let place = site::resolve(&self.path)?;
        let mut claims = vec![Claim::Path(place.lexical), Claim::Path(place.real.clone())];
        claims.extend(SIDE_FILES.map(|suffix| Claim::Path(beside(&place.real, suffix))));
        claims.dedup();
        Ok(claims)
    }

    fn undo_strength(&self) -> UndoStrength {
        UndoStrength::ExactUntilWrittenTo
    }

    fn holds(&self, streams: &dyn StreamSource, _against: &Against<'_>) -> Result<Vec<Thing>> {
        things::held(self, streams)
    }

    fn present(&self, scope: &Scope<'_>, _against: &Against<'_>) -> Result<Option<Vec<Thing>>> {
        scope.require_whole("sqlite")?;
        let place = site::resolve(&self.path)?;
        place.exists.then(|| things::present(&place.real, self.timeout)).transpose()
    }

    fn survey(&self, scope: &Scope<'_>) -> Result<Survey> {
        scope.require_whole("sqlite")?;
        self.source()?.map_or_else(|| Ok(Survey::default()), |path| capture::survey(&path, self.timeout))
    }

    fn capture(&self, scope: &Scope<'_>, sink: &dyn StreamSink) -> Result<Captured> {
        let (facts, findings) = self.read(scope, sink)?;
        Captured::new(&facts, findings)
    }

    fn back_up(&self, scope: &Scope<'_>, plan: &Plan, sink: &dyn StreamSink) -> Result<Captured> {
        let plan = plan::of(plan)?;
        let left = Left::by(plan.wanted.as_ref())?;
        let (facts, findings) = self.read(scope, sink)?;
        let above = if facts.state == State::Absent { plan.dirs.len() as u32 } else { 0 };
        Captured::new(&Facts { left: Some(left), above, ..facts }, findings)
    }

    fn list(&self, streams: &dyn StreamSource, each: &mut dyn FnMut(Listed)) -> Result<()> {
        let facts = self.facts()?;
        require_streams(facts, streams)?;
        let Some(database) = &facts.database else { return Ok(()) };
        for table in content::read(streams.open(&stream_name(TABLES)?)?, database.tables)? {
            each(Listed { name: table.name, what: "table", size: None, mode: None });
        }
        Ok(())
    }

    fn plan(&self, scope: &Scope<'_>, streams: &dyn StreamSource) -> Result<Plan> {
        scope.require_whole("sqlite")?;
        plan::plan(self, scope, streams)
    }

    fn stage(&self, scope: &Scope<'_>, plan: &Plan, streams: &dyn StreamSource) -> Result<()> {
        stage::stage(plan::of(plan)?, self.timeout, scope, streams)
    }

    fn check_staged(&self, _scope: &Scope<'_>, plan: &Plan) -> Result<Vec<CheckResult>> {
        check::staged(plan::of(plan)?)
    }

    fn commit(&self, _scope: &Scope<'_>, plan: &Plan, journal: &mut dyn Journal) -> Result<()> {
        commit::commit(plan::of(plan)?, self.timeout, journal)
    }

    fn describe(&self, act: &Act) -> String {
        act.describe(act::Step::describe)
    }

    fn undo(&self, scope: &Scope<'_>, acts: &[Act]) -> Result<Vec<Finding>> {
        undo::undo(self, scope, acts)
    }

    fn check(&self, _scope: &Scope<'_>, plan: &Plan) -> Result<Vec<CheckResult>> {
        check::in_place(plan::of(plan)?, self.timeout)
    }

    fn finalise(&self, scope: &Scope<'_>, acts: &[Act]) -> Result<()> {
        undo::finalise(self, scope, acts)
    }
}
