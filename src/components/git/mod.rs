//! The kind `git`: a repository.
//!
//! Source: [`capture`] writes a git bundle, for those who have some of it already ([`upon`]) without that ([`header`], [`pack`], by [`stock`] git where it is) and the list of its commits ([`graph`]).
//! Target: [`plan`] decides ref by ref ([`draft`], [`update`]); [`stage`] makes a whole repository, or the new objects alone, and holds them to
//! the rules ([`objects`], [`trees`], [`names`]); [`commit`] puts it in place; [`undo`] takes that back from the acts ([`act`]).
//! Large files ([`lfs`]) and submodules ([`submodules`]) have a part in each of these.

mod act;
mod capture;
mod check;
mod commit;
mod draft;
mod exchange;
mod facts;
mod graph;
mod header;
mod left;
mod left_behind;
mod lfs;
mod locks;
mod names;
mod objects;
mod open;
mod pack;
mod pending;
mod plan;
mod refs;
mod remove;
mod site;
mod stage;
mod stashes;
mod stock;
mod submodules;
mod suggest;
mod things;
mod trees;
mod undo;
mod update;
mod upon;
mod work;

#[cfg(test)]
mod tests;

use self::capture::For;
use self::facts::{Facts, Lfs, Profile, State};
use self::header::Header;
use self::site::Found;
use crate::base::name::ComponentName;
use crate::base::path::shown;
use crate::component::{
    stream_name, Act, Against, Captured, CheckResult, Claim, Component, Error, Finding, Host, Journal, Kind,
    Listed, Near, NotPacked, Plan, Result, Scope, Severity, StreamSink, StreamSource, Suggestion, Survey,
    Thing, UndoStrength,
};
use serde_json::Value;
use std::io::BufReader;
use std::path::PathBuf;

/// The stream with the git bundle.
const BUNDLE: &str = "repository.bundle";
/// The stream with what is in no commit.
const UNCOMMITTED: &str = "uncommitted.bundle";
/// A backup's stream with the refs that the import leaves.
const LEFT: &str = "left";
/// The stream with one row a commit.
const GRAPH: &str = "graph";

/// The kind `git`.
pub struct GitKind;

/// One repository.
struct Git {
    name: ComponentName,
    /// Where it is on this machine, absolute, as written.
    path: PathBuf,
    /// The same for a manifest.
    path_text: String,
    /// What this machine's profile says.
    profile: Profile,
    /// What the bundle says; `None` on the source.
    facts: Option<Facts>,
    /// A submodule's staging area, which is in that of the repository around it.
    side: Option<PathBuf>,
}

impl Kind for GitKind {
    fn name(&self) -> &'static str {
        "git"
    }

    fn suggest(&self, host: &Host, near: &Near) -> Vec<Suggestion> {
        suggest::suggest(host, near)
    }

    fn from_options(&self, name: &ComponentName, options: &Value, host: &Host) -> Result<Box<dyn Component>> {
        let profile = Profile::read(options)?;
        let place = host.place_in_profile(profile.path.as_deref(), "folder")?;
        Ok(Box::new(Git::new(name, place, profile, None)))
    }

    fn from_facts(
        &self,
        name: &ComponentName,
        facts: &Value,
        overrides: Option<&Value>,
        host: &Host,
    ) -> Result<Box<dyn Component>> {
        let facts = Facts::read(facts)?;
        if facts.exact {
            return Err(Error::rule("G1", "the facts are those of a backup"));
        }
        let own = overrides.map(Profile::read).transpose()?.unwrap_or_default();
        let place = host.place_in_bundle(&facts.path, own.path.as_deref(), "folder", "G1")?;
        Ok(Box::new(Git::new(name, place, own, Some(facts))))
    }

    fn measure(&self, facts: &Value) -> Vec<(&'static str, u64)> {
        Facts::read(facts).map_or_else(|_| Vec::new(), |facts| vec![("refs", facts.refs)])
    }

    /// Commits that its refs name, all of whose history is there: `["0f1e...", ...]`.
    fn has(&self, host: &Host, place: &str) -> Option<Value> {
        upon::has(&host.expand(place)?)
    }

    /// Of the git bundle, what stands before the pack: 100,000 refs.
    fn lists(&self) -> &'static [(&'static str, usize)] {
        &[(BUNDLE, 8 << 20)]
    }

    fn from_backup(
        &self,
        name: &ComponentName,
        facts: &Value,
        _own: Option<&Value>,
        host: &Host,
    ) -> Result<Box<dyn Component>> {
        let facts = Facts::read(facts)?;
        if !facts.exact {
            return Err(Error::rule("G1", "the facts are not those of a backup"));
        }
        let place = host.place(&facts.path, "folder")?;
        Ok(Box::new(Git::new(name, place, Profile::default(), Some(facts))))
    }
}

impl Git {
    fn new(
        name: &ComponentName,
        (path, path_text): (PathBuf, String),
        profile: Profile,
        facts: Option<Facts>,
    ) -> Git {
        Git { name: name.clone(), path, path_text, profile, facts, side: None }
    }

    fn facts(&self) -> Result<&Facts> {
        self.facts.as_ref().ok_or_else(Error::not_of_a_bundle)
    }

    /// The repository to be read; `None` if there is none, which only a backup takes for a state.
    fn source(&self, scope: &Scope<'_>) -> Result<Option<PathBuf>> {
        let real = site::resolve(&self.path)?.real;
        match (site::look(&real, scope.carved)?, &self.facts) {
            (Found::Repository, _) => Ok(Some(real)),
            (_, Some(_)) => Ok(None),
            (_, None) => Err(Error::not_ready(format_args!("{}: not a git repository", shown(&self.path)))
                .todo("name the folder that has .git in it, or a bare repository; or use --skip")),
        }
    }

    /// What a capture takes: as the profile says on the source; all that travels for a backup.
    fn taken(&self) -> Profile {
        match self.facts {
            None => self.profile.clone(),
            Some(_) => Profile { refs: Vec::new(), lfs: Lfs::Partial, ..self.profile.clone() },
        }
    }

    /// Writes the streams of a bundle, or of a backup. Returns the facts, and what was noticed.
    fn read(
        &self,
        taken: &Profile,
        purpose: For<'_>,
        scope: &Scope<'_>,
        sink: &dyn StreamSink,
    ) -> Result<(Facts, Vec<Finding>)> {
        scope.require_whole("git")?;
        match self.source(scope)? {
            Some(path) => capture::capture(&path, &self.path_text, taken, purpose, scope, sink),
            None => Ok((Facts::absent(&self.path_text), Vec::new())),
        }
    }
}

/// Rule G3: the streams are those that the facts call for.
fn require_streams(facts: &Facts, streams: &dyn StreamSource) -> Result<()> {
    let names: Vec<&str> = streams.list().iter().map(|stream| stream.name.as_str()).collect();
    match names == streams_of(facts) {
        true => Ok(()),
        false => Err(Error::rule("G3", "the streams are not those that the facts call for")),
    }
}

/// The names of the streams that facts call for.
fn streams_of(facts: &Facts) -> Vec<String> {
    let empty = facts.refs == 0 && !matches!(facts.head, Some(facts::Head::Detached(_)));
    let mut expected: Vec<&str> = match (empty, facts.uncommitted) {
        (true, None) => vec![],
        (false, None) => vec![GRAPH, BUNDLE],
        (_, Some(_)) => vec![GRAPH, BUNDLE, UNCOMMITTED],
    };
    if facts.lfs.is_some_and(|lfs| lfs.objects > 0) {
        expected.extend([lfs::LIST, lfs::OBJECTS]);
    }
    if facts.exact {
        expected.push(LEFT);
    }
    let mut names: Vec<String> = expected.into_iter().map(str::to_owned).collect();
    for (number, module) in (1..).zip(&facts.modules) {
        let of_module = streams_of(&module.repository);
        names.extend(of_module.iter().map(|name| format!("{}{name}", submodules::prefix(number))));
    }
    names
}

impl Component for Git {
    fn claims(&self) -> Result<Vec<Claim>> {
        let place = site::resolve(&self.path)?;
        let mut claims = vec![Claim::Path(place.lexical), Claim::Path(place.real)];
        claims.dedup();
        Ok(claims)
    }

    fn undo_strength(&self) -> UndoStrength {
        UndoStrength::ExactUntilWrittenTo
    }

    fn holds(&self, streams: &dyn StreamSource, against: &Against<'_>) -> Result<Vec<Thing>> {
        things::held(self, streams, against)
    }

    fn present(&self, scope: &Scope<'_>, against: &Against<'_>) -> Result<Option<Vec<Thing>>> {
        scope.require_whole("git")?;
        things::present(self, scope, against)
    }

    fn survey(&self, scope: &Scope<'_>) -> Result<Survey> {
        scope.require_whole("git")?;
        match self.source(scope)? {
            Some(path) => {
                let mut survey = capture::survey(&path, &self.taken(), scope)?;
                submodules::survey(self, &path, scope, &mut survey)?;
                Ok(survey)
            }
            None => Ok(Survey::default()),
        }
    }

    fn capture(&self, scope: &Scope<'_>, sink: &dyn StreamSink) -> Result<Captured> {
        let (facts, findings) = submodules::capture(self, For::Anybody, scope, sink)?;
        Captured::new(&facts, findings)
    }

    fn capture_upon(&self, scope: &Scope<'_>, there: &[&Value], sink: &dyn StreamSink) -> Result<Captured> {
        let known = match self.source(scope)? {
            Some(path) => upon::known(&path, &self.path_text, there)?,
            None => Vec::new(),
        };
        let (facts, mut findings) = submodules::capture(self, For::WhoeverHas(&known), scope, sink)?;
        if known.is_empty() {
            let what = format!("{}: the tickets name no commit of it: all of it is packed", self.path_text);
            findings.push(Finding::new(Severity::Warning, what));
        }
        Captured::new(&facts, findings)
    }

    fn not_packed(&self) -> Vec<NotPacked> {
        self.facts.as_ref().filter(|facts| facts.needs > 0).map(upon::not_packed).into_iter().collect()
    }

    fn back_up(&self, scope: &Scope<'_>, plan: &Plan, sink: &dyn StreamSink) -> Result<Captured> {
        let plan = plan::of(plan)?;
        let (mut facts, findings) = submodules::back_up(self, plan, scope, sink)?;
        if facts.state == State::Absent {
            facts.above = plan.dirs.len() as u32;
        }
        Captured::new(&facts, findings)
    }

    fn list(&self, streams: &dyn StreamSource, each: &mut dyn FnMut(Listed)) -> Result<()> {
        let facts = self.facts()?;
        require_streams(facts, streams)?;
        submodules::list(self, facts, streams, each)?;
        if !streams.list().iter().any(|stream| stream.name.as_str() == BUNDLE) {
            return Ok(());
        }
        let header = Header::read(&mut BufReader::new(streams.open(&stream_name(BUNDLE)?)?))?;
        for name in header.refs.into_keys() {
            each(Listed { name, what: "ref", size: None, mode: None });
        }
        for one in lfs::read(facts, streams)?.all {
            each(Listed { name: one.oid.to_string(), what: "LFS object", size: Some(one.size), mode: None });
        }
        Ok(())
    }

    fn plan(&self, scope: &Scope<'_>, streams: &dyn StreamSource) -> Result<Plan> {
        scope.require_whole("git")?;
        plan::plan(self, scope, streams)
    }

    fn stage(&self, scope: &Scope<'_>, plan: &Plan, streams: &dyn StreamSource) -> Result<()> {
        stage::stage(plan::of(plan)?, scope, streams)
    }

    fn check_staged(&self, _scope: &Scope<'_>, plan: &Plan) -> Result<Vec<CheckResult>> {
        let plan = plan::of(plan)?;
        check::staged(plan, &stage::repo_in(&plan.side))
    }

    fn commit(&self, scope: &Scope<'_>, plan: &Plan, journal: &mut dyn Journal) -> Result<()> {
        commit::commit(plan::of(plan)?, scope, journal)
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
