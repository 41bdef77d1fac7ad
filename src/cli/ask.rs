//! The questions a person (or a flag) answers: the command line's [`Decide`].

use crate::crypto::sign::Signer;
use crate::engine::events::{Confirmation, Decide};
use crate::engine::plan::ImportPlan;
use crate::report::console::Console;
use crate::report::text;

/// Answers from flags where they were given, else from the terminal.
pub struct Answers<'a> {
    /// Where to ask.
    pub console: &'a Console,
    /// `--yes`.
    pub yes: bool,
    /// `--accept-new`.
    pub accept_new: bool,
}

impl<'a> Answers<'a> {
    /// No flag says anything: a person is asked.
    pub fn asking(console: &'a Console) -> Self {
        Answers { console, yes: false, accept_new: false }
    }
}

impl Decide for Answers<'_> {
    fn fingerprint_of_unknown(&self, signer: &Signer) -> Option<String> {
        // --yes never covers this.
        if !self.console.interactive() {
            return None;
        }
        self.console.say("This bundle is signed by a signer that is not trusted yet.");
        self.console
            .line("On the source, `kbpack keygen` and `kbpack export` print the signer's fingerprint.");
        let typed =
            self.console.read_line("Fingerprint from the source (SHA256:...), to trust it from now on: ")?;
        if typed.trim() != signer.fingerprint() {
            self.console.say("That is not the fingerprint of this bundle's signer.");
        }
        Some(typed)
    }

    fn confirm(&self, plan: &ImportPlan, news: &[String]) -> Confirmation {
        let mut lines = text::plan(plan, self.console.verbose());
        lines.extend(
            news.iter().map(|place| format!("new: no earlier bundle of this signer wrote to {place}")),
        );
        // Whoever is asked sees what about, also with -q.
        let asked = !self.yes && self.console.interactive();
        lines.iter().for_each(|line| if asked { self.console.say(line) } else { self.console.line(line) });
        if self.yes {
            return match news.is_empty() || self.accept_new {
                true => Confirmation::Yes,
                false => Confirmation::NewDestinations,
            };
        }
        if !self.console.interactive() {
            return Confirmation::NobodyToAsk;
        }
        let question = match plan.rolls_back {
            Some(_) => "Take the import back?",
            None => "Import this?",
        };
        match self.console.ask(question) {
            true => Confirmation::Yes,
            false => Confirmation::No,
        }
    }
}
