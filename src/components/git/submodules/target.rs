//! Target: submodules are planned and put in place, in a new repository or in one that is there.

use super::super::facts::State;
use super::super::open::{failed, open};
use super::super::plan::{self, Planned, Todo};
use super::super::stage::init;
use super::super::Git;
use super::source::inner;
use super::streams::Below;
use super::{links, names_by_path};
use crate::base::fsx::Dir;
use crate::base::path::shown;
use crate::base::side::make_side;
use crate::component::{Error, Finding, Journal, Plan, Result, Scope, Severity, StreamSource};
use git2::Repository;
use std::fs;
use std::path::{Path, PathBuf};

/// A submodule in a plan.
pub struct Module {
    /// Its name in `.gitmodules`.
    pub name: String,
    /// Its path in the work tree.
    pub path: String,
    /// Where the config says that it comes from.
    pub url: Option<String>,
    /// Its number among the submodules of the repository around it.
    pub number: usize,
    /// What an import would do there.
    pub plan: Plan,
}

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
        make_side(&outer.side).map_err(Error::at(&outer.side))?;
        super::super::stage::stage(inner, scope, &Below::source(streams, module.number)?)?;
    }
    Ok(())
}

/// Puts them in place.
pub fn commit(outer: &Planned, scope: &Scope<'_>, journal: &mut dyn Journal) -> Result<()> {
    outer
        .modules
        .iter()
        .try_for_each(|module| super::super::commit::commit(plan::of(&module.plan)?, scope, journal))
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
        fs::create_dir_all(above).map_err(Error::at(above))?;
        drop(init(&git_dir, true)?);
        let mut config = git2::Config::open(&git_dir.join("config")).map_err(git)?;
        config.set_bool("core.bare", false).map_err(git)?;
        config.set_bool("core.logallrefupdates", true).map_err(git)?;
        config.set_str("core.worktree", &way(&git_dir, &work)?).map_err(git)?;
        let link = work.join(".git");
        fs::write(&link, format!("gitdir: {}\n", way(&work, &git_dir)?)).map_err(Error::at(&link))?;
        super::super::stage::build(
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
