//! `import`: from a bundle to the target's new state. The steps are those of the design, and stand in the
//! code as numbered comments.

use crate::base::fault::Faulty;
use crate::base::interrupt;
use crate::base::name::ComponentName;
use crate::base::path::{shown, BundlePath, ShownPath};
use crate::component::{
    self, Act, ChangeKind, CheckResult, Component, Finding, Host, Journal, Plan, Scope, Severity,
    UndoStrength,
};
use crate::components;
use crate::crypto::identity::Identities;
use crate::engine::claims::{carve, order, Named};
use crate::engine::error::{EngineError, In, Result};
use crate::engine::events::{Confirmation, Decide, Events};
use crate::engine::gate::{Bundle, Gate, Incoming};
use crate::engine::machine;
use crate::engine::profile::Profile;
use crate::engine::selection::Selection;
use crate::engine::state::{ProfileMark, SignerMark, State};
use crate::format::{BundleId, Manifest, Target};
use crate::pipeline::pack::PackError;
use crate::pipeline::unpack::ComponentSource;
use serde::Serialize;
use serde_json::Value;
use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::PathBuf;
use std::rc::Rc;

/// What to import, and how.
pub struct Import<'a> {
    /// How bundles are opened.
    pub gate: &'a Gate<'a>,
    /// This machine.
    pub host: &'a Host,
    /// What this machine remembers.
    pub state: &'a State,
    /// The target's own profile, whose tables override what the bundle asks.
    pub profile: Option<&'a Profile>,
    /// What opens the keys.
    pub identities: &'a Identities,
    /// Which components.
    pub selection: &'a Selection,
    /// An older bundle than the last one is welcome.
    pub allow_older: bool,
    /// Stop after the plan.
    pub dry_run: bool,
    /// Asked before the first change.
    pub decide: &'a dyn Decide,
}

/// What an import would do, or did.
#[derive(Serialize)]
pub struct ImportPlan {
    /// The bundle's id.
    pub id: BundleId,
    /// The signer's fingerprint.
    pub signer: String,
    /// The name under which the signer is trusted.
    pub principal: String,
    /// The profile's name.
    pub profile: String,
    /// The sequence.
    pub sequence: u64,
    /// Where it comes from: `user@host`.
    pub origin: String,
    /// When it was made: RFC 3339.
    pub created: String,
    /// The target's own profile, if one had a say.
    pub overrides: Option<ShownPath>,
    /// Each component, in the order in which they are committed.
    pub components: Vec<PlannedComponent>,
}

/// One component of an [`ImportPlan`].
#[derive(Serialize)]
pub struct PlannedComponent {
    /// Its name.
    pub name: ComponentName,
    /// Its kind.
    pub kind: String,
    /// How exactly it could be undone.
    pub undo: UndoStrength,
    /// Paths inside it that belong to other components.
    pub left_out: Vec<ShownPath>,
    /// The kind's plan.
    #[serde(serialize_with = "plan_summary")]
    pub plan: Plan,
}

fn plan_summary<S: serde::Serializer>(plan: &Plan, s: S) -> std::result::Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Summary<'a> {
        destinations: &'a [String],
        added: usize,
        changed: usize,
        removed: usize,
        unchanged: u64,
        changes: &'a [component::Change],
        findings: &'a [component::Finding],
        executes: &'a [String],
        space: u64,
    }
    Summary {
        destinations: &plan.destinations,
        added: count(plan, ChangeKind::Added),
        changed: count(plan, ChangeKind::Changed),
        removed: count(plan, ChangeKind::Removed),
        unchanged: plan.unchanged,
        changes: &plan.changes,
        findings: &plan.findings,
        executes: &plan.executes,
        space: plan.space,
    }
    .serialize(s)
}

/// How many changes of `kind` a plan has.
pub fn count(plan: &Plan, kind: ChangeKind) -> usize {
    plan.changes.iter().filter(|change| change.kind == kind).count()
}

/// What became of an import.
#[derive(Serialize)]
pub struct ImportReport {
    /// What was planned, and unless it was a dry run, done.
    #[serde(flatten)]
    pub plan: ImportPlan,
    /// Whether it was only planned.
    pub dry_run: bool,
    /// The checks after the commit.
    pub checks: Vec<ComponentChecks>,
}

/// The checks of one component.
#[derive(Debug, Serialize)]
pub struct ComponentChecks {
    /// Its name.
    pub name: ComponentName,
    /// Their outcomes.
    pub results: Vec<CheckResult>,
}

/// A component that takes part, with all that its acts need.
struct Participant {
    name: ComponentName,
    kind: String,
    component: Box<dyn Component>,
    carved: Vec<PathBuf>,
    only: Vec<BundlePath>,
    source: ComponentSource,
    acts: Acts,
}

/// What a component intended so far. The journal on disk takes this place. Shared, so that what was intended
/// before a panic is known after it.
#[derive(Default, Clone)]
struct Acts(Rc<RefCell<Vec<Act>>>);

impl Journal for Acts {
    fn intend(&mut self, acts: &[Act]) -> component::Result<()> {
        interrupt::check().map_err(|error| component::Error::new(error.fault(), error))?;
        self.0.borrow_mut().extend_from_slice(acts);
        Ok(())
    }
}

impl Import<'_> {
    /// Runs the import of `incoming`.
    pub fn run(&self, incoming: Incoming, events: &dyn Events) -> Result<ImportReport> {
        // 1. Lock. 2. What an earlier import left (recovery takes its place here; until then it is said).
        let _lock = self.state.lock()?;
        if let Some(run) = self.state.unfinished()? {
            return Err(EngineError::Unfinished { run, note: self.state.unfinished_path() });
        }

        // 3. Seal, signer, digests. 4. Keys and manifest; id and signer are held against each other inside.
        events.step("verifying");
        let bundle = self.gate.open(incoming, self.identities, Some(events))?;
        let mark = self.admit(&bundle)?;

        // 5. Plan: read-only.
        events.step("planning");
        let run = random_run()?;
        let participants = self.participants(&bundle)?;
        let plan = self.plan(&bundle, &participants, &run, events)?;
        if self.dry_run {
            return Ok(ImportReport { plan, dry_run: true, checks: Vec::new() });
        }
        refuse(&plan)?;

        // 6. Confirm.
        let news = new_destinations(&mark, &plan);
        match self.decide.confirm(&plan, &news) {
            Confirmation::Yes => {}
            Confirmation::No => return Err(EngineError::Declined),
            Confirmation::NobodyToAsk => return Err(EngineError::NobodyToAsk),
            Confirmation::NewDestinations => return Err(EngineError::NewDestinations(news.join(", "))),
        }

        // 7. (Hooks.) 8. (The encrypted backup of what the plan touches.)
        // 9. to 12. Stage, check, commit, check, remember: or undo.
        interrupt::watch().map_err(|error| EngineError::Io { path: self.host.home.clone(), error })?;
        self.state.begin_run(&run)?;
        let applied = self.apply(&participants, mark, &plan, &run, events);
        if !matches!(applied, Err(EngineError::HalfDone { .. })) {
            self.state.end_run()?;
        }
        let checks = applied?;

        // 13. Finalise: what was replaced is dropped. The import holds, whatever is left lying about.
        for participant in &participants {
            let scope = self.scope(participant, &run, events);
            if let Err(error) = participant.component.finalise(&scope, &participant.acts.0.borrow()) {
                let what = format!("what was replaced could not be removed: {error}");
                events.finding(participant.name.as_str(), &Finding::new(Severity::Warning, what));
            }
        }
        Ok(ImportReport { plan, dry_run: false, checks })
    }

    /// Expiry, target and sequence (chapter R). Returns what is remembered of the signer.
    fn admit(&self, bundle: &Bundle) -> Result<SignerMark> {
        let manifest = bundle.opened.manifest();
        let place = || bundle.place.clone();
        self.gate.check_expiry(bundle)?;
        if !manifest.targets.is_empty() {
            // A host is known by its signing key.
            let own = crate::crypto::keygen::made(self.gate.paths).ok().map(|made| made.fingerprint);
            // R3: a nonce is that of a ticket; this machine has made none yet.
            let is_own = |target: &Target| Some(&target.host) == own.as_ref() && target.nonce.is_none();
            if !manifest.targets.iter().any(is_own) {
                let hosts: Vec<&str> = manifest.targets.iter().map(|target| target.host.as_str()).collect();
                return Err(EngineError::OtherTarget { place: place(), targets: hosts.join(", ") });
            }
        }
        let mark = self.state.mark(&bundle.opened.signer().fingerprint())?;
        if let Some(applied) = mark.profiles.get(&manifest.profile) {
            let older = manifest.sequence < applied.sequence
                || manifest.sequence == applied.sequence && manifest.id != applied.id;
            if older && !self.allow_older {
                return Err(EngineError::Older {
                    place: place(),
                    sequence: manifest.sequence,
                    applied: applied.sequence,
                    profile: manifest.profile.clone(),
                });
            }
        }
        Ok(mark)
    }

    /// The components that take part, in the order in which they are staged and committed.
    fn participants(&self, bundle: &Bundle) -> Result<Vec<Participant>> {
        let manifest = bundle.opened.manifest();
        self.selection.check(manifest.components.iter().map(|c| &c.name))?;
        let all = self.all_components(manifest)?;
        let carved = carve(&all, self.host)?;
        let order = order(&all, &carved)?;
        let mut all: Vec<_> = all.into_iter().zip(carved).zip(&manifest.components).map(Some).collect();
        let mut participants = Vec::new();
        for index in order {
            let Some((((name, component), carved), entry)) = all[index].take() else { continue };
            if self.selection.takes(&name) {
                let source = bundle.opened.streams(entry);
                participants.push(Participant {
                    only: self.selection.paths_in(&name),
                    name,
                    kind: entry.kind.clone(),
                    component,
                    carved,
                    source,
                    acts: Acts::default(),
                });
            }
        }
        Ok(participants)
    }

    fn all_components(&self, manifest: &Manifest) -> Result<Vec<Named>> {
        let mut all = Vec::new();
        for entry in &manifest.components {
            let kind = components::kind(&entry.kind).ok_or_else(|| EngineError::UnknownKind {
                name: entry.name.clone(),
                kind: entry.kind.clone(),
            })?;
            let mut overrides = None;
            if let Some(profile) = self.profile {
                if let Some(table) = profile.components.get(&entry.name) {
                    if table.kind != entry.kind {
                        return Err(EngineError::OtherKind {
                            name: entry.name.clone(),
                            bundle: entry.kind.clone(),
                            profile: table.kind.clone(),
                            path: profile.path.clone(),
                        });
                    }
                    overrides = Some(Value::Object(table.options.clone()));
                }
            }
            let component = kind
                .from_facts(&entry.name, &entry.facts, overrides.as_ref(), self.host)
                .within(&entry.name)?;
            all.push((entry.name.clone(), component));
        }
        Ok(all)
    }

    fn plan(
        &self,
        bundle: &Bundle,
        participants: &[Participant],
        run: &str,
        events: &dyn Events,
    ) -> Result<ImportPlan> {
        let manifest = bundle.opened.manifest();
        let mut planned = Vec::new();
        for participant in participants {
            let scope = self.scope(participant, run, events);
            let plan = participant.component.plan(&scope, &participant.source).within(&participant.name)?;
            planned.push(PlannedComponent {
                name: participant.name.clone(),
                kind: participant.kind.clone(),
                undo: participant.component.undo_strength(),
                left_out: shown(&participant.carved),
                plan,
            });
        }
        let named =
            |profile: &&Profile| manifest.components.iter().any(|c| profile.components.contains_key(&c.name));
        Ok(ImportPlan {
            id: manifest.id,
            signer: bundle.opened.signer().fingerprint(),
            principal: bundle.opened.trust().principal.clone(),
            profile: manifest.profile.clone(),
            sequence: manifest.sequence,
            origin: format!("{}@{}", manifest.origin.user, manifest.origin.host),
            created: machine::timestamp(manifest.created),
            overrides: self.profile.filter(named).map(|profile| profile.path.as_path().into()),
            components: planned,
        })
    }

    fn scope<'s>(&'s self, participant: &'s Participant, run: &'s str, events: &'s dyn Events) -> Scope<'s> {
        Scope {
            host: self.host,
            carved: &participant.carved,
            only: &participant.only,
            run,
            threads: machine::threads(),
            progress: events,
        }
    }

    /// Stages, checks and commits all components; if anything fails, takes everything back in reverse order.
    fn apply(
        &self,
        participants: &[Participant],
        mark: SignerMark,
        plan: &ImportPlan,
        run: &str,
        events: &dyn Events,
    ) -> Result<Vec<ComponentChecks>> {
        // A panic is a failure like any other: what was begun is undone.
        let attempt = catch_unwind(AssertUnwindSafe(|| {
            self.stage(participants, plan, run, events)?;
            let checks = self.commit(participants, plan, run, events)?;
            self.remember(mark, plan)?;
            Ok(checks)
        }));
        let outcome = attempt.unwrap_or_else(|panic| Err(EngineError::Panicked(words_of(&*panic))));
        let Err(cause) = outcome else { return outcome };
        events.step("undoing");
        let committed = participants.iter().any(|p| !p.acts.0.borrow().is_empty());
        let mut failures = Vec::new();
        for participant in participants.iter().rev() {
            let scope = self.scope(participant, run, events);
            match participant.component.undo(&scope, &participant.acts.0.borrow()) {
                Ok(kept) => {
                    kept.iter().for_each(|finding| events.finding(participant.name.as_str(), finding))
                }
                Err(error) => failures.push(format!("component '{}': {error}", participant.name)),
            }
        }
        let cause = Box::new(cause);
        Err(match (failures.is_empty(), committed) {
            (false, _) => EngineError::HalfDone { cause, undo: failures.join("; ") },
            (true, true) => EngineError::RolledBack(cause),
            (true, false) => *cause,
        })
    }

    fn stage(
        &self,
        participants: &[Participant],
        plan: &ImportPlan,
        run: &str,
        events: &dyn Events,
    ) -> Result<()> {
        for (participant, planned) in participants.iter().zip(&plan.components) {
            let name = &participant.name;
            events.step(&format!("unpacking {name}"));
            let scope = self.scope(participant, run, events);
            // 9. Out of sight.
            participant.component.stage(&scope, &planned.plan, &participant.source).within(name)?;
            // 10. Against the recorded facts.
            let results = participant.component.check_staged(&scope, &planned.plan).within(name)?;
            let failures: Vec<String> = results
                .iter()
                .filter_map(|r| r.failure.as_ref().map(|f| format!("{}: {f}", r.name)))
                .collect();
            if !failures.is_empty() {
                return Err(EngineError::StagedDiffers { name: name.clone(), failures: failures.join("; ") });
            }
        }
        Ok(())
    }

    fn commit(
        &self,
        participants: &[Participant],
        plan: &ImportPlan,
        run: &str,
        events: &dyn Events,
    ) -> Result<Vec<ComponentChecks>> {
        // 11. Quick, reversible acts, one component after the other.
        events.step("putting in place");
        for (participant, planned) in participants.iter().zip(&plan.components) {
            let scope = self.scope(participant, run, events);
            let mut journal = participant.acts.clone();
            participant.component.commit(&scope, &planned.plan, &mut journal).within(&participant.name)?;
        }
        // 12. The checks.
        events.step("checking");
        let mut checks = Vec::new();
        for (participant, planned) in participants.iter().zip(&plan.components) {
            let scope = self.scope(participant, run, events);
            let results = participant.component.check(&scope, &planned.plan).within(&participant.name)?;
            if let Some((name, failure)) = results.iter().find_map(|r| Some((&r.name, r.failure.as_ref()?))) {
                let name = format!("{}: {name}", participant.name);
                return Err(EngineError::CheckFailed { name, failure: failure.clone() });
            }
            checks.push(ComponentChecks { name: participant.name.clone(), results });
        }
        Ok(checks)
    }

    /// The sequence and the destinations. `--allow-older` never lowers the mark.
    fn remember(&self, mut mark: SignerMark, plan: &ImportPlan) -> Result<()> {
        let fresh = ProfileMark { sequence: plan.sequence, id: plan.id, destinations: BTreeSet::new() };
        let profile = mark.profiles.entry(plan.profile.clone()).or_insert(fresh);
        if plan.sequence > profile.sequence {
            profile.sequence = plan.sequence;
            profile.id = plan.id;
        }
        profile.destinations.extend(destinations(plan));
        self.state.save_mark(&mark)?;
        Ok(())
    }
}

fn destinations(plan: &ImportPlan) -> impl Iterator<Item = String> + '_ {
    plan.components.iter().flat_map(|c| c.plan.destinations.iter().cloned())
}

/// Destinations that no earlier bundle of this signer had, under whatever profile's name. A signer's first
/// import has none: all are shown in its plan.
fn new_destinations(mark: &SignerMark, plan: &ImportPlan) -> Vec<String> {
    if mark.profiles.is_empty() {
        return Vec::new();
    }
    let known = |destination: &String| {
        mark.profiles.values().any(|profile| profile.destinations.contains(destination))
    };
    destinations(plan).filter(|destination| !known(destination)).collect()
}

/// 16 hex digits that no other run has.
fn random_run() -> Result<String> {
    let id = BundleId::random().map_err(PackError::from)?;
    Ok(id.to_string()[..16].to_owned())
}

/// What a panic said.
fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "panic".to_owned())
}

/// Stops at a plan that has refusals.
pub fn refuse(plan: &ImportPlan) -> Result<()> {
    let refusals = || {
        let findings = plan.components.iter().flat_map(|c| c.plan.findings.iter().map(move |f| (&c.name, f)));
        findings.filter(|(_, f)| f.severity == Severity::Refusal)
    };
    if refusals().next().is_none() {
        return Ok(());
    }
    let what = refusals().map(|(name, f)| format!("component '{name}': {}", f.what)).collect();
    Err(EngineError::Refused(what, refusals().filter_map(|(_, f)| f.remedy.clone()).collect()))
}
