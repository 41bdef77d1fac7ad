//! The time in which programs are quiesced: what runs at its beginning, inside it, and at its end in every case.

use super::child::{self, Failure};
use super::note::{leftovers, of_run, Note};
use super::{describe, HookError, OwnedHook, WayOut};
use crate::base::fault::{Fault, Faulty};
use crate::base::interrupt::{self, Interrupted};
use crate::component::{Finding, Host, Severity};
use crate::engine::error::{EngineError, Result};
use crate::engine::events::Events;
use crate::engine::state::State;
use crate::format::{Stage, Where};
use std::cell::Cell;

/// What a second signal says on the target.
pub(in crate::engine) const STOPPED: &str = "error: stopped by a second signal, in the middle of the import or of undoing it\n todo: run `kbpack recover` before anything else; it ends what was begun\n";
/// What it says on the source.
const STOPPED_EXPORT: &str = "error: stopped by a second signal, before what was quiesced could resume\n todo: run `kbpack recover`; it runs the resume hooks\n";

/// The hooks of one run, and whether programs are quiesced by them now.
pub(in crate::engine) struct Quiet<'a> {
    note: Note,
    host: Host,
    state: &'a State,
    events: &'a dyn Events,
    /// Whether it takes an import back, whose hooks these were.
    is_rollback: bool,
    quiesced: Cell<bool>,
}

impl<'a> Quiet<'a> {
    /// Nothing has run yet. `side` is where it is.
    pub(in crate::engine) fn new(
        (run, side): (&str, Where),
        host: &Host,
        state: &'a State,
        hooks: Vec<OwnedHook>,
        events: &'a dyn Events,
    ) -> Self {
        let note = Note::new(run, side, host, hooks);
        let quiesced = Cell::new(false);
        Quiet { note, host: host.clone(), state, events, is_rollback: false, quiesced }
    }

    /// The same for a rollback.
    pub(in crate::engine) fn taking_back(self, is_rollback: bool) -> Self {
        Quiet { is_rollback, ..self }
    }

    /// The hooks of a run that was cut off, which may have quiesced programs, or let them go on.
    pub(in crate::engine) fn left(note: Note, host: &Host, state: &'a State, events: &'a dyn Events) -> Self {
        let quiesced = Cell::new(false);
        Quiet { host: note.host(host), note, state, events, is_rollback: false, quiesced }
    }

    /// The same for the run of a journal; `None` if it had no hooks, or all is resumed.
    pub(in crate::engine) fn of_run(
        run: &str,
        host: &Host,
        state: &'a State,
        events: &'a dyn Events,
    ) -> Result<Option<Self>> {
        Ok(of_run(run, state)?.map(|note| Quiet::left(note, host, state, events)))
    }

    /// Quiesces, does `work`, and resumes if that has not; whatever becomes of it. Only where recovery is needed nothing
    /// resumes: half a state is nothing to run on, and `recover` resumes.
    pub(in crate::engine) fn during<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        if self.note.hooks.is_empty() {
            return work();
        }
        let words = if self.note.side == Where::Source { STOPPED_EXPORT } else { STOPPED };
        interrupt::watch(words).map_err(|error| EngineError::Io { path: self.host.home.clone(), error })?;
        self.note.save(self.state)?;
        self.quiesced.set(true);
        let outcome = self.each(Stage::Quiesce, true).and_then(|()| work());
        match outcome {
            Err(half_done) if half_done.fault() == Fault::RecoveryNeeded => {
                let what = "what was quiesced stays so until `kbpack recover` has put things right";
                self.events.finding("hooks", &Finding::new(Severity::Warning, what));
                Err(half_done)
            }
            outcome => {
                self.end();
                outcome
            }
        }
    }

    /// What is to run when everything is in place: for a rollback, that is what runs when everything is put back.
    pub(in crate::engine) fn in_place(&self) -> Result<()> {
        match self.is_rollback {
            true => {
                self.all(Stage::Rollback);
                Ok(())
            }
            false => self.each(Stage::AfterCommit, true),
        }
    }

    /// Programs go on. What fails is said, with what to run by hand.
    pub(in crate::engine) fn resume(&self) {
        if self.quiesced.replace(false) {
            self.all(Stage::Resume);
        }
    }

    /// An undo comes: programs that have resumed are quiesced again. One that cannot be does not keep it from coming.
    pub(in crate::engine) fn before_undo(&self) {
        if !self.note.hooks.is_empty() && !self.quiesced.replace(true) {
            self.all(Stage::Quiesce);
        }
    }

    /// What was in place is put back.
    pub(in crate::engine) fn undone(&self) {
        self.all(Stage::Rollback);
    }

    /// Resumes what has not, and forgets the run.
    pub(in crate::engine) fn end(&self) {
        self.resume();
        self.forget();
    }

    /// Resumes, whether that was done or not: a run that was cut off does not say.
    pub(in crate::engine) fn end_left(&self) {
        self.quiesced.set(true);
        self.end();
    }

    fn forget(&self) {
        if let Err(error) = self.note.remove(self.state) {
            let what = format!("that everything has resumed could not be noted: {error}");
            let todo = "put that right and run `kbpack recover`; it runs the resume hooks again";
            self.events.finding("hooks", &Finding::new(Severity::Warning, what).todo(todo));
        }
    }

    /// The hooks of `stage` until one fails that may not. A signal ends them where `stops`.
    fn each(&self, stage: Stage, stops: bool) -> Result<()> {
        for owned in self.note.hooks.iter().filter(|owned| owned.hook.stage == stage) {
            let what = describe(&owned.hook);
            self.events.step(&format!("hook {}: {what}", stage.as_str()));
            let why = match child::run(&owned.hook, &self.host, stops, self.events) {
                Ok(()) => continue,
                Err(Failure::Interrupted) => return Err(Interrupted.into()),
                Err(Failure::Why(why)) => why,
            };
            if stops && owned.hook.is_fatal() {
                let by_flag = self.is_rollback || owned.by.is_some();
                let way_out = if by_flag { WayOut::Flag } else { WayOut::Profile };
                return Err(HookError::Failed { stage: stage.as_str(), what, way_out, why }.into());
            }
            let text = format!("the {} hook '{what}' failed: {why}", stage.as_str());
            let finding = Finding::new(Severity::Warning, text);
            self.events.finding(
                "hooks",
                &match stage {
                    // Later it would do harm: what it should have stopped runs on the new state.
                    Stage::Quiesce => finding,
                    _ => finding.todo(format_args!("run it by hand: {what}")),
                },
            );
        }
        Ok(())
    }

    /// All hooks of `stage`: neither a failure nor a signal keeps the next from its turn.
    fn all(&self, stage: Stage) {
        // Nothing stops it, so there is no error.
        let _ = self.each(stage, false);
    }
}

/// Resumes what runs that were cut off have quiesced, on the side `of` if that is given. Returns their names. The caller
/// holds the lock.
pub(in crate::engine) fn resume_left(
    of: Option<Where>,
    host: &Host,
    state: &State,
    events: &dyn Events,
) -> Result<Vec<String>> {
    let mut runs = Vec::new();
    for note in leftovers(state)? {
        if of.is_none_or(|side| side == note.side) {
            runs.push(note.run.clone());
            Quiet::left(note, host, state, events).end_left();
        }
    }
    Ok(runs)
}
