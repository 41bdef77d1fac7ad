//! Source: which large files the commits that travel point to, and where their contents are.

use super::super::names::Id;
use super::super::open::failed;
use super::super::work::is_foreign;
use super::work_tree::{is_content_of, is_given};
use super::{Pointer, Store};
use crate::base::digest::Digest;
use crate::base::interrupt;
use crate::base::path::shown;
use crate::component::{Error, Result};
use git2::{ObjectType, Odb, Oid, Repository};
use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// An object that travels.
#[derive(Debug, Clone)]
pub struct Object {
    /// Its bytes.
    pub size: u64,
    /// The file that has its content.
    pub file: PathBuf,
    /// The path that it is known by, for people.
    pub name: String,
}

/// What the commits need.
#[derive(Debug, Default)]
pub struct Needed {
    /// What is there, by its id.
    pub objects: BTreeMap<Digest, Object>,
    /// Paths of HEAD and of the index, given to LFS by attributes, whose contents are nowhere on this machine.
    pub missing: Vec<String>,
    /// How many objects that only other commits need are not here.
    pub missing_elsewhere: u64,
}

impl Needed {
    /// Bytes of what is there.
    pub fn bytes(&self) -> u64 {
        self.objects.values().map(|object| object.size).sum()
    }
}

/// Looks through every tree that the `tips` lead to, and through the index; what `head` has is looked at first.
pub fn gather(repo: &Repository, tips: &[Oid], head: Option<Id>, carved: &[PathBuf]) -> Result<Needed> {
    let git = |e: git2::Error| failed(repo.path(), &e);
    let odb = repo.odb().map_err(git)?;
    let mut search = Search { repo, odb: &odb, store: Store::of(repo)?, carved, seen: HashSet::new() };
    let mut needed = Needed::default();
    if let Some(head) = head {
        search.tree(commit_tree(repo, head.0)?, Some(Path::new("")), &mut needed)?;
    }
    if !repo.is_bare() {
        for entry in repo.index().map_err(git)?.iter() {
            let path = Path::new(OsStr::from_bytes(&entry.path)).to_owned();
            search.blob(entry.id, Some(&path), &mut needed);
        }
    }
    let mut walk = repo.revwalk().map_err(git)?;
    for tip in tips {
        let object = repo.find_object(*tip, None).map_err(git)?;
        match (object.peel_to_commit(), object.peel_to_tree()) {
            (Ok(commit), _) => walk.push(commit.id()).map_err(git)?,
            (_, Ok(tree)) => search.tree(tree.id(), None, &mut needed)?,
            // A tag of a blob.
            _ => {}
        }
    }
    for id in walk {
        search.tree(commit_tree(repo, id.map_err(git)?)?, None, &mut needed)?;
    }
    Ok(needed)
}

fn commit_tree(repo: &Repository, id: Oid) -> Result<Oid> {
    repo.find_commit(id).map(|commit| commit.tree_id()).map_err(|e| failed(repo.path(), &e))
}

struct Search<'a> {
    repo: &'a Repository,
    odb: &'a Odb<'a>,
    store: Store,
    carved: &'a [PathBuf],
    seen: HashSet<Oid>,
}

impl Search<'_> {
    /// All that is in a tree; `above` is its path in the work tree, if it is HEAD's.
    fn tree(&mut self, id: Oid, above: Option<&Path>, needed: &mut Needed) -> Result<()> {
        let mut left = vec![(id, above.map(Path::to_owned))];
        while let Some((id, above)) = left.pop() {
            // HEAD's may stand in several places; any is good.
            if !self.seen.insert(id) {
                continue;
            }
            interrupt::check().map_err(Error::of)?;
            let tree = self.repo.find_tree(id).map_err(|e| failed(self.repo.path(), &e))?;
            for entry in &tree {
                let path = above.as_ref().map(|above| above.join(OsStr::from_bytes(entry.name_bytes())));
                match entry.kind() {
                    Some(ObjectType::Tree) => left.push((entry.id(), path)),
                    Some(ObjectType::Blob) => self.blob(entry.id(), path.as_deref(), needed),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn blob(&mut self, id: Oid, path: Option<&Path>, needed: &mut Needed) {
        if !self.seen.insert(id) {
            return;
        }
        let Some(pointer) = Pointer::of_blob(self.odb, id) else { return };
        if needed.objects.contains_key(&pointer.oid) {
            return;
        }
        let name = path.map_or_else(|| format!("LFS object {}", pointer.oid), shown);
        let file = match (self.store.has(&pointer), path) {
            (true, _) => Some(self.store.path(pointer.oid)),
            // It may have been pruned; the work tree's own file is as good.
            (false, Some(path)) => self.in_work_tree(path, &pointer),
            (false, None) => None,
        };
        match (file, path) {
            (Some(file), _) => {
                needed.objects.insert(pointer.oid, Object { size: pointer.size, file, name });
            }
            (None, Some(path)) if is_given(self.repo, path) => needed.missing.push(name),
            (None, _) => needed.missing_elsewhere += 1,
        }
    }

    fn in_work_tree(&self, path: &Path, pointer: &Pointer) -> Option<PathBuf> {
        let root = self.repo.workdir()?;
        let file = root.join(path);
        (!is_foreign(root, path, self.carved) && is_content_of(&file, pointer)).then_some(file)
    }
}
