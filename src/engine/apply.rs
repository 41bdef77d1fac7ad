//! Steps 9 to 13: stage, check, commit, check, finalise. All of it, or nothing.

use crate::base::fault::{Fault, Faulty};
use crate::base::interrupt;
use crate::component::{self, Act, Finding, Host, Journal, Scope, Severity};
use crate::crypto::own::OwnKeys;
use crate::engine::backup::{back_up, discard, BackupMade, Made, Part};
use crate::engine::checks::{self, Outcome};
use crate::engine::diff::held::forget;
use crate::engine::error::{EngineError, In, Result};
use crate::engine::events::Events;
use crate::engine::hooks::{Quiet, STOPPED};
use crate::engine::import::ComponentChecks;
use crate::engine::journal::{Begin, End, Entry, JournalError, JournalFile};
use crate::engine::log::Log;
use crate::engine::participants::Participant;
use crate::engine::plan::ImportPlan;
use crate::engine::recover::{not_dropped, not_put_away};
use crate::engine::state::State;
use std::any::Any;
use std::cell::RefCell;
use std::panic::{catch_unwind, AssertUnwindSafe};

/// A change of this machine that was planned and confirmed: an import, or a rollback.
pub(super) struct Transaction<'a> {
    pub(super) host: &'a Host,
    pub(super) state: &'a State,
    /// 16 hex digits that name it.
    pub(super) run: &'a str,
    pub(super) participants: &'a [Participant],
    pub(super) plan: &'a ImportPlan,
    /// What a backup is kept with; `None`: none is made.
    pub(super) keys: Option<&'a OwnKeys>,
    /// Its hooks; quiesced before it runs.
    pub(super) quiet: &'a Quiet<'a>,
    pub(super) events: &'a Log<'a>,
}

/// What step 12 found.
pub(super) struct Checked {
    pub(super) components: Vec<ComponentChecks>,
    /// The checks of the bundle and of this machine's profile.
    pub(super) declared: Vec<Outcome>,
}

/// What a transaction that holds has to tell.
pub(super) struct Applied {
    pub(super) checked: Checked,
    /// The late part of the backup.
    pub(super) late: Option<BackupMade>,
    /// What could not be cleared away.
    pub(super) leftovers: Vec<Finding>,
}

/// The journal as one component sees it.
struct Intents<'a> {
    file: &'a RefCell<JournalFile>,
    participant: &'a Participant,
    events: &'a dyn Events,
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
        for act in acts {
            self.events.act(component.as_str(), &self.participant.component.describe(act));
        }
        Ok(())
    }
}

impl Transaction<'_> {
    pub(super) fn scope<'s>(&'s self, participant: &'s Participant) -> Scope<'s> {
        participant.scope(self.host, self.run, self.events)
    }

    /// Steps 9 to 13. `keep` is called when all is in place and checked: it writes down what is to be remembered.
    pub(super) fn run(&self, begin: &Begin, keep: impl FnOnce() -> Result<()>) -> Result<Applied> {
        interrupt::watch(STOPPED).map_err(|error| EngineError::Io { path: self.host.home.clone(), error })?;
        let command = if begin.rolls_back.is_some() { "rollback" } else { "import" };
        self.events.begin(self.state, command, begin);
        let history = self.state.ensure_history()?;
        let journal = RefCell::new(JournalFile::create(&self.state.ensure_journals()?, begin.clone())?);
        let (checked, late) = match self.apply(&journal, keep) {
            Ok(applied) => applied,
            // The journal stays: `recover` goes on with it.
            Err(half_done) if half_done.fault() == Fault::RecoveryNeeded => return Err(half_done),
            Err(undone) => {
                if let Err(error) = journal.into_inner().end(begin, End::Undone, &history) {
                    self.events.finding("journal", &not_put_away("everything is as it was", &error));
                }
                discard(self.run, self.state);
                forget(self.state, self.run);
                return Err(undone);
            }
        };

        self.events.step("dropping what was replaced");
        // 13. Finalise: what was replaced is dropped, the innermost component's first. The import holds, whatever is
        // left lying about.
        let mut leftovers = Vec::new();
        for participant in self.participants.iter().rev() {
            let finalised =
                participant.component.finalise(&self.scope(participant), &participant.acts.borrow());
            if let Err(error) = finalised {
                leftovers.push((participant.name.as_str(), not_dropped(&error)));
            }
        }
        // Else the journal stays, for `recover` to try again.
        if leftovers.is_empty() {
            let begin = Begin { late, ..begin.clone() };
            if let Err(error) = journal.into_inner().end(&begin, End::Imported, &history) {
                leftovers.push(("journal", not_put_away("the import is done", &error)));
            }
        }
        leftovers.iter().for_each(|(of, finding)| self.events.finding(of, finding));
        let late = late.map(|made| made.shown(Part::Late, self.run, self.state));
        Ok(Applied { checked, late, leftovers: leftovers.into_iter().map(|(_, finding)| finding).collect() })
    }

    /// Stages, checks and commits all components; if anything fails, takes everything back in reverse order.
    fn apply(
        &self,
        journal: &RefCell<JournalFile>,
        keep: impl FnOnce() -> Result<()>,
    ) -> Result<(Checked, Option<Made>)> {
        // A panic is a failure like any other: what was begun is undone.
        let attempt = catch_unwind(AssertUnwindSafe(|| {
            self.stage()?;
            let checks = self.commit(journal)?;
            let late = self.back_up_late(journal)?;
            keep()?;
            journal.borrow_mut().append(&Entry::Kept)?;
            Ok((checks, late))
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
        Err(self.undo(cause))
    }

    /// Takes everything back after `cause`, in reverse order. Returns what to say.
    fn undo(&self, cause: EngineError) -> EngineError {
        self.events.step("undoing");
        if interrupt::check().is_err() {
            let what = "interrupted: everything is put back; another signal would stop that at once";
            let finding =
                Finding::new(Severity::Warning, what).todo("after another one, run `kbpack recover`");
            self.events.finding("import", &finding);
        }
        // A failed check, or hook, ends an import in one way, also where all was in place already.
        let committed = matches!(cause, EngineError::CheckFailed { .. } | EngineError::Hook(_))
            || self.participants.iter().any(|p| !p.acts.borrow().is_empty());
        self.quiet.before_undo();
        let mut failures = Vec::new();
        for participant in self.participants.iter().rev() {
            let undo = || participant.component.undo(&self.scope(participant), &participant.acts.borrow());
            // One that panics must not keep the others from being undone.
            let failure = match catch_unwind(AssertUnwindSafe(undo)) {
                Ok(Ok(kept)) => {
                    kept.iter().for_each(|finding| self.events.finding(participant.name.as_str(), finding));
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                Err(panic) => words_of(&*panic),
            };
            failures.push(format!("component '{}': {failure}", participant.name));
        }
        if failures.is_empty() && committed {
            self.quiet.undone();
        }
        let cause = Box::new(cause);
        match (failures.is_empty(), committed) {
            (false, _) => EngineError::HalfDone { cause, undo: failures.join("; ") },
            (true, true) => EngineError::RolledBack(cause),
            (true, false) => *cause,
        }
    }

    /// The rest of step 8: what the commit moved aside, before it is dropped.
    fn back_up_late(&self, journal: &RefCell<JournalFile>) -> Result<Option<Made>> {
        let Some(keys) = self.keys.filter(|_| Part::Late.is_needed(self.plan)) else { return Ok(None) };
        let made = back_up(self, keys, Part::Late)?;
        journal.borrow_mut().append(&Entry::BackedUp(made))?;
        Ok(Some(made))
    }

    fn stage(&self) -> Result<()> {
        for (participant, planned) in self.participants.iter().zip(&self.plan.components) {
            let name = &participant.name;
            self.events.step(&format!("unpacking {name}"));
            let scope = self.scope(participant);
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

    fn commit(&self, journal: &RefCell<JournalFile>) -> Result<Checked> {
        // 11. Quick, reversible acts, one component after the other.
        self.events.step("putting in place");
        for (participant, planned) in self.participants.iter().zip(&self.plan.components) {
            let scope = self.scope(participant);
            let mut intents = Intents { file: journal, participant, events: self.events };
            participant.component.commit(&scope, &planned.plan, &mut intents).within(&participant.name)?;
        }
        // What is to be done first where it is in place; then programs go on, for the checks ask them.
        self.quiet.in_place()?;
        self.quiet.resume();
        // 12. The checks.
        self.events.step("checking");
        let mut components = Vec::new();
        for (participant, planned) in self.participants.iter().zip(&self.plan.components) {
            let scope = self.scope(participant);
            let results = participant.component.check(&scope, &planned.plan).within(&participant.name)?;
            if let Some((name, failure)) = results.iter().find_map(|r| Some((&r.name, r.failure.as_ref()?))) {
                let name = format!("{}: {name}", participant.name);
                return Err(EngineError::CheckFailed { name, failure: failure.clone() });
            }
            components.push(ComponentChecks { name: participant.name.clone(), results });
        }
        let declared = checks::run::run(&self.plan.checks, self.host, true, self.events)?;
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
