//! What is to resume: a file of the state directory, on disk before the first hook runs and until nothing is left to resume.
//!
//! A journal begins only after the backup, when programs are quiesced already, and an export has none. So this is a file
//! of its own, `hooks/<run>.json`; whoever recovers finds there what the journal does not know.

use super::{HookError, Maps, OwnedHook};
use crate::base::fsx;
use crate::base::json;
use crate::base::path::ShownPath;
use crate::component::Host;
use crate::engine::error::{EngineError, Result};
use crate::engine::state::State;
use crate::format::Where;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// The hooks of a run, and where they run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::engine) struct Note {
    /// The run: 16 hex digits.
    pub(in crate::engine) run: String,
    /// Whether it is that of an export, or changes this machine.
    pub(in crate::engine) side: Where,
    home: ShownPath,
    maps: Maps,
    /// Those that may run, in their order.
    pub(super) hooks: Vec<OwnedHook>,
}

impl Note {
    /// The hooks of `run` on this machine.
    pub(super) fn new(run: &str, side: Where, host: &Host, hooks: Vec<OwnedHook>) -> Self {
        let map = |(from, to): &(PathBuf, PathBuf)| (ShownPath(from.clone()), ShownPath(to.clone()));
        let maps = host.maps.iter().map(map).collect();
        Note { run: run.to_owned(), side, home: ShownPath(host.home.clone()), maps, hooks }
    }

    /// The machine as the run saw it.
    pub(super) fn host(&self, host: &Host) -> Host {
        let maps = self.maps.iter().map(|(from, to)| (from.0.clone(), to.0.clone())).collect();
        Host { home: self.home.0.clone(), maps, ..host.clone() }
    }

    fn path(&self, state: &State) -> PathBuf {
        path(&self.run, state)
    }

    /// On disk, with its name, when this returns.
    pub(super) fn save(&self, state: &State) -> Result<()> {
        let dir = state.ensure_hooks()?;
        let path = self.path(state);
        let io = |error| EngineError::Io { path: path.clone(), error };
        let bytes = serde_json::to_vec(self).map_err(|error| io(error.into()))?;
        fsx::write_atomic(&path, 0o600, &bytes).and_then(|()| fsx::sync_dir(&dir)).map_err(io)
    }

    /// There is nothing left to resume.
    pub(super) fn remove(&self, state: &State) -> Result<()> {
        let path = self.path(state);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(EngineError::Io { path, error }),
            _ => Ok(()),
        }
    }
}

fn path(run: &str, state: &State) -> PathBuf {
    state.hooks_dir().join(format!("{run}.json"))
}

/// The note of `run`, if it is not over.
pub(super) fn of_run(run: &str, state: &State) -> Result<Option<Note>> {
    read(&path(run, state))
}

/// The notes of all runs that are not over, by their names.
pub(super) fn leftovers(state: &State) -> Result<Vec<Note>> {
    let dir = state.hooks_dir();
    let io = |error| EngineError::Io { path: dir.clone(), error };
    let entries = match std::fs::read_dir(&dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io)?,
    };
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>().map_err(io)?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    paths.iter().filter_map(|path| read(path).transpose()).collect()
}

fn read(path: &Path) -> Result<Option<Note>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(json::from_slice(&bytes).map_err(|_| HookError::Damaged(path.to_owned()))?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(EngineError::Io { path: path.to_owned(), error }),
    }
}
