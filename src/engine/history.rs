//! `history`: the imports on this machine, from their journals.

use crate::engine::error::Result;
use crate::engine::journal::{list, End, Record};
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

/// All imports that changed this machine or tried to, the oldest first.
pub fn history(state: &State) -> Result<Vec<PastImport>> {
    let mut imports = Vec::new();
    for path in list(&state.history_dir())?.into_iter().chain(list(&state.journals_dir())?) {
        let record = Record::read(&path)?;
        let Some(begin) = record.begin else { continue };
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
        imports.push((begin.started, past));
    }
    imports.sort_by_key(|(started, _)| *started);
    Ok(imports.into_iter().map(|(_, past)| past).collect())
}
