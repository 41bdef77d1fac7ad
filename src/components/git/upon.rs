//! An export for targets that have some of a repository already: what a ticket says of that, and what is left out for it.

use super::facts::Facts;
use super::names::Id;
use super::open::{failed, is_repository, open};
use super::{refs, stashes};
use crate::base::path::shown;
use crate::component::{Error, NotPacked, Result};
use git2::{Oid, Repository};
use serde_json::Value;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The most commits that a ticket names of one repository: a ticket is a small file.
const MAX: usize = 200;
/// The most folders of objects that one repository may have.
const MAX_ALTERNATES: usize = 64;

/// What a ticket says of the repository at `path`: commits of its branches first.
pub fn has(path: &Path) -> Option<Value> {
    let repo = is_repository(path).then(|| open(path).ok()).flatten()?;
    let refs = refs::all(&repo).ok()?;
    // A stash may be dropped any day.
    let lasting = |name: &str| refs::travels(&[], name) && name != stashes::REF;
    let (branches, others): (Vec<_>, Vec<_>) =
        refs.iter().filter(|(name, _)| lasting(name)).partition(|(name, _)| name.starts_with("refs/heads/"));
    let commit = |id: &Id| repo.find_object(id.0, None).and_then(|object| object.peel_to_commit()).ok();
    let mut named: Vec<String> = Vec::new();
    for (_, id) in branches.into_iter().chain(others) {
        let id = commit(id).map(|commit| commit.id().to_string());
        named.extend(id.filter(|id| !named.contains(id)));
    }
    named.truncate(MAX);
    Some(named.into())
}

/// The commits of the repository at `path` that all targets have, if each of them says so of `place`.
pub fn known(path: &Path, place: &str, there: &[&Value]) -> Result<Vec<Oid>> {
    let named = |said: &&Value| -> BTreeSet<Id> {
        let ids = said.get("has").and_then(|has| has.get(place)).and_then(Value::as_array);
        ids.into_iter().flatten().filter_map(Value::as_str).filter_map(Id::parse).collect()
    };
    let mut sets = there.iter().map(named);
    let first = sets.next().unwrap_or_default();
    let all = sets.fold(first, |all, set| all.intersection(&set).copied().collect());
    let repo = open(path)?;
    Ok(all.into_iter().map(|id| id.0).filter(|id| repo.find_commit(*id).is_ok()).collect())
}

/// Has `repo` find the objects of `base` as if they were its own, until it is closed.
pub fn stand(repo: &Repository, base: &Repository) -> Result<()> {
    let git = |e: git2::Error| failed(repo.path(), &e);
    let odb = repo.odb().map_err(git)?;
    let mut found = Vec::new();
    places_of_objects(&base.commondir().join("objects"), &mut found);
    for place in &found {
        let text = place.to_str().ok_or_else(|| {
            let what = format!("{}: git cannot look up objects at a path that is not UTF-8", shown(place));
            Error::not_ready(what).todo("ask for an export without --incremental")
        })?;
        odb.add_disk_alternate(text).map_err(git)?;
    }
    odb.refresh().map_err(git)
}

/// The folder `objects`, and those of other repositories that it names as its alternates: libgit2 looks no further than one.
fn places_of_objects(objects: &Path, found: &mut Vec<PathBuf>) {
    let again = found.iter().any(|place| place == objects);
    if again || found.len() == MAX_ALTERNATES || !objects.is_dir() {
        return;
    }
    found.push(objects.to_owned());
    let lines = fs::read(objects.join("info/alternates")).unwrap_or_default();
    for line in lines.split(|&c| c == b'\n').filter(|line| !line.is_empty() && line[0] != b'#') {
        places_of_objects(&objects.join(OsStr::from_bytes(line)), found);
    }
}

/// What a bundle leaves out, for people.
pub fn not_packed(facts: &Facts) -> NotPacked {
    NotPacked {
        name: format!("what {} commits lead to that the target of the ticket had", facts.needs),
        policy: "incremental",
        outcome: "has to be in the repository already".to_owned(),
        key: None,
        todo: None,
    }
}
