//! The kind `python`: one virtual environment.
//!
//! It is not moved: it is made again. Source: [`capture`] writes what it is made from ([`requirement`], [`rows`]), and the
//! wheels, if they are wanted. Target: [`plan`] finds a Python that will do ([`interpreter`]) and compares what is installed
//! ([`installed`]); [`stage`] builds a new environment out of sight and makes it one that works where it will be
//! ([`relocate`]); [`check`] looks at it; [`commit`] exchanges it with the one that is there; [`undo`] takes that back from
//! the acts ([`act`]). A backup is the one exception: it has the old environment as the files that it is ([`tree`]), for
//! what an index gave once it need not give again.

mod act;
mod capture;
mod check;
mod commit;
mod facts;
mod harmless;
mod installed;
mod interpreter;
mod names;
mod pip;
mod plan;
mod profile;
mod relocate;
mod requirement;
mod rows;
mod site;
mod stage;
mod things;
mod tree;
mod undo;
mod wanted;
mod wheel;

#[cfg(test)]
mod tests;

use self::facts::{Facts, State};
use self::profile::Profile;
use self::site::{fingerprint, look, Found};
use crate::base::name::ComponentName;
use crate::base::path::shown;
use crate::component::{
    stream_name, Act, Against, Captured, CheckResult, Claim, Component, Error, Finding, Holds, Host, Journal,
    Kind, Listed, Plan, Result, Scope, StreamSink, StreamSource, Survey, Thing, UndoStrength, LONGEST_LIST,
};
use serde_json::Value;
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// The stream with what is to be installed.
const REQUIREMENTS: &str = "requirements";
/// The stream with what was installed.
const INSTALLED: &str = "installed";
/// The stream with one row a wheel.
const WHEELS: &str = "wheels";
/// In a backup: the stream with an environment's files.
const TREE: &str = "tree";
/// In a backup: the stream with a symlink's target.
const LINK: &str = "link";

/// The stream of the wheel in row `number` (from 0).
fn wheel_stream(number: usize) -> String {
    format!("wheel/{:06}", number + 1)
}

/// The kind `python`.
pub struct PythonKind;

/// One environment.
struct Python {
    name: ComponentName,
    /// Where it is on this machine, absolute, as written.
    path: PathBuf,
    /// The same for a manifest.
    path_text: String,
    /// What this machine's profile says.
    profile: Profile,
    /// What the bundle says; `None` on the source.
    facts: Option<Facts>,
}

impl Kind for PythonKind {
    fn name(&self) -> &'static str {
        "python"
    }

    fn from_options(&self, name: &ComponentName, options: &Value, host: &Host) -> Result<Box<dyn Component>> {
        let profile = Profile::read(options)?;
        let place = host.place_in_profile(profile.path.as_deref(), "folder")?;
        Ok(Box::new(Python::new(name, place, profile, None)))
    }

    fn from_facts(
        &self,
        name: &ComponentName,
        facts: &Value,
        overrides: Option<&Value>,
        host: &Host,
    ) -> Result<Box<dyn Component>> {
        let facts = Facts::read(facts)?;
        if facts.state != State::Environment {
            return Err(Error::rule("V1", "the facts are those of a backup"));
        }
        let own = overrides.map(Profile::read).transpose()?.unwrap_or_default();
        let place = host.place_in_bundle(&facts.path, own.path.as_deref(), "folder", "V1")?;
        Ok(Box::new(Python::new(name, place, own, Some(facts))))
    }

    fn measure(&self, facts: &Value) -> Vec<(&'static str, u64)> {
        let environment = Facts::read(facts).ok().and_then(|facts| facts.environment);
        vec![("distributions", environment.map_or(0, |environment| environment.distributions))]
    }

    fn lists(&self) -> &'static [(&'static str, usize)] {
        &[(INSTALLED, LONGEST_LIST)]
    }

    fn from_backup(
        &self,
        name: &ComponentName,
        facts: &Value,
        _own: Option<&Value>,
        host: &Host,
    ) -> Result<Box<dyn Component>> {
        let facts = Facts::read(facts)?;
        if facts.left.is_none() {
            return Err(Error::rule("V1", "the facts are not those of a backup"));
        }
        let place = host.place(&facts.path, "folder")?;
        Ok(Box::new(Python::new(name, place, Profile::default(), Some(facts))))
    }
}

impl Python {
    fn new(
        name: &ComponentName,
        (path, path_text): (PathBuf, String),
        profile: Profile,
        facts: Option<Facts>,
    ) -> Python {
        Python { name: name.clone(), path, path_text, profile, facts }
    }

    fn facts(&self) -> Result<&Facts> {
        self.facts.as_ref().ok_or_else(Error::not_of_a_bundle)
    }
}

/// Writes a small stream at once.
fn put(sink: &dyn StreamSink, name: &str, content: &[u8], scope: &Scope<'_>) -> Result<()> {
    scope.progress.expect(content.len() as u64);
    let mut stream = sink.create(&stream_name(name)?, Holds::Data)?;
    stream.label(name);
    stream.write_all(content).map_err(|e| Error::io(format_args!("stream {name}"), e))?;
    scope.progress.advance(content.len() as u64);
    stream.finish()
}

/// Rule V3: the streams are those that the facts call for.
fn require_streams(facts: &Facts, streams: &dyn StreamSource) -> Result<()> {
    let names: Vec<&str> = streams.list().iter().map(|stream| stream.name.as_str()).collect();
    let right = match (facts.state, &facts.environment) {
        (State::Absent, _) => names.is_empty(),
        (State::Link, _) => names == [LINK],
        (State::Tree, _) => names == [TREE],
        (State::Environment, None) => false,
        (State::Environment, Some(environment)) => match environment.wheels {
            None => names == [REQUIREMENTS, INSTALLED],
            Some(wheels) => {
                let expected = [REQUIREMENTS, INSTALLED, WHEELS].map(str::to_owned).into_iter();
                // As many as there are: a number of the bundle's own is not counted to.
                let expected = expected.chain((0..names.len().saturating_sub(3)).map(wheel_stream));
                names.len() as u64 == wheels.saturating_add(3) && names.iter().copied().eq(expected)
            }
        },
    };
    match right {
        true => Ok(()),
        false => Err(Error::rule("V3", "the streams are not those that the facts call for")),
    }
}

/// What a symlink of a backup leads to.
fn read_link(streams: &dyn StreamSource) -> Result<PathBuf> {
    const MAX_TARGET: u64 = 4096;
    let mut target = Vec::new();
    let read = streams.open(&stream_name(LINK)?)?.take(MAX_TARGET + 1).read_to_end(&mut target);
    read.map_err(|e| Error::io("stream link", e))?;
    match target.is_empty() || target.contains(&0) || target.len() as u64 > MAX_TARGET {
        true => Err(Error::rule("V6", "stream link: not the target of a symlink")),
        false => Ok(OsString::from_vec(target).into()),
    }
}

impl Component for Python {
    fn claims(&self) -> Result<Vec<Claim>> {
        Ok(vec![Claim::Path(site::resolve(&self.path)?)])
    }

    fn undo_strength(&self) -> UndoStrength {
        UndoStrength::ExactUntilWrittenTo
    }

    fn holds(&self, streams: &dyn StreamSource, _against: &Against<'_>) -> Result<Vec<Thing>> {
        things::held(self, streams)
    }

    fn present(&self, scope: &Scope<'_>, _against: &Against<'_>) -> Result<Option<Vec<Thing>>> {
        scope.require_whole("python")?;
        things::present(&site::resolve(&self.path)?)
    }

    fn survey(&self, scope: &Scope<'_>) -> Result<Survey> {
        scope.require_whole("python")?;
        capture::survey(self, scope)
    }

    fn capture(&self, scope: &Scope<'_>, sink: &dyn StreamSink) -> Result<Captured> {
        scope.require_whole("python")?;
        let (facts, findings) = capture::capture(self, scope, sink)?;
        Captured::new(&facts, findings)
    }

    fn back_up(&self, scope: &Scope<'_>, plan: &Plan, sink: &dyn StreamSink) -> Result<Captured> {
        let plan = plan::of(plan)?;
        let found = look(&plan.path)?;
        let state = match &found {
            Found::Nothing => State::Absent,
            Found::Link(_) => State::Link,
            Found::Environment | Found::Taken => State::Tree,
        };
        let mut facts = Facts::backup(&self.path_text, state);
        facts.left = Some(plan::left_by(plan, scope.run));
        facts.seen = fingerprint(&plan.path)?;
        match found {
            Found::Nothing => facts.above = plan.dirs.len() as u32,
            Found::Link(target) => put(sink, LINK, target.as_os_str().as_bytes(), scope)?,
            Found::Environment | Found::Taken => {
                facts.size = Some(site::size(&plan.path)?);
                let mut stream = sink.create(&stream_name(TREE)?, Holds::Data)?;
                stream.label(&shown(&plan.path));
                tree::pack(&plan.path, scope, &mut *stream)?;
                stream.finish()?;
            }
        }
        Captured::new(&facts, Vec::new())
    }

    fn list(&self, streams: &dyn StreamSource, each: &mut dyn FnMut(Listed)) -> Result<()> {
        let facts = self.facts()?;
        require_streams(facts, streams)?;
        let mut one = |name, what, size| each(Listed { name, what, size, mode: None });
        match (&facts.environment, facts.state) {
            (Some(environment), _) => {
                let pins =
                    rows::read_pins(streams.open(&stream_name(INSTALLED)?)?, environment.distributions)?;
                pins.into_iter()
                    .for_each(|pin| one(format!("{} {}", pin.name, pin.version), "distribution", None));
                Ok(())
            }
            (None, State::Tree) => tree::list(streams.open(&stream_name(TREE)?)?, &mut |name, what, size| {
                one(name, what, Some(size))
            }),
            (None, State::Link) => {
                one(shown(&read_link(streams)?), "symlink", None);
                Ok(())
            }
            (None, _) => Ok(()),
        }
    }

    fn plan(&self, scope: &Scope<'_>, streams: &dyn StreamSource) -> Result<Plan> {
        scope.require_whole("python")?;
        plan::plan(self, scope, streams)
    }

    fn stage(&self, scope: &Scope<'_>, plan: &Plan, streams: &dyn StreamSource) -> Result<()> {
        stage::stage(plan::of(plan)?, scope, streams)
    }

    fn check_staged(&self, scope: &Scope<'_>, plan: &Plan) -> Result<Vec<CheckResult>> {
        check::staged(plan::of(plan)?, scope)
    }

    fn commit(&self, _scope: &Scope<'_>, plan: &Plan, journal: &mut dyn Journal) -> Result<()> {
        commit::commit(plan::of(plan)?, journal)
    }

    fn describe(&self, act: &Act) -> String {
        act.describe(act::Step::describe)
    }

    fn undo(&self, scope: &Scope<'_>, acts: &[Act]) -> Result<Vec<Finding>> {
        undo::undo(self, scope, acts)
    }

    fn check(&self, scope: &Scope<'_>, plan: &Plan) -> Result<Vec<CheckResult>> {
        check::in_place(plan::of(plan)?, scope)
    }

    fn finalise(&self, scope: &Scope<'_>, acts: &[Act]) -> Result<()> {
        undo::finalise(self, scope, acts)
    }
}
