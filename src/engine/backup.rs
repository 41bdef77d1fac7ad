//! Step 8: what a transaction is about to touch, as a bundle of the usual format in the state directory, encrypted to
//! this machine's own recipient and signed with its own key. It is on disk and was read again before the first change.
//!
//! What others write to until the commit moves it aside comes late: into a bundle of its own, when all checks have passed and
//! nothing is dropped yet (`docs/decisions/0018`).

use crate::base::digest::Digest;
use crate::base::path::ShownPath;
use crate::component::{Captured, Progress};
use crate::crypto::bundle_key::BundleKey;
use crate::crypto::identity::Identities;
use crate::crypto::own::OwnKeys;
use crate::crypto::sign::Namespace;
use crate::crypto::trust::Trusted as Trust;
use crate::engine::apply::Transaction;
use crate::engine::error::{output_error, At, EngineError, In, Result};
use crate::engine::events::Events;
use crate::engine::machine;
use crate::engine::plan::{ImportPlan, PlannedComponent};
use crate::engine::state::State;
use crate::format::{BundleId, ComponentEntry, Manifest, Target, FORMAT_VERSION};
use crate::pipeline::output::Output;
use crate::pipeline::pack::{PackError, Packer};
use crate::pipeline::unpack::{Opened, Unverified};
use serde::{Deserialize, Serialize};
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};

/// What a journal says of the backup.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backup {
    /// There is none: it was not wanted.
    #[default]
    None,
    /// There is none, for nothing was to change.
    Unneeded,
    /// All of it comes late: see [`Begin::late`](crate::engine::journal::Begin::late).
    Late,
    /// It is there.
    Made(Made),
}

/// A bundle that a backup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// The digest of its `SHA256SUMS`: it is this bundle and no other, whatever its sequence and age.
    pub sums: Digest,
    /// Its bytes.
    pub size: u64,
}

/// The two bundles that a backup may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Made before the first change.
    Early,
    /// Made after the checks.
    Late,
}

impl Part {
    /// Both.
    pub(super) const ALL: [Part; 2] = [Part::Early, Part::Late];

    /// Whether `planned` goes into it.
    fn takes(self, planned: &PlannedComponent) -> bool {
        !planned.plan.changes.is_empty() && planned.plan.late_backup.is_some() == (self == Part::Late)
    }

    /// Whether there is anything to go into it.
    pub(super) fn is_needed(self, plan: &ImportPlan) -> bool {
        plan.components.iter().any(|planned| self.takes(planned))
    }

    /// Where that of a run stands.
    pub(super) fn path(self, run: &str, state: &State) -> PathBuf {
        let end = if self == Part::Late { "-late" } else { "" };
        state.backups_dir().join(format!("{run}{end}.kbp"))
    }

    /// The run in its file's name.
    pub(super) fn run_of(name: &OsStr) -> Option<&str> {
        let run = name.to_str()?.strip_suffix(".kbp")?;
        let run = run.strip_suffix("-late").unwrap_or(run);
        let hex = |c: u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
        (run.len() == 16 && run.bytes().all(hex)).then_some(run)
    }
}

/// A backup that was made.
#[derive(Debug, Clone, Serialize)]
pub struct BackupMade {
    /// Where it stands.
    pub path: ShownPath,
    /// Its bytes.
    pub size: u64,
}

impl Backup {
    /// What was made before the first change.
    pub(super) fn early(&self) -> Option<Made> {
        if let Backup::Made(made) = self {
            Some(*made)
        } else {
            None
        }
    }
}

impl Made {
    /// For a report.
    pub(super) fn shown(&self, part: Part, run: &str, state: &State) -> BackupMade {
        BackupMade { path: part.path(run, state).as_path().into(), size: self.size }
    }
}

/// Removes the backup of a run that was undone: everything is as it was, so nothing needs it. One that stays does no
/// harm.
pub(super) fn discard(run: &str, state: &State) {
    for part in Part::ALL {
        let _ = std::fs::remove_file(part.path(run, state));
    }
}

/// Whether anything would change, so that there is something to back up.
pub fn is_needed(plan: &ImportPlan) -> bool {
    plan.components.iter().any(|planned| !planned.plan.changes.is_empty())
}

/// Makes a part of the backup of what `transaction` touches, and reads it again.
pub(super) fn back_up(transaction: &Transaction<'_>, keys: &OwnKeys, part: Part) -> Result<Made> {
    let state = transaction.state;
    state.ensure_backups()?;
    let path = part.path(transaction.run, state);
    transaction.events.step(match part {
        Part::Early => "backing up",
        Part::Late => "backing up what was replaced",
    });
    write(transaction, keys, part, &path)
        .and_then(|id| read_again(transaction, keys, &path, id))
        .map_err(|error| EngineError::Backup { path: path.clone(), error: Box::new(error) })
}

fn write(transaction: &Transaction<'_>, keys: &OwnKeys, part: Part, path: &Path) -> Result<BundleId> {
    let id = BundleId::random().map_err(PackError::from)?;
    let failed = |error| output_error(Some(path), error);
    let output = Output::file(path).map_err(failed)?;
    let packer = Packer::new(output, id, BundleKey::generate(), &keys.signer, &keys.recipients, None)?;
    let mut components = Vec::new();
    for (participant, planned) in transaction.participants.iter().zip(&transaction.plan.components) {
        if !part.takes(planned) {
            continue;
        }
        let name = &participant.name;
        let sink = packer.component(name);
        let scope = transaction.scope(participant);
        let Captured { facts, findings } =
            participant.component.back_up(&scope, &planned.plan, &sink).within(name)?;
        findings.iter().for_each(|finding| transaction.events.finding(name.as_str(), finding));
        let kind = participant.kind.clone();
        components.push(ComponentEntry { name: name.clone(), kind, facts, streams: sink.finish() });
    }
    let own = keys.signer.public().fingerprint();
    let now = machine::now();
    let manifest = Manifest {
        format: FORMAT_VERSION,
        id,
        created: now,
        expires: None,
        // Two may be made in one second.
        sequence: machine::now_ms().max(1),
        profile: transaction.plan.profile.clone(),
        origin: machine::origin(own.clone()),
        targets: vec![Target { host: own, nonce: None }],
        components,
        checks: Vec::new(),
        hooks: Vec::new(),
        todos: Vec::new(),
    };
    packer.finish(&manifest, Namespace::Backup, &keys.signer)?.finish().map_err(failed)?;
    Ok(id)
}

fn read_again(transaction: &Transaction<'_>, keys: &OwnKeys, path: &Path, id: BundleId) -> Result<Made> {
    let (opened, sums) = open(path, None, &keys.identities, transaction.events)?;
    let size = path.metadata().map_err(|error| EngineError::Io { path: path.to_owned(), error })?.len();
    match opened.manifest().id == id {
        true => Ok(Made { sums, size }),
        false => Err(EngineError::OtherBackup(path.to_owned())),
    }
}

/// Opens the backup at `path`, every byte compared with its digest. With `wanted`, it must be the bundle whose
/// `SHA256SUMS` has that digest: this proves more than any signature. Returns the digest too.
pub(super) fn open(
    path: &Path,
    wanted: Option<Digest>,
    identities: &Identities,
    progress: &dyn Progress,
) -> Result<(Opened, Digest)> {
    let place = ShownPath::from(path).to_string();
    let file = File::open(path).map_err(|error| EngineError::Io { path: path.to_owned(), error })?;
    let sealed = Unverified::scan(file).at(&place)?.check_seal(&[Namespace::Backup]).at(&place)?;
    let sums = sealed.digest();
    if wanted.is_some_and(|wanted| wanted != sums) {
        return Err(EngineError::OtherBackup(path.to_owned()));
    }
    sealed.check_digests(machine::threads(), progress).at(&place)?;
    let own = Trust { principal: "this machine".into(), hooks: false };
    Ok((sealed.trust(own).open(identities).at(&place)?, sums))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_backups() {
        for good in ["0123456789abcdef.kbp", "0123456789abcdef-late.kbp"] {
            assert_eq!(Part::run_of(OsStr::new(good)), Some("0123456789abcdef"));
        }
        for bad in [
            "0123456789abcde.kbp",
            "0123456789ABCDEF.kbp",
            "0123456789abcdef",
            "0123456789abcdef.kbp.kbp",
            "0123456789abcdef-late-late.kbp",
        ] {
            assert_eq!(Part::run_of(OsStr::new(bad)), None, "{bad}");
        }
    }
}
