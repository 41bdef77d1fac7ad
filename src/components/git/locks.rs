//! Locks that a killed import left behind. Git takes one by making a file and never looks how old it is.

use super::plan::RefChange;
use git2::Repository;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Another git holds a lock for less than this, but for a commit whose message is being written.
const PATIENCE: Duration = Duration::from_secs(1);

/// Removes the locks that an import can have left that was killed: those of what it changes, made since its staging
/// area `side` was, that nobody has open and that stay. Where that cannot be told, a lock stays, and git's own error names it.
pub fn release(repo: &Repository, changes: &[RefChange], side: &Path) {
    let names = ["index", "HEAD", "packed-refs", "config"];
    let mut locks: Vec<PathBuf> = names.iter().map(|name| repo.path().join(format!("{name}.lock"))).collect();
    locks.push(repo.commondir().join("packed-refs.lock"));
    locks.push(repo.commondir().join("refs/stash.lock"));
    locks.push(repo.commondir().join("logs/refs/stash.lock"));
    locks.extend(changes.iter().map(|one| repo.commondir().join(format!("{}.lock", one.name))));
    locks.retain(|lock| is_newer(lock, side));
    let start = Instant::now();
    while !locks.is_empty() && start.elapsed() < PATIENCE {
        thread::sleep(PATIENCE / 20);
        locks.retain(|lock| lock.exists());
    }
    for lock in locks.iter().filter(|lock| !is_open(lock)) {
        let _ = fs::remove_file(lock);
    }
}

fn is_newer(lock: &Path, side: &Path) -> bool {
    let time = |path: &Path| fs::metadata(path).and_then(|meta| meta.modified()).ok();
    // The folder around the staging area is the first thing that a run makes.
    match (time(lock), side.parent().and_then(time)) {
        (Some(lock), Some(run)) => lock >= run,
        _ => false,
    }
}

/// Whether a process that we may look at has the file open.
fn is_open(lock: &Path) -> bool {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let files =
        processes.filter_map(|process| fs::read_dir(process.path().join("fd")).ok()).flatten().flatten();
    files.filter_map(|file| fs::read_link(file.path()).ok()).any(|target| target == lock)
}
