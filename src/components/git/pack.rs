//! Packs: written and indexed by stock git where it is installed, far the fastest, and by libgit2 where it is not.

use super::open::failed;
use super::stock::{self, Stock};
use super::{objects, trees, upon};
use crate::base::interrupt;
use crate::base::path::shown;
use crate::component::{Error, Result};
use git2::{Indexer, Oid, PackBuilder, Repository};
use std::io::{self, Read, Write};
use std::path::Path;
use std::thread;

/// Writes a pack of all that the `tips` lead to, but what the commits `known` lead to.
pub fn write(
    repo: &Repository,
    (tips, known): (&[Oid], &[Oid]),
    threads: usize,
    to: &mut dyn Write,
) -> Result<()> {
    match by_stock(repo, (tips, known), threads, to) {
        Err(Stock::Missing) => by_libgit2(repo, (tips, known), threads, to),
        Err(Stock::Failed(error)) => Err(error),
        Ok(()) => Ok(()),
    }
}

/// `git pack-objects`.
fn by_stock(
    repo: &Repository,
    (tips, known): (&[Oid], &[Oid]),
    threads: usize,
    to: &mut dyn Write,
) -> std::result::Result<(), Stock> {
    let command = stock::git(repo)
        .args(["pack-objects", "--revs", "--stdout", "--delta-base-offset", "-q"])
        .args([format!("--threads={threads}")]);
    let mut revs = stock::lines(tips);
    known.iter().for_each(|id| revs.push_str(&format!("^{id}\n")));
    let talked = command.talk(|mut stdin, mut stdout| {
        thread::scope(|scope| {
            // Another thread writes, for git may answer before it has heard everything.
            scope.spawn(move || stdin.write_all(revs.as_bytes()));
            stock::copy(&mut stdout, to).map_err(|e| Error::io("the pack", e))
        })
    });
    stock::judge(repo, talked, |why| stock::unreadable(repo, "pack-objects", why))
}

/// libgit2's pack builder.
fn by_libgit2(
    repo: &Repository,
    (tips, known): (&[Oid], &[Oid]),
    threads: usize,
    to: &mut dyn Write,
) -> Result<()> {
    let git = |e: git2::Error| failed(repo.path(), &e);
    let mut builder = repo.packbuilder().map_err(git)?;
    builder.set_threads(threads as u32);
    let mut walk = repo.revwalk().map_err(git)?;
    known.iter().try_for_each(|id| walk.hide(*id)).map_err(git)?;
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
    write_out(repo.path(), &mut builder, to, "the pack")
}

/// Writes a pack of what is in `builder`, for the repository at `path`, to `to`, which is called `what`.
pub fn write_out(path: &Path, builder: &mut PackBuilder<'_>, to: &mut dyn Write, what: &str) -> Result<()> {
    let mut outcome = Ok(());
    let done = builder.foreach(|bytes| {
        outcome = to.write_all(bytes);
        outcome.is_ok() && interrupt::check().is_ok()
    });
    interrupt::check().map_err(Error::of)?;
    outcome.map_err(|e| Error::io(what, e))?;
    done.map_err(|e| failed(path, &e))
}

/// Reads a pack into `repo`, which has nothing yet, with its index, and holds it to the rules G6 and G7.
pub fn read(
    repo: &Repository,
    tips: &[Oid],
    threads: usize,
    stream: &mut impl Read,
    each: &mut dyn FnMut(u64),
) -> Result<()> {
    let refresh = || repo.odb().and_then(|odb| odb.refresh()).map_err(|e| failed(repo.path(), &e));
    match index_by_stock(repo, threads, stream, each) {
        Err(Stock::Missing) => {
            read_by_libgit2(None, stream, &repo.path().join("objects/pack"), each)?;
            refresh()?;
            return trees::check(repo, tips, &[]);
        }
        Err(Stock::Failed(error)) => return Err(error),
        Ok(()) => refresh()?,
    }
    match objects::check(repo, tips) {
        Err(Stock::Missing) => trees::check(repo, tips, &[]),
        Err(Stock::Failed(error)) => Err(error),
        Ok(()) => Ok(()),
    }
}

/// Reads a pack that leaves out what the commits `known` lead to: those of `base`, whose objects `repo` then has, too. Every
/// object of it is whole, as in any other, and none is a delta of one that it has not.
pub fn read_upon(
    (repo, base): (&Repository, &Repository),
    (tips, known): (&[Oid], &[Oid]),
    threads: usize,
    stream: &mut impl Read,
    each: &mut dyn FnMut(u64),
) -> Result<()> {
    match index_by_stock(repo, threads, stream, each) {
        Err(Stock::Missing) => read_by_libgit2(Some(base), stream, &repo.path().join("objects/pack"), each)?,
        Err(Stock::Failed(error)) => return Err(error),
        Ok(()) => {}
    }
    upon::stand(repo, base)?;
    trees::check(repo, tips, known)
}

/// A pack that breaks a rule.
pub fn broken(what: impl std::fmt::Display) -> Error {
    Error::rule("G6", format_args!("the pack: {what}"))
}

/// `git index-pack`.
fn index_by_stock(
    repo: &Repository,
    threads: usize,
    stream: &mut impl Read,
    each: &mut dyn FnMut(u64),
) -> std::result::Result<(), Stock> {
    let command = stock::git(repo).args(["index-pack", "--stdin"]).args([format!("--threads={threads}")]);
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
    let (sent, said) = stock::judge(repo, talked, |why| broken(why))?;
    // It says the pack's checksum. What follows a pack it would pass by: then the file is shorter than what was sent.
    let name = said.strip_prefix("pack\t").and_then(|rest| rest.strip_suffix('\n')).unwrap_or_default();
    let file = repo.path().join(format!("objects/pack/pack-{name}.pack"));
    match std::fs::metadata(&file).is_ok_and(|meta| meta.len() == sent) {
        true => Ok(()),
        false => Err(Stock::Failed(broken("something follows it"))),
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

/// libgit2's indexer. Whether all that objects name is there, [`trees`] looks: libgit2 would miss the commits of submodules, too. Rule G6.
pub fn read_by_libgit2(
    base: Option<&Repository>,
    stream: &mut impl Read,
    dir: &Path,
    each: &mut dyn FnMut(u64),
) -> Result<()> {
    let odb = base.map(Repository::odb).transpose().map_err(|e| failed(dir, &e))?;
    let mut indexer = Indexer::new(odb.as_ref(), dir, 0o444, false).map_err(|e| failed(dir, &e))?;
    let mut buffer = vec![0; 128 * 1024];
    loop {
        interrupt::check().map_err(Error::of)?;
        let n = match stream.read(&mut buffer) {
            Ok(0) => break,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(|e| Error::io("the git bundle", e))?,
        };
        indexer.write_all(&buffer[..n]).map_err(|e| {
            match e.get_ref().and_then(|e| e.downcast_ref::<git2::Error>()) {
                Some(git) if git.class() == git2::ErrorClass::Os => failed(dir, git),
                Some(git) => broken(git.message()),
                None => Error::io(shown(dir), e),
            }
        })?;
        each(n as u64);
    }
    indexer.commit().map_err(|e| match e.class() {
        git2::ErrorClass::Os => failed(dir, &e),
        _ => broken(e.message()),
    })?;
    Ok(())
}
