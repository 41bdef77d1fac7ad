//! How the engine tells what happens. `report/` implements it for people and for scripts.

use crate::component::{Finding, Progress};
use crate::crypto::sign::Signer;
use crate::engine::plan::ImportPlan;
use std::time::Duration;

/// Hears what happens.
pub trait Events: Progress {
    /// The next step begins; `text` says what, in a few words, without a full stop.
    fn step(&self, text: &str);
    /// Something was noticed in `component`.
    fn finding(&self, component: &str, finding: &Finding);
    /// An act of `component` is in the journal and comes next; `text` says which, on one line.
    fn act(&self, _component: &str, _text: &str) {}
    /// A line that a program wrote which was run for `who`. Escape it before showing.
    fn said(&self, _who: &str, _line: &str) {}
    /// How long a step took. Told when the run is over, of all its steps.
    fn took(&self, _step: &str, _time: Duration) {}
}

/// Decides what only a person, or a flag, may decide.
pub trait Decide {
    /// The signer of a bundle is unknown. Returns the fingerprint that the person has from the source, to
    /// be compared; `None` if nobody can be asked.
    fn fingerprint_of_unknown(&self, signer: &Signer) -> Option<String>;
    /// Whether the import may go on as planned. `news` are destinations that no earlier bundle of the signer had.
    fn confirm(&self, plan: &ImportPlan, news: &[String]) -> Confirmation;
}

/// An answer to [`Decide::confirm`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmation {
    /// Go on.
    Yes,
    /// A person said no.
    No,
    /// There is nobody to ask and no flag that says yes.
    NobodyToAsk,
    /// `--yes` was given, but not `--accept-new`, and there are new destinations.
    NewDestinations,
}
