//! Packs: written and indexed by stock git where it is installed, far the fastest, and by libgit2 where it is not.

use super::open::{failed, shown};
use crate::base::interrupt;
use crate::base::process::{Command, ProcessError};
use crate::component::{Error, Result};
use git2::{Indexer, Oid, Repository};
use std::io::{self, Read, Write};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Nobody's repository takes longer.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

/// Writes a pack of all that the `tips` lead to.
pub fn write(repo: &Repository, tips: &[Oid], threads: usize, to: &mut dyn Write) -> Result<()> {
    match stock(repo, tips, threads, to) {
        Err(Stock::Missing) => by_libgit2(repo, tips, threads, to),
        Err(Stock::Failed(error)) => Err(error),
        Ok(()) => Ok(()),
    }
}

/// Why stock git gave no pack.
pub(super) enum Stock {
    /// It is not installed. Nothing was written.
    Missing,
    /// Anything else.
    Failed(Error),
}

/// Stock git on `repo`, whose config it reads: no hook, no filter, no network and nobody else's config is of its business.
fn git(repo: &Repository) -> Command {
    Command::new("git", PATIENCE)
        .args(["--no-replace-objects", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"])
        .args(["-c", "protocol.allow=never"])
        .pass_env(&["PATH"])
        .env("GIT_DIR", repo.path())
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_NO_LAZY_FETCH", "1")
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
}

/// `git pack-objects`.
fn stock(
    repo: &Repository,
    tips: &[Oid],
    threads: usize,
    to: &mut dyn Write,
) -> std::result::Result<(), Stock> {
    let mut revs = String::new();
    tips.iter().for_each(|tip| revs.push_str(&format!("{tip}\n")));
    let command = git(repo)
        .args(["pack-objects", "--revs", "--stdout", "--delta-base-offset", "-q"])
        .args([format!("--threads={threads}")]);
    let talked = command.talk(|mut stdin, mut stdout| {
        thread::scope(|scope| {
            // Another thread writes, for git may answer before it has heard everything.
            scope.spawn(move || stdin.write_all(revs.as_bytes()));
            copy(&mut stdout, to)
        })
    });
    let talked = talked.map_err(|e| match e {
        ProcessError::NotFound { .. } => Stock::Missing,
        e => Stock::Failed(Error::of(e)),
    })?;
    talked.said.map_err(|e| Stock::Failed(Error::io("the pack", e)))?;
    match talked.status.success() {
        true => Ok(()),
        false => {
            let why = talked.stderr.lines().last().unwrap_or("it did not say why").to_owned();
            let what = format!("{}: git pack-objects failed: {why}", shown(repo.path()));
            Err(Stock::Failed(Error::not_ready(what).todo("see what `git fsck` says of the repository")))
        }
    }
}

fn copy(from: &mut impl Read, to: &mut dyn Write) -> io::Result<()> {
    let mut buffer = vec![0; 128 * 1024];
    loop {
        interrupt::check().map_err(|e| io::Error::other(e.to_string()))?;
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            n => to.write_all(&buffer[..n])?,
        }
    }
}

/// libgit2's pack builder.
pub(super) fn by_libgit2(repo: &Repository, tips: &[Oid], threads: usize, to: &mut dyn Write) -> Result<()> {
    let git = |e: git2::Error| failed(repo.path(), &e);
    let mut builder = repo.packbuilder().map_err(git)?;
    builder.set_threads(threads as u32);
    let mut walk = repo.revwalk().map_err(git)?;
    for tip in tips {
        let object = repo.find_object(*tip, None).map_err(git)?;
        match object.peel_to_commit() {
            Ok(commit) => walk.push(commit.id()).map_err(git)?,
            // A tag of a tree or a blob.
            Err(_) => {
                let named = match object.kind() {
                    Some(git2::ObjectType::Tag) => object.peel(git2::ObjectType::Any).map_err(git)?.id(),
                    _ => object.id(),
                };
                builder.insert_recursive(named, None).map_err(git)?;
            }
        }
        // The tags on the way there.
        let mut tag = object.into_tag().ok();
        while let Some(now) = tag {
            builder.insert_object(now.id(), None).map_err(git)?;
            tag = now.target().ok().and_then(|target| target.into_tag().ok());
        }
    }
    builder.insert_walk(&mut walk).map_err(git)?;
    let mut outcome = Ok(());
    let done = builder.foreach(|bytes| {
        outcome = to.write_all(bytes);
        outcome.is_ok() && interrupt::check().is_ok()
    });
    interrupt::check().map_err(Error::of)?;
    outcome.map_err(|e| Error::io("the pack", e))?;
    done.map_err(git)
}

/// Reads a pack into `repo`, with its index: every object, and that all that they and the `tips` name is there. Rule G6.
pub fn read(
    repo: &Repository,
    tips: &[Oid],
    threads: usize,
    stream: &mut impl Read,
    each: &mut dyn FnMut(u64),
) -> Result<()> {
    match index_by_stock(repo, threads, stream, each) {
        Err(Stock::Missing) => read_by_libgit2(None, stream, &repo.path().join("objects/pack"), each),
        Err(Stock::Failed(error)) => Err(error),
        Ok(()) => require_connected(repo, tips),
    }
}

fn broken(what: impl std::fmt::Display) -> Error {
    Error::rule("G6", format_args!("the pack: {what}"))
}

/// `git index-pack`, several times as fast as libgit2.
fn index_by_stock(
    repo: &Repository,
    threads: usize,
    stream: &mut impl Read,
    each: &mut dyn FnMut(u64),
) -> std::result::Result<(), Stock> {
    let command = git(repo).args(["index-pack", "--stdin"]).args([format!("--threads={threads}")]);
    let talked = command.talk(|mut stdin, mut stdout| {
        thread::scope(|scope| {
            let said = scope.spawn(move || {
                let mut said = String::new();
                (&mut stdout).take(1024).read_to_string(&mut said).map(|_| said)
            });
            let sent = feed(stream, &mut stdin, each);
            drop(stdin);
            let said = said.join().unwrap_or_else(|_| Ok(String::new()));
            Ok::<_, Error>((sent?, said.unwrap_or_default()))
        })
    });
    let talked = talked.map_err(|e| match e {
        ProcessError::NotFound { .. } => Stock::Missing,
        e => Stock::Failed(Error::of(e)),
    })?;
    let (sent, said) = talked.said.map_err(Stock::Failed)?;
    let why = talked.stderr.lines().last().unwrap_or_default().trim_start_matches("fatal: ").to_owned();
    // It says the pack's checksum. What follows a pack it would pass by: then the file is shorter than what was sent.
    let name = said.strip_prefix("pack\t").and_then(|rest| rest.strip_suffix('\n')).unwrap_or_default();
    let file = repo.path().join(format!("objects/pack/pack-{name}.pack"));
    let whole = std::fs::metadata(&file).is_ok_and(|meta| meta.len() == sent);
    match (talked.status.success(), whole) {
        (true, true) => Ok(()),
        (true, false) => Err(Stock::Failed(broken("something follows it"))),
        (false, _) => Err(Stock::Failed(broken(why))),
    }
}

/// Sends a stream to a child, as far as it listens. How it ended says why it did not.
fn feed(stream: &mut impl Read, to: &mut impl Write, each: &mut dyn FnMut(u64)) -> Result<u64> {
    let mut buffer = vec![0; 128 * 1024];
    let (mut sent, mut listens) = (0, true);
    loop {
        interrupt::check().map_err(Error::of)?;
        let n = match stream.read(&mut buffer) {
            Ok(0) => return Ok(sent),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(|e| Error::io("the git bundle", e))?,
        };
        sent += n as u64;
        listens = listens && to.write_all(&buffer[..n]).is_ok();
        each(n as u64);
    }
}

/// That all that the `tips` lead to is there.
fn require_connected(repo: &Repository, tips: &[Oid]) -> Result<()> {
    let mut revs = String::new();
    tips.iter().for_each(|tip| revs.push_str(&format!("{tip}\n")));
    let command = git(repo).args(["rev-list", "--objects", "--quiet", "--stdin"]);
    let output = command.run(revs.as_bytes(), 1024).map_err(Error::of)?;
    match output.status.success() {
        true => Ok(()),
        false => Err(broken("an object that it names is not there")),
    }
}

/// libgit2's indexer, which looks by itself whether all that objects name is there, or in `base`. Rule G6.
pub fn read_by_libgit2(
    base: Option<&Repository>,
    stream: &mut impl Read,
    dir: &Path,
    each: &mut dyn FnMut(u64),
) -> Result<()> {
    let odb = base.map(Repository::odb).transpose().map_err(|e| failed(dir, &e))?;
    let mut indexer = Indexer::new(odb.as_ref(), dir, 0o444, true).map_err(|e| failed(dir, &e))?;
    let mut buffer = vec![0; 128 * 1024];
    loop {
        interrupt::check().map_err(Error::of)?;
        let n = match stream.read(&mut buffer) {
            Ok(0) => break,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(|e| Error::io("the git bundle", e))?,
        };
        indexer.write_all(&buffer[..n]).map_err(|e| match e.raw_os_error() {
            Some(_) => Error::io(shown(dir), e),
            None => broken(&e),
        })?;
        each(n as u64);
    }
    indexer.commit().map_err(|e| match e.class() {
        git2::ErrorClass::Os => failed(dir, &e),
        _ => broken(e.message()),
    })?;
    Ok(())
}
