//! What an import would do: shown, confirmed, and then consumed by staging and commit.

use crate::base::name::ComponentName;
use crate::base::path::ShownPath;
use crate::component::{self, ChangeKind, Finding, Host, Plan, Severity, UndoStrength};
use crate::engine::checks::plan::PlannedCheck;
use crate::engine::error::{EngineError, Result};
use crate::engine::events::Events;
use crate::engine::hooks::plan::PlannedHook;
use crate::engine::state::{SignerMark, State};
use crate::engine::todos::PlannedTodo;
use crate::format::BundleId;
use serde::Serialize;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

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
    /// The run that this takes back, if it is a rollback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rolls_back: Option<String>,
    /// The target's own profile, if one had a say.
    pub overrides: Option<ShownPath>,
    /// Each component, in the order in which they are committed.
    pub components: Vec<PlannedComponent>,
    /// What is checked after the commit, besides the components themselves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checks: Vec<PlannedCheck>,
    /// What is run around it, in its order for each stage.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<PlannedHook>,
    /// What is left to a person, and not done yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub todos: Vec<PlannedTodo>,
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

impl ImportPlan {
    /// What every component's plan found, each with the component's name.
    pub fn findings(&self) -> impl Iterator<Item = (&str, &Finding)> {
        self.components.iter().flat_map(|c| c.plan.findings.iter().map(move |f| (c.name.as_str(), f)))
    }
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
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        rewrites: &'a [component::Rewrite],
        findings: &'a [component::Finding],
        executes: &'a [String],
        not_packed: &'a [component::NotPacked],
        space: u64,
    }
    Summary {
        destinations: &plan.destinations,
        added: count(plan, ChangeKind::Added),
        changed: count(plan, ChangeKind::Changed),
        removed: count(plan, ChangeKind::Removed),
        unchanged: plan.unchanged,
        changes: &plan.changes,
        rewrites: &plan.rewrites,
        findings: &plan.findings,
        executes: &plan.executes,
        not_packed: &plan.not_packed,
        space: plan.space,
    }
    .serialize(s)
}

/// How many changes of `kind` a plan has.
pub fn count(plan: &Plan, kind: ChangeKind) -> usize {
    plan.changes.iter().filter(|change| change.kind == kind).count()
}

/// Every place that the plan writes to.
pub fn destinations(plan: &ImportPlan) -> impl Iterator<Item = String> + '_ {
    plan.components.iter().flat_map(|c| c.plan.destinations.iter().cloned())
}

/// Destinations that no earlier bundle of this signer had, under whatever profile's name. A signer's first
/// import has none: all are shown in its plan.
pub fn new_destinations(mark: &SignerMark, plan: &ImportPlan) -> Vec<String> {
    if mark.profiles.is_empty() {
        return Vec::new();
    }
    let known = |destination: &String| {
        mark.profiles.values().any(|profile| profile.destinations.contains(destination))
    };
    destinations(plan).filter(|destination| !known(destination)).collect()
}

/// Stops where a file system has less room than staging needs on it, before anything is written.
pub fn require_space(plan: &ImportPlan, host: &Host) -> Result<()> {
    let mut needs: BTreeMap<u64, (PathBuf, u64)> = BTreeMap::new();
    for component in &plan.components {
        // A component stages beside its first destination; one that is no path (a database) says where itself.
        let destination = component.plan.destinations.first().and_then(|text| host.expand(text));
        let own = destination.map(|path| (path, component.plan.space));
        for (path, bytes) in own.into_iter().chain(component.plan.room.iter().cloned()) {
            let Some(folder) = nearest_folder(&path) else { continue };
            let Ok(meta) = folder.metadata() else { continue };
            needs.entry(meta.dev()).or_insert((folder, 0)).1 += bytes;
        }
    }
    for (folder, need) in needs.into_values() {
        let Ok(room) = rustix::fs::statvfs(&folder) else { continue };
        let free = room.f_bavail.saturating_mul(room.f_frsize);
        if need > free {
            return Err(EngineError::NoSpace { folder, need, free });
        }
    }
    Ok(())
}

/// What keeps a late backup from being made is found out when all else is done: what of it can be seen before is a
/// refusal in the plan, and that it may not fit is said.
pub fn look_at_late_backups(plan: &mut ImportPlan, state: &State, no_backup: bool, events: &dyn Events) {
    let mut need = 0;
    for component in plan.components.iter_mut().filter(|_| !no_backup) {
        let Some(late) = &component.plan.late_backup else { continue };
        need += late.bytes;
        component.plan.findings.extend(late.hindrance.clone());
    }
    let Some(folder) = nearest_folder(&state.backups_dir()).filter(|_| need > 0) else {
        return;
    };
    let Ok(room) = rustix::fs::statvfs(&folder) else { return };
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    if need > free {
        let what = format!(
            "the backup of what is replaced may take up to {need} bytes, and {} has {free} bytes free",
            folder.display()
        );
        let todo = "make room there, or name another state directory with --state-dir: if it does not fit, the import is undone";
        events.finding("backup", &Finding::new(Severity::Warning, what).todo(todo));
    }
}

/// The deepest folder above `path`, or `path` itself, that exists.
fn nearest_folder(path: &Path) -> Option<PathBuf> {
    path.ancestors().find(|above| above.is_dir()).map(Path::to_owned)
}

/// What components refuse, and what to do about it.
pub(super) fn refusals<'a>(
    found: impl Iterator<Item = (&'a str, &'a Finding)>,
) -> (Vec<String>, Vec<String>) {
    let (mut what, mut remedies) = (Vec::new(), Vec::new());
    for (name, finding) in found.filter(|(_, finding)| finding.severity == Severity::Refusal) {
        what.push(format!("component '{name}': {}", finding.what));
        remedies.extend(finding.remedy.clone());
    }
    (what, remedies)
}

/// Stops at a plan that has refusals.
pub fn refuse(plan: &ImportPlan) -> Result<()> {
    let (mut what, mut remedies) = refusals(plan.findings());
    let mut refused = plan.hooks.iter().filter_map(|hook| Some((hook, hook.refused.as_ref()?)));
    if let Some((hook, reason)) = refused.next() {
        let more = match refused.count() {
            0 => String::new(),
            1 => " and another command".to_owned(),
            n => format!(" and {n} other commands"),
        };
        let stage = hook.stage.as_str();
        what.push(format!(
            "the bundle wants to run '{}' ({stage}){more} here, and {}",
            hook.what, reason.why
        ));
        // The same does for all of them.
        remedies.push(reason.remedy.clone());
    }
    match what.is_empty() {
        true => Ok(()),
        false => Err(EngineError::Refused(what, remedies)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::{LateBackup, Progress};
    use std::sync::Mutex;

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Progress for Heard {
        fn expect(&self, _: u64) {}
        fn advance(&self, _: u64) {}
    }

    impl Events for Heard {
        fn step(&self, _: &str) {}
        fn finding(&self, _: &str, finding: &Finding) {
            self.0.lock().unwrap().push(finding.what.clone());
        }
    }

    fn planned(bytes: u64, hindrance: Option<&str>) -> ImportPlan {
        let hindrance = hindrance.map(|what| Finding::new(Severity::Refusal, what));
        let mut plan = Plan::new(());
        plan.late_backup = Some(LateBackup { bytes, hindrance });
        let component = PlannedComponent {
            name: ComponentName::new("db").unwrap(),
            kind: "postgres".to_owned(),
            undo: UndoStrength::Exact,
            left_out: Vec::new(),
            plan,
        };
        ImportPlan {
            id: BundleId([1; 32]),
            signer: String::new(),
            principal: String::new(),
            profile: String::new(),
            sequence: 1,
            origin: String::new(),
            created: String::new(),
            rolls_back: None,
            overrides: None,
            components: vec![component],
            hooks: Vec::new(),
            todos: Vec::new(),
            checks: Vec::new(),
        }
    }

    #[test]
    fn what_keeps_a_late_backup_from_being_made_stops_only_who_wants_one() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::new(dir.path().to_owned());
        for (no_backup, refused) in [(false, true), (true, false)] {
            let mut plan = planned(u64::MAX, Some("there is no pg_dump"));
            let heard = Heard::default();
            look_at_late_backups(&mut plan, &state, no_backup, &heard);
            assert_eq!(refuse(&plan).is_err(), refused);
            let heard = heard.0.into_inner().unwrap();
            assert_eq!(heard.iter().any(|what| what.contains("may take up to")), !no_backup, "{heard:?}");
        }
        let (mut plan, heard) = (planned(1, None), Heard::default());
        look_at_late_backups(&mut plan, &state, false, &heard);
        assert!(refuse(&plan).is_ok() && heard.0.into_inner().unwrap().is_empty());
    }
}
