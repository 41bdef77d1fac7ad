//! What a ticket says of the machine that it is issued on. Read-only, and quick.

use crate::base::path::path_text;
use crate::base::process::{Command, PLAIN_ENV};
use crate::component::{Host, Kind};
use crate::engine::sealed::text;
use crate::engine::ticket::document::{Space, Tool};
use crate::format::MAX_INTEGER;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Programs whose version may decide what can be restored here.
const TOOLS: &[&str] = &["git", "pg_dump", "psql", "python3"];
/// How long one of them may think.
const PATIENCE: Duration = Duration::from_secs(5);
/// Places of which a kind says what is there.
const MAX_PLACES: usize = 64;
/// Bytes that one of them may say.
const MAX_ANSWER: usize = 16 * 1024;

/// Those of [`TOOLS`] that are here and say a version.
pub(super) fn tools() -> Vec<Tool> {
    let tool = |name: &&str| Some(Tool { name: (*name).to_owned(), version: version(name)? });
    TOOLS.iter().filter_map(tool).collect()
}

fn version(program: &str) -> Option<String> {
    let command = Command::new(program, PATIENCE).args(["--version"]).pass_env(PLAIN_ENV);
    let output = command.run(b"", MAX_ANSWER).ok()?;
    let said = String::from_utf8_lossy(output.stdout.expose()).into_owned();
    let line = said.lines().next().map(str::trim).filter(|line| !line.is_empty());
    line.filter(|_| output.status.success()).map(text)
}

/// The room on the file systems of `folders`, each file system once.
pub(super) fn space<'a>(folders: impl IntoIterator<Item = &'a Path>) -> Vec<Space> {
    let mut rows: Vec<Space> = Vec::new();
    for mount in folders.into_iter().filter_map(mount) {
        let Ok(room) = rustix::fs::statvfs(&mount) else { continue };
        let row = Space {
            mount: path_text(mount.as_os_str().as_bytes()),
            free: room.f_bavail.saturating_mul(room.f_frsize).min(MAX_INTEGER),
        };
        if rows.iter().all(|known| known.mount != row.mount) {
            rows.push(row);
        }
    }
    rows
}

/// The topmost folder on the file system of `folder`.
fn mount(folder: &Path) -> Option<PathBuf> {
    let folder = folder.canonicalize().ok()?;
    let device = folder.metadata().ok()?.dev();
    let same = |above: &&Path| above.metadata().is_ok_and(|meta| meta.dev() == device);
    folder.ancestors().take_while(same).last().map(Path::to_owned)
}

/// What each kind has to say of this machine, and of what is at `places`.
pub(super) fn offers(kinds: &[&dyn Kind], host: &Host, places: &BTreeSet<String>) -> BTreeMap<String, Value> {
    let offer = |kind: &&dyn Kind| {
        let mut offer = kind.offer(host);
        let has = places.iter().filter_map(|place| Some((place.clone(), kind.has(host, place)?)));
        let has: serde_json::Map<String, Value> = has.take(MAX_PLACES).collect();
        if let (Value::Object(offer), false) = (&mut offer, has.is_empty()) {
            offer.insert("has".to_owned(), has.into());
        }
        (kind.name().to_owned(), offer)
    };
    kinds.iter().map(offer).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_is_listed_once_under_its_topmost_folder() {
        let dir = tempfile::tempdir().unwrap();
        let inside = dir.path().join("inside");
        std::fs::create_dir(&inside).unwrap();
        let rows = space([dir.path(), &inside, Path::new("/none")]);
        assert_eq!(rows.len(), 1, "{rows:?}");
        assert!(dir.path().canonicalize().unwrap().starts_with(&rows[0].mount), "{rows:?}");
        assert!(rows[0].free > 0);
    }

    #[test]
    fn what_is_not_installed_is_not_listed() {
        assert_eq!(version("kbpack-no-such-program"), None);
        assert_eq!(version("false"), None);
        assert!(version("sh").is_none_or(|said| !said.is_empty()));
        assert!(version("tar").unwrap().contains("tar"));
    }

    #[test]
    fn every_kind_has_its_say() {
        let host = Host { home: "/".into(), uid: 0, own: vec![], maps: vec![] };
        let offers = offers(crate::components::KINDS, &host, &BTreeSet::new());
        assert_eq!(offers.len(), crate::components::KINDS.len());
        assert!(offers.values().all(Value::is_object), "{offers:?}");
    }
}
