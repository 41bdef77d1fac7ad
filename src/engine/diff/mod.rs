//! `diff`: what differs between a bundle and this machine, or between two bundles. Changes nothing.
//!
//! Each kind says what a bundle [`holds`](crate::component::Component::holds) and what is
//! [`present`](crate::component::Component::present), in the same words; there is one comparison of the two, here. [`held`]
//! is what of it this machine keeps of its last export and of its imports, for `status`.

pub mod held;
mod report;

pub(super) use report::verdict;
pub use report::{ComponentDiff, Counts, DiffError, DiffReport, Difference, Side, State, Told};

use crate::base::name::ComponentName;
use crate::base::path::BundlePath;
use crate::component::{Against, Component, Error, Host, Scope, StreamSource, Thing};
use crate::components;
use crate::crypto::identity::Identities;
use crate::engine::error::{In, Result};
use crate::engine::events::Events;
use crate::engine::gate::{Bundle, Gate, Incoming};
use crate::engine::import::random_run;
use crate::engine::inspect::component;
use crate::engine::participants::{comparable, own_settings, From, Participant};
use crate::engine::profile::Profile;
use crate::engine::selection::Selection;
use crate::format::{ComponentEntry, Manifest};

/// What to compare, and how bundles are opened.
pub struct Diff<'a> {
    /// How bundles are opened.
    pub gate: &'a Gate<'a>,
    /// What opens the keys.
    pub identities: &'a Identities,
    /// Which components.
    pub selection: &'a Selection,
}

/// What a component holds, in the order of names.
pub(super) fn sorted(mut things: Vec<Thing>) -> Vec<Thing> {
    things.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    things
}

impl Diff<'_> {
    fn open(&self, incoming: Incoming) -> Result<Bundle> {
        self.gate.open(incoming, self.identities, None)
    }

    /// An error if a path is named inside a component of a kind that is moved as a whole.
    fn require_narrow(&self, manifest: &Manifest) -> Result<()> {
        let narrowed = |entry: &&ComponentEntry| !self.selection.paths_in(&entry.name).is_empty();
        let whole =
            |entry: &&ComponentEntry| components::kind(&entry.kind).is_some_and(|kind| !kind.narrows());
        match manifest.components.iter().filter(narrowed).find(whole) {
            Some(entry) => Err(Error::not_narrowed(&entry.kind)).within(&entry.name),
            None => Ok(()),
        }
    }

    /// `incoming` (left) against this machine (right), as an import would find it. `profile` is the target's own, whose tables
    /// override what the bundle asks.
    pub fn with_machine(
        &self,
        incoming: Incoming,
        host: &Host,
        profile: Option<&Profile>,
        events: &dyn Events,
    ) -> Result<DiffReport> {
        let bundle = self.open(incoming)?;
        let run = random_run()?;
        let overrides = |entry: &ComponentEntry| own_settings(profile, entry);
        let from = From::Bundle(&overrides);
        self.require_narrow(bundle.opened.manifest())?;
        let (all, others) = comparable(std::slice::from_ref(&bundle.opened), host, self.selection, &from)?;
        let mut components = Vec::new();
        for participant in &all {
            events.step(&format!("comparing {}", participant.name));
            components.push(compare(participant, host, &run, events)?);
        }
        for (entry, error) in &others {
            components.push(ComponentDiff::unknown(&entry.name, &entry.kind, error));
        }
        let (left, right) = (Side::of(&bundle), Side::machine());
        Ok(DiffReport { left, right, components })
    }

    /// `left` against `right`, without a look at this machine.
    pub fn of_two(&self, left: Incoming, right: Incoming, events: &dyn Events) -> Result<DiffReport> {
        let (left, right) = (self.open(left)?, self.open(right)?);
        let entries = |bundle: &Bundle| bundle.opened.manifest().components.clone();
        let (lefts, rights) = (entries(&left), entries(&right));
        let more = rights.iter().filter(|entry| lefts.iter().all(|left| left.name != entry.name));
        let all: Vec<&ComponentEntry> = lefts.iter().chain(more).collect();
        self.selection.check(all.iter().map(|entry| &entry.name))?;
        [&left, &right].into_iter().try_for_each(|side| self.require_narrow(side.opened.manifest()))?;
        let mut components = Vec::new();
        for entry in all.into_iter().filter(|entry| self.selection.takes(&entry.name)) {
            events.step(&format!("comparing {}", entry.name));
            let find =
                |entries: &[ComponentEntry]| entries.iter().find(|one| one.name == entry.name).cloned();
            components.push(match (find(&lefts), find(&rights)) {
                (Some(one), Some(other)) => {
                    of_two((&left, &one), (&right, &other), &self.selection.paths_in(&entry.name))?
                }
                (Some(one), None) => ComponentDiff::only(&one.name, &one.kind, State::OnlyLeft, 0),
                (None, _) => ComponentDiff::only(&entry.name, &entry.kind, State::OnlyRight, 0),
            });
        }
        Ok(DiffReport { left: Side::of(&left), right: Side::of(&right), components })
    }
}

/// A component of a bundle against this machine.
fn compare(participant: &Participant, host: &Host, run: &str, events: &dyn Events) -> Result<ComponentDiff> {
    let component = &*participant.component;
    let (name, only) = (&participant.name, &participant.only[..]);
    let part = Against { only, ..Against::NOTHING };
    let held = component.holds(&participant.source, &part).within(name).map(sorted)?;
    let looked = Looked {
        name,
        kind: &participant.kind,
        component,
        held: &held,
        streams: Some(&participant.source),
        of_source: false,
    };
    let diff = looked.against_machine(&participant.scope(host, run, events));
    require_something(&diff, &held, only)?;
    Ok(diff)
}

/// An error if under one of the paths `only` nothing is on either side.
fn require_something(diff: &ComponentDiff, held: &[Thing], only: &[BundlePath]) -> Result<()> {
    let names = || held.iter().map(|thing| &thing.name).chain(diff.differences.iter().map(|one| &one.name));
    let is_there = |path: &BundlePath| {
        names().any(|name| BundlePath::parse(name).is_ok_and(|named| named.is_within(path)))
    };
    match only.iter().find(|path| !is_there(path)) {
        Some(path) if diff.state != State::Unknown => {
            Err(Error::nothing_at(&diff.name, path)).within(&diff.name)
        }
        _ => Ok(()),
    }
}

/// One side of a component, to be held against this machine.
pub(super) struct Looked<'a> {
    pub(super) name: &'a ComponentName,
    pub(super) kind: &'a str,
    pub(super) component: &'a dyn Component,
    /// What it holds, in the order of names.
    pub(super) held: &'a [Thing],
    /// The bundle's streams, if there is a bundle.
    pub(super) streams: Option<&'a dyn StreamSource>,
    /// Whether this machine is the source: what an import brings from elsewhere need not be here.
    pub(super) of_source: bool,
}

impl Looked<'_> {
    /// What this machine cannot tell is said of the component; the others are compared all the same.
    pub(super) fn against_machine(&self, scope: &Scope<'_>) -> ComponentDiff {
        let against = Against { things: self.held, streams: self.streams, only: &[] };
        match self.component.present(scope, &against) {
            Ok(present) => {
                let mut present = present.map(sorted);
                if let Some(present) = present.as_mut().filter(|_| self.of_source) {
                    present.retain(|thing| !thing.is_outside);
                }
                ComponentDiff::of(self.name, self.kind, self.held, present.as_deref())
            }
            Err(error) => ComponentDiff::unknown(self.name, self.kind, &error),
        }
    }
}

/// A component of two bundles.
fn of_two(
    (left, one): (&Bundle, &ComponentEntry),
    (right, other): (&Bundle, &ComponentEntry),
    only: &[BundlePath],
) -> Result<ComponentDiff> {
    let (name, kind) = (&one.name, one.kind.as_str());
    if one.kind != other.kind {
        let what = format!("of kind {kind} on the left and of kind {} on the right", other.kind);
        return Ok(ComponentDiff::unknown(name, kind, &Error::usage(what)));
    }
    let streams = left.opened.streams(one);
    let part = Against { only, ..Against::NOTHING };
    let held = component(left, one)?.holds(&streams, &part).within(name).map(sorted)?;
    let against = Against { things: &held, streams: Some(&streams), only };
    let other = component(right, other)?.holds(&right.opened.streams(other), &against);
    let other = other.within(name).map(sorted)?;
    let diff = ComponentDiff::of(name, kind, &held, Some(&other));
    require_something(&diff, &held, only)?;
    Ok(diff)
}
