//! Submodules whose repositories travel with the one around them: each is a repository of its own, with facts, streams and a
//! plan of its own, and may have submodules in turn.
//!
//! What goes into a config or becomes a path comes from facts that were checked, or from names that are in the tree itself:
//! never from a config of the bundle's.

use super::capture::without_password;
use super::facts::{Facts, Lfs, Module as ModuleFacts, Profile, State, Uncommitted};
use super::left::Left;
use super::names::{self, Id};
use super::open::{failed, is_repository, open, shown};
use super::plan::{self, Planned, Todo};
use super::stage::init;
use super::{refs, stream_name, work, Git};
use crate::base::digest::Digest;
use crate::base::fsx::Dir;
use crate::base::name::StreamName;
use crate::base::side::make_side;
use crate::component::{
    Error, Finding, Holds, Journal, Listed, Plan, Result, Scope, Severity, StreamInfo, StreamSink,
    StreamSource, StreamWrite, Survey,
};
use git2::Repository;
use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// How deep submodules may lie in each other.
const MAX_DEPTH: usize = 4;
/// The most submodules of one repository.
const MAX_MODULES: usize = 1000;

/// A submodule in a plan.
pub struct Module {
    /// Its name in `.gitmodules`.
    pub name: String,
    /// Its path in the work tree.
    pub path: String,
    url: Option<String>,
    number: usize,
    /// What an import would do there.
    pub plan: Plan,
}

/// Where its streams are.
pub fn prefix(number: usize) -> String {
    format!("modules/{number}/")
}

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
            && inner.above == 0;
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

/// What of a work tree, and of those of its submodules, is in no commit, ignored or not.
pub fn everything_else(repo: &Repository, carved: &[PathBuf]) -> Result<Vec<String>> {
    let mut all = work::everything_else(repo, carved)?;
    let Some(root) = repo.workdir() else { return Ok(all) };
    for module in checked_out(repo, root, carved)? {
        all.extend(everything_else(&open(&root.join(module))?, carved)?);
    }
    Ok(all)
}

// The source.

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
fn inner(git: &Git, path: &str, facts: Option<Facts>) -> Git {
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
        let mut its = super::capture::survey(&inner.path, &inner.profile, scope)?;
        self::survey(&inner, &inner.path, scope, &mut its)?;
        survey.items += its.items;
        survey.bytes += its.bytes;
        survey.findings.extend(its.findings);
    }
    Ok(())
}

/// Writes a repository, and its submodules, if they are to travel.
pub fn capture(git: &Git, scope: &Scope<'_>, sink: &dyn StreamSink) -> Result<(Facts, Vec<Finding>)> {
    let (true, Some(path)) = (git.profile.submodules, git.source(scope)?) else {
        return git.read(&git.taken(), false, scope, sink);
    };
    let (here, not_here, mut findings) = here(git, &open(&path)?, scope)?;
    if let Some(at) = findings.iter().position(|finding| finding.severity == Severity::Refusal) {
        let Finding { what, remedy, .. } = findings.swap_remove(at);
        return Err(Error::not_ready(what).todo(remedy.unwrap_or_default()));
    }
    let (mut facts, found) = git.read(&git.taken(), false, scope, sink)?;
    findings.extend(found);
    facts.submodules = not_here;
    for (number, module) in (1..).zip(here) {
        let (repository, found) =
            capture(&inner(git, &module.path, None), scope, &Below::sink(sink, number))?;
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
    git.read(&Profile { lfs, ..git.taken() }, true, scope, sink)
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

// The target.

/// What would change in each submodule.
pub fn plan(
    git: &Git,
    outer: &Planned,
    scope: &Scope<'_>,
    streams: &dyn StreamSource,
) -> Result<Vec<Module>> {
    let mut modules = Vec::new();
    if outer.facts.state == State::Absent {
        return Ok(modules);
    }
    for (number, module) in (1..).zip(&outer.facts.modules) {
        let (name, path) = (module.name.clone(), module.path.clone());
        let mut inner = inner(git, &path, Some(module.repository.clone()));
        inner.path = outer.path.join(&path);
        inner.side = Some(match outer.todo {
            // They are built where the clone is.
            Todo::Clone => outer.side.clone(),
            _ => outer.side.join(format!("module-{number}")),
        });
        let mut plan = plan::plan(&inner, scope, &Below::source(streams, number)?)?;
        let planned = plan::of(&plan)?;
        let elsewhere = planned.path != inner.path;
        let absent = outer.todo != Todo::Clone && planned.todo == Todo::Clone;
        if elsewhere || absent {
            let what = match elsewhere {
                true => {
                    format!("{}: a symlink on the way to the submodule leads elsewhere", shown(&inner.path))
                }
                false => format!("{}: the submodule is not checked out here", shown(&inner.path)),
            };
            let todo =
                "git submodule update --init --recursive, or move the repository away, and import again";
            plan.findings.push(Finding::new(Severity::Refusal, what).todo(todo));
        }
        modules.push(Module { name, path, url: module.url.clone(), number, plan });
    }
    Ok(modules)
}

/// Whether a submodule changes.
pub fn any(plan: &Planned) -> bool {
    let changes =
        |module: &Module| plan::of(&module.plan).is_ok_and(|inner| inner.todo != Todo::Nothing || any(inner));
    plan.modules.iter().any(changes)
}

/// Stages the submodules of a repository that is there.
pub fn stage(outer: &Planned, scope: &Scope<'_>, streams: &dyn StreamSource) -> Result<()> {
    for module in outer.modules.iter().filter(|_| any(outer)) {
        let inner = plan::of(&module.plan)?;
        make_side(&outer.side).map_err(|e| Error::io(shown(&outer.side), e))?;
        super::stage::stage(inner, scope, &Below::source(streams, module.number)?)?;
    }
    Ok(())
}

/// Puts them in place.
pub fn commit(outer: &Planned, scope: &Scope<'_>, journal: &mut dyn Journal) -> Result<()> {
    outer.modules.iter().try_for_each(|module| super::commit::commit(plan::of(&module.plan)?, scope, journal))
}

/// Makes the submodules of a new repository, in its own folder and in its work tree. Rule G14.
pub fn build(
    repo: &Repository,
    outer: &Planned,
    scope: &Scope<'_>,
    streams: &dyn StreamSource,
) -> Result<()> {
    let Some(root) = repo.workdir().filter(|_| !outer.modules.is_empty()) else { return Ok(()) };
    let git = |e: git2::Error| failed(repo.path(), &e);
    let links = match outer.header.head {
        Some(head) => links(repo, head)?,
        None => Vec::new(),
    };
    let names = names_by_path(repo)?;
    for module in &outer.modules {
        let (name, path) = (&module.name, &module.path);
        let broken =
            |what: &str| Error::rule("G14", format_args!("the submodule {name:?} at {path:?}: {what}"));
        let linked = links.iter().any(|(link, _)| link == path);
        if !linked || names.get(Path::new(path)) != Some(name) {
            return Err(broken("HEAD has no such submodule"));
        }
        let work = root.join(path);
        require_folder(root, path).map_err(|_| broken("its place is not an empty folder"))?;
        let git_dir = repo.path().join("modules").join(name);
        let above = git_dir.parent().unwrap_or(&git_dir);
        fs::create_dir_all(above).map_err(|e| Error::io(shown(above), e))?;
        drop(init(&git_dir, true)?);
        let mut config = git2::Config::open(&git_dir.join("config")).map_err(git)?;
        config.set_bool("core.bare", false).map_err(git)?;
        config.set_bool("core.logallrefupdates", true).map_err(git)?;
        config.set_str("core.worktree", &way(&git_dir, &work)?).map_err(git)?;
        let link = work.join(".git");
        fs::write(&link, format!("gitdir: {}\n", way(&work, &git_dir)?))
            .map_err(|e| Error::io(shown(&link), e))?;
        super::stage::build(
            &open(&work)?,
            plan::of(&module.plan)?,
            scope,
            &Below::source(streams, module.number)?,
        )?;
        let mut config =
            repo.config().and_then(|config| config.open_level(git2::ConfigLevel::Local)).map_err(git)?;
        config.set_bool(&format!("submodule.{name}.active"), true).map_err(git)?;
        if let Some(url) = &module.url {
            config.set_str(&format!("submodule.{name}.url"), url).map_err(git)?;
        }
    }
    Ok(())
}

/// An empty folder is at `path`, and no symlink on the way there, which a work tree on a file system without case could have
/// (CVE-2024-32002).
fn require_folder(root: &Path, path: &str) -> std::io::Result<()> {
    let dir = Dir::open(&fs::canonicalize(root)?)?.dir(Path::new(path))?;
    let names = rustix::fs::Dir::read_from(&dir)?.count();
    match names {
        0..=2 => Ok(()),
        _ => Err(std::io::Error::other("something is in it")),
    }
}

/// The relative path from one folder to another.
fn way(from: &Path, to: &Path) -> Result<String> {
    let (from, to) = (from.components().collect::<Vec<_>>(), to.components().collect::<Vec<_>>());
    let same = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = vec![std::path::Component::ParentDir; from.len() - same];
    let way: PathBuf = up.iter().chain(&to[same..]).collect();
    let text = way.to_str().map(str::to_owned);
    text.ok_or_else(|| {
        Error::not_ready(format_args!("{}: not UTF-8", shown(&way))).todo("choose another path")
    })
}

/// What an import left of the submodules of a repository that a rollback takes away.
pub struct Gone(Vec<(String, Left, Gone)>);

impl Gone {
    /// From a backup.
    pub fn read(facts: &Facts, streams: &dyn StreamSource) -> Result<Gone> {
        let mut gone = Vec::new();
        if facts.exact && facts.state == State::Absent {
            for (number, module) in (1..).zip(&facts.modules) {
                let below = Below::source(streams, number)?;
                let inner = Gone::read(&module.repository, &below)?;
                gone.push((module.path.clone(), Left::read(&below)?, inner));
            }
        }
        Ok(Gone(gone))
    }

    /// Whether all submodules of a repository are as they were left, and nothing else is in their work trees.
    pub fn are_all_of(&self, repo: &Repository, carved: &[PathBuf]) -> Result<bool> {
        let Some(root) = repo.workdir() else { return Ok(true) };
        for module in checked_out(repo, root, carved)? {
            let left = self.0.iter().find(|(path, ..)| *path == module);
            let (Some((_, left, inner)), Ok(repo)) = (left, open(&root.join(module))) else {
                return Ok(false);
            };
            let same = left.is_all_of(&repo)?
                && work::everything_else(&repo, carved)?.is_empty()
                && inner.are_all_of(&repo, carved)?;
            if !same {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The streams of a submodule, among those of the repository around it.
struct Below<S> {
    streams: S,
    prefix: String,
    list: Vec<StreamInfo>,
}

impl<'a> Below<&'a dyn StreamSink> {
    fn sink(streams: &'a dyn StreamSink, number: usize) -> Self {
        Below { streams, prefix: prefix(number), list: Vec::new() }
    }
}

impl<'a> Below<&'a dyn StreamSource> {
    fn source(streams: &'a dyn StreamSource, number: usize) -> Result<Self> {
        let prefix = prefix(number);
        let mut list = Vec::new();
        for stream in streams.list() {
            if let Some(name) = stream.name.as_str().strip_prefix(&prefix) {
                list.push(StreamInfo { name: stream_name(name)?, size: stream.size });
            }
        }
        Ok(Below { streams, prefix, list })
    }
}

impl StreamSink for Below<&dyn StreamSink> {
    fn create(&self, name: &StreamName, holds: Holds) -> Result<Box<dyn StreamWrite>> {
        self.streams.create(&stream_name(&format!("{}{name}", self.prefix))?, holds)
    }
}

impl StreamSource for Below<&dyn StreamSource> {
    fn list(&self) -> &[StreamInfo] {
        &self.list
    }
    fn open(&self, name: &StreamName) -> Result<Box<dyn Read + Send>> {
        self.streams.open(&stream_name(&format!("{}{name}", self.prefix))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_submodule_goes_into_an_empty_folder_that_no_symlink_leads_to() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        fs::create_dir_all(root.join("real/lib")).unwrap();
        std::os::unix::fs::symlink("real", root.join("link")).unwrap();
        assert!(require_folder(root, "real/lib").is_ok());
        for bad in ["link/lib", "link", "nowhere", "real"] {
            assert!(require_folder(root, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ways_between_folders() {
        let way = |from: &str, to: &str| way(Path::new(from), Path::new(to)).unwrap();
        assert_eq!(way("/r/vendor/lib", "/r/.git/modules/named/lib"), "../../.git/modules/named/lib");
        assert_eq!(way("/r/.git/modules/lib", "/r/lib"), "../../../lib");
    }
}
