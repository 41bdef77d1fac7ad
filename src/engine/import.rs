//! `import`: from a bundle to the target's new state. The steps are those of the design, and stand in the
//! code as numbered comments.

use crate::base::fault::{Fault, Faulty};
use crate::base::interrupt;
use crate::base::name::ComponentName;
use crate::base::path::shown;
use crate::component::{CheckResult, Finding, Host, Severity};
use crate::components;
use crate::crypto::identity::Identities;
use crate::engine::apply::Participant;
use crate::engine::checks::later::SavedChecks;
use crate::engine::checks::plan::{Authority, PlannedCheck};
use crate::engine::checks::{self, Outcome};
use crate::engine::claims::{carve, order, Named};
use crate::engine::error::{EngineError, In, Result};
use crate::engine::events::{Confirmation, Decide, Events};
use crate::engine::gate::{Bundle, Gate, Incoming};
use crate::engine::journal::{Begin, Begun, End, JournalFile, JournalPath};
use crate::engine::machine;
use crate::engine::plan::{
    destinations, new_destinations, refuse, require_space, ImportPlan, PlannedComponent,
};
use crate::engine::profile::Profile;
use crate::engine::recover::{not_dropped, not_put_away, recover};
use crate::engine::selection::Selection;
use crate::engine::state::{ProfileMark, SignerMark, State};
use crate::format::{BundleId, ComponentEntry, Manifest, Target};
use crate::pipeline::pack::PackError;
use serde::Serialize;
use serde_json::Value;
use std::cell::RefCell;
use std::collections::BTreeSet;

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
    /// The checks of the bundle and of this machine's profile.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub declared_checks: Vec<Outcome>,
    /// What could not be cleared away; `recover` does it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub leftovers: Vec<Finding>,
}

/// What step 12 found.
pub(super) struct Checked {
    pub(super) components: Vec<ComponentChecks>,
    pub(super) declared: Vec<Outcome>,
}

/// The checks of one component.
#[derive(Debug, Serialize)]
pub struct ComponentChecks {
    /// Its name.
    pub name: ComponentName,
    /// Their outcomes.
    pub results: Vec<CheckResult>,
}

impl Import<'_> {
    /// Runs the import of `incoming`.
    pub fn run(&self, incoming: Incoming, events: &dyn Events) -> Result<ImportReport> {
        // 1. Lock. 2. Recover what an earlier import left.
        let _lock = self.state.lock()?;
        recover(self.state, self.host, events)?;

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
            return Ok(ImportReport {
                plan,
                dry_run: true,
                checks: Vec::new(),
                declared_checks: Vec::new(),
                leftovers: Vec::new(),
            });
        }
        refuse(&plan)?;
        require_space(&plan, self.host)?;

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
        let begin = self.begin(&bundle, &participants, &plan, &run);
        let history = self.state.ensure_history()?;
        let journal = RefCell::new(JournalFile::create(&self.state.ensure_journals()?, begin.clone())?);
        let applied = self.apply(&participants, mark, &plan, &run, &journal, events);
        let checked = match applied {
            Ok(checked) => checked,
            // The journal stays: `recover` goes on with it.
            Err(half_done) if half_done.fault() == Fault::RecoveryNeeded => return Err(half_done),
            Err(undone) => {
                if let Err(error) = journal.into_inner().end(&begin, End::Undone, &history) {
                    events.finding("journal", &not_put_away("everything is as it was", &error));
                }
                return Err(undone);
            }
        };

        // 13. Finalise: what was replaced is dropped. The import holds, whatever is left lying about.
        let mut leftovers = Vec::new();
        for participant in &participants {
            let scope = self.scope(participant, &run, events);
            if let Err(error) = participant.component.finalise(&scope, &participant.acts.borrow()) {
                leftovers.push((participant.name.as_str(), not_dropped(&error)));
            }
        }
        // Else the journal stays, for `recover` to try again.
        if leftovers.is_empty() {
            if let Err(error) = journal.into_inner().end(&begin, End::Imported, &history) {
                leftovers.push(("journal", not_put_away("the import is done", &error)));
            }
        }
        if let Err(error) = SavedChecks::of(&plan, bundle.opened.signer(), self.host).save(self.state) {
            let what = format!("the checks of this import could not be kept for `kbpack check`: {error}");
            leftovers.push(("checks", Finding::new(Severity::Warning, what).todo("name the bundle to it")));
        }
        leftovers.iter().for_each(|(of, finding)| events.finding(of, finding));
        let leftovers = leftovers.into_iter().map(|(_, finding)| finding).collect();
        let Checked { components: checks, declared: declared_checks } = checked;
        Ok(ImportReport { plan, dry_run: false, checks, declared_checks, leftovers })
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
    pub(super) fn participants(&self, bundle: &Bundle) -> Result<Vec<Participant>> {
        let manifest = bundle.opened.manifest();
        self.selection.check(manifest.components.iter().map(|c| &c.name))?;
        let all = self.all_components(manifest)?;
        let carved = carve(&all, self.host).map_err(|error| EngineError::BadClaims(Box::new(error)))?;
        let order = order(&all, &carved)?;
        let mut all: Vec<_> = all.into_iter().zip(carved).zip(&manifest.components).map(Some).collect();
        let mut participants = Vec::new();
        for index in order {
            let Some((((name, component), carved), entry)) = all[index].take() else { continue };
            if self.selection.takes(&name) {
                let source = bundle.opened.streams(entry);
                let overrides = self.overrides(entry)?;
                participants.push(Participant {
                    only: self.selection.paths_in(&name),
                    name,
                    kind: entry.kind.clone(),
                    component,
                    carved,
                    source,
                    facts: entry.facts.clone(),
                    overrides,
                    acts: RefCell::default(),
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
            let overrides = self.overrides(entry)?;
            let component = kind
                .from_facts(&entry.name, &entry.facts, overrides.as_ref(), self.host)
                .within(&entry.name)?;
            all.push((entry.name.clone(), component));
        }
        Ok(all)
    }

    /// What this machine's own profile says of a component of the bundle.
    fn overrides(&self, entry: &ComponentEntry) -> Result<Option<Value>> {
        let Some(profile) = self.profile else { return Ok(None) };
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
            checks: self.plan_checks(bundle)?,
        })
    }

    /// The bundle's checks and those of this machine's own profile, with which of them may run.
    pub(super) fn plan_checks(&self, bundle: &Bundle) -> Result<Vec<PlannedCheck>> {
        let own = self.profile.map_or(&[][..], |profile| &profile.checks);
        let trust = bundle.opened.trust();
        let signer = *bundle.opened.signer();
        let authority = Authority { principal: &trust.principal, signer, hooks: trust.hooks };
        checks::plan::plan(&bundle.opened.manifest().checks, own, &authority)
    }

    /// All that recovery needs to know.
    fn begin(&self, bundle: &Bundle, participants: &[Participant], plan: &ImportPlan, run: &str) -> Begin {
        let begun = |participant: &Participant| Begun {
            name: participant.name.clone(),
            kind: participant.kind.clone(),
            facts: participant.facts.clone(),
            overrides: participant.overrides.clone(),
            carved: participant.carved.iter().cloned().map(JournalPath).collect(),
            only: participant.only.clone(),
        };
        Begin {
            run: run.to_owned(),
            started: machine::now_ms(),
            bundle: plan.id,
            place: bundle.place.clone(),
            signer: plan.signer.clone(),
            profile: plan.profile.clone(),
            sequence: plan.sequence,
            origin: plan.origin.clone(),
            home: JournalPath(self.host.home.clone()),
            maps: self
                .host
                .maps
                .iter()
                .map(|(a, b)| (JournalPath(a.clone()), JournalPath(b.clone())))
                .collect(),
            components: participants.iter().map(begun).collect(),
        }
    }

    /// The sequence and the destinations. `--allow-older` never lowers the mark.
    pub(super) fn remember(&self, mut mark: SignerMark, plan: &ImportPlan) -> Result<()> {
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

/// 16 hex digits that no other run has.
pub(super) fn random_run() -> Result<String> {
    let id = BundleId::random().map_err(PackError::from)?;
    Ok(id.to_string()[..16].to_owned())
}
