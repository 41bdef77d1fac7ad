//! Steps 9 to 12 of an import: stage, check, commit, check. All of it, or nothing.

use crate::base::interrupt;
use crate::base::name::ComponentName;
use crate::base::path::BundlePath;
use crate::component::{self, Act, Component, Finding, Journal, Scope, Severity};
use crate::engine::checks;
use crate::engine::error::{EngineError, In, Result};
use crate::engine::events::Events;
use crate::engine::import::{Checked, ComponentChecks, Import};
use crate::engine::journal::{Entry, JournalError, JournalFile};
use crate::engine::machine;
use crate::engine::plan::ImportPlan;
use crate::engine::state::SignerMark;
use crate::pipeline::unpack::ComponentSource;
use serde_json::Value;
use std::any::Any;
use std::cell::RefCell;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::PathBuf;

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
    /// What it intended so far.
    pub(super) acts: RefCell<Vec<Act>>,
}

/// The journal as one component sees it.
struct Intents<'a> {
    file: &'a RefCell<JournalFile>,
    participant: &'a Participant,
}

impl Journal for Intents<'_> {
    fn intend(&mut self, acts: &[Act]) -> component::Result<()> {
        interrupt::check().map_err(component::Error::of)?;
        let component = &self.participant.name;
        self.file
            .borrow_mut()
            .append(&Entry::Acts { component: component.clone(), acts: acts.to_vec() })
            .map_err(component::Error::of)?;
        self.participant.acts.borrow_mut().extend_from_slice(acts);
        Ok(())
    }
}

impl Import<'_> {
    pub(super) fn scope<'s>(
        &'s self,
        participant: &'s Participant,
        run: &'s str,
        events: &'s dyn Events,
    ) -> Scope<'s> {
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
    pub(super) fn apply(
        &self,
        participants: &[Participant],
        mark: SignerMark,
        plan: &ImportPlan,
        run: &str,
        journal: &RefCell<JournalFile>,
        events: &dyn Events,
    ) -> Result<Checked> {
        // A panic is a failure like any other: what was begun is undone.
        let attempt = catch_unwind(AssertUnwindSafe(|| {
            self.stage(participants, plan, run, events)?;
            let checks = self.commit(participants, plan, run, journal, events)?;
            self.remember(mark, plan)?;
            journal.borrow_mut().append(&Entry::Kept)?;
            Ok(checks)
        }));
        let outcome = attempt.unwrap_or_else(|panic| Err(EngineError::Panicked(words_of(&*panic))));
        let cause = match outcome {
            // Perhaps the journal says that it is kept: then only `recover` knows the way, when it can be read again.
            Err(EngineError::Journal(doubtful @ JournalError::Doubtful { .. })) => {
                return Err(EngineError::Journal(doubtful))
            }
            Err(cause) => cause,
            kept => return kept,
        };
        events.step("undoing");
        if interrupt::check().is_err() {
            let what = "interrupted: everything is put back; another signal would stop that at once";
            let finding =
                Finding::new(Severity::Warning, what).todo("after another one, run `kbpack recover`");
            events.finding("import", &finding);
        }
        // A failed check ends an import in one way, also where all was in place already.
        let committed = matches!(cause, EngineError::CheckFailed { .. })
            || participants.iter().any(|p| !p.acts.borrow().is_empty());
        let mut failures = Vec::new();
        for participant in participants.iter().rev() {
            let scope = self.scope(participant, run, events);
            let undo = || participant.component.undo(&scope, &participant.acts.borrow());
            // One that panics must not keep the others from being undone.
            let failure = match catch_unwind(AssertUnwindSafe(undo)) {
                Ok(Ok(kept)) => {
                    kept.iter().for_each(|finding| events.finding(participant.name.as_str(), finding));
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                Err(panic) => words_of(&*panic),
            };
            failures.push(format!("component '{}': {failure}", participant.name));
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
        journal: &RefCell<JournalFile>,
        events: &dyn Events,
    ) -> Result<Checked> {
        // 11. Quick, reversible acts, one component after the other.
        events.step("putting in place");
        for (participant, planned) in participants.iter().zip(&plan.components) {
            let scope = self.scope(participant, run, events);
            let mut intents = Intents { file: journal, participant };
            participant.component.commit(&scope, &planned.plan, &mut intents).within(&participant.name)?;
        }
        // 12. The checks.
        events.step("checking");
        let mut components = Vec::new();
        for (participant, planned) in participants.iter().zip(&plan.components) {
            let scope = self.scope(participant, run, events);
            let results = participant.component.check(&scope, &planned.plan).within(&participant.name)?;
            if let Some((name, failure)) = results.iter().find_map(|r| Some((&r.name, r.failure.as_ref()?))) {
                let name = format!("{}: {name}", participant.name);
                return Err(EngineError::CheckFailed { name, failure: failure.clone() });
            }
            components.push(ComponentChecks { name: participant.name.clone(), results });
        }
        let declared = checks::run::run(&plan.checks, self.host, true, events)?;
        if let Some(failed) = declared.iter().find(|outcome| outcome.is_fatal()) {
            let failure = failed.why.clone().unwrap_or_default();
            return Err(EngineError::CheckFailed { name: failed.name.clone(), failure });
        }
        Ok(Checked { components, declared })
    }
}

/// What a panic said.
fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "panic".to_owned())
}
