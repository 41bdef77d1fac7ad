//! The kind `files`: a tree of files, or one file.
//!
//! Source: [`walk`] finds, [`capture`] and [`pack`] write shards ([`tarfmt`], [`sparse`]) and the [`index`].
//! Target: [`compare`] holds the index against what is there ([`place`], [`probe`], [`decide`], [`sweep`]) and
//! writes a [`plan`]: items to stage and steps to commit; [`stage`] builds the items in a side directory; [`commit`] renames them into place;
//! [`undo`] takes the steps back; [`check`] looks. [`home`] and [`modes`] make of a file what it is to be elsewhere.
//! [`things`] tells what both sides hold.

mod act;
mod builder;
mod capture;
mod check;
mod commit;
mod compare;
mod content;
mod decide;
mod edits;
mod facts;
mod home;
mod index;
mod kept;
mod meta;
mod modes;
mod pack;
mod place;
mod plan;
mod probe;
mod seat;
mod select;
mod shards;
mod site;
mod sparse;
mod stage;
mod sweep;
mod tarfmt;
mod things;
mod touched;
mod undo;
mod unpack;
mod walk;

#[cfg(test)]
mod tests;

use crate::base::name::ComponentName;
use crate::component::{
    Act, Against, Captured, CheckResult, Claim, Component, Error, Finding, Host, Journal, Kind, Listed, Plan,
    Result, Scope, StreamSink, StreamSource, Survey, Thing, UndoStrength, LONGEST_LIST,
};
use facts::{Absent, Facts, Options, Profile};
use ignore::gitignore::Gitignore;
use modes::Modes;
use serde_json::Value;
use std::path::PathBuf;

/// Bytes of the text that a profile may have for a file.
const MAX_CONTENT: usize = 65_536;

/// The kind `files`.
pub struct FilesKind;

/// One component of the kind `files`.
struct Files {
    name: ComponentName,
    /// The root on this machine, absolute, as written.
    root: PathBuf,
    /// The root for a manifest: `~/...` or absolute.
    root_text: String,
    options: Options,
    /// What this machine says to an absent root.
    absent: Absent,
    /// What a source has where nothing is at the root.
    content: Option<String>,
    exclude: Gitignore,
    /// Files in which commands stand.
    runs: Gitignore,
    /// Files in which paths of the home are rewritten.
    rewrite_home: Gitignore,
    /// Whether that is what this machine's own profile says of a bundle.
    rewrite_is_own: bool,
    /// What this machine's own profile says of files' modes.
    modes: Modes,
    /// What the bundle says; `None` on the source.
    facts: Option<Facts>,
}

impl Kind for FilesKind {
    fn name(&self) -> &'static str {
        "files"
    }

    fn from_options(&self, name: &ComponentName, options: &Value, host: &Host) -> Result<Box<dyn Component>> {
        let profile = Profile::read(options)?;
        let path = profile
            .path
            .clone()
            .ok_or_else(|| Error::usage("it has no path").todo("add path = \"~/...\""))?;
        let content = profile.content.clone();
        if content.as_ref().is_some_and(|text| text.len() > MAX_CONTENT) {
            return Err(Error::usage(format_args!("content has more than {MAX_CONTENT} bytes"))
                .todo("put it into a file at the path"));
        }
        let (absent, modes) = (profile.absent, profile.modes()?);
        let files = Files::new(name, &path, profile.over(Options::default()), None, host)?;
        Ok(Files { absent, content, modes, ..files }.boxed())
    }

    fn vet(&self, options: &Value) -> Result<()> {
        let profile = Profile::read(options)?;
        profile.modes()?;
        patterns("rewrite-home", profile.rewrite_home.as_deref().unwrap_or_default()).map(drop)
    }

    fn from_facts(
        &self,
        name: &ComponentName,
        facts: &Value,
        overrides: Option<&Value>,
        host: &Host,
    ) -> Result<Box<dyn Component>> {
        let facts = Facts::read(name.as_str(), facts)?;
        if facts.touched {
            return Err(Error::rule(
                "F1",
                format_args!("facts of component {name}: they are those of a backup"),
            ));
        }
        let of_bundle = of_bundle(name, &facts, host)?;
        let Some(overrides) = overrides else {
            return Ok(Files { facts: Some(facts), ..of_bundle }.boxed());
        };
        let profile = Profile::read(overrides)?;
        let path = profile.path.clone().unwrap_or_else(|| facts.root.clone());
        let (absent, modes) = (profile.absent, profile.modes()?);
        let (rewrite_is_own, content) = (profile.rewrite_home.is_some(), profile.content.clone());
        let options = profile.over(facts.options.clone());
        let files = Files::new(name, &path, options, Some(facts), host)?;
        Ok(Files { absent, content, modes, rewrite_is_own, ..files }.boxed())
    }

    fn measure(&self, facts: &Value) -> Vec<(&'static str, u64)> {
        Facts::read("", facts).map_or_else(|_| Vec::new(), |facts| vec![("entries", facts.entries)])
    }

    fn narrows(&self) -> bool {
        true
    }

    fn lists(&self) -> &'static [(&'static str, usize)] {
        &[("index", LONGEST_LIST)]
    }

    fn from_backup(
        &self,
        name: &ComponentName,
        facts: &Value,
        _own: Option<&Value>,
        host: &Host,
    ) -> Result<Box<dyn Component>> {
        let facts = Facts::read(name.as_str(), facts)?;
        let of_bundle = of_bundle(name, &facts, host)?;
        // What was not there before the import goes.
        Ok(Files { facts: Some(facts), absent: Absent::Remove, ..of_bundle }.boxed())
    }
}

/// A component whose rules and root are those of a bundle. What comes from there breaks a rule where the same word in
/// a profile is a mistake in its use.
fn of_bundle(name: &ComponentName, facts: &Facts, host: &Host) -> Result<Files> {
    Files::new(name, &facts.root, facts.options.clone(), None, host).map_err(|e| Error::rule("F1", e))
}

fn patterns(option: &str, lines: &[String]) -> Result<Gitignore> {
    let bad = |e| Error::usage(e).in_option(option);
    select::patterns(option, lines).map_err(bad)
}

impl Files {
    fn new(
        name: &ComponentName,
        path: &str,
        options: Options,
        facts: Option<Facts>,
        host: &Host,
    ) -> Result<Files> {
        let root = host
            .expand(path)
            .ok_or_else(|| Error::usage(format_args!("path {path:?} is neither absolute nor below ~")))?;
        let root_text = host.contract(&root).unwrap_or_else(|| path.to_owned());
        let exclude = patterns("exclude", &options.exclude)?;
        let runs = patterns("runs", &options.runs)?;
        let rewrite_home = patterns("rewrite-home", &options.rewrite_home)?;
        Ok(Files {
            name: name.clone(),
            root,
            root_text,
            options,
            absent: Absent::default(),
            content: None,
            exclude,
            runs,
            rewrite_home,
            rewrite_is_own: false,
            modes: Modes::default(),
            facts,
        })
    }

    fn boxed(self) -> Box<dyn Component> {
        Box::new(self)
    }

    fn facts(&self) -> Result<&Facts> {
        self.facts.as_ref().ok_or_else(Error::not_of_a_bundle)
    }
}

impl Component for Files {
    fn claims(&self) -> Result<Vec<Claim>> {
        let place = site::resolve(&self.root)?;
        let mut claims = vec![Claim::Path(place.lexical), Claim::Path(place.real)];
        claims.dedup();
        Ok(claims)
    }

    fn undo_strength(&self) -> UndoStrength {
        UndoStrength::Exact
    }

    fn list(&self, streams: &dyn StreamSource, each: &mut dyn FnMut(Listed)) -> Result<()> {
        let is_backup = self.facts.as_ref().is_some_and(|facts| facts.touched);
        let shards = compare::count_shards(streams, is_backup)?;
        index::read_each(streams.open(&capture::index_name()?)?, shards, &mut |row| each(row.listed()))
    }

    fn holds(&self, streams: &dyn StreamSource, against: &Against<'_>) -> Result<Vec<Thing>> {
        things::held(self, streams, against.only)
    }

    fn present(&self, scope: &Scope<'_>, against: &Against<'_>) -> Result<Option<Vec<Thing>>> {
        things::present(self, scope, against)
    }

    fn survey(&self, scope: &Scope<'_>) -> Result<Survey> {
        capture::survey(self, scope)
    }

    fn capture(&self, scope: &Scope<'_>, sink: &dyn StreamSink) -> Result<Captured> {
        capture::capture(self, scope, sink)
    }

    fn back_up(&self, scope: &Scope<'_>, plan: &Plan, sink: &dyn StreamSink) -> Result<Captured> {
        capture::back_up(self, scope, plan::FilesPlan::of(plan)?, sink)
    }

    fn plan(&self, scope: &Scope<'_>, streams: &dyn StreamSource) -> Result<Plan> {
        compare::plan(self, scope, streams)
    }

    fn stage(&self, scope: &Scope<'_>, plan: &Plan, streams: &dyn StreamSource) -> Result<()> {
        stage::stage(plan::FilesPlan::of(plan)?, scope, streams)
    }

    fn check_staged(&self, _scope: &Scope<'_>, plan: &Plan) -> Result<Vec<CheckResult>> {
        check::staged(plan::FilesPlan::of(plan)?)
    }

    fn commit(&self, scope: &Scope<'_>, plan: &Plan, journal: &mut dyn Journal) -> Result<()> {
        commit::commit(plan::FilesPlan::of(plan)?, scope, journal)
    }

    fn describe(&self, act: &Act) -> String {
        act::FileAct::read(act).map_or_else(|error| error.to_string(), |act| act.describe())
    }

    fn undo(&self, scope: &Scope<'_>, acts: &[Act]) -> Result<Vec<Finding>> {
        undo::undo(self, scope, acts)
    }

    fn check(&self, scope: &Scope<'_>, plan: &Plan) -> Result<Vec<CheckResult>> {
        check::in_place(plan::FilesPlan::of(plan)?, scope)
    }

    fn finalise(&self, scope: &Scope<'_>, acts: &[Act]) -> Result<()> {
        undo::finalise(self, scope, acts)
    }
}
