//! `history`: the imports on this machine, from their journals.

use crate::engine::error::{EngineError, Result};
use crate::engine::journal::{list, End, JournalError, Record};
use crate::engine::machine;
use crate::engine::state::State;
use crate::format::BundleId;
use serde::Serialize;

/// One import.
#[derive(Debug, Serialize)]
pub struct PastImport {
    /// Its run.
    pub run: String,
    /// When it began: RFC 3339.
    pub started: String,
    /// The bundle.
    pub bundle: BundleId,
    /// The profile's name.
    pub profile: String,
    /// The sequence.
    pub sequence: u64,
    /// `user@host` that it came from.
    pub origin: String,
    /// Who signed it.
    pub signer: String,
    /// What became of it; `None` is one that was cut off and waits for `recover`.
    pub outcome: Option<End>,
    /// The components.
    pub components: Vec<String>,
}

/// All imports that changed this machine or tried to, the oldest first; and why one cannot be shown, of each such.
pub fn history(state: &State) -> Result<(Vec<PastImport>, Vec<EngineError>)> {
    let (mut imports, mut unreadable) = (Vec::new(), Vec::new());
    for path in list(&state.history_dir())? {
        match Record::read(&path) {
            Ok(record) => imports.extend(past(record)),
            // It is over: nothing is to be recovered.
            Err(JournalError::Damaged { path, .. }) => unreadable.push(EngineError::DamagedHistory(path)),
            Err(error) => unreadable.push(error.into()),
        }
    }
    for path in list(&state.journals_dir())? {
        match Record::read(&path) {
            Ok(record) => imports.extend(past(record)),
            Err(error) => unreadable.push(error.into()),
        }
    }
    imports.sort_by_key(|(started, _)| *started);
    Ok((imports.into_iter().map(|(_, past)| past).collect(), unreadable))
}

/// When it began, in milliseconds, and what it was; `None` if nothing was begun.
fn past(record: Record) -> Option<(u64, PastImport)> {
    let begin = record.begin?;
    let past = PastImport {
        run: begin.run,
        started: machine::timestamp(begin.started / 1000),
        bundle: begin.bundle,
        profile: begin.profile,
        sequence: begin.sequence,
        origin: begin.origin,
        signer: begin.signer,
        outcome: record.end,
        components: begin.components.into_iter().map(|c| c.name.to_string()).collect(),
    };
    Some((begin.started, past))
}
