//! Submodules whose repositories travel with the one around them: each is a repository of its own, with facts, streams and a
//! plan of its own, and may have submodules in turn. [`source`] reads them, [`target`] puts them in place, and [`gone`] tells a
//! rollback what was done in them since.
//!
//! What goes into a config or becomes a path comes from facts that were checked, or from names that are in the tree itself:
//! never from a config of the bundle's.

mod gone;
mod source;
mod streams;
mod target;

pub use gone::Gone;
pub use source::{back_up, capture, inner, list, survey};
pub use streams::{prefix, Below};
pub use target::{any, build, commit, plan, stage, Module};

use super::facts::{Facts, State};
use super::names::{self, Id};
use super::open::{failed, is_repository, open};
use super::pending::{self, Pending};
use super::plan::{self as plans, Planned};
use super::{refs, work};
use crate::base::digest::Digest;
use crate::component::{Error, Result};
use git2::Repository;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// How deep submodules may lie in each other.
const MAX_DEPTH: usize = 4;
/// The most submodules of one repository.
const MAX_MODULES: usize = 1000;

/// Rule G13: names and paths are such as may be used, none lies in another, and a submodule is as its repository is.
pub fn check(facts: &Facts, depth: usize) -> Result<()> {
    let broken = |what: &dyn std::fmt::Display| Err(Error::rule("G13", what));
    if facts.modules.is_empty() {
        return Ok(());
    }
    if depth >= MAX_DEPTH || facts.modules.len() > MAX_MODULES || facts.state == State::Bare {
        return broken(&"submodules where there can be none, or too many of them");
    }
    for module in &facts.modules {
        let (name, inner) = (&module.name, &module.repository);
        if !names::is_module_name(name) || !names::is_module_path(&module.path) {
            return broken(&format_args!("not a submodule's name and path: {name:?}, {:?}", module.path));
        }
        if module.url.as_ref().is_some_and(|url| !names::is_url(url)) {
            return broken(&format_args!("not a URL that git may be given: {:?}", module.url));
        }
        let same = inner.path == format!("{}/{}", facts.path, module.path)
            && inner.exact == facts.exact
            && inner.state == facts.state
            && (inner.above, inner.needs) == (0, 0);
        if !same {
            return broken(&format_args!("the submodule {name:?} is not as the repository around it"));
        }
        check(inner, depth + 1)?;
        inner.clone().checked()?;
    }
    // Where names of files have no case, two may be one.
    let within =
        |a: &str, b: &str| format!("{b}/").to_lowercase().starts_with(&format!("{a}/").to_lowercase());
    for (number, a) in facts.modules.iter().enumerate() {
        let others = facts.modules.iter().enumerate().filter(|(other, _)| *other != number);
        if others.map(|(_, b)| b).any(|b| within(&a.name, &b.name) || within(&a.path, &b.path)) {
            return broken(&format_args!("a submodule in the submodule {:?}, or twice", a.name));
        }
    }
    Ok(())
}

/// The submodules in a commit's tree: their paths, and the commits that it records.
pub fn links(repo: &Repository, commit: Id) -> Result<Vec<(String, Id)>> {
    let git = |e: git2::Error| failed(repo.path(), &e);
    let tree = repo.find_commit(commit.0).and_then(|commit| commit.tree()).map_err(git)?;
    let mut links = Vec::new();
    tree.walk(git2::TreeWalkMode::PreOrder, |root, entry| {
        if entry.filemode() == 0o160000 {
            let path = format!("{root}{}", String::from_utf8_lossy(entry.name_bytes()));
            links.push((path, Id(entry.id())));
        }
        git2::TreeWalkResult::Ok
    })
    .map_err(git)?;
    Ok(links)
}

/// What `.gitmodules` calls the submodule at each path. (Asked for one by its path, libgit2 takes the path for the name.)
fn names_by_path(repo: &Repository) -> Result<HashMap<PathBuf, String>> {
    let modules = repo.submodules().map_err(|e| failed(repo.path(), &e))?;
    let named =
        |module: &git2::Submodule<'_>| Some((module.path().to_owned(), module.name().ok()?.to_owned()));
    Ok(modules.iter().filter_map(named).collect())
}

/// The submodules of HEAD that are checked out and are nobody else's, as their paths. The repository is, or will be, at `place`.
fn checked_out(repo: &Repository, place: &Path, carved: &[PathBuf]) -> Result<Vec<String>> {
    let (Some(root), Some(head)) = (repo.workdir(), refs::head_commit(repo)?) else { return Ok(Vec::new()) };
    let mut paths: Vec<String> = links(repo, head)?.into_iter().map(|(path, _)| path).collect();
    paths.retain(|path| is_repository(&root.join(path)) && !work::is_foreign(place, Path::new(path), carved));
    Ok(paths)
}

/// A digest of all refs and HEAD, and of those of all submodules.
pub fn fingerprint(repo: &Repository, place: &Path, carved: &[PathBuf]) -> Result<Digest> {
    let own = refs::fingerprint(repo)?;
    let modules = checked_out(repo, place, carved)?;
    let Some(root) = repo.workdir().filter(|_| !modules.is_empty()) else { return Ok(own) };
    let mut text = own.to_string();
    for module in modules {
        match open(&root.join(&module)) {
            Ok(inner) => text.push_str(&fingerprint(&inner, &place.join(&module), carved)?.to_string()),
            // One that kbpack does not carry was not made by it.
            Err(_) => text.push_str("another"),
        }
    }
    Ok(Digest::of(text.as_bytes()))
}

/// What comes with a new repository that is in no commit, and with its submodules: by their paths in it, its own by none.
pub type Uncommitted = BTreeMap<String, Pending>;

/// What `plan` puts back that is in no commit.
pub fn uncommitted(plan: &Planned) -> Result<Uncommitted> {
    let mut all: Uncommitted = plan.facts.uncommitted.map(|own| (String::new(), own)).into_iter().collect();
    for module in &plan.modules {
        let inner = uncommitted(plans::of(&module.plan)?)?;
        all.extend(inner.into_iter().map(|(path, pending)| (below(&module.path, &path), pending)));
    }
    Ok(all)
}

/// Whether nothing is in a work tree, and in those of its submodules, but what HEAD has, or what was in no commit and was
/// put back. `at`: where the repository is among these.
pub fn is_all(repo: &Repository, at: &str, all: &Uncommitted, carved: &[PathBuf]) -> Result<bool> {
    if !pending::is_all(repo, all.get(at).copied(), carved)? {
        return Ok(false);
    }
    let Some(root) = repo.workdir() else { return Ok(true) };
    for module in checked_out(repo, root, carved)? {
        if !is_all(&open(&root.join(&module))?, &below(at, &module), all, carved)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn below(at: &str, path: &str) -> String {
    match at.is_empty() || path.is_empty() {
        true => format!("{at}{path}"),
        false => format!("{at}/{path}"),
    }
}
