//! Step 8: what a transaction is about to touch, as a bundle of the usual format in the state directory, encrypted to
//! this machine's own recipient and signed with its own key. It is on disk and was read again before the first change.

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
use crate::engine::plan::ImportPlan;
use crate::engine::state::State;
use crate::format::{BundleId, ComponentEntry, Manifest, Target, FORMAT_VERSION};
use crate::pipeline::output::Output;
use crate::pipeline::pack::{PackError, Packer};
use crate::pipeline::unpack::{Opened, Unverified};
use serde::{Deserialize, Serialize};
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
    /// It is there.
    Made {
        /// The digest of its `SHA256SUMS`: it is this bundle and no other, whatever its sequence and age.
        sums: Digest,
        /// Its bytes.
        size: u64,
    },
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
    /// For a report.
    pub(super) fn made(&self, run: &str, state: &State) -> Option<BackupMade> {
        match self {
            Backup::Made { size, .. } => {
                Some(BackupMade { path: path(run, state).as_path().into(), size: *size })
            }
            Backup::None | Backup::Unneeded => None,
        }
    }
}

/// Where the backup of a run stands.
pub(super) fn path(run: &str, state: &State) -> PathBuf {
    state.backups_dir().join(format!("{run}.kbp"))
}

/// Removes the backup of a run that was undone: everything is as it was, so nothing needs it. One that stays does no
/// harm.
pub(super) fn discard(run: &str, state: &State) {
    let _ = std::fs::remove_file(path(run, state));
}

/// Whether anything would change, so that there is something to back up.
pub fn is_needed(plan: &ImportPlan) -> bool {
    plan.components.iter().any(|planned| !planned.plan.changes.is_empty())
}

/// Makes the backup of what `transaction` is about to touch, and reads it again.
pub(super) fn back_up(transaction: &Transaction<'_>, keys: &OwnKeys) -> Result<Backup> {
    let state = transaction.state;
    state.ensure_backups()?;
    let path = path(transaction.run, state);
    transaction.events.step("backing up");
    write(transaction, keys, &path)
        .and_then(|id| read_again(transaction, keys, &path, id))
        .map_err(|error| EngineError::Backup { path: path.clone(), error: Box::new(error) })
}

fn write(transaction: &Transaction<'_>, keys: &OwnKeys, path: &Path) -> Result<BundleId> {
    let id = BundleId::random().map_err(PackError::from)?;
    let failed = |error| output_error(Some(path), error);
    let output = Output::file(path).map_err(failed)?;
    let packer = Packer::new(output, id, BundleKey::generate(), &keys.signer, &keys.recipients, None)?;
    let mut components = Vec::new();
    for (participant, planned) in transaction.participants.iter().zip(&transaction.plan.components) {
        if planned.plan.changes.is_empty() {
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
    };
    packer.finish(&manifest, Namespace::Backup, &keys.signer)?.finish().map_err(failed)?;
    Ok(id)
}

fn read_again(transaction: &Transaction<'_>, keys: &OwnKeys, path: &Path, id: BundleId) -> Result<Backup> {
    let (opened, sums) = open(path, None, &keys.identities, transaction.events)?;
    let size = path.metadata().map_err(|error| EngineError::Io { path: path.to_owned(), error })?.len();
    match opened.manifest().id == id {
        true => Ok(Backup::Made { sums, size }),
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
