//! `import`: from a bundle to the target's new state. The steps are those of the design, and stand in the
//! code as numbered comments.

use crate::base::name::ComponentName;
use crate::base::path::BundlePath;
use crate::component::{
    self, Act, ChangeKind, CheckResult, Component, Host, Journal, Plan, Scope, Severity, UndoStrength,
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
use crate::pipeline::unpack::ComponentSource;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::PathBuf;

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
    pub overrides: Option<PathBuf>,
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
    pub left_out: Vec<PathBuf>,
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

/// What a component intended so far. The journal on disk takes this place.
#[derive(Default)]
struct Acts(Vec<Act>);

impl Journal for Acts {
    fn intend(&mut self, acts: &[Act]) -> component::Result<()> {
        self.0.extend_from_slice(acts);
        Ok(())
    }
}

impl Import<'_> {
    /// Runs the import of `incoming`.
    pub fn run(&self, incoming: Incoming, events: &dyn Events) -> Result<ImportReport> {
        // 1. Lock. 2. (Recovery of an interrupted import takes its place here.)
        let _lock = self.state.lock()?;

        // 3. Seal, signer, digests. 4. Keys and manifest; id and signer are held against each other inside.
        events.step("verifying");
        let bundle = self.gate.open(incoming, self.identities, Some(events))?;
        let mark = self.admit(&bundle)?;

        // 5. Plan: read-only.
        events.step("planning");
        let run = bundle.opened.manifest().id.to_string()[..16].to_owned();
        let mut participants = self.participants(&bundle)?;
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
        // 9. to 12. Stage, check, commit, check: or undo.
        let checks = self.apply(&mut participants, &plan, &run, events)?;

        // 13. Finalise, and remember.
        for participant in &participants {
            let scope = self.scope(participant, &run, events);
            participant.component.finalise(&scope, &participant.acts.0).within(&participant.name)?;
        }
        self.remember(mark, &plan)?;
        Ok(ImportReport { plan, dry_run: false, checks })
    }

    /// Expiry, target and sequence (chapter R). Returns what is remembered of the signer.
    fn admit(&self, bundle: &Bundle) -> Result<SignerMark> {
        let manifest = bundle.opened.manifest();
        let place = || bundle.place.clone();
        if let Some(expires) = manifest.expires.filter(|expires| *expires <= self.gate.at) {
            return Err(EngineError::Expired { place: place(), expired: machine::timestamp(expires) });
        }
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
                left_out: participant.carved.clone(),
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
            overrides: self.profile.filter(named).map(|profile| profile.path.clone()),
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
        participants: &mut [Participant],
        plan: &ImportPlan,
        run: &str,
        events: &dyn Events,
    ) -> Result<Vec<ComponentChecks>> {
        let outcome = self
            .stage(participants, plan, run, events)
            .and_then(|()| self.commit(participants, plan, run, events));
        let Err(cause) = outcome else { return outcome };
        events.step("undoing");
        let committed = participants.iter().any(|p| !p.acts.0.is_empty());
        let mut failures = Vec::new();
        for participant in participants.iter().rev() {
            let scope = self.scope(participant, run, events);
            match participant.component.undo(&scope, &participant.acts.0) {
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
        participants: &mut [Participant],
        plan: &ImportPlan,
        run: &str,
        events: &dyn Events,
    ) -> Result<Vec<ComponentChecks>> {
        // 11. Quick, reversible acts, one component after the other.
        events.step("putting in place");
        for (participant, planned) in participants.iter_mut().zip(&plan.components) {
            let mut acts = std::mem::take(&mut participant.acts);
            let done =
                participant.component.commit(&self.scope(participant, run, events), &planned.plan, &mut acts);
            participant.acts = acts;
            done.within(&participant.name)?;
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

/// Destinations that no earlier bundle of this signer's profile had. A first import has none: all are shown in its plan.
fn new_destinations(mark: &SignerMark, plan: &ImportPlan) -> Vec<String> {
    match mark.profiles.get(&plan.profile) {
        Some(known) => destinations(plan).filter(|d| !known.destinations.contains(d)).collect(),
        None => Vec::new(),
    }
}

/// Stops at a plan that has refusals.
fn refuse(plan: &ImportPlan) -> Result<()> {
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
