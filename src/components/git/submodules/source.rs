//! Source, and backups: a repository and its submodules are written, one after the other.

use super::super::capture::{without_password, For};
use super::super::facts::{Facts, Lfs, Module as ModuleFacts, Profile, Uncommitted};
use super::super::left::Left;
use super::super::names;
use super::super::open::{failed, is_repository, open};
use super::super::plan::{self, Planned, Todo};
use super::super::{refs, work, Git};
use super::streams::Below;
use super::{check, links, names_by_path};
use crate::component::{Error, Finding, Listed, Result, Scope, Severity, StreamSink, StreamSource, Survey};
use git2::Repository;
use std::path::Path;

/// A submodule that is checked out on the source.
struct Here {
    name: String,
    path: String,
    url: Option<String>,
}

/// Those that travel; what is to be said of others; and of those that are not where the commit has them.
fn here(git: &Git, repo: &Repository, scope: &Scope<'_>) -> Result<(Vec<Here>, Vec<String>, Vec<Finding>)> {
    let (mut here, mut not_here, mut findings) = (Vec::new(), Vec::new(), Vec::new());
    let (Some(root), Some(head)) = (repo.workdir(), refs::head_commit(repo)?) else {
        return Ok((here, not_here, findings));
    };
    let names = names_by_path(repo)?;
    for (path, recorded) in links(repo, head)? {
        if work::is_foreign(root, Path::new(&path), scope.carved) {
            continue;
        }
        let name = names.get(Path::new(&path)).cloned();
        let name = name.filter(|name| names::is_module_name(name) && names::is_module_path(&path));
        let Some(name) = name.filter(|_| is_repository(&root.join(&path))) else {
            not_here.push(path);
            continue;
        };
        let config = repo.config().and_then(|mut c| c.snapshot()).map_err(|e| failed(repo.path(), &e))?;
        let url = config.get_string(&format!("submodule.{name}.url")).ok();
        let url = url.map(|url| without_password(&url).0).filter(|url| names::is_url(url));
        let inner = match open(&root.join(&path)) {
            // A backup takes what it can: one that was not made by kbpack is kept aside.
            Err(_) if git.facts.is_some() => continue,
            opened => opened?,
        };
        if refs::head_commit(&inner)? != Some(recorded) {
            let what = format!(
                "{}/{path}: it is not at the commit that the repository around it records",
                git.path_text
            );
            let severity = match git.profile.uncommitted {
                Uncommitted::Refuse => Severity::Refusal,
                _ => Severity::Note,
            };
            let todo = "commit that, or git submodule update; or set uncommitted to \"include\", and it travels as it is";
            findings.push(Finding::new(severity, what).todo(todo));
        }
        here.push(Here { name, path, url });
    }
    if !not_here.is_empty() {
        let what = format!(
            "{}: submodules that are not checked out here do not travel: {}",
            git.path_text,
            work::few(&not_here)
        );
        findings.push(Finding::new(Severity::Warning, what).todo("git submodule update --init --recursive"));
    }
    Ok((here, not_here, findings))
}

/// A submodule as a component of its own.
pub fn inner(git: &Git, path: &str, facts: Option<Facts>) -> Git {
    Git {
        name: git.name.clone(),
        path: git.path.join(path),
        path_text: format!("{}/{path}", git.path_text),
        profile: Profile { refs: Vec::new(), path: None, ..git.profile.clone() },
        facts,
        side: None,
    }
}

/// Adds what the submodules would bring.
pub fn survey(git: &Git, path: &Path, scope: &Scope<'_>, survey: &mut Survey) -> Result<()> {
    if !git.profile.submodules || git.facts.is_some() {
        return Ok(());
    }
    let (here, _, findings) = here(git, &open(path)?, scope)?;
    survey.findings.extend(findings);
    for module in here {
        let inner = inner(git, &module.path, None);
        let mut its = super::super::capture::survey(&inner.path, &inner.profile, scope)?;
        self::survey(&inner, &inner.path, scope, &mut its)?;
        survey.items += its.items;
        survey.bytes += its.bytes;
        survey.findings.extend(its.findings);
    }
    Ok(())
}

/// Writes a repository, and its submodules, if they are to travel: these whole, whatever it is for.
pub fn capture(
    git: &Git,
    purpose: For<'_>,
    scope: &Scope<'_>,
    sink: &dyn StreamSink,
) -> Result<(Facts, Vec<Finding>)> {
    let (true, Some(path)) = (git.profile.submodules, git.source(scope)?) else {
        return git.read(&git.taken(), purpose, scope, sink);
    };
    let (here, not_here, mut findings) = here(git, &open(&path)?, scope)?;
    if let Some(at) = findings.iter().position(|finding| finding.severity == Severity::Refusal) {
        let Finding { what, remedy, .. } = findings.swap_remove(at);
        return Err(Error::not_ready(what).todo(remedy.unwrap_or_default()));
    }
    let (mut facts, found) = git.read(&git.taken(), purpose, scope, sink)?;
    findings.extend(found);
    facts.submodules = not_here;
    for (number, module) in (1..).zip(here) {
        let (repository, found) =
            capture(&inner(git, &module.path, None), For::Anybody, scope, &Below::sink(sink, number))?;
        findings.extend(found);
        let Here { name, path, url } = module;
        facts.modules.push(ModuleFacts { name, path, url, repository });
    }
    check(&facts, 0).map_err(|e| {
        Error::not_ready(format_args!("{}: its submodules cannot travel: {e}", git.path_text))
            .todo("set submodules = false for it")
    })?;
    Ok((facts, findings))
}

/// Writes what `plan` touches, as it is: the repository, and its submodules.
pub fn back_up(
    git: &Git,
    plan: &Planned,
    scope: &Scope<'_>,
    sink: &dyn StreamSink,
) -> Result<(Facts, Vec<Finding>)> {
    // Of large files an import only ever takes a whole repository's away.
    let goes = matches!(plan.todo, Todo::Remove { .. });
    let (mut facts, mut findings) = own_backup(git, goes, scope, sink)?;
    Left::by(plan)?.write(sink)?;
    if goes {
        with_all(git, &mut facts, &mut findings, scope, sink)?;
        return Ok((facts, findings));
    }
    for module in &plan.modules {
        let inner = inner(git, &module.path, git.facts.clone());
        let (repository, found) =
            back_up(&inner, plan::of(&module.plan)?, scope, &Below::sink(sink, module.number))?;
        let (name, path, url) = (module.name.clone(), module.path.clone(), module.url.clone());
        facts.modules.push(ModuleFacts { name, path, url, repository });
        findings.extend(found);
    }
    Ok((facts, findings))
}

fn own_backup(
    git: &Git,
    goes: bool,
    scope: &Scope<'_>,
    sink: &dyn StreamSink,
) -> Result<(Facts, Vec<Finding>)> {
    let lfs = if goes { Lfs::Partial } else { Lfs::Untouched };
    git.read(&Profile { lfs, ..git.taken() }, For::Backup, scope, sink)
}

/// The submodules of a repository that goes as a whole: all that are checked out.
fn with_all(
    git: &Git,
    facts: &mut Facts,
    findings: &mut Vec<Finding>,
    scope: &Scope<'_>,
    sink: &dyn StreamSink,
) -> Result<()> {
    let Some(path) = git.source(scope)? else { return Ok(()) };
    for (number, module) in (1..).zip(here(git, &open(&path)?, scope)?.0) {
        let (inner, sink) = (inner(git, &module.path, git.facts.clone()), Below::sink(sink, number));
        let (mut repository, found) = own_backup(&inner, true, scope, &sink)?;
        Left::nothing().write(&sink)?;
        findings.extend(found);
        with_all(&inner, &mut repository, findings, scope, &sink)?;
        let Here { name, path, url } = module;
        facts.modules.push(ModuleFacts { name, path, url, repository });
    }
    Ok(())
}

/// What the submodules hold.
pub fn list(
    git: &Git,
    facts: &Facts,
    streams: &dyn StreamSource,
    each: &mut dyn FnMut(Listed),
) -> Result<()> {
    use crate::component::Component as _;
    for (number, module) in (1..).zip(&facts.modules) {
        let inner = inner(git, &module.path, Some(module.repository.clone()));
        let path = &module.path;
        inner.list(&Below::source(streams, number)?, &mut |listed| {
            each(Listed { name: format!("{path}: {}", listed.name), ..listed });
        })?;
    }
    Ok(())
}
