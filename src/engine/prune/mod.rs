//! `prune`: removes old bundles from a folder, or old backups from the state directory, as a [`Policy`] has it.
//!
//! What is a bundle is told by its content, never by its name. All else in the folder is left alone: folders, symlinks and
//! what they lead to, files that are no bundles, and bundles that are damaged, which do not count as kept either.

use crate::base::fsx::Dir;
use crate::base::path::{path_text, ShownPath};
use crate::component::{Finding, Severity};
use crate::crypto::identity::Identities;
use crate::crypto::paths::KeyPaths;
use crate::crypto::sign::Namespace;
use crate::engine::backup::Part;
use crate::engine::error::{EngineError, Result};
use crate::engine::events::Events;
use crate::engine::exports::exports;
use crate::engine::journal;
use crate::engine::retention::{decide, Policy, Reason};
use crate::engine::state::{Lock, State};
use crate::format::BundleId;
use look::{Look, Looker};
use rustix::fs::{fsync, statat, unlinkat, AtFlags};
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

mod look;

/// What to prune, and how.
pub struct Prune<'a> {
    /// Whose bundles may be opened.
    pub paths: &'a KeyPaths,
    /// What opens them.
    pub identities: &'a Identities,
    /// What stays.
    pub policy: &'a Policy,
    /// Unix time in seconds.
    pub now: u64,
    /// Whether each bundle is read as a whole, and counts only if no byte of it changed.
    pub verify: bool,
    /// Bundles that hold much less than the one before them ([`shrunk`]): they take no whole one's place.
    pub shrunk: &'a BTreeSet<BundleId>,
}

/// The exports of this machine that held much less than the one before.
pub fn shrunk(state: &State) -> Result<BTreeSet<BundleId>> {
    let (known, _) = exports(state)?;
    Ok(known.into_iter().filter(|known| known.export.shrunk).map(|known| known.export.id).collect())
}

/// What would be removed from a folder, and what would not.
#[derive(Serialize)]
pub struct Pruning {
    /// The folder.
    pub directory: ShownPath,
    /// Its bundles: by series, the newest first.
    pub bundles: Vec<Found>,
    /// Those that could not be used, and are left alone.
    pub damaged: Vec<Damaged>,
    #[serde(skip)]
    dir: Dir,
    /// Nobody may begin an import while backups are looked at.
    #[serde(skip)]
    _lock: Option<Lock>,
}

/// Bundles are compared with those of their own series only.
///
/// The signer is part of it: whoever can put files into the folder, but has no key of ours, can begin a series of their own
/// and cannot push a bundle out of ours.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Series {
    /// Who sealed them.
    pub signer: String,
    /// The profile, of those that could be opened.
    pub profile: Option<String>,
}

/// One bundle.
#[derive(Serialize)]
pub struct Found {
    /// The file's name, in the text form of paths.
    pub file: String,
    /// The bundle's id.
    pub id: BundleId,
    /// The series that it belongs to.
    #[serde(flatten)]
    pub series: Series,
    /// When it was made or, if it could not be opened, when the file was written: Unix time in seconds.
    pub time: u64,
    /// Its sequence, if it could be opened: the order of those that were made in one second.
    pub sequence: Option<u64>,
    /// Bytes of the file.
    pub size: u64,
    /// Why it stays; none: it goes.
    pub keep: Vec<Reason>,
    /// What is kept or goes as one: the run of a backup, which may be two bundles; else the bundle's id.
    #[serde(skip)]
    unit: String,
    #[serde(skip)]
    name: OsString,
    /// Device and inode of what was looked at.
    #[serde(skip)]
    inode: (u64, u64),
}

/// A file that begins as a bundle does, and is none.
#[derive(Debug, Serialize)]
pub struct Damaged {
    /// Its name, in the text form of paths.
    pub file: String,
    /// What is wrong with it.
    pub what: String,
}

/// What was removed.
#[derive(Debug, Default, Serialize)]
pub struct Removed {
    /// The files' names.
    pub removed: Vec<String>,
    /// Those that could not be removed.
    pub failed: Vec<String>,
}

impl Prune<'_> {
    /// Looks at the bundles in `folder`. Changes nothing.
    pub fn folder(&self, folder: &Path, events: &dyn Events) -> Result<Pruning> {
        self.look(folder, Namespace::Bundle, &|_| true, None, events)
    }

    /// Looks at this machine's backups. Changes nothing; no import can begin while the result is there.
    pub fn backups(&self, state: &State, events: &dyn Events) -> Result<Pruning> {
        let lock = state.lock()?;
        let folder = state.ensure_backups()?;
        let is_backup = |name: &OsStr| Part::run_of(name).is_some();
        let mut pruning = self.look(&folder, Namespace::Backup, &is_backup, Some(lock), events)?;
        // Without its backup an import that was cut off could perhaps not be undone.
        let unfinished = journal::list(&state.journals_dir())?;
        let unfinished: BTreeSet<&OsStr> = unfinished.iter().filter_map(|path| path.file_stem()).collect();
        for found in &mut pruning.bundles {
            let needed = Part::run_of(&found.name).is_some_and(|run| unfinished.contains(OsStr::new(run)));
            found.keep.extend(needed.then_some(Reason::Needed));
        }
        Ok(pruning)
    }

    fn look(
        &self,
        folder: &Path,
        namespace: Namespace,
        of_interest: &dyn Fn(&OsStr) -> bool,
        lock: Option<Lock>,
        events: &dyn Events,
    ) -> Result<Pruning> {
        let io = |error| EngineError::Io { path: folder.to_owned(), error };
        let dir = folder.canonicalize().and_then(|real| Dir::open(&real)).map_err(io)?;
        let looker = Looker::new(self, &dir, namespace, events)?;
        let (mut bundles, mut damaged) = (Vec::new(), Vec::new());
        for name in names(&dir).map_err(|error| io(error.into()))? {
            let file = path_text(name.as_bytes());
            match if of_interest(&name) { looker.look(&name) } else { Look::Other } {
                Look::Bundle(found) => bundles.push(*found),
                Look::Other => {
                    let what = format!("{file}: no bundle; left alone");
                    events.finding("prune", &Finding::new(Severity::Note, what));
                }
                Look::Broken(error) => {
                    let what = error.to_string();
                    let finding = Finding::new(Severity::Warning, format_args!("{file}: {what}"));
                    let todo = "it is left alone, and counts as none of those that are kept";
                    events.finding("prune", &finding.todo(todo));
                    damaged.push(Damaged { file, what });
                }
            }
        }
        self.judge(&mut bundles);
        Ok(Pruning { directory: folder.into(), bundles, damaged, dir, _lock: lock })
    }

    /// Sorts `bundles`, and says of each why it stays.
    fn judge(&self, bundles: &mut [Found]) {
        bundles.sort_by(|a, b| {
            (&a.series, Reverse(a.when()), &a.name).cmp(&(&b.series, Reverse(b.when()), &b.name))
        });
        for series in bundles.chunk_by_mut(|a, b| a.series == b.series) {
            // Copies of a bundle are one: else, of an old one, they would take the places of all others.
            let mut seen = BTreeSet::new();
            let whole = |found: &&Found| !self.shrunk.contains(&found.id);
            let (units, times): (Vec<String>, Vec<u64>) = series
                .iter()
                .filter(whole)
                .filter(|found| seen.insert(&found.unit))
                .map(|found| (found.unit.clone(), found.time))
                .unzip();
            let newest_whole = series.iter().filter(whole).map(Found::when).max();
            let reasons = decide(times, self.policy, self.now);
            let reasons: BTreeMap<String, Vec<Reason>> = units.into_iter().zip(reasons).collect();
            for found in series {
                let only_shrunk = self.shrunk.contains(&found.id) && Some(found.when()) > newest_whole;
                found.keep = reasons.get(&found.unit).cloned().unwrap_or_default();
                found.keep.extend(only_shrunk.then_some(Reason::Shrunk));
            }
        }
    }
}

impl Found {
    fn when(&self) -> (u64, Option<u64>) {
        (self.time, self.sequence)
    }
}

impl Pruning {
    /// What goes.
    pub fn going(&self) -> impl Iterator<Item = &Found> {
        self.bundles.iter().filter(|found| found.keep.is_empty())
    }

    /// Removes what goes. One that cannot be removed does not keep the others.
    pub fn remove(&self, events: &dyn Events) -> Result<Removed> {
        let mut outcome = Removed::default();
        for found in self.going() {
            match self.unlink(found) {
                Ok(()) => outcome.removed.push(found.file.clone()),
                Err(why) => {
                    let what = format!("{} was not removed: {why}", found.file);
                    events.finding("prune", &Finding::new(Severity::Warning, what));
                    outcome.failed.push(found.file.clone());
                }
            }
        }
        fsync(&self.dir)
            .map_err(|error| EngineError::Io { path: self.directory.0.clone(), error: error.into() })?;
        Ok(outcome)
    }

    fn unlink(&self, found: &Found) -> std::result::Result<(), String> {
        let stat = statat(&self.dir, &*found.name, AtFlags::SYMLINK_NOFOLLOW);
        let stat = stat.map_err(|error| error.to_string())?;
        if (stat.st_dev, stat.st_ino) != found.inode {
            return Err("it is another file than the one that was looked at".to_owned());
        }
        unlinkat(&self.dir, &*found.name, AtFlags::empty()).map_err(|error| error.to_string())
    }
}

/// What lies in `dir`, sorted.
fn names(dir: &Dir) -> rustix::io::Result<BTreeSet<OsString>> {
    let mut names = BTreeSet::new();
    for entry in rustix::fs::Dir::read_from(dir)? {
        let name = OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned();
        if name != "." && name != ".." {
            names.insert(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn only_the_very_file_that_was_looked_at_goes() {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().canonicalize().unwrap();
        std::fs::write(folder.join("a.kbp"), "looked at").unwrap();
        let meta = folder.join("a.kbp").metadata().unwrap();
        let found = Found {
            file: "a.kbp".into(),
            id: BundleId([1; 32]),
            series: Series { signer: "SHA256:x".into(), profile: None },
            time: 0,
            sequence: None,
            size: 9,
            keep: Vec::new(),
            unit: String::new(),
            name: "a.kbp".into(),
            inode: (meta.dev(), meta.ino()),
        };
        let dir = Dir::open(&folder).unwrap();
        let pruning = Pruning {
            directory: ShownPath(folder.clone()),
            bundles: Vec::new(),
            damaged: Vec::new(),
            dir,
            _lock: None,
        };
        std::fs::rename(folder.join("a.kbp"), folder.join("moved")).unwrap();
        std::fs::write(folder.join("a.kbp"), "put in its place").unwrap();
        assert!(pruning.unlink(&found).unwrap_err().contains("another file"));
        std::fs::rename(folder.join("moved"), folder.join("a.kbp")).unwrap();
        pruning.unlink(&found).unwrap();
        assert!(!folder.join("a.kbp").exists() && pruning.unlink(&found).is_err());
    }
}
