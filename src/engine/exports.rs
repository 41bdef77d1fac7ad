//! What this machine exported, and the receipts that came back for it: `exports/` in the state directory.
//!
//! One file an export, `<when>-<first 16 hex digits of the id>.json`, written once and never changed, so that a damaged one
//! costs itself alone. Receipts stand beside them as they came: `<the 16 digits>-<16 of the receipt's own digest>.receipt`.

use crate::base::digest::Digest;
use crate::base::fsx;
use crate::base::json;
use crate::base::name::ComponentName;
use crate::engine::completeness::Amounts;
use crate::engine::error::{EngineError, Result};
use crate::engine::machine;
use crate::engine::receipt::Receipt;
use crate::engine::sealed::file;
use crate::engine::state::State;
use crate::format::BundleId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// Exports that are remembered; of more, the oldest are forgotten, with their receipts.
const MAX_EXPORTS: usize = 10_000;

/// One export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PastExport {
    /// The bundle.
    pub id: BundleId,
    /// The profile's name.
    pub profile: String,
    /// Its sequence.
    pub sequence: u64,
    /// When it was made: Unix time in seconds.
    pub created: u64,
    /// Whose seal it has.
    pub signer: String,
    /// Whom it was encrypted to.
    pub recipients: Vec<String>,
    /// What was packed.
    pub components: Vec<ComponentName>,
    /// The hosts that may import it; none: any that can open it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    /// The file, absolute, in the text form of paths; absent for standard output.
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Its bytes; absent for standard output.
    #[serde(default, deserialize_with = "json::set", skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// How much each component held that was packed as a whole.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub amounts: BTreeMap<ComponentName, Amounts>,
    /// Whether it held much less than the one before, and somebody said that this is as it should be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shrunk: bool,
}

/// An export, and where it is known to have been restored.
#[derive(Debug, Serialize)]
pub struct KnownExport {
    /// The export.
    #[serde(flatten)]
    pub export: PastExport,
    /// The receipts for it, the oldest first.
    pub receipts: Vec<Receipt>,
}

/// Writes `export` down. Returns where, for [`forget`]. The caller holds the lock.
pub fn record(state: &State, export: &PastExport) -> Result<PathBuf> {
    let dir = state.ensure_exports()?;
    // In the order of their names they are in the order of time.
    let when: String = machine::timestamp(export.created).replace(['-', ':'], "");
    let path = dir.join(format!("{when}-{}.json", beginning(&export.id)));
    let io = |error| EngineError::Io { path: path.clone(), error };
    let mut bytes = serde_json::to_vec_pretty(export).map_err(|error| io(error.into()))?;
    bytes.push(b'\n');
    fsx::write_atomic(&path, 0o600, &bytes).map_err(io)?;
    keep_few(&dir, MAX_EXPORTS)?;
    Ok(path)
}

/// Takes an export back that came to nothing.
pub fn forget(path: &Path) {
    // If it cannot be removed, history shows an export whose file there is none of: no harm.
    let _ = std::fs::remove_file(path);
}

/// All exports that are remembered, the oldest first; and why one cannot be shown, of each such.
pub fn exports(state: &State) -> Result<(Vec<KnownExport>, Vec<EngineError>)> {
    let dir = state.exports_dir();
    let (mut known, mut unreadable): (Vec<KnownExport>, Vec<EngineError>) = (Vec::new(), Vec::new());
    let names = names(&dir)?;
    for name in names.iter().filter(|name| name.ends_with(".json")) {
        match read(&dir.join(name)) {
            Ok(export) => known.push(KnownExport { export, receipts: Vec::new() }),
            Err(error) => unreadable.push(error),
        }
    }
    for name in names.iter().filter(|name| name.ends_with(".receipt")) {
        let path = dir.join(name);
        match file::open::<Receipt>(&file::read(&path)?) {
            Ok(receipt) => known
                .iter_mut()
                .filter(|known| known.export.id == receipt.bundle)
                .for_each(|known| known.receipts.push(receipt.clone())),
            Err(_) => unreadable.push(EngineError::DamagedHistory(path)),
        }
    }
    known.iter_mut().for_each(|known| known.receipts.sort_by_key(|receipt| receipt.imported));
    Ok((known, unreadable))
}

/// The export of the bundle `id`, if it is remembered.
pub fn find(state: &State, id: &BundleId) -> Result<Option<PastExport>> {
    let dir = state.exports_dir();
    let end = format!("-{}.json", beginning(id));
    for name in names(&dir)?.iter().filter(|name| name.ends_with(&end)) {
        let export = read(&dir.join(name))?;
        if export.id == *id {
            return Ok(Some(export));
        }
    }
    Ok(None)
}

/// Puts a receipt that was verified beside its export, as it came. The same one twice is one. The caller holds the lock.
pub fn add_receipt(state: &State, bundle: &BundleId, receipt: &[u8]) -> Result<PathBuf> {
    let own = &Digest::of(receipt).to_string()[..16];
    let path = state.ensure_exports()?.join(format!("{}-{own}.receipt", beginning(bundle)));
    fsx::write_atomic(&path, 0o600, receipt)
        .map_err(|error| EngineError::Io { path: path.clone(), error })?;
    Ok(path)
}

fn beginning(id: &BundleId) -> String {
    id.to_string()[..16].to_owned()
}

fn read(path: &Path) -> Result<PastExport> {
    let bytes = std::fs::read(path).map_err(|error| EngineError::Io { path: path.to_owned(), error })?;
    json::from_slice(&bytes).map_err(|_| EngineError::DamagedHistory(path.to_owned()))
}

/// The names in `dir` that are text, sorted; none if there is no such directory.
fn names(dir: &Path) -> Result<BTreeSet<String>> {
    let io = |error| EngineError::Io { path: dir.to_owned(), error };
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        entries => entries.map_err(io)?,
    };
    let mut names = BTreeSet::new();
    for entry in entries {
        names.extend(entry.map_err(io)?.file_name().into_string().ok());
    }
    Ok(names)
}

/// Forgets the oldest exports of more than `most`.
fn keep_few(dir: &Path, most: usize) -> Result<()> {
    let names = names(dir)?;
    let exports: Vec<&String> = names.iter().filter(|name| name.ends_with(".json")).collect();
    for old in exports.iter().take(exports.len().saturating_sub(most)) {
        let bundle = old.trim_end_matches(".json").rsplit('-').next().unwrap_or_default();
        let its = |name: &&String| name.ends_with(".receipt") && name.starts_with(bundle);
        for name in names.iter().filter(its).chain([*old]) {
            let path = dir.join(name);
            std::fs::remove_file(&path).map_err(|error| EngineError::Io { path, error })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn export(byte: u8) -> PastExport {
        PastExport {
            id: BundleId([byte; 32]),
            profile: "p".into(),
            sequence: u64::from(byte),
            created: 1_700_000_000 + u64::from(byte),
            signer: "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU".into(),
            recipients: vec!["age1x".into()],
            components: vec![ComponentName::new("app").unwrap()],
            targets: Vec::new(),
            path: None,
            size: None,
            amounts: BTreeMap::new(),
            shrunk: false,
        }
    }

    #[test]
    fn what_was_recorded_is_found_and_listed_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::new(dir.path().join("state"));
        assert!(exports(&state).unwrap().0.is_empty() && find(&state, &BundleId([1; 32])).unwrap().is_none());
        for byte in [2, 1, 3] {
            record(&state, &export(byte)).unwrap();
        }
        let (known, unreadable) = exports(&state).unwrap();
        assert_eq!(known.iter().map(|k| k.export.sequence).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(unreadable.is_empty());
        assert_eq!(find(&state, &BundleId([2; 32])).unwrap(), Some(export(2)));
        forget(&state.exports_dir().join("20231114T221322Z-0202020202020202.json"));
        assert_eq!(find(&state, &BundleId([2; 32])).unwrap(), None);
    }

    #[test]
    fn a_damaged_one_costs_itself_alone() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::new(dir.path().to_owned());
        let path = record(&state, &export(1)).unwrap();
        record(&state, &export(2)).unwrap();
        let good = std::fs::read_to_string(&path).unwrap();
        for bad in [
            "{}".to_owned(),
            good.replace("\"sequence\": 1,", "\"sequence\": 1, \"sequence\": 1,"),
            good.replace("}", ", \"more\": 1}"),
        ] {
            std::fs::write(&path, bad).unwrap();
            let (known, unreadable) = exports(&state).unwrap();
            assert_eq!((known.len(), unreadable.len()), (1, 1));
            assert!(matches!(find(&state, &BundleId([1; 32])), Err(EngineError::DamagedHistory(_))));
            assert!(find(&state, &BundleId([2; 32])).unwrap().is_some());
        }
    }

    #[test]
    fn the_oldest_are_forgotten_with_their_receipts() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::new(dir.path().to_owned());
        for byte in 1..=3 {
            record(&state, &export(byte)).unwrap();
            add_receipt(&state, &BundleId([byte; 32]), &[byte]).unwrap();
        }
        keep_few(&state.exports_dir(), 2).unwrap();
        let left = names(&state.exports_dir()).unwrap();
        assert_eq!(left.len(), 4, "{left:?}");
        assert!(left.iter().all(|name| !name.contains("0101010101010101")), "{left:?}");
    }
}
