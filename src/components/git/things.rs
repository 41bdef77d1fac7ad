//! What a repository holds, as a list of things: refs and HEAD, stashes, submodules, and what is in no commit.

use super::facts::{Head, Module};
use super::graph::{self, Graph};
use super::header::Header;
use super::names::Id;
use super::open::open;
use super::pending::{self, Pending};
use super::site::{look, resolve, Found};
use super::stashes::{self, Stash};
use super::submodules::{self, Below};
use super::{refs, require_streams, work, Git, BUNDLE, GRAPH};
use crate::base::digest::Digest;
use crate::component::{stream_name, Against, Result, Scope, StreamSource, Thing};
use git2::Repository;
use std::io::BufReader;
use std::path::Path;

/// Of how many branches that differ it is worked out how far: each may need a walk through all of history.
const COUNTED: usize = 50;
/// The one thing for what was in no commit and travels.
const UNCOMMITTED: &str = "uncommitted work";

/// What a bundle holds.
pub fn held(git: &Git, streams: &dyn StreamSource, against: &Against<'_>) -> Result<Vec<Thing>> {
    let facts = git.facts()?;
    require_streams(facts, streams)?;
    let has_bundle = streams.list().iter().any(|stream| stream.name.as_str() == BUNDLE);
    let header = match has_bundle {
        true => Header::read(&mut BufReader::new(streams.open(&stream_name(BUNDLE)?)?))?,
        false => Header::default(),
    };
    let mut things: Vec<Thing> = facts.head.iter().map(head).collect();
    things.extend(
        header.refs.iter().filter(|(name, _)| *name != stashes::REF).map(|(name, id)| one(name, *id)),
    );
    things.extend(stashed(&facts.stashes));
    things.extend(facts.uncommitted.map(uncommitted));
    if let Some(other) = against.streams.filter(|_| has_bundle && differ(&things, against)) {
        let (theirs, ours) = (read_graph(other)?, read_graph(streams)?);
        count(&mut things, against, &|id| ours.parents(id).or_else(|| theirs.parents(id)));
    }
    for (number, module) in (1..).zip(&facts.modules) {
        let inner = submodules::inner(git, &module.path, Some(module.repository.clone()));
        let below = Below::source(streams, number)?;
        let held = in_module(module, number, against, &|against| held(&inner, &below, against))?;
        things.extend(held);
    }
    Ok(things)
}

/// What the repository holds.
pub fn present(git: &Git, scope: &Scope<'_>, against: &Against<'_>) -> Result<Option<Vec<Thing>>> {
    let path = resolve(&git.path)?.real;
    if look(&path, scope.carved)? != Found::Repository {
        return Ok(None);
    }
    let repo = open(&path)?;
    let mut things = vec![head(&refs::head(&repo)?)];
    let all = refs::all(&repo)?;
    let travels = |name: &str| name != stashes::REF && refs::travels(&git.profile.refs, name);
    things.extend(all.iter().filter(|(name, _)| travels(name)).map(|(name, id)| one(name, *id)));
    if refs::travels(&git.profile.refs, stashes::REF) {
        things.extend(stashed(&stashes::list(&repo)?));
    }
    let packed = git.facts.as_ref().and_then(|facts| facts.uncommitted);
    things.extend(in_no_commit(&repo, &path, packed.is_some(), scope)?);
    if differ(&things, against) {
        let theirs = against.streams.map(read_graph).transpose()?.unwrap_or_default();
        count(&mut things, against, &|id| {
            let here = || Some(repo.find_commit(id.0).ok()?.parent_ids().map(Id).collect());
            theirs.parents(id).or_else(here)
        });
    }
    for (number, module) in (1..).zip(git.facts.iter().flat_map(|facts| &facts.modules)) {
        let inner = submodules::inner(git, &module.path, Some(module.repository.clone()));
        let present = |against: &Against<'_>| Ok(present(&inner, scope, against)?.unwrap_or_default());
        things.extend(in_module(module, number, against, &present)?);
    }
    Ok(Some(things))
}

/// What `look` finds in a submodule, under names that begin with its path.
fn in_module(
    module: &Module,
    number: usize,
    against: &Against<'_>,
    look: &dyn Fn(&Against<'_>) -> Result<Vec<Thing>>,
) -> Result<Vec<Thing>> {
    let prefix = format!("{}: ", module.path);
    let inner = |thing: &Thing| {
        let name = thing.name.strip_prefix(&prefix)?.to_owned();
        Some(Thing { name, ..thing.clone() })
    };
    let theirs: Vec<Thing> = against.things.iter().filter_map(inner).collect();
    let below = against.streams.map(|streams| Below::source(streams, number)).transpose()?;
    let streams = below.as_ref().map(|below| below as &dyn StreamSource);
    let found = look(&Against { things: &theirs, streams, only: &[] })?;
    Ok(found.into_iter().map(|thing| Thing { name: format!("{prefix}{}", thing.name), ..thing }).collect())
}

/// What is in no commit: as one thing where that travels, which is the same if all of it is; else file by file.
fn in_no_commit(repo: &Repository, path: &Path, travels: bool, scope: &Scope<'_>) -> Result<Vec<Thing>> {
    let changes = work::changes(repo, scope.carved)?;
    let head = refs::head_commit(repo)?.filter(|_| travels && !changes.is_empty());
    if let Some(head) = head {
        return Ok(vec![uncommitted(pending::capture(path, head, scope.carved, &mut std::io::sink())?)]);
    }
    let change = |path: String| Thing::new(format!("work tree: {path}"), "change that is in no commit");
    Ok(changes.into_iter().map(change).collect())
}

fn head(head: &Head) -> Thing {
    let value = match head {
        Head::Branch(name) => name.clone(),
        Head::Detached(id) => id.to_string(),
    };
    Thing { value: Some(value), ..Thing::new("HEAD", "HEAD") }
}

fn one(name: &str, id: Id) -> Thing {
    Thing { value: Some(id.to_string()), ..Thing::new(name, "ref") }
}

fn stashed(all: &[Stash]) -> Vec<Thing> {
    let stash = |(number, stash): (usize, &Stash)| Thing {
        value: Some(stash.id.to_string()),
        ..Thing::new(format!("stash@{{{number}}}"), "stash")
    };
    all.iter().enumerate().map(stash).collect()
}

fn uncommitted(Pending { index, work }: Pending) -> Thing {
    let content = Digest::of(format!("{index} {work}").as_bytes());
    Thing { content: Some(content), ..Thing::new(UNCOMMITTED, "work that is in no commit") }
}

fn read_graph(streams: &dyn StreamSource) -> Result<Graph> {
    match streams.list().iter().any(|stream| stream.name.as_str() == GRAPH) {
        true => Graph::read(streams.open(&stream_name(GRAPH)?)?),
        false => Ok(Graph::default()),
    }
}

/// A ref, or HEAD at no branch, and the two commits, where they differ.
fn differing(thing: &Thing, against: &Against<'_>) -> Option<(Id, Id)> {
    let other = against.find(&thing.name).filter(|_| thing.name.starts_with("refs/heads/"))?;
    let ids = (Id::parse(other.value.as_deref()?)?, Id::parse(thing.value.as_deref()?)?);
    (ids.0 != ids.1).then_some(ids)
}

fn differ(things: &[Thing], against: &Against<'_>) -> bool {
    things.iter().any(|thing| differing(thing, against).is_some())
}

/// How far each branch that differs is ahead of the other side's, and behind it.
fn count(things: &mut [Thing], against: &Against<'_>, parents: &dyn Fn(Id) -> Option<Vec<Id>>) {
    let differing = things.iter_mut().filter_map(|thing| Some((differing(thing, against)?, thing)));
    for ((theirs, ours), thing) in differing.take(COUNTED) {
        thing.ahead_behind = graph::ahead_behind(ours, theirs, parents);
    }
}
