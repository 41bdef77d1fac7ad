//! An export for targets that have some of a repository already: what a ticket says of that, and what is left out for it.

use super::facts::Facts;
use super::names::Id;
use super::open::{is_repository, open};
use super::refs;
use crate::component::{NotPacked, Result};
use git2::Oid;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;

/// The most commits that a ticket names of one repository: a ticket is a small file.
const MAX: usize = 200;

/// What a ticket says of the repository at `path`: commits of its branches first.
pub fn has(path: &Path) -> Option<Value> {
    let repo = is_repository(path).then(|| open(path).ok()).flatten()?;
    let refs = refs::all(&repo).ok()?;
    let (branches, others): (Vec<_>, Vec<_>) = refs
        .iter()
        .filter(|(name, _)| refs::travels(&[], name))
        .partition(|(name, _)| name.starts_with("refs/heads/"));
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
