//! How a repository is opened, what of it kbpack cannot carry, and what libgit2's errors mean to a person.

use crate::base::fault::Fault;
use crate::base::path::shown;
use crate::component::{Error, Result};
use git2::{ErrorCode, Repository, RepositoryOpenFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::io;
use std::path::Path;

/// What an error of libgit2 means for the repository at `path`.
pub fn failed(path: &Path, error: &git2::Error) -> Error {
    let what = format!("{}: git: {}", shown(path), error.message());
    match error.code() {
        ErrorCode::Owner => Error::not_ready(format_args!("{}: it belongs to another user", shown(path)))
            .todo(format_args!(
                "run kbpack as that user, or: git config --global --add safe.directory {}",
                shown(path)
            )),
        ErrorCode::Locked => {
            Error::not_ready(what).todo("wait for the other git, or remove its lock if there is none")
        }
        _ if error.message().contains("nesting too deep") => {
            Error::new(Fault::Limit, what).todo("have no folders so deep in each other in it")
        }
        _ => {
            let of_machine = match error.class() {
                git2::ErrorClass::Os => of_machine(error.message()),
                // Libgit2 does not always say that a file could not be written.
                git2::ErrorClass::None => is_full(path).then(|| Errno::NOSPC.into()),
                _ => None,
            };
            match of_machine {
                Some(error) => Error::io(shown(path), error),
                None => Error::new(Fault::Unexpected, what),
            }
        }
    }
}

/// Whether next to nothing can be written where `path` is.
fn is_full(path: &Path) -> bool {
    const LITTLE: u64 = 64 << 10;
    let room = rustix::fs::statvfs(path);
    room.is_ok_and(|room| {
        room.f_bavail.saturating_mul(room.f_frsize) < LITTLE || room.f_ffree == 0 && room.f_files > 0
    })
}

/// The machine's error (no room, a disk that fails) that ends one of these lines in the system's own words, as git and libgit2 say it:
/// then nothing is wrong with what they read.
pub fn of_machine(said: &str) -> Option<io::Error> {
    const ERRORS: [Errno; 9] = [
        Errno::NOSPC,
        Errno::DQUOT,
        Errno::FBIG,
        Errno::IO,
        Errno::ROFS,
        Errno::MFILE,
        Errno::NFILE,
        Errno::NOMEM,
        Errno::ACCESS,
    ];
    let ends = |line: &str, errno: &Errno| {
        let words = io::Error::from(*errno).to_string();
        // Rust adds its number.
        words.split_once(" (os error").is_some_and(|(words, _)| line.ends_with(&format!(": {words}")))
    };
    let found = |line: &str| ERRORS.into_iter().find(|errno| ends(line.trim_end(), errno));
    said.lines().rev().find_map(found).map(io::Error::from)
}

/// Whether a repository is at `path` itself, not above it: a work tree with `.git` in it, or a bare one.
pub fn is_repository(path: &Path) -> bool {
    std::fs::symlink_metadata(path.join(".git")).is_ok()
        || path.join("HEAD").is_file() && path.join("objects").is_dir() && path.join("refs").is_dir()
}

/// Opens the repository at `path`, if it is one that kbpack can carry.
pub fn open(path: &Path) -> Result<Repository> {
    let flags = RepositoryOpenFlags::NO_SEARCH | RepositoryOpenFlags::CROSS_FS;
    let repo = Repository::open_ext(path, flags, &[] as &[&OsStr]).map_err(|e| match e.code() {
        ErrorCode::NotFound => Error::not_ready(format_args!("{}: not a git repository", shown(path)))
            .todo("name the folder that has .git in it, or a bare repository"),
        // An extension that this libgit2 does not know.
        _ if e.message().to_lowercase().contains("refstorage") => {
            Error::not_ready(format_args!("{}: its refs are kept in a reftable", shown(path)))
                .todo("git refs migrate --ref-format=files (git 2.46 and later)")
        }
        _ if e.class() == git2::ErrorClass::Repository => {
            let what = match e.message() {
                text if text.contains("object format") => "its objects have SHA-256 ids".to_owned(),
                text => format!("git: {text}"),
            };
            Error::not_ready(format_args!("{}: {what}, and such a repository cannot be carried", shown(path)))
                .todo("carry what `git bundle create --all` makes of it, with kind files")
        }
        _ => failed(path, &e),
    })?;
    let refuse =
        |what: &str, todo: &str| Err(Error::not_ready(format_args!("{}: {what}", shown(path))).todo(todo));
    if repo.is_shallow() {
        return refuse("a shallow clone, which has not all of its history", "git fetch --unshallow");
    }
    let config = repo.config().and_then(|mut config| config.snapshot()).map_err(|e| failed(path, &e))?;
    let mut promisors = config.entries(Some("remote\\..*\\.promisor")).map_err(|e| failed(path, &e))?;
    if config.get_string("extensions.partialclone").is_ok() || promisors.next().is_some() {
        return refuse(
            "a partial clone, which has not all of its objects",
            "make a full clone, and name that",
        );
    }
    Ok(repo)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_machine_is_to_blame_for_is_told_from_a_bad_pack() {
        let raw = |said: &str| of_machine(said).and_then(|error| error.raw_os_error());
        let full = Some(Errno::NOSPC.raw_os_error());
        assert_eq!(raw("fatal: write error: No space left on device\n"), full);
        assert_eq!(
            raw("fatal: unable to create temporary file: No space left on device\nerror: and so on\n"),
            full
        );
        assert_eq!(raw("fatal: read error on input: Input/output error"), Some(Errno::IO.raw_os_error()));
        assert_eq!(raw("fatal: pack has junk at the end: 0x20, offset 12\n"), None);
        assert_eq!(raw("fatal: object named No space left on device\n"), None);
    }
}
