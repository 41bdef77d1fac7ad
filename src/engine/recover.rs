//! `recover`: ends an import that was cut off, backwards or forwards, from its journal alone.

use crate::base::path::ShownPath;
use crate::component::{self, Component, Finding, Host, Nobody, Scope, Severity};
use crate::components;
use crate::engine::backup::discard;
use crate::engine::diff::held::forget;
use crate::engine::error::{EngineError, Result};
use crate::engine::events::Events;
use crate::engine::hooks::{resume_left, Quiet};
use crate::engine::journal::{list, Begin, Begun, End, JournalError, JournalFile, Record};
use crate::engine::log::{self, Log};
use crate::engine::machine;
use crate::engine::state::State;
use serde::Serialize;
use std::path::PathBuf;

/// How a run that was cut off was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The target is wholly the new state.
    Imported,
    /// The target is wholly the old state.
    Undone,
    /// It had only quiesced programs (an export does no more): they go on.
    Resumed,
}

/// One run that was ended.
#[derive(Debug, Serialize)]
pub struct Recovered {
    /// Its run.
    pub run: String,
    /// How.
    pub outcome: Outcome,
    /// Whether nothing of it is left: else the next recovery tries again.
    pub cleared: bool,
}

impl Recovered {
    /// What became of it, for people.
    pub fn in_words(&self) -> String {
        let run = &self.run;
        match self.outcome {
            Outcome::Imported if !self.cleared => {
                format!("import {run}: it was done; not all that it had left over could be removed")
            }
            Outcome::Imported => format!("import {run}: it was done; what it had left over is removed"),
            Outcome::Undone => format!("import {run}: undone; everything is as it was before it"),
            Outcome::Resumed => {
                format!("run {run}: cut off before it changed anything; its resume hooks were run")
            }
        }
    }
}

/// [`recover`] at the start of something else: what it did is told.
pub(super) fn recover_first(state: &State, host: &Host, events: &dyn Events) -> Result<()> {
    for earlier in recover(state, host, events)? {
        events.finding("recover", &Finding::new(Severity::Warning, earlier.in_words()));
    }
    Ok(())
}

/// Ends every import that was cut off. The caller holds the lock.
pub fn recover(state: &State, host: &Host, events: &dyn Events) -> Result<Vec<Recovered>> {
    let mut recovered = Vec::new();
    for path in list(&state.journals_dir())? {
        let record = Record::read(&path)?;
        match &record.begin {
            // Not even its first line got to the disk: nothing was done.
            None => {
                std::fs::remove_file(&path).map_err(|error| EngineError::Io { path: path.clone(), error })?
            }
            Some(begin) => {
                let (outcome, cleared) = end(&record, begin, state, host, events)?;
                let outcome = match outcome {
                    End::Imported => Outcome::Imported,
                    End::Undone => Outcome::Undone,
                };
                recovered.push(Recovered { run: begin.run.clone(), outcome, cleared });
            }
        }
    }
    for run in resume_left(None, host, state, events)? {
        if !recovered.iter().any(|ended| ended.run == run) {
            recovered.push(Recovered { run, outcome: Outcome::Resumed, cleared: true });
        }
    }
    Ok(recovered)
}

/// How it ended, and whether nothing is left of it.
fn end(
    record: &Record,
    begin: &Begin,
    state: &State,
    host: &Host,
    events: &dyn Events,
) -> Result<(End, bool)> {
    let outcome = match (record.end, record.kept) {
        (Some(end), _) => end,
        (None, true) => End::Imported,
        (None, false) => End::Undone,
    };
    if record.end.is_none() {
        let log = Log::new(events);
        log.begin(state, "recover", begin);
        let events: &dyn Events = &log;
        events.step(&format!("recovering the import of {}", machine::timestamp(begin.started / 1000)));
        // As it was then, not as it is now.
        let maps = begin.maps.iter().map(|(from, to)| (from.0.clone(), to.0.clone())).collect();
        let host = Host { home: begin.home.0.clone(), maps, ..host.clone() };
        // What was quiesced may have been started again by now, by the machine itself.
        let quiet = Quiet::of_run(&begin.run, &host, state, events)?;
        match outcome {
            // What cannot be removed now does no harm: the journal stays, and the next recovery tries again.
            End::Imported if !forwards(record, begin, &host, events) => {
                log.end("imported; not all that was left over could be removed");
                return Ok((outcome, false));
            }
            End::Imported => {
                if let Some(quiet) = &quiet {
                    quiet.end_left();
                }
                log.end("imported");
            }
            End::Undone => {
                if let Some(quiet) = &quiet {
                    quiet.before_undo();
                }
                if let Err(error) = backwards(record, begin, &host, events) {
                    log.end(&log::failure(&error));
                    return Err(error);
                }
                if let Some(quiet) = &quiet {
                    if !record.acts.is_empty() {
                        quiet.undone();
                    }
                    quiet.end_left();
                }
                log.end("undone");
            }
        }
    }
    JournalFile::reopen(record)?.end(begin, outcome, &state.ensure_history()?)?;
    if outcome == End::Undone {
        discard(&begin.run, state);
        forget(state, &begin.run);
    }
    Ok((outcome, true))
}

/// A finding: what was replaced is still there.
pub fn not_dropped(error: &component::Error) -> Finding {
    let what = format!("what was replaced could not be removed: {error}");
    Finding::new(Severity::Warning, what).todo("put that right and run `kbpack recover`")
}

/// A finding: the journal of an import that is over is still there.
pub fn not_put_away(state: &str, error: &JournalError) -> Finding {
    let what = format!("{state}, but its journal could not be put away: {error}");
    Finding::new(Severity::Warning, what).todo("put that right and run `kbpack recover`")
}

/// What was replaced is dropped, the innermost component's first. Whether all of it is.
fn forwards(record: &Record, begin: &Begin, host: &Host, events: &dyn Events) -> bool {
    let mut dropped = true;
    for begun in begin.components.iter().rev() {
        let finalised = remake(begin, begun, host).and_then(|component| {
            let carved = carved(begun);
            let scope = scope(begin, begun, host, &carved, events);
            component.finalise(&scope, &record.acts_of(&begun.name))
        });
        if let Err(error) = finalised {
            events.finding(begun.name.as_str(), &not_dropped(&error));
            dropped = false;
        }
    }
    dropped
}

/// What was done is undone, the last first.
fn backwards(record: &Record, begin: &Begin, host: &Host, events: &dyn Events) -> Result<()> {
    let mut failures = Vec::new();
    for begun in begin.components.iter().rev() {
        let undone = remake(begin, begun, host).and_then(|component| {
            let carved = carved(begun);
            let scope = scope(begin, begun, host, &carved, events);
            component.undo(&scope, &record.acts_of(&begun.name))
        });
        match undone {
            Ok(kept) => kept.iter().for_each(|finding| events.finding(begun.name.as_str(), finding)),
            Err(error) => failures.push(format!("component '{}': {error}", begun.name)),
        }
    }
    match failures.is_empty() {
        true => Ok(()),
        false => Err(EngineError::CannotRecover {
            run: begin.run.clone(),
            journal: ShownPath(record.path.clone()),
            failures: failures.join("; "),
        }),
    }
}

/// The component as it was then. One that cannot be made (by an older kbpack) does not keep the others from their turn.
fn remake(begin: &Begin, begun: &Begun, host: &Host) -> component::Result<Box<dyn Component>> {
    let unknown = || component::Error::not_ready(format_args!("this kbpack has no kind '{}'", begun.kind));
    let kind = components::kind(&begun.kind).ok_or_else(unknown)?;
    match begin.rolls_back {
        Some(_) => kind.from_backup(&begun.name, &begun.facts, begun.overrides.as_ref(), host),
        None => kind.from_facts(&begun.name, &begun.facts, begun.overrides.as_ref(), host),
    }
}

fn carved(begun: &Begun) -> Vec<PathBuf> {
    begun.carved.iter().map(|path| path.0.clone()).collect()
}

fn scope<'s>(
    begin: &'s Begin,
    begun: &'s Begun,
    host: &'s Host,
    carved: &'s [PathBuf],
    events: &'s dyn Events,
) -> Scope<'s> {
    Scope {
        host,
        carved,
        only: &begun.only,
        run: &begin.run,
        threads: machine::threads(),
        progress: events,
        ask: &Nobody,
        trusted: false,
        logins: &[],
    }
}
