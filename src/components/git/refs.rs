//! What a repository's refs and HEAD say.

use super::facts::{Head, Profile};
use super::header::Header;
use super::names::{self, Id};
use super::open::failed;
use crate::base::digest::Digest;
use crate::base::path::shown;
use crate::component::{Error, Result};
use git2::Repository;
use std::collections::BTreeMap;
use std::fs;

/// Where the refs that travel are, unless a profile names others.
const DEFAULT: [&str; 4] = ["refs/heads/*", "refs/tags/*", "refs/notes/*", "refs/stash"];

/// Whether a ref travels.
pub fn travels(patterns: &[String], name: &str) -> bool {
    match patterns {
        [] => DEFAULT.iter().any(|pattern| names::matches(pattern, name)),
        chosen => chosen.iter().any(|pattern| names::matches(pattern, name)),
    }
}

/// All refs and what they lead to, symbolic ones as what they lead to.
pub fn all(repo: &Repository) -> Result<BTreeMap<String, Id>> {
    let git = |e: git2::Error| failed(repo.path(), &e);
    let mut refs = BTreeMap::new();
    for reference in repo.references().map_err(git)? {
        let reference = reference.map_err(git)?;
        let name = reference.name().map_err(|_| {
            let name = String::from_utf8_lossy(reference.name_bytes()).into_owned();
            Error::not_ready(format_args!(
                "{}: the name of the ref {name:?} is not UTF-8",
                shown(repo.path())
            ))
            .todo("rename it")
        })?;
        // One that leads nowhere has nothing to carry.
        if let Some(id) = reference.resolve().ok().and_then(|resolved| resolved.target()) {
            refs.insert(name.to_owned(), Id(id));
        }
    }
    Ok(refs)
}

/// The refs that travel, and HEAD's commit if it is one of theirs, or detached.
pub fn header(repo: &Repository, profile: &Profile) -> Result<Header> {
    let mut refs = all(repo)?;
    refs.retain(|name, _| travels(&profile.refs, name));
    if let Some(bad) = refs.keys().find(|name| !names::is_ref(name)) {
        return Err(Error::not_ready(format_args!("{}: the ref {bad:?} cannot travel", shown(repo.path())))
            .todo("rename it, or choose others with refs = [...]"));
    }
    let head = match head(repo)? {
        Head::Branch(name) => refs.get(&name).copied(),
        Head::Detached(id) => Some(id),
    };
    Ok(Header { refs, head, ..Header::default() })
}

/// What HEAD says.
pub fn head(repo: &Repository) -> Result<Head> {
    let git = |e: git2::Error| failed(repo.path(), &e);
    let head = repo.find_reference("HEAD").map_err(git)?;
    match head.symbolic_target().map_err(git)? {
        Some(name) => Ok(Head::Branch(name.to_owned())),
        None => head.target().map(|id| Head::Detached(Id(id))).ok_or_else(|| {
            Error::not_ready(format_args!("{}: HEAD leads nowhere", shown(repo.path())))
                .todo("git checkout a branch")
        }),
    }
}

/// The commit of HEAD, if it has one.
pub fn head_commit(repo: &Repository) -> Result<Option<Id>> {
    match repo.head() {
        Ok(head) => head.peel_to_commit().map(|c| Some(Id(c.id()))).map_err(|e| failed(repo.path(), &e)),
        Err(e) if matches!(e.code(), git2::ErrorCode::UnbornBranch | git2::ErrorCode::NotFound) => Ok(None),
        Err(e) => Err(failed(repo.path(), &e)),
    }
}

/// Whether a ref, or HEAD, leads to `commit`.
pub fn lead_to(repo: &Repository, commit: Id) -> Result<bool> {
    let git = |e: git2::Error| failed(repo.path(), &e);
    if repo.find_commit(commit.0).is_err() {
        return Ok(false);
    }
    let mut walk = repo.revwalk().map_err(git)?;
    walk.push(commit.0).map_err(git)?;
    for id in all(repo)?.values().chain(&head_commit(repo)?) {
        if let Ok(tip) = repo.find_object(id.0, None).and_then(|object| object.peel_to_commit()) {
            walk.hide(tip.id()).map_err(git)?;
        }
    }
    Ok(walk.next().is_none())
}

/// Makes HEAD say this.
pub fn set_head(repo: &Repository, head: &Head) -> Result<()> {
    match head {
        Head::Branch(name) => repo.set_head(name),
        Head::Detached(id) => repo.set_head_detached(id.0),
    }
    .map_err(|e| failed(repo.path(), &e))
}

/// A digest of all refs and HEAD.
pub fn fingerprint(repo: &Repository) -> Result<Digest> {
    let mut text = format!("{:?}\n", head(repo)?);
    for (name, id) in all(repo)? {
        text.push_str(&format!("{id} {name}\n"));
    }
    Ok(Digest::of(text.as_bytes()))
}

/// The branches that other work trees of the repository have checked out.
pub fn checked_out_elsewhere(repo: &Repository) -> Result<Vec<String>> {
    let own = fs::canonicalize(repo.path()).ok();
    let mut places = Vec::new();
    // A bare repository has no work tree of its own: what its HEAD says is checked out nowhere.
    if !repo.config().and_then(|config| config.get_bool("core.bare")).unwrap_or(false) {
        places.push(repo.commondir().to_owned());
    }
    if let Ok(entries) = fs::read_dir(repo.commondir().join("worktrees")) {
        places.extend(entries.flatten().map(|entry| entry.path()));
    }
    places.retain(|place| fs::canonicalize(place).ok() != own);
    let head = |place: std::path::PathBuf| fs::read_to_string(place.join("HEAD")).ok();
    let branch = |text: String| text.trim_end().strip_prefix("ref: ").map(str::to_owned);
    Ok(places.into_iter().filter_map(head).filter_map(branch).collect())
}
