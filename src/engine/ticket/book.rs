//! The tickets that this machine has issued: `tickets/` in the state directory, one file each.
//!
//! `<when>-<first 16 hex digits of the nonce>.json`. A ticket that was used is remembered with the bundle that used
//! it, so that this bundle, and no other, may be imported again.

use crate::base::fsx;
use crate::base::json;
use crate::engine::error::{EngineError, Result};
use crate::engine::machine;
use crate::engine::state::State;
use crate::engine::ticket::Nonce;
use crate::format::BundleId;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// Tickets that are remembered; of more, the oldest are forgotten, and bundles for them refused.
const MAX_TICKETS: usize = 1000;

/// A ticket that was issued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Issued {
    /// What names it.
    pub nonce: Nonce,
    /// When it was issued: Unix time in seconds.
    pub issued: u64,
    /// From when on no bundle is imported for it that was not before: Unix time in seconds.
    pub expires: u64,
    /// The bundle that was imported for it.
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    pub used: Option<BundleId>,
}

/// Writes `issued` down and forgets tickets that expired unused. Returns where, for [`forget`]. The caller holds the lock.
pub fn remember(state: &State, issued: &Issued) -> Result<PathBuf> {
    let dir = state.ensure_tickets()?;
    // In the order of their names they are in the order of time.
    let when = machine::timestamp(issued.issued).replace(['-', ':'], "");
    let path = dir.join(format!("{when}-{}.json", beginning(&issued.nonce)));
    write(&path, issued)?;
    keep_few(&dir, issued.issued, MAX_TICKETS)?;
    Ok(path)
}

/// Takes a ticket back that nobody has seen.
pub fn forget(path: &Path) {
    // One that stays is a nonce that no bundle will ever carry: no harm.
    let _ = std::fs::remove_file(path);
}

/// The ticket with this nonce and where it is remembered; `None` if it is not. A damaged memory of it is an error.
pub fn find(state: &State, nonce: &Nonce) -> Result<Option<(PathBuf, Issued)>> {
    let end = format!("-{}.json", beginning(nonce));
    for path in paths(&state.tickets_dir())? {
        if path.to_string_lossy().ends_with(&end) {
            let issued = read(&path).ok_or_else(|| EngineError::DamagedHistory(path.clone()))?;
            if issued.nonce == *nonce {
                return Ok(Some((path, issued)));
            }
        }
    }
    Ok(None)
}

/// Writes down that `bundle` was imported for the ticket remembered at `path`. The caller holds the lock.
pub fn use_up(path: &Path, issued: &Issued, bundle: BundleId) -> Result<()> {
    write(path, &Issued { used: Some(bundle), ..issued.clone() })
}

fn beginning(nonce: &Nonce) -> String {
    nonce.to_string()[..16].to_owned()
}

fn write(path: &Path, issued: &Issued) -> Result<()> {
    let io = |error| EngineError::Io { path: path.to_owned(), error };
    let mut bytes = serde_json::to_vec_pretty(issued).map_err(|error| io(error.into()))?;
    bytes.push(b'\n');
    fsx::write_atomic(path, 0o600, &bytes).map_err(io)
}

/// `None` if it is not what was written.
fn read(path: &Path) -> Option<Issued> {
    json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// The files in `dir`, sorted; none if there is no such directory.
fn paths(dir: &Path) -> Result<Vec<PathBuf>> {
    let io = |error| EngineError::Io { path: dir.to_owned(), error };
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io)?,
    };
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>().map_err(io)?;
    paths.sort();
    Ok(paths)
}

/// Forgets tickets that expired unused, and the oldest of more than `most`. Damaged ones count, and stay to be seen.
fn keep_few(dir: &Path, now: u64, most: usize) -> Result<()> {
    let over = |path: &PathBuf| read(path).is_some_and(|i| i.used.is_none() && i.expires <= now);
    let (gone, kept): (Vec<PathBuf>, Vec<PathBuf>) = paths(dir)?.into_iter().partition(over);
    let surplus = kept.len().saturating_sub(most);
    for path in gone.into_iter().chain(kept.into_iter().take(surplus)) {
        std::fs::remove_file(&path).map_err(|error| EngineError::Io { path, error })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issued(byte: u8) -> Issued {
        let issued = 1_700_000_000 + u64::from(byte);
        Issued { nonce: BundleId([byte; 32]), issued, expires: issued + 100, used: None }
    }

    fn state() -> (tempfile::TempDir, State) {
        let dir = tempfile::tempdir().unwrap();
        let state = State::new(dir.path().join("state"));
        (dir, state)
    }

    #[test]
    fn what_was_issued_is_found_and_used_up() {
        let (_dir, state) = state();
        assert_eq!(find(&state, &issued(1).nonce).unwrap(), None);
        let path = remember(&state, &issued(1)).unwrap();
        remember(&state, &issued(2)).unwrap();
        assert_eq!(find(&state, &issued(1).nonce).unwrap(), Some((path.clone(), issued(1))));
        let bundle = BundleId([9; 32]);
        use_up(&path, &issued(1), bundle).unwrap();
        assert_eq!(find(&state, &issued(1).nonce).unwrap().unwrap().1.used, Some(bundle));
        assert_eq!(find(&state, &issued(2).nonce).unwrap().unwrap().1.used, None);
        // The first digits alone do not make it the same.
        let mut other = issued(1).nonce;
        other.0[31] = 0;
        assert_eq!(find(&state, &other).unwrap(), None);
        forget(&path);
        assert_eq!(find(&state, &issued(1).nonce).unwrap(), None);
    }

    #[test]
    fn a_damaged_one_is_an_error_for_itself_alone() {
        let (_dir, state) = state();
        let path = remember(&state, &issued(1)).unwrap();
        remember(&state, &issued(2)).unwrap();
        std::fs::write(&path, "{}").unwrap();
        assert!(find(&state, &issued(1).nonce).is_err());
        assert!(find(&state, &issued(2).nonce).unwrap().is_some());
        remember(&state, &issued(3)).unwrap();
        assert!(find(&state, &issued(1).nonce).is_err());
    }

    #[test]
    fn the_expired_and_the_oldest_are_forgotten_but_not_those_in_use() {
        let (_dir, state) = state();
        let used = remember(&state, &issued(1)).unwrap();
        use_up(&used, &issued(1), BundleId([9; 32])).unwrap();
        remember(&state, &issued(2)).unwrap();
        remember(&state, &issued(103)).unwrap();
        let there = |byte| find(&state, &issued(byte).nonce).unwrap().is_some();
        assert!(there(1) && !there(2) && there(103));
        keep_few(&state.tickets_dir(), 0, 1).unwrap();
        assert!(!there(1) && there(103));
    }
}
