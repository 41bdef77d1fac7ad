//! Whether a repository is the one that the bundle recorded.

use super::facts::{Facts, Head};
use super::header::Header;
use super::open::open;
use super::pending::Pending;
use super::plan::{Planned, Todo, Update};
use super::stage::{repo_in, staged_objects};
use super::stashes::{self, Stash};
use super::{lfs, pending, refs, work};
use crate::base::path::shown;
use crate::component::{CheckResult, Result, Scope};
use git2::Repository;
use std::path::{Path, PathBuf};

fn result(name: String, failure: Option<String>) -> CheckResult {
    CheckResult::new(name, failure)
}

/// Compares what was staged with what the bundle recorded. That every object is there and whole, staging has seen.
pub fn staged(plan: &Planned, at: &Path) -> Result<Vec<CheckResult>> {
    let mut results = staged_one(plan, at)?;
    for module in &plan.modules {
        let inner = super::plan::of(&module.plan)?;
        let at = if plan.todo == Todo::Clone { at.join(&module.path) } else { repo_in(&inner.side) };
        results.extend(staged(inner, &at)?);
    }
    Ok(results)
}

fn staged_one(plan: &Planned, at: &Path) -> Result<Vec<CheckResult>> {
    let name = shown(&plan.path);
    match &plan.todo {
        Todo::Nothing | Todo::Remove { .. } => Ok(Vec::new()),
        Todo::Clone => {
            let repo = open(at)?;
            let mut results =
                vec![refs_are(&repo, &plan.header, &name)?, head_is(&repo, &plan.facts, &name)?];
            results.push(stashes_are(&repo, &plan.facts.stashes, &name)?);
            results.push(work_is(&repo, plan.facts.uncommitted, &[], &name)?);
            results.extend(lfs::check(&repo, plan, &name)?);
            Ok(results)
        }
        Todo::Update(_) => {
            let repo = staged_objects(plan)?;
            let missing = plan.header.refs.iter().find(|(_, id)| repo.find_object(id.0, None).is_err());
            let failure = missing.map(|(name, _)| format!("what {name} names is missing"));
            Ok(vec![result(format!("{name}: what the refs name is there"), failure)])
        }
    }
}

/// Whether the repository is in place as the plan wanted it.
pub fn in_place(plan: &Planned, scope: &Scope<'_>) -> Result<Vec<CheckResult>> {
    let name = shown(&plan.path);
    if plan.facts.head.is_none() {
        let failure = super::open::is_repository(&plan.path).then(|| "it is still there".to_owned());
        return Ok(vec![result(format!("{name} is gone"), failure)]);
    }
    if !super::open::is_repository(&plan.path) {
        return Ok(vec![result(format!("{name} is in place"), Some("it is not there".to_owned()))]);
    }
    let repo = open(&plan.path)?;
    let mut results = on_refs(&repo, plan, scope, &name)?;
    results.extend(lfs::check(&repo, plan, &name)?);
    for module in &plan.modules {
        results.extend(in_place(super::plan::of(&module.plan)?, scope)?);
    }
    Ok(results)
}

fn on_refs(repo: &Repository, plan: &Planned, scope: &Scope<'_>, name: &str) -> Result<Vec<CheckResult>> {
    match &plan.todo {
        Todo::Update(update) => {
            let mut results = vec![changed_as_planned(repo, update, name)?];
            if let Some(change) = &update.stashes {
                results.push(stashes_are(repo, &change.new, name)?);
            }
            if update.work.is_some() {
                results.push(work_is(repo, update.pending, scope.carved, name)?);
            }
            Ok(results)
        }
        Todo::Clone => Ok(vec![
            refs_are(repo, &plan.header, name)?,
            head_is(repo, &plan.facts, name)?,
            stashes_are(repo, &plan.facts.stashes, name)?,
            work_is(repo, plan.facts.uncommitted, scope.carved, name)?,
        ]),
        _ => Ok(vec![result(format!("{name}: it has all that the bundle has"), has_all(repo, &plan.header))]),
    }
}

fn refs_are(repo: &Repository, header: &Header, name: &str) -> Result<CheckResult> {
    let now = refs::all(repo)?;
    let wrong = header.refs.iter().find(|(name, id)| now.get(*name) != Some(id));
    let more = now.keys().find(|name| !header.refs.contains_key(*name));
    let failure = wrong.map(|(name, _)| name).or(more).map(|name| format!("{name} differs"));
    Ok(result(format!("{name}: the refs are the bundle's"), failure))
}

fn stashes_are(repo: &Repository, wanted: &[Stash], name: &str) -> Result<CheckResult> {
    let failure = (stashes::list(repo)? != wanted).then(|| "they differ".to_owned());
    Ok(result(format!("{name}: the stashes are as they should be"), failure))
}

fn head_is(repo: &Repository, facts: &Facts, name: &str) -> Result<CheckResult> {
    let now: Head = refs::head(repo)?;
    let failure = (Some(&now) != facts.head.as_ref()).then(|| format!("it is {now:?}"));
    Ok(result(format!("{name}: HEAD is the bundle's"), failure))
}

fn changed_as_planned(repo: &Repository, update: &Update, name: &str) -> Result<CheckResult> {
    let now = refs::all(repo)?;
    let wrong = update.refs.iter().find(|one| now.get(&one.name).copied() != one.new);
    let mut failure = wrong.map(|one| format!("{} differs", one.name));
    if failure.is_none() && refs::head(repo)? != update.head.1 {
        failure = Some("HEAD differs".to_owned());
    }
    Ok(result(format!("{name}: refs and HEAD are as planned"), failure))
}

/// Whether the work tree is HEAD's, or what was in no commit is as it was.
fn work_is(
    repo: &Repository,
    pending: Option<Pending>,
    carved: &[PathBuf],
    name: &str,
) -> Result<CheckResult> {
    let Some(pending) = pending else {
        let changes = work::changes(repo, carved)?;
        let failure = (!changes.is_empty()).then(|| format!("not so: {}", work::few(&changes)));
        return Ok(result(format!("{name}: the work tree is HEAD's"), failure));
    };
    let failure = pending::differs(repo, pending, carved)?;
    Ok(result(format!("{name}: what was in no commit is as it was"), failure))
}

fn has_all(repo: &Repository, header: &Header) -> Option<String> {
    let missing = header.refs.iter().find(|(_, id)| repo.find_object(id.0, None).is_err());
    missing.map(|(name, _)| format!("what {name} names is missing"))
}
