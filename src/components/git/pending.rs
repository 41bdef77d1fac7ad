//! Work that is in no commit, as two commits: what is staged, a child of HEAD, and all of the work tree, a child of that.
//! On the source they are made in memory.

use super::header::Header;
use super::names::Id;
use super::open::{failed, open};
use super::{lfs, pack, work};
use crate::base::fault::Fault;
use crate::base::path::shown;
use crate::component::{Error, Result};
use git2::{DiffOptions, IndexAddOption, Oid, Repository, Signature, Time, Tree};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// The most bytes of changed files: they pass through memory.
const MAX_BYTES: u64 = 1 << 30;

/// The two commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pending {
    /// What is staged.
    pub index: Id,
    /// What the work tree has.
    pub work: Id,
}

/// The refs of the two in the head of a git bundle.
const INDEX: &str = "refs/kbpack/index";
const WORK: &str = "refs/kbpack/work";

impl Pending {
    /// Writes the two down as refs.
    pub fn put(self, refs: &mut BTreeMap<String, Id>) {
        refs.insert(INDEX.to_owned(), self.index);
        refs.insert(WORK.to_owned(), self.work);
    }

    /// The two, if a head names them.
    pub fn of(header: &Header) -> Option<Pending> {
        Some(Pending { index: *header.own.get(INDEX)?, work: *header.own.get(WORK)? })
    }

    /// What stands before the pack of the bundle that has them.
    fn header(self, head: Id) -> Vec<u8> {
        let Pending { index, work } = self;
        let text = format!("# v2 git bundle\n-{head} \n{index} {INDEX}\n{work} {WORK}\n\n");
        text.into_bytes()
    }
}

/// Makes the two commits of the work tree at `path`, whose HEAD is `head`, and gives them and their bundle. Nothing is written
/// to the repository.
pub fn capture(path: &Path, head: Id, carved: &[PathBuf], to: &mut dyn Write) -> Result<Pending> {
    // One of our own: what is written to it stays in memory.
    let repo = open(path)?;
    let git = |e: git2::Error| failed(path, &e);
    require_small(&repo, carved)?;
    let odb = repo.odb().map_err(git)?;
    odb.add_new_mempack_backend(1000).map_err(git)?;
    let mut index = repo.index().map_err(git)?;
    if index.has_conflicts() {
        return Err(
            Error::not_ready(format_args!("{}: files are in conflict", shown(path))).todo("resolve them")
        );
    }
    let staged = index.write_tree().map_err(git)?;
    let root = fs::canonicalize(path).map_err(Error::at(path))?;
    let mut skip = |name: &Path, _: &[u8]| {
        // A large file that is what its pointer says is not changed.
        let same = || lfs::is_content(&repo, name, &root.join(name));
        i32::from(work::is_foreign(&root, name, carved) || same())
    };
    index.add_all(["*"], IndexAddOption::DEFAULT, Some(&mut skip)).map_err(git)?;
    index.update_all(["*"], Some(&mut skip)).map_err(git)?;
    let worked = index.write_tree().map_err(git)?;
    let commit = |tree: Oid, parent: Oid, message: &str| {
        let who = Signature::new("kbpack", "kbpack@localhost", &Time::new(0, 0))?;
        let (tree, parent) = (repo.find_tree(tree)?, repo.find_commit(parent)?);
        repo.commit(None, &who, &who, message, &tree, &[&parent])
    };
    let index = commit(staged, head.0, "staged").map_err(git)?;
    let work = commit(worked, index, "work tree").map_err(git)?;
    let pending = Pending { index: Id(index), work: Id(work) };

    to.write_all(&pending.header(head)).map_err(|e| Error::io("the uncommitted work", e))?;
    let mut walk = repo.revwalk().map_err(git)?;
    walk.push(work).and_then(|()| walk.hide(head.0)).map_err(git)?;
    let mut builder = repo.packbuilder().map_err(git)?;
    builder.insert_walk(&mut walk).map_err(git)?;
    pack::write_out(path, &mut builder, to, "the uncommitted work")?;
    Ok(pending)
}

fn require_small(repo: &Repository, carved: &[PathBuf]) -> Result<()> {
    let Some(root) = repo.workdir() else { return Ok(()) };
    let changes = work::changed_paths(repo, carved)?;
    let size = |path: &PathBuf| fs::symlink_metadata(root.join(path)).map_or(0, |meta| meta.len());
    let bytes: u64 = changes.iter().map(size).sum();
    if bytes <= MAX_BYTES {
        return Ok(());
    }
    let what = format!("{}: {bytes} bytes of changes are in no commit, more than {MAX_BYTES}", shown(root));
    Err(Error::new(Fault::Limit, what).todo("commit the large files, or have git ignore them"))
}

/// Reads the bundle of the two commits into `repo`, which has HEAD's, held to rule G8.
pub fn read(repo: &Repository, pending: Pending, head: Id, stream: &mut impl Read) -> Result<()> {
    let broken = |what: &str| Error::rule("G8", format_args!("the uncommitted work: {what}"));
    let expected = pending.header(head);
    let mut header = vec![0; expected.len()];
    stream.read_exact(&mut header).map_err(|e| match e.kind() {
        std::io::ErrorKind::UnexpectedEof => broken("it is cut off"),
        _ => Error::io("the uncommitted work", e),
    })?;
    if header != expected {
        return Err(broken("it is not of the commits that the facts name"));
    }
    pack::read_by_libgit2(Some(repo), stream, &repo.path().join("objects/pack"), &mut |_| {})?;
    let parent = |id: Id| repo.find_commit(id.0).ok().filter(|c| c.parent_count() == 1)?.parent_id(0).ok();
    match parent(pending.index) == Some(head.0) && parent(pending.work) == Some(pending.index.0) {
        true => Ok(()),
        false => Err(broken("its commits are not HEAD's children")),
    }
}

fn tree(repo: &Repository, id: Id) -> Result<Tree<'_>> {
    repo.find_commit(id.0).and_then(|commit| commit.tree()).map_err(|e| failed(repo.path(), &e))
}

/// Makes the index what `commit` has: what was staged. The work tree is there already.
pub fn put_index(repo: &Repository, commit: Id) -> Result<()> {
    let git = |e: git2::Error| failed(repo.path(), &e);
    let mut index = repo.index().map_err(git)?;
    index.read_tree(&tree(repo, commit)?).map_err(git)?;
    index.write().map_err(git)
}

/// What of index and work tree is not as it should be; `None` if all is.
pub fn differs(repo: &Repository, pending: Pending, carved: &[PathBuf]) -> Result<Option<String>> {
    let git = |e: git2::Error| failed(repo.path(), &e);
    let Some(root) = repo.workdir().map(Path::to_owned) else { return Ok(None) };
    let root = fs::canonicalize(&root).unwrap_or(root);
    let has = |id: Id| repo.find_commit(id.0).is_ok();
    if !has(pending.index) || !has(pending.work) {
        return Ok(Some("its commits are not there".to_owned()));
    }
    let staged = repo.diff_tree_to_index(Some(&tree(repo, pending.index)?), None, None).map_err(git)?;
    let mut options = DiffOptions::new();
    options.include_untracked(true).recurse_untracked_dirs(true).ignore_submodules(true);
    let worked =
        repo.diff_tree_to_workdir(Some(&tree(repo, pending.work)?), Some(&mut options)).map_err(git)?;
    let path =
        |delta: git2::DiffDelta<'_>| delta.new_file().path().or(delta.old_file().path()).map(Path::to_owned);
    let mut paths = staged.deltas().filter_map(path).chain(worked.deltas().filter_map(path));
    let right = |path: &PathBuf| {
        work::is_foreign(&root, path, carved) || lfs::is_content(repo, path, &root.join(path))
    };
    let wrong = paths.find(|path| !right(path));
    Ok(wrong.map(|path| format!("{} differs", shown(&path))))
}

/// Whether nothing is in a work tree but what HEAD has, or, if it was put back, what was in no commit.
pub fn is_all(repo: &Repository, pending: Option<Pending>, carved: &[PathBuf]) -> Result<bool> {
    let all = work::everything_else(repo, carved)?;
    match pending {
        None => Ok(all.is_empty()),
        // What git ignores is in neither.
        Some(pending) => {
            Ok(all.len() == work::changes(repo, carved)?.len() && differs(repo, pending, carved)?.is_none())
        }
    }
}
