//! `history`: the imports on this machine, from their journals.

use crate::component::Rewrite;
use crate::engine::backup::{Backup, Part};
use crate::engine::error::{EngineError, Result};
use crate::engine::journal::{list, Begin, End, JournalError, Record};
use crate::engine::machine;
use crate::engine::state::State;
use crate::format::BundleId;
use serde::Serialize;
use std::collections::HashMap;
use std::path::Path;

/// One import, or rollback.
#[derive(Debug, Serialize)]
pub struct PastImport {
    /// Its run.
    pub run: String,
    /// When it began: RFC 3339.
    pub started: String,
    /// The same as Unix time in seconds.
    #[serde(skip)]
    pub started_at: u64,
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
    /// What can take it back.
    pub backup: KeptBackup,
    /// The run that this one took back, if it is a rollback.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rolls_back: Option<String>,
    /// The rollback that took it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rolled_back_by: Option<String>,
    /// The components.
    pub components: Vec<String>,
    /// Files that were written otherwise than they were packed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rewrites: Vec<PastRewrite>,
}

/// A file that was written otherwise than it was packed.
#[derive(Debug, Serialize)]
pub struct PastRewrite {
    /// Whose.
    pub component: String,
    /// Which, and how.
    #[serde(flatten)]
    pub rewrite: Rewrite,
}

/// The backup of what an import replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeptBackup {
    /// It is there.
    Kept,
    /// It was made, and is gone.
    Gone,
    /// None was wanted.
    None,
    /// None was needed: nothing changed.
    Unneeded,
}

/// All imports that changed this machine or tried to, the oldest first; and why one cannot be shown, of each such.
pub fn history(state: &State) -> Result<(Vec<PastImport>, Vec<EngineError>)> {
    let (mut all, mut unreadable) = past_records(state)?;
    let (unfinished, damaged) = records(&state.journals_dir())?;
    all.extend(unfinished);
    unreadable.extend(damaged);
    let mut imports: Vec<PastImport> = all.into_iter().filter_map(|record| past(record, state)).collect();
    let held = imports.iter().filter(|import| import.outcome == Some(End::Imported));
    let by = taken_back(held.map(|import| (import.run.as_str(), import.rolls_back.as_deref())));
    for import in &mut imports {
        import.rolled_back_by = by.get(&import.run).cloned();
    }
    Ok((imports, unreadable))
}

/// Which runs are taken back, and by which rollback, of all that held (each with the one that it takes back), the oldest
/// first. A rollback that was itself taken back counts no more.
pub(super) fn taken_back<'a>(
    held: impl DoubleEndedIterator<Item = (&'a str, Option<&'a str>)>,
) -> HashMap<String, String> {
    let mut taken = HashMap::new();
    for (run, rolls_back) in held.rev() {
        if let Some(past) = rolls_back.filter(|_| !taken.contains_key(run)) {
            taken.insert(past.to_owned(), run.to_owned());
        }
    }
    taken
}

/// [`records`] of what is over: one of these is not to be recovered, damaged or not.
pub(super) fn past_records(state: &State) -> Result<(Vec<Record>, Vec<EngineError>)> {
    let (records, unreadable) = records(&state.history_dir())?;
    Ok((records, unreadable.into_iter().map(over).collect()))
}

/// The journals in `dir` in the order of their beginnings, and why one cannot be read, of each such.
pub(super) fn records(dir: &Path) -> Result<(Vec<Record>, Vec<EngineError>)> {
    let (mut records, mut unreadable) = (Vec::new(), Vec::new());
    for path in list(dir)? {
        match Record::read(&path) {
            Ok(record) => records.push(record),
            Err(error) => unreadable.push(error.into()),
        }
    }
    records.sort_by_key(|record| record.begin.as_ref().map(|begin| begin.started));
    Ok((records, unreadable))
}

fn over(error: EngineError) -> EngineError {
    match error {
        EngineError::Journal(JournalError::Damaged { path, .. }) => EngineError::DamagedHistory(path),
        error => error,
    }
}

/// Whether all parts of its backup are there that were made, and any was.
fn is_kept(begin: &Begin, state: &State) -> bool {
    let early = begin.backup.early().map(|_| Part::Early);
    let mut parts = early.into_iter().chain(begin.late.map(|_| Part::Late)).peekable();
    parts.peek().is_some() && parts.all(|part| part.path(&begin.run, state).is_file())
}

/// What it was; `None` if nothing was begun.
fn past(record: Record, state: &State) -> Option<PastImport> {
    let begin = record.begin?;
    let backup = match begin.backup {
        Backup::None => KeptBackup::None,
        Backup::Unneeded => KeptBackup::Unneeded,
        Backup::Made(_) | Backup::Late if is_kept(&begin, state) => KeptBackup::Kept,
        Backup::Made(_) | Backup::Late => KeptBackup::Gone,
    };
    let rewrites = begin.components.iter().flat_map(|c| {
        c.rewrites
            .iter()
            .map(|rewrite| PastRewrite { component: c.name.to_string(), rewrite: rewrite.clone() })
    });
    Some(PastImport {
        rewrites: rewrites.collect(),
        run: begin.run,
        started: machine::timestamp(begin.started / 1000),
        started_at: begin.started / 1000,
        bundle: begin.bundle,
        profile: begin.profile,
        sequence: begin.sequence,
        origin: begin.origin,
        signer: begin.signer,
        outcome: record.end,
        backup,
        rolls_back: begin.rolls_back,
        rolled_back_by: None,
        components: begin.components.into_iter().map(|c| c.name.to_string()).collect(),
    })
}
