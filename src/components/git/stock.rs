//! Stock git as a child: for packs, which it writes, indexes and reads several times as fast as libgit2.

use super::open::of_machine;
use crate::base::fault::Fault;
use crate::base::interrupt;
use crate::base::path::shown;
use crate::base::process::{Command, ProcessError, Talked};
use crate::component::Error;
use git2::{Oid, Repository};
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

/// Nobody's repository takes longer.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);
/// How git ends that does not know an option.
const USAGE: i32 = 129;

/// Why stock git did nothing.
pub enum Stock {
    /// It is not installed, or too old.
    Missing,
    /// Anything else.
    Failed(Error),
}

impl From<Error> for Stock {
    fn from(error: Error) -> Self {
        Stock::Failed(error)
    }
}

/// Stock git on `repo`, whose config it reads: no hook, no filter, no network and nobody else's config is of its business.
/// Its memory is bounded: blobs of 32 MiB and more are compared with no others, and of packs it has a part in view.
pub fn git(repo: &Repository) -> Command {
    Command::new("git", PATIENCE)
        .args(["--no-replace-objects", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"])
        .args(["-c", "protocol.allow=never", "-c", "core.bigFileThreshold=32m"])
        .args(["-c", "core.packedGitWindowSize=32m", "-c", "core.packedGitLimit=128m"])
        .pass_env(&["PATH"])
        .env("GIT_DIR", repo.path())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
}

/// What came of a conversation with git on `repo`. `failed` makes an error of git's last words, if it ended badly by no fault of
/// the machine.
pub fn judge<T>(
    repo: &Repository,
    talked: Result<Talked<Result<T, Error>>, ProcessError>,
    failed: impl FnOnce(&str) -> Error,
) -> Result<T, Stock> {
    let talked = talked.map_err(|e| match e {
        ProcessError::NotFound { .. } => Stock::Missing,
        e => Stock::Failed(Error::of(e)),
    })?;
    if talked.status.code() == Some(USAGE) {
        return Err(Stock::Missing);
    }
    // An error of ours has ended the child.
    let said = talked.said?;
    if let Some(signal) = talked.status.signal() {
        let what = format!("{}: git was killed by signal {signal}", shown(repo.path()));
        return Err(Stock::Failed(Error::new(Fault::Unexpected, what)));
    }
    match talked.status.success() {
        true => Ok(said),
        false => {
            if let Some(error) = of_machine(&talked.stderr) {
                return Err(Stock::Failed(Error::io(shown(repo.path()), error)));
            }
            let why = talked.stderr.lines().last().unwrap_or("it did not say why");
            Err(Stock::Failed(failed(why.trim_start_matches("fatal: "))))
        }
    }
}

/// Ids, as git reads them: one a line.
pub fn lines(ids: &[Oid]) -> String {
    let mut text = String::with_capacity(ids.len() * 41);
    ids.iter().for_each(|id| text.push_str(&format!("{id}\n")));
    text
}

/// Copies all that a child says.
pub fn copy(from: &mut impl Read, to: &mut dyn Write) -> io::Result<()> {
    let mut buffer = vec![0; 128 * 1024];
    loop {
        interrupt::check().map_err(|e| io::Error::other(e.to_string()))?;
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            n => to.write_all(&buffer[..n])?,
        }
    }
}

/// The error of a repository that git cannot read.
pub fn unreadable(repo: &Repository, command: &str, why: &str) -> Error {
    let what = format!("{}: git {command} failed: {why}", shown(repo.path()));
    Error::not_ready(what).todo("see what `git fsck` says of the repository")
}
