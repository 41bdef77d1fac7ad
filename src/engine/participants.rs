//! The components of an opened bundle, ready to be planned and put in place.

use crate::base::name::ComponentName;
use crate::base::path::{shown_paths, BundlePath, ShownPath};
use crate::base::side::nearest_dir;
use crate::component::{self, Act, Ask, Claim, Component, Host, Login, Nobody, Scope};
use crate::components;
use crate::engine::claims::{carve, order, Named};
use crate::engine::error::{EngineError, In, Result};
use crate::engine::events::Events;
use crate::engine::journal::Begun;
use crate::engine::machine;
use crate::engine::plan::{ImportPlan, PlannedComponent};
use crate::engine::profile::Profile;
use crate::engine::selection::Selection;
use crate::format::ComponentEntry;
use crate::pipeline::unpack::{ComponentSource, Opened};
use serde_json::Value;
use std::cell::{OnceCell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;

/// A component that takes part, with all that its acts need.
pub(super) struct Participant {
    pub(super) name: ComponentName,
    pub(super) kind: String,
    pub(super) component: Box<dyn Component>,
    pub(super) carved: Vec<PathBuf>,
    pub(super) only: Vec<BundlePath>,
    pub(super) source: ComponentSource,
    pub(super) facts: Value,
    pub(super) overrides: Option<Value>,
    /// Whether its signer may have commands run here.
    pub(super) trusted: bool,
    /// What it intended so far.
    pub(super) acts: RefCell<Vec<Act>>,
    /// Logins that all of them bring, once they are prepared.
    pub(super) logins: OnceCell<Rc<[Login]>>,
}

impl Participant {
    /// The surroundings of its acts in the run `run`, in which nobody can be asked.
    pub(super) fn scope<'s>(&'s self, host: &'s Host, run: &'s str, events: &'s dyn Events) -> Scope<'s> {
        Scope {
            host,
            carved: &self.carved,
            only: &self.only,
            run,
            threads: machine::threads(),
            progress: events,
            ask: &Nobody,
            trusted: self.trusted,
            logins: self.logins.get().map_or(&[], |logins| logins),
        }
    }

    /// What recovery needs to make it again, and what history tells of it.
    pub(super) fn begun(&self, plan: &ImportPlan) -> Begun {
        let planned = plan.components.iter().find(|planned| planned.name == self.name);
        Begun {
            name: self.name.clone(),
            kind: self.kind.clone(),
            facts: self.facts.clone(),
            overrides: self.overrides.clone(),
            carved: self.carved.iter().cloned().map(ShownPath).collect(),
            only: self.only.clone(),
            rewrites: planned.map_or_else(Vec::new, |planned| planned.plan.rewrites.clone()),
        }
    }

    fn plan(
        &self,
        host: &Host,
        run: &str,
        ask: &dyn Ask,
        logins: &[Login],
        events: &dyn Events,
    ) -> Result<PlannedComponent> {
        let scope = Scope { ask, logins, ..self.scope(host, run, events) };
        let plan = self.component.plan(&scope, &self.source).within(&self.name)?;
        Ok(PlannedComponent {
            name: self.name.clone(),
            kind: self.kind.clone(),
            undo: self.component.undo_strength(),
            left_out: shown_paths(&self.carved),
            plan,
        })
    }
}

/// What this machine's own profile says of a component of a bundle.
pub(super) fn own_settings(profile: Option<&Profile>, entry: &ComponentEntry) -> Result<Option<Value>> {
    let Some(profile) = profile else { return Ok(None) };
    match profile.components.get(&entry.name) {
        None => Ok(None),
        Some(table) if table.kind == entry.kind => Ok(Some(Value::Object(table.options.clone()))),
        Some(table) => Err(EngineError::OtherKind {
            name: entry.name.clone(),
            bundle: entry.kind.clone(),
            profile: table.kind.clone(),
            path: profile.path.clone(),
        }),
    }
}

/// Where the components come from.
pub(super) enum From<'a> {
    /// A bundle, with what this machine says to each of its components, if anything.
    Bundle(&'a dyn Fn(&ComponentEntry) -> Result<Option<Value>>),
    /// This machine's own backup, with what the import knew of its components.
    Backup(&'a [Begun]),
}

impl From<'_> {
    fn overrides(&self, entry: &ComponentEntry) -> Result<Option<Value>> {
        match self {
            From::Bundle(overrides) => overrides(entry),
            From::Backup(begun) => Ok(begun
                .iter()
                .find(|begun| begun.name == entry.name)
                .and_then(|begun| begun.overrides.clone())),
        }
    }

    fn component(&self, entry: &ComponentEntry, host: &Host) -> Result<Box<dyn Component>> {
        let ComponentEntry { name, kind, facts, .. } = entry;
        let unknown = || EngineError::UnknownKind { name: name.clone(), kind: kind.clone() };
        let kind = components::kind(kind).ok_or_else(unknown)?;
        let own = self.overrides(entry)?;
        match self {
            From::Bundle(_) => kind.from_facts(name, facts, own.as_ref(), host),
            From::Backup(_) => kind.from_backup(name, facts, own.as_ref(), host),
        }
        .within(name)
    }
}

/// The components of the bundles `opened` that take part, in the order in which they are staged and committed.
pub(super) fn participants(
    opened: &[Opened],
    host: &Host,
    selection: &Selection,
    from: &From<'_>,
) -> Result<Vec<Participant>> {
    let entries = entries(opened, selection)?;
    let all = entries.iter().map(|(_, entry)| named(entry, host, from)).collect::<Result<_>>()?;
    of_entries(entries, all, host, selection, from)
}

/// A component of which nobody can tell what it claims, and why.
pub(super) type Unclear<'o> = (&'o ComponentEntry, component::Error);

/// The same of those that can be looked at here; and the others.
pub(super) fn comparable<'o>(
    opened: &'o [Opened],
    host: &Host,
    selection: &Selection,
    from: &From<'_>,
) -> Result<(Vec<Participant>, Vec<Unclear<'o>>)> {
    let (mut clear, mut all, mut others) = (Vec::new(), Vec::new(), Vec::new());
    for (opened, entry) in entries(opened, selection)? {
        let named = named(entry, host, from)?;
        match named.1.claims() {
            Ok(_) => {
                clear.push((opened, entry));
                all.push(named);
            }
            Err(error) if selection.takes(&entry.name) => others.push((entry, error)),
            Err(_) => {}
        }
    }
    Ok((of_entries(clear, all, host, selection, from)?, others))
}

type Entry<'o> = (&'o Opened, &'o ComponentEntry);

fn entries<'o>(opened: &'o [Opened], selection: &Selection) -> Result<Vec<Entry<'o>>> {
    let of = |opened| move |entry| (opened, entry);
    let entries: Vec<Entry<'_>> =
        opened.iter().flat_map(|opened| opened.manifest().components.iter().map(of(opened))).collect();
    selection.check(entries.iter().map(|(_, entry)| &entry.name))?;
    Ok(entries)
}

fn named(entry: &ComponentEntry, host: &Host, from: &From<'_>) -> Result<Named> {
    Ok((entry.name.clone(), from.component(entry, host)?))
}

/// `all` are the components of `entries`, each.
fn of_entries(
    entries: Vec<Entry<'_>>,
    all: Vec<Named>,
    host: &Host,
    selection: &Selection,
    from: &From<'_>,
) -> Result<Vec<Participant>> {
    let carved = carve(&all, host).map_err(|error| match error {
        EngineError::SameClaim { .. } | EngineError::OwnDirectory { .. } => {
            EngineError::BadClaims(Box::new(error))
        }
        // Of this machine: a symlink to nothing, say.
        error => error,
    })?;
    let order = order(&all, &carved)?;
    let mut all: Vec<_> = all.into_iter().zip(carved).zip(entries).map(Some).collect();
    let mut participants = Vec::new();
    for index in order {
        let Some((((name, component), carved), (opened, entry))) = all[index].take() else { continue };
        if selection.takes(&name) {
            participants.push(Participant {
                only: selection.paths_in(&name),
                name,
                kind: entry.kind.clone(),
                component,
                carved,
                source: opened.streams(entry),
                facts: entry.facts.clone(),
                overrides: from.overrides(entry)?,
                trusted: opened.trust().hooks,
                acts: RefCell::default(),
                logins: OnceCell::new(),
            });
        }
    }
    Ok(participants)
}

/// Refuses a map that moves no place of theirs.
pub(super) fn require_use(maps: &[(PathBuf, PathBuf)], participants: &[Participant]) -> Result<()> {
    if maps.is_empty() {
        return Ok(());
    }
    let claims = participants.iter().map(|p| p.component.claims().within(&p.name));
    let claims = claims.collect::<Result<Vec<_>>>()?.concat();
    for (from, to) in maps {
        // A claim has the links resolved that are on the way to it.
        let dir = nearest_dir(to);
        let settled =
            dir.canonicalize().ok().zip(to.strip_prefix(dir).ok()).map(|(dir, rest)| dir.join(rest));
        let places = [Some(to.clone()), settled, to.canonicalize().ok()];
        let is_there = |claim: &Claim| match claim {
            Claim::Path(path) => places.iter().flatten().any(|place| path.starts_with(place)),
            Claim::Database(_) => false,
        };
        if !claims.iter().any(is_there) {
            return Err(EngineError::IdleMap(from.clone()));
        }
    }
    Ok(())
}

/// Whether `selection` leaves out a database of the bundle `opened`.
pub(super) fn leaves_out_a_database(
    opened: &Opened,
    host: &Host,
    selection: &Selection,
    from: &From<'_>,
) -> Result<bool> {
    for entry in opened.manifest().components.iter().filter(|entry| !selection.takes(&entry.name)) {
        let claims = from.component(entry, host)?.claims().within(&entry.name)?;
        if claims.iter().any(|claim| matches!(claim, Claim::Database(_))) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What would change, component by component. Read-only.
pub(super) fn plan(
    participants: &[Participant],
    host: &Host,
    run: &str,
    ask: &dyn Ask,
    events: &dyn Events,
) -> Result<Vec<PlannedComponent>> {
    let mut planned: Vec<PlannedComponent> = Vec::with_capacity(participants.len());
    for participant in participants {
        // Those that bring passwords come first: a database may have to be looked at with one of them.
        let known = planned.iter().map(|planned| Some(&planned.plan)).chain(std::iter::repeat(None));
        let of = |(p, plan): (&Participant, _)| p.component.logins(plan);
        let logins: Vec<Login> = participants.iter().zip(known).flat_map(of).collect();
        planned.push(participant.plan(host, run, ask, &logins, events)?);
    }
    Ok(planned)
}

/// Settles what the plans left open: here a person is asked. `planned` is what [`plan`] returned.
pub(super) fn prepare(
    participants: &[Participant],
    planned: &mut [PlannedComponent],
    host: &Host,
    run: &str,
    ask: &dyn Ask,
    events: &dyn Events,
) -> Result<()> {
    for (participant, planned) in participants.iter().zip(planned.iter_mut()) {
        let scope = Scope { ask, ..participant.scope(host, run, events) };
        participant
            .component
            .prepare(&scope, &mut planned.plan, &participant.source)
            .within(&participant.name)?;
    }
    let both = participants.iter().zip(planned.iter());
    let logins: Rc<[Login]> = both.flat_map(|(p, planned)| p.component.logins(Some(&planned.plan))).collect();
    for participant in participants {
        let _ = participant.logins.set(Rc::clone(&logins));
    }
    Ok(())
}
