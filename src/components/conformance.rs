//! The suite that every kind passes: the contract of `component.rs`, held against a kind by way of its trait alone.
//!
//! A kind's tests implement [`Subject`] and call [`suite`]. Its parts stand in `laws`.

use crate::base::name::ComponentName;
use crate::component::{Captured, Component, Host, Kind, Plan};
use serde_json::Value;
use std::path::Path;

mod laws;
mod machine;
mod memory;

pub use machine::{tree, untimed, Machine, RUN};
pub use memory::{Acts, Break, Given, Silent, Streams};

/// What a state is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing of the component is there.
    Absent,
    /// What travels.
    Source,
    /// All of it is there, and different.
    Other,
}

/// The text of an edit by hand.
pub const EDIT: &str = "# edited by hand, and to be found again\n";

/// What a kind brings to the suite.
pub trait Subject: Sync {
    /// The kind.
    fn kind(&self) -> &'static dyn Kind;

    /// A component of it, as a profile on a machine describes it.
    fn options(&self, host: &Host) -> Value;

    /// What a target's own profile says, where the facts alone would lead to the source's (a server's database).
    fn overrides(&self, _host: &Host) -> Option<Value> {
        None
    }

    /// Makes a state (but [`State::Absent`], which a new machine is in) on a new machine.
    fn furnish(&self, host: &Host, state: State);

    /// Writes [`EDIT`], as somebody else would, to something that an import of `Source` onto `Other` changes, or makes
    /// where nothing is.
    fn edit(&self, host: &Host);

    /// Whether the edit is still there, wherever.
    fn edit_survives(&self, host: &Host) -> bool {
        walkdir::WalkDir::new(&host.home).into_iter().any(|entry| {
            let entry = entry.unwrap();
            let text = |path: &Path| std::fs::read(path).unwrap();
            entry.file_type().is_file() && text(entry.path()).ends_with(EDIT.as_bytes())
        })
    }

    /// All that an import may touch on a machine, one line a thing, so that two can be compared. What an undo keeps aside, and a
    /// staging area, are lines that name the run; folders, whose times an edit moves, begin with `folder `.
    fn world(&self, host: &Host) -> Vec<String> {
        tree(&host.home)
    }

    /// What a capture says that is the same for the same state, on whichever machine.
    fn content(&self, facts: &Value, streams: &Streams) -> Vec<(String, Vec<u8>)> {
        let mut content = streams.content();
        content.push(("the facts".to_owned(), facts.to_string().into_bytes()));
        content
    }
}

/// Holds a kind to the contract. Panics where it breaks it.
pub fn suite(subject: &dyn Subject) {
    let source = Machine::new();
    subject.furnish(&source.host, State::Source);
    let bundle = Bundle::of(&*from_options(subject, &source), &source);
    laws::facts_and_counts(subject, &source, &bundle);
    // Each start has machines of its own.
    std::thread::scope(|threads| {
        for start in [State::Absent, State::Other] {
            let bundle = &bundle;
            threads.spawn(move || suite_onto(subject, bundle, start));
        }
    });
}

fn suite_onto(subject: &dyn Subject, bundle: &Bundle, start: State) {
    laws::round_trip(subject, bundle, start);
    laws::planning_and_staging_leave_no_trace(subject, bundle, start);
    laws::undo_brings_back(subject, bundle, start);
    laws::undo_from_every_half_done_position(subject, bundle, start);
    laws::a_commit_goes_on_where_it_stopped(subject, bundle, start);
    laws::finalise_is_the_end(subject, bundle, start);
    laws::an_edit_since_the_plan_is_refused_or_carried_along(subject, bundle, start);
    laws::an_edit_after_the_commit_is_kept(subject, bundle, start);
    laws::a_backup_brings_back(subject, bundle, start);
}

/// What a capture gave.
struct Bundle {
    facts: Value,
    streams: Streams,
}

impl Bundle {
    fn of(component: &dyn Component, machine: &Machine) -> Self {
        let mut streams = Streams::default();
        let Captured { facts, .. } = component.capture(&machine.scope(), &streams).unwrap();
        streams.seal();
        Bundle { facts, streams }
    }

    /// The backup of what `plan` touches.
    fn before(component: &dyn Component, plan: &Plan, machine: &Machine) -> Self {
        let mut streams = Streams::default();
        let Captured { facts, .. } = component.back_up(&machine.scope(), plan, &streams).unwrap();
        streams.seal();
        Bundle { facts, streams }
    }

    fn content(&self, subject: &dyn Subject) -> Vec<(String, Vec<u8>)> {
        subject.content(&self.facts, &self.streams)
    }
}

fn name() -> ComponentName {
    ComponentName::new("subject").unwrap()
}

fn from_options(subject: &dyn Subject, machine: &Machine) -> Box<dyn Component> {
    subject.kind().from_options(&name(), &subject.options(&machine.host), &machine.host).unwrap()
}

fn from_facts(
    subject: &dyn Subject,
    facts: &Value,
    overrides: Option<&Value>,
    machine: &Machine,
) -> Box<dyn Component> {
    subject.kind().from_facts(&name(), facts, overrides, &machine.host).unwrap()
}
