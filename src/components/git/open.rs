//! How a repository is opened, what of it kbpack cannot carry, and what libgit2's errors mean to a person.

use crate::base::fault::Fault;
use crate::base::path::path_text;
use crate::component::{Error, Result};
use git2::{ErrorCode, Repository, RepositoryOpenFlags};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// A path for people.
pub fn shown(path: &Path) -> String {
    path_text(path.as_os_str().as_bytes())
}

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
        _ => Error::new(Fault::Unexpected, what),
    }
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
