//! `import`: from a bundle to the target's new state. The steps are those of the design, and stand in the
//! code as numbered comments; steps 9 to 13 are those of every [`Transaction`].

use crate::base::name::ComponentName;
use crate::base::path::ShownPath;
use crate::component::{Ask, CheckResult, Finding, Host, Severity};
use crate::components;
use crate::crypto::identity::Identities;
use crate::crypto::own::OwnKeys;
use crate::crypto::CryptoError;
use crate::engine::apply::{Applied, Checked, Transaction};
use crate::engine::backup::{BackupMade, Part};
use crate::engine::checks::later::SavedChecks;
use crate::engine::checks::{self, Outcome};
use crate::engine::diff::held::{keep, of, of_component, About, Way};
use crate::engine::error::{EngineError, Result};
use crate::engine::events::{Decide, Events};
use crate::engine::gate::{Bundle, Gate, Incoming};
use crate::engine::hooks;
use crate::engine::journal::Begin;
use crate::engine::log::Log;
use crate::engine::machine;
use crate::engine::participants::{self, own_settings, participants, require_use, From, Participant};
use crate::engine::plan::{
    destinations, look_at_late_backups, new_destinations, refuse, require_space, ImportPlan, PlannedComponent,
};
use crate::engine::profile::Profile;
use crate::engine::receipt::make::{make, Made, Wanted};
use crate::engine::recover::recover_first;
use crate::engine::selection::Selection;
use crate::engine::state::{ProfileMark, SignerMark, State};
use crate::engine::ticket::redeem::{redeem, Redeemed};
use crate::engine::todos;
use crate::format::ComponentEntry;
use serde::Serialize;
use std::collections::BTreeSet;

mod around;

pub(super) use self::around::{backed_up, begin, confirm, logged, own_keys, quiet, random_run};

/// How this machine's own keys are loaded, when they are needed.
pub type LoadKeys<'a> = &'a dyn Fn() -> std::result::Result<OwnKeys, CryptoError>;

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
    /// Do without the backup.
    pub no_backup: bool,
    /// Do without the bundle's hooks.
    pub no_hooks: bool,
    /// What the backup is kept with.
    pub keys: LoadKeys<'a>,
    /// Asked before the first change.
    pub decide: &'a dyn Decide,
    /// Gives the secrets that are not in the bundle.
    pub ask: &'a dyn Ask,
    /// How the receipt is made.
    pub receipt: Wanted<'a>,
}

/// What became of an import.
#[derive(Serialize)]
pub struct ImportReport {
    /// What was planned, and unless it was a dry run, done.
    #[serde(flatten)]
    pub plan: ImportPlan,
    /// Whether it was only planned.
    pub dry_run: bool,
    /// The backup of what was replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup: Option<BackupMade>,
    /// The part of it that came late.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late_backup: Option<BackupMade>,
    /// The checks after the commit.
    pub checks: Vec<ComponentChecks>,
    /// The checks of the bundle and of this machine's profile.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub declared_checks: Vec<Outcome>,
    /// What could not be cleared away; `recover` does it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub leftovers: Vec<Finding>,
    /// The signed word that the bundle is in place, for its source; `None` if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Made>,
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
        recover_first(self.state, self.host, events)?;
        logged(events, |log| self.steps(incoming, log))
    }

    fn steps(&self, incoming: Incoming, log: &Log<'_>) -> Result<ImportReport> {
        let events: &dyn Events = log;
        // 3. Seal, signer, digests. 4. Keys and manifest; id and signer are held against each other inside.
        events.step("verifying");
        let bundle = self.gate.open(incoming, self.identities, Some(events))?;
        let (mark, ticket) = self.admit(&bundle)?;

        // 5. Plan: read-only.
        events.step("planning");
        let run = random_run()?;
        let overrides = |entry: &ComponentEntry| own_settings(self.profile, entry);
        let participants = participants(
            std::slice::from_ref(&bundle.opened),
            self.host,
            self.selection,
            &From::Bundle(&overrides),
        )?;
        require_use(&self.host.maps, &participants)?;
        let mut plan = self.plan(&bundle, &participants, &run, events)?;
        look_at_late_backups(&mut plan, self.state, self.no_backup, events);
        if self.dry_run {
            return Ok(ImportReport::planned(plan));
        }
        // What is left to a person may be what it lacks.
        refuse(&plan).inspect_err(|_| todos::tell(&plan.todos, events))?;
        require_space(&plan, self.host)?;
        let keys = own_keys(&plan, self.no_backup, self.keys)?;

        // 6. Confirm.
        let news = new_destinations(&mark, &plan);
        confirm(self.decide, &plan, &news)?;
        // What the bundle does not bring is asked for and fetched; then the plan has nothing open.
        participants::prepare(&participants, &mut plan.components, self.host, &run, self.ask, events)?;
        refuse(&plan)?;

        // 7. What uses all that is quiesced; whatever comes, it resumes.
        let quiet = quiet(&plan, &run, self.host, self.state, log);
        let transaction = Transaction {
            host: self.host,
            state: self.state,
            run: &run,
            participants: &participants,
            plan: &plan,
            keys: keys.as_ref(),
            quiet: &quiet,
            events: log,
        };
        let (backup, mut applied) = quiet.during(|| {
            // 8. The backup of what the plan touches.
            let backup = backed_up(&transaction)?;

            // 9. to 13. Stage, check, commit, check, remember, finalise: or undo.
            let begin = Begin { place: bundle.place.clone(), ..begin(&transaction, backup) };
            let applied = transaction.run(&begin, || {
                self.remember(mark, ticket.as_ref(), &plan)?;
                // Before it is said to hold: a recovery has no bundle any more.
                if let Err(error) = self.keep_held(&plan, &run, &participants) {
                    let what =
                        format!("what was put in place could not be kept for `kbpack status`: {error}");
                    events.finding("status", &Finding::new(Severity::Warning, what));
                }
                Ok(())
            })?;
            Ok((backup, applied))
        })?;
        if let Err(error) = SavedChecks::of(&plan, bundle.opened.signer(), self.host).save(self.state) {
            let what = format!("the checks of this import could not be kept for `kbpack check`: {error}");
            let finding = Finding::new(Severity::Warning, what).todo("name the bundle to it");
            events.finding("checks", &finding);
            applied.leftovers.push(finding);
        }
        // What an import brought, or a person did meanwhile, is done.
        todos::still_open(&mut plan.todos, self.host);
        // With nothing left to go wrong, the word for the source.
        let signer = keys.as_ref().map(|keys| &keys.signer);
        let receipt = make(self, signer, &bundle, &plan, &applied, events);
        let backup = backup.early().map(|made| made.shown(Part::Early, &run, self.state));
        Ok(ImportReport { receipt, ..ImportReport::done(plan, backup, applied) })
    }

    /// Keeps what the bundle holds, for `status`.
    fn keep_held(&self, plan: &ImportPlan, run: &str, participants: &[Participant]) -> Result<()> {
        let held = |participant: &Participant| {
            let Participant { name, kind, component, source, only, .. } = participant;
            let unknown = || EngineError::UnknownKind { name: name.clone(), kind: kind.clone() };
            let kind = components::kind(kind).ok_or_else(unknown)?;
            let mut things = of_component(name, kind, &**component, source, only)?;
            // What stands here is not what was packed.
            let planned = plan.components.iter().find(|planned| planned.name == *name);
            for (what, digest) in planned.iter().flat_map(|planned| &planned.plan.written) {
                if let Ok(at) = things.binary_search_by(|thing| thing.name.cmp(what)) {
                    let thing = &mut things[at];
                    (thing.content, thing.size, thing.time) = (Some(*digest), None, None);
                }
            }
            Ok((participant.begun(plan), things))
        };
        let held = participants.iter().map(held).collect::<Result<Vec<_>>>()?;
        let map = |(from, to): &(_, _)| (ShownPath(Clone::clone(from)), ShownPath(Clone::clone(to)));
        let about = |components| About {
            way: Way::Import,
            bundle: plan.id,
            profile: plan.profile.clone(),
            when: machine::now(),
            maps: self.host.maps.iter().map(map).collect(),
            components,
        };
        keep(self.state, run, &of(about, held))
    }

    /// Expiry, target and sequence (chapter R). Returns what is remembered of the signer, and the ticket that is answered.
    fn admit(&self, bundle: &Bundle) -> Result<(SignerMark, Option<Redeemed>)> {
        let manifest = bundle.opened.manifest();
        self.gate.check_expiry(bundle)?;
        let ticket = redeem(self.gate, bundle)?;
        let mark = self.state.mark(&bundle.opened.signer().fingerprint())?;
        if let Some(applied) = mark.profiles.get(&manifest.profile) {
            let older = manifest.sequence < applied.sequence
                || manifest.sequence == applied.sequence && manifest.id != applied.id;
            if older && !self.allow_older {
                return Err(EngineError::Older {
                    place: bundle.place.clone(),
                    sequence: manifest.sequence,
                    applied: applied.sequence,
                    profile: manifest.profile.clone(),
                });
            }
        }
        Ok((mark, ticket))
    }

    fn plan(
        &self,
        bundle: &Bundle,
        participants: &[Participant],
        run: &str,
        events: &dyn Events,
    ) -> Result<ImportPlan> {
        let manifest = bundle.opened.manifest();
        let named =
            |profile: &&Profile| manifest.components.iter().any(|c| profile.components.contains_key(&c.name));
        let mut components = participants::plan(participants, self.host, run, self.ask, events)?;
        refuse_commands(&mut components, bundle);
        let mut checks = checks::plan::of_import(bundle, self.profile)?;
        let overrides = |entry: &ComponentEntry| own_settings(self.profile, entry);
        let from = From::Bundle(&overrides);
        if participants::leaves_out_a_database(&bundle.opened, self.host, self.selection, &from)? {
            checks::plan::skip_comparisons(&mut checks);
        }
        Ok(ImportPlan {
            id: manifest.id,
            signer: bundle.opened.signer().fingerprint(),
            principal: bundle.opened.trust().principal.clone(),
            profile: manifest.profile.clone(),
            sequence: manifest.sequence,
            origin: format!("{}@{}", manifest.origin.user, manifest.origin.host),
            created: machine::timestamp(manifest.created),
            rolls_back: None,
            overrides: self.profile.filter(named).map(|profile| profile.path.as_path().into()),
            components,
            checks,
            hooks: hooks::plan::of_import(bundle, self.profile, !self.no_hooks),
            todos: todos::open(&manifest.todos, self.profile, self.host),
        })
    }

    /// The ticket that is used up, the sequence and the destinations. `--allow-older` never lowers the mark.
    fn remember(&self, mut mark: SignerMark, ticket: Option<&Redeemed>, plan: &ImportPlan) -> Result<()> {
        ticket.map_or(Ok(()), |ticket| ticket.use_up(plan.id))?;
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

impl ImportReport {
    /// Of a dry run.
    pub(super) fn planned(plan: ImportPlan) -> Self {
        let checked = Checked { components: Vec::new(), declared: Vec::new() };
        let applied = Applied { checked, late: None, leftovers: Vec::new() };
        ImportReport { dry_run: true, ..ImportReport::done(plan, None, applied) }
    }

    /// Of what was done.
    pub(super) fn done(plan: ImportPlan, backup: Option<BackupMade>, applied: Applied) -> Self {
        let Applied { checked: Checked { components: checks, declared: declared_checks }, late, leftovers } =
            applied;
        ImportReport {
            plan,
            dry_run: false,
            backup,
            late_backup: late,
            checks,
            declared_checks,
            leftovers,
            receipt: None,
        }
    }
}

/// Commands of the bundle's run only if its signer may have commands run here: else each is a refusal in the plan.
fn refuse_commands(components: &mut [PlannedComponent], bundle: &Bundle) {
    let trust = bundle.opened.trust();
    if trust.hooks {
        return;
    }
    let todo = format!(
        "to allow it: kbpack trust add {} '{}' --hooks; or name the command in this machine's own profile",
        trust.principal,
        bundle.opened.signer().to_line("")
    );
    for plan in components.iter_mut().map(|component| &mut component.plan) {
        for command in &plan.commands {
            let program = command.first().map_or("", String::as_str);
            let what =
                format!("the bundle wants to run '{program}' here, and its signer may not have commands run");
            plan.findings.push(Finding::new(Severity::Refusal, what).todo(&todo));
        }
    }
}
