//! `check`: whether what was imported is still in place, and whether the checks still pass. Changes nothing.

use crate::base::interrupt;
use crate::component::{Change, CheckResult, Host, Plan, Severity};
use crate::crypto::identity::Identities;
use crate::crypto::paths::KeyPaths;
use crate::engine::checks::later::SavedChecks;
use crate::engine::checks::plan::{of_import, PlannedCheck};
use crate::engine::checks::{run, CheckError, Outcome, Verdict};
use crate::engine::error::{EngineError, Result};
use crate::engine::events::Events;
use crate::engine::gate::{Gate, Incoming};
use crate::engine::import::{random_run, ComponentChecks};
use crate::engine::machine;
use crate::engine::participants::{comparable, own_settings, From, Participant};
use crate::engine::profile::Profile;
use crate::engine::selection::Selection;
use crate::engine::state::State;
use crate::format::{BundleId, ComponentEntry};
use serde::Serialize;

/// What to compare with a bundle.
pub struct Check<'a> {
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
}

/// How the checks went.
#[derive(Debug, Serialize)]
pub struct CheckReport {
    /// The bundle's id.
    pub id: BundleId,
    /// Its profile's name.
    pub profile: String,
    /// When it was imported, if that is why it is checked: RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub imported: Option<String>,
    /// The components, compared with the bundle; none without one.
    pub components: Vec<ComponentChecks>,
    /// The checks of the bundle and of this machine's profile.
    pub declared_checks: Vec<Outcome>,
}

impl CheckReport {
    /// An error if a check failed; those that only warn do not count.
    pub fn verdict(&self) -> Result<()> {
        let results = || self.components.iter().flat_map(|component| &component.results);
        let tried = results().filter(|result| result.skipped.is_none()).count();
        let of = tried + self.declared_checks.iter().filter(|o| o.verdict != Verdict::Skipped).count();
        let failed = results().filter(|result| result.failure.is_some()).count();
        let failed = failed + self.declared_checks.iter().filter(|outcome| outcome.is_fatal()).count();
        match failed {
            0 => Ok(()),
            _ => Err(CheckError::Failed { failed, of }.into()),
        }
    }
}

/// The checks that the last import left. What is in place can be compared only with the bundle.
pub fn last(paths: &KeyPaths, state: &State, host: &Host, events: &dyn Events) -> Result<CheckReport> {
    let saved = SavedChecks::load(state)?;
    let (planned, host) = saved.plan(paths, host)?;
    Ok(CheckReport {
        id: saved.bundle,
        profile: saved.profile,
        imported: Some(machine::timestamp(saved.imported)),
        components: Vec::new(),
        declared_checks: try_all(&planned, &host, events)?,
    })
}

/// What a second signal says.
const STOPPED: &str = "error: stopped by a second signal\n todo: nothing was changed; run it again\n";

fn try_all(planned: &[PlannedCheck], host: &Host, events: &dyn Events) -> Result<Vec<Outcome>> {
    interrupt::watch(STOPPED).map_err(|error| EngineError::Io { path: host.home.clone(), error })?;
    Ok(run::run(planned, host, false, events)?)
}

impl Check<'_> {
    /// Compares this machine with `incoming` as an import would plan it, and runs its checks. Expiry and sequence do
    /// not count: nothing is put in place.
    pub fn run(&self, incoming: Incoming, events: &dyn Events) -> Result<CheckReport> {
        let _lock = self.state.lock()?;
        events.step("verifying");
        let bundle = self.gate.open(incoming, self.identities, Some(events))?;
        let manifest = bundle.opened.manifest();
        let planned = of_import(&bundle, self.profile)?;
        let run = random_run()?;
        let overrides = |entry: &ComponentEntry| own_settings(self.profile, entry);
        let from = From::Bundle(&overrides);
        let (all, unclear) =
            comparable(std::slice::from_ref(&bundle.opened), self.host, self.selection, &from)?;
        let mut components = Vec::new();
        for participant in all {
            events.step(&format!("checking {}", participant.name));
            let results = self.compare(&participant, &run, events);
            components.push(ComponentChecks { name: participant.name.clone(), results });
        }
        for (entry, error) in unclear {
            let results = vec![CheckResult::new(AS_IN_THE_BUNDLE, Some(error.to_string()))];
            components.push(ComponentChecks { name: entry.name.clone(), results });
        }
        Ok(CheckReport {
            id: manifest.id,
            profile: manifest.profile.clone(),
            imported: None,
            components,
            declared_checks: try_all(&planned, self.host, events)?,
        })
    }

    /// What cannot be planned or compared is not in place.
    fn compare(&self, participant: &Participant, run: &str, events: &dyn Events) -> Vec<CheckResult> {
        let scope = participant.scope(self.host, run, events);
        let component = &participant.component;
        let compared = component.plan(&scope, &participant.source).and_then(|plan| {
            if let Some(results) = component.compare(&scope, &plan)? {
                return Ok(results);
            }
            let mut results = vec![as_in_the_bundle(&plan)];
            results.extend(open(&plan));
            results.extend(component.check(&scope, &plan)?);
            Ok(results)
        });
        compared.unwrap_or_else(|error| vec![CheckResult::new(AS_IN_THE_BUNDLE, Some(error.to_string()))])
    }
}

const AS_IN_THE_BUNDLE: &str = "as in the bundle";

/// Whether an import would find nothing to do.
fn as_in_the_bundle(plan: &Plan) -> CheckResult {
    let refusal = plan.findings.iter().find(|finding| finding.severity == Severity::Refusal);
    let changes: Vec<&Change> =
        plan.changes.iter().filter(|change| !plan.open.contains(&change.what)).collect();
    let failure = match (changes.as_slice(), refusal) {
        (_, Some(refusal)) => Some(refusal.what.clone()),
        ([], None) => None,
        ([first, ..], None) => {
            Some(format!("an import would change {}, the first is {}", changes.len(), first.what))
        }
    };
    CheckResult::new(AS_IN_THE_BUNDLE, failure)
}

/// What the bundle does not bring, and only an import can tell: it is neither in place nor not.
fn open(plan: &Plan) -> Option<CheckResult> {
    let first = plan.open.first()?;
    let more = if plan.open.len() > 1 { format!(" and {} more", plan.open.len() - 1) } else { String::new() };
    let skipped = Some(format!("not in the bundle: an import asks for it, or fetches it ({first}{more})"));
    Some(CheckResult { skipped, ..CheckResult::new("what the bundle does not bring", None) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::{ChangeKind, Finding};

    #[test]
    fn what_an_import_would_do_is_not_as_in_the_bundle() {
        let mut plan = Plan::new(());
        plan.unchanged = 3;
        plan.findings.push(Finding::new(Severity::Warning, "odd"));
        assert_eq!(as_in_the_bundle(&plan).failure, None);
        plan.changes.push(Change { kind: ChangeKind::Removed, what: "a".to_owned() });
        assert_eq!(
            as_in_the_bundle(&plan).failure.as_deref(),
            Some("an import would change 1, the first is a")
        );
        assert!(open(&plan).is_none());
        plan.changes.push(Change { kind: ChangeKind::Added, what: "$K".to_owned() });
        plan.open.push("$K".to_owned());
        assert_eq!(
            as_in_the_bundle(&plan).failure.as_deref(),
            Some("an import would change 1, the first is a")
        );
        plan.changes.remove(0);
        assert_eq!(as_in_the_bundle(&plan).failure, None);
        assert!(open(&plan).unwrap().skipped.unwrap().contains("($K)"));
        plan.findings.push(Finding::new(Severity::Refusal, "no"));
        assert_eq!(as_in_the_bundle(&plan).failure.as_deref(), Some("no"));
    }
}
