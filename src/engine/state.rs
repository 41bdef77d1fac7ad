//! What this machine remembers between runs, in the state directory, outside the reach of bundles.
//!
//! `journals/` and `history/` (what imports did), `backups/` (what they replaced), `logs/` (how), `checks.json` (the checks of the last one), `lock`,
//! `exports.json` (the last sequence for each profile), `exports/` (what was exported, and the receipts that came back), `receipts/` (those made here),
//! `held/` (what the last exports and imports held, thing by thing), `tickets/` (those issued here), `hooks/` (what is to resume after a run that is not over),
//! `signers/<hex>.json` (for each trusted signer: the highest sequence applied and the destinations written, for each profile).

use crate::base::digest::Digest;
use crate::base::fault::{Fault, Faulty};
use crate::base::fsx;
use crate::base::json;
use crate::format::BundleId;
use rustix::fs::{flock, FlockOperation};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Reading or writing in it.
    #[error("{}: {error}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It is not ours alone.
    #[error("{}: {why}", path.display())]
    Shared {
        /// The state directory.
        path: PathBuf,
        /// Who else may do what.
        why: &'static str,
    },
    /// Another kbpack works on this machine's state.
    #[error("another kbpack{holder} holds {}", path.display())]
    Locked {
        /// The lock.
        path: PathBuf,
        /// ` (process N)`, if known.
        holder: String,
    },
    /// A file of ours is not what we wrote.
    #[error("{}: damaged: {error}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why.
        error: serde_json::Error,
    },
    /// R3: a trusted signer without a mark.
    #[error("the sequence mark of the trusted signer {signer} is missing ({})", path.display())]
    NoMark {
        /// The fingerprint.
        signer: String,
        /// Where it should stand.
        path: PathBuf,
    },
}

impl Faulty for StateError {
    fn fault(&self) -> Fault {
        match self {
            StateError::Io { error, .. } => crate::base::fault::io_fault(error),
            StateError::Locked { .. } | StateError::Shared { .. } => Fault::NotReady,
            StateError::Damaged { .. } | StateError::NoMark { .. } => Fault::Untrusted,
        }
    }
    fn remedy(&self) -> Option<String> {
        let text = match self {
            StateError::Io { .. } => "check the permissions and the space of the state directory, or name another with --state-dir",
            StateError::Shared { path, .. } => {
                return Some(format!("see that all that is in it is yours, then give it to yourself alone: chmod 700 {}", path.display()))
            }
            StateError::Locked { .. } => "wait until it is done",
            StateError::Damaged { .. } | StateError::NoMark { .. } => {
                "without it an old bundle could be replayed; if you know why it is gone, run `kbpack trust remove` and `kbpack trust add` for the signer"
            }
        };
        Some(text.to_owned())
    }
}

type Result<T> = std::result::Result<T, StateError>;

/// The state directory.
#[derive(Debug, Clone)]
pub struct State {
    dir: PathBuf,
}

/// Held while something is exported or imported; released when dropped, or when the process ends in any way.
pub struct Lock {
    _file: File,
}

/// What is remembered of one trusted signer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignerMark {
    /// The signer's fingerprint.
    pub signer: String,
    /// By profile.
    pub profiles: BTreeMap<String, ProfileMark>,
}

/// What is remembered of one profile of a signer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileMark {
    /// The highest sequence applied.
    pub sequence: u64,
    /// The bundle that had it.
    pub id: BundleId,
    /// Every destination written by this signer's bundles.
    pub destinations: BTreeSet<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exports {
    profiles: BTreeMap<String, u64>,
}

impl State {
    /// The state in `dir`, which is made (0700) when something is written.
    pub fn new(dir: PathBuf) -> Self {
        State { dir }
    }

    /// The directory, made if it is not there.
    pub fn ensure_dir(&self) -> Result<&Path> {
        self.make(&self.dir)?;
        self.guard()?;
        Ok(&self.dir)
    }

    /// Refuses a directory that others may write to, or that is another's (but root's): what a journal says is done, and a
    /// mark that is lowered lets old bundles in. One that others may only look into is closed to them.
    fn guard(&self) -> Result<()> {
        let io = |error| StateError::Io { path: self.dir.clone(), error };
        let shared = |why| Err(StateError::Shared { path: self.dir.clone(), why });
        let meta = std::fs::metadata(&self.dir).map_err(io)?;
        let ours = meta.uid() == rustix::process::geteuid().as_raw();
        match meta.mode() & 0o077 {
            _ if !ours && meta.uid() != 0 => shared("the state directory belongs to another user"),
            open if open & 0o022 != 0 => shared("others may write to the state directory"),
            open if open != 0 && ours => {
                std::fs::set_permissions(&self.dir, Permissions::from_mode(0o700)).map_err(io)
            }
            _ => Ok(()),
        }
    }

    /// Makes `dir` and what is missing above it, each with its name on disk: a journal in a folder that a power cut
    /// takes away is none.
    fn make(&self, dir: &Path) -> Result<()> {
        let missing: Vec<&Path> = dir.ancestors().take_while(|dir| !dir.is_dir()).collect();
        for dir in missing.into_iter().rev() {
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
            made.and_then(|()| fsx::sync_dir(dir.parent().unwrap_or(dir)))
                .map_err(|error| StateError::Io { path: dir.to_owned(), error })?;
        }
        Ok(())
    }

    /// Takes the lock, or says who holds it.
    pub fn lock(&self) -> Result<Lock> {
        let path = self.ensure_dir()?.join("lock");
        let io = |error| StateError::Io { path: path.clone(), error };
        let mut options = File::options();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io)?;
        if let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(io(error.into()));
            }
            let mut pid = String::new();
            let _ = file.read_to_string(&mut pid);
            let pid = pid.trim().parse::<u32>();
            let holder = pid.map_or_else(|_| String::new(), |pid| format!(" (process {pid})"));
            return Err(StateError::Locked { path, holder });
        }
        self.sweep()?;
        file.set_len(0).map_err(io)?;
        writeln!(file, "{}", std::process::id()).map_err(io)?;
        Ok(Lock { _file: file })
    }

    /// Removes what a kill left of files that were being written. The lock is held, so nobody writes any now.
    fn sweep(&self) -> Result<()> {
        let written = [
            "", "signers", "journals", "history", "backups", "exports", "held", "receipts", "tickets",
            "hooks",
        ];
        for dir in written.map(|name| self.dir.join(name)) {
            for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().starts_with(fsx::TEMPORARY) {
                    remove_if_there(entry.path())?;
                }
            }
        }
        Ok(())
    }

    /// Where the journals of unfinished imports stand.
    pub fn journals_dir(&self) -> PathBuf {
        self.dir.join("journals")
    }

    /// The same, made if it is not there, its name on disk.
    pub fn ensure_journals(&self) -> Result<PathBuf> {
        self.lasting(self.journals_dir())
    }

    /// Where the journals of finished imports stand.
    pub fn history_dir(&self) -> PathBuf {
        self.dir.join("history")
    }

    /// The same, made if it is not there, its name on disk.
    pub fn ensure_history(&self) -> Result<PathBuf> {
        self.lasting(self.history_dir())
    }

    /// Where the backups stand: `<run>.kbp` is what the import of that run replaced.
    pub fn backups_dir(&self) -> PathBuf {
        self.dir.join("backups")
    }

    /// The same, made if it is not there, its name on disk.
    pub fn ensure_backups(&self) -> Result<PathBuf> {
        self.lasting(self.backups_dir())
    }

    /// Where the logs of runs stand, made if it is not there.
    pub fn ensure_logs(&self) -> Result<PathBuf> {
        let dir = self.dir.join("logs");
        self.make(&dir)?;
        Ok(dir)
    }

    /// Where what was exported is remembered.
    pub fn exports_dir(&self) -> PathBuf {
        self.dir.join("exports")
    }

    /// The same, made if it is not there, its name on disk.
    pub fn ensure_exports(&self) -> Result<PathBuf> {
        self.lasting(self.exports_dir())
    }

    /// Where it stands what the last exports and imports held.
    pub fn held_dir(&self) -> PathBuf {
        self.dir.join("held")
    }

    /// The same, made if it is not there, its name on disk.
    pub fn ensure_held(&self) -> Result<PathBuf> {
        self.lasting(self.held_dir())
    }

    /// Where the receipts of imports on this machine are put, made if it is not there, its name on disk.
    pub fn ensure_receipts(&self) -> Result<PathBuf> {
        self.lasting(self.dir.join("receipts"))
    }

    /// Where the tickets that this machine has issued are remembered.
    pub fn tickets_dir(&self) -> PathBuf {
        self.dir.join("tickets")
    }

    /// The same, made if it is not there, its name on disk.
    pub fn ensure_tickets(&self) -> Result<PathBuf> {
        self.lasting(self.tickets_dir())
    }

    /// Where the hooks of runs that are not over are remembered.
    pub fn hooks_dir(&self) -> PathBuf {
        self.dir.join("hooks")
    }

    /// The same, made if it is not there, its name on disk.
    pub fn ensure_hooks(&self) -> Result<PathBuf> {
        self.lasting(self.hooks_dir())
    }

    /// Also where an earlier run was killed between making it and putting its name on disk.
    fn lasting(&self, dir: PathBuf) -> Result<PathBuf> {
        self.make(&dir)?;
        fsx::sync_dir(&self.dir).map_err(|error| StateError::Io { path: self.dir.clone(), error })?;
        Ok(dir)
    }

    /// The sequence for a new export of `profile`: above the last one, and at least `now` (R1).
    pub fn next_sequence(&self, profile: &str, now: u64) -> Result<u64> {
        let exports: Exports = self.load(&self.exports_path())?.unwrap_or_default();
        Ok(exports.profiles.get(profile).map_or(now, |last| now.max(last + 1)).max(1))
    }

    /// Remembers `sequence` as the last of `profile`.
    pub fn record_export(&self, profile: &str, sequence: u64) -> Result<()> {
        let mut exports: Exports = self.load(&self.exports_path())?.unwrap_or_default();
        exports.profiles.insert(profile.to_owned(), sequence);
        self.save(&self.exports_path(), &exports)
    }

    /// The mark of a trusted signer. A missing or damaged one is an error, never 'first use' (R3).
    pub fn mark(&self, signer: &str) -> Result<SignerMark> {
        let path = self.mark_path(signer);
        let mark: Option<SignerMark> = self.load(&path)?;
        match mark.filter(|mark| mark.signer == signer) {
            Some(mark) => Ok(mark),
            None => Err(StateError::NoMark { signer: signer.to_owned(), path }),
        }
    }

    /// Makes the mark of a signer that becomes trusted; one that is there stays.
    pub fn begin_mark(&self, signer: &str) -> Result<()> {
        if self.mark_path(signer).symlink_metadata().is_ok() {
            return self.mark(signer).map(drop);
        }
        self.save_mark(&SignerMark { signer: signer.to_owned(), profiles: BTreeMap::new() })
    }

    /// Every destination that a bundle of a trusted signer was ever written to. What is damaged is passed by: this says
    /// only where to look.
    pub fn destinations(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.dir.join("signers")).into_iter().flatten().flatten();
        let marks = entries.filter_map(|entry| self.load::<SignerMark>(&entry.path()).ok().flatten());
        marks.flat_map(|mark| mark.profiles.into_values()).flat_map(|profile| profile.destinations).collect()
    }

    /// Forgets a signer that is trusted no more.
    pub fn drop_mark(&self, signer: &str) -> Result<()> {
        remove_if_there(self.mark_path(signer))
    }

    /// Writes a mark.
    pub fn save_mark(&self, mark: &SignerMark) -> Result<()> {
        self.save(&self.mark_path(&mark.signer), mark)
    }

    /// Keeps the checks of an import that holds.
    pub fn save_checks(&self, checks: &impl Serialize) -> Result<()> {
        self.save(&self.dir.join("checks.json"), checks)
    }

    /// The checks of the last import.
    pub fn load_checks<T: serde::de::DeserializeOwned>(&self) -> Result<Option<T>> {
        self.load(&self.dir.join("checks.json"))
    }

    /// Forgets them: what they were about is taken back.
    pub fn drop_checks(&self) -> Result<()> {
        remove_if_there(self.dir.join("checks.json"))
    }

    fn exports_path(&self) -> PathBuf {
        self.dir.join("exports.json")
    }

    fn mark_path(&self, signer: &str) -> PathBuf {
        self.dir.join("signers").join(format!("{}.json", Digest::of(signer.as_bytes())))
    }

    fn load<T: serde::de::DeserializeOwned>(&self, path: &Path) -> Result<Option<T>> {
        match std::fs::read(path) {
            Ok(bytes) => json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| StateError::Damaged { path: path.to_owned(), error }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StateError::Io { path: path.to_owned(), error }),
        }
    }

    fn save(&self, path: &Path, value: &impl Serialize) -> Result<()> {
        self.ensure_dir()?;
        self.make(path.parent().unwrap_or(&self.dir))?;
        let damaged = |error| StateError::Damaged { path: path.to_owned(), error };
        let mut bytes = serde_json::to_vec_pretty(value).map_err(damaged)?;
        bytes.push(b'\n');
        fsx::write_atomic(path, 0o600, &bytes)
            .map_err(|error| StateError::Io { path: path.to_owned(), error })
    }
}

fn remove_if_there(path: PathBuf) -> Result<()> {
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(StateError::Io { path, error }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lock_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::new(dir.path().join("state"));
        let held = state.lock().unwrap();
        let refused = state.lock().err().unwrap().to_string();
        assert!(refused.contains(&format!("(process {})", std::process::id())), "{refused}");
        drop(held);
        state.lock().unwrap();
    }

    #[test]
    fn a_directory_that_others_may_look_into_is_closed_and_one_that_they_may_write_to_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::new(dir.path().to_owned());
        let set = |mode| std::fs::set_permissions(dir.path(), Permissions::from_mode(mode)).unwrap();
        set(0o755);
        state.record_export("p", 1).unwrap();
        assert_eq!(dir.path().metadata().unwrap().mode() & 0o777, 0o700);
        for mode in [0o770, 0o707] {
            set(mode);
            let refused = state.lock().err().unwrap();
            assert!(matches!(refused, StateError::Shared { .. }), "{refused}");
            assert!(state.record_export("p", 2).is_err());
        }
    }

    #[test]
    fn sequences_only_grow() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::new(dir.path().to_owned());
        assert_eq!(state.next_sequence("p", 100).unwrap(), 100);
        state.record_export("p", 100).unwrap();
        assert_eq!(state.next_sequence("p", 90).unwrap(), 101);
        assert_eq!(state.next_sequence("q", 90).unwrap(), 90);
    }

    #[test]
    fn a_missing_or_damaged_mark_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::new(dir.path().to_owned());
        assert!(matches!(state.mark("SHA256:x"), Err(StateError::NoMark { .. })));
        state.begin_mark("SHA256:x").unwrap();
        assert!(state.mark("SHA256:x").is_ok());
        std::fs::write(state.mark_path("SHA256:x"), "{}").unwrap();
        assert!(matches!(state.mark("SHA256:x"), Err(StateError::Damaged { .. })));
        assert!(state.begin_mark("SHA256:x").is_err());
    }
}
