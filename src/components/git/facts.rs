//! The options of a git component, as a profile has them, and its facts, as a manifest has them.

use super::names::{self, Id};
use super::pending::Pending;
use super::stashes::{self, Stash};
use crate::component::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt::Display;

/// The most remotes, upstreams or submodules that facts may name.
const MAX_LISTED: usize = 10_000;

/// What an export does where the work tree has changes that are in no commit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Uncommitted {
    /// It stops and names them.
    #[default]
    Refuse,
    /// They travel, and are put back as they were: staged, unstaged and untracked.
    Include,
    /// They stay behind.
    Ignore,
}

/// What an import does to a ref of the target that has commits which the bundle's has not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnDiverge {
    /// It stops and names it.
    #[default]
    Refuse,
    /// The target's stays; the bundle's goes to `refs/kbpack/incoming/`.
    KeepBoth,
    /// The bundle's takes its place; the target's goes to `refs/kbpack/backup/`.
    Take,
}

/// What travels of the files that git LFS keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lfs {
    /// All that is on the source; an export stops if contents of HEAD's are not.
    #[default]
    Complete,
    /// All that is on the source.
    Partial,
    /// Nothing but the pointers.
    Pointers,
    /// Not even looked for: a backup of a repository that stays, which no import takes a large file from.
    #[serde(skip_deserializing)]
    Untouched,
}

/// A component in a profile. In the target's own profile each word overrides the bundle's.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Profile {
    /// `~/...` or absolute: a work tree or a bare repository.
    pub path: Option<String>,
    /// See [`Uncommitted`].
    #[serde(default)]
    pub uncommitted: Uncommitted,
    /// See [`OnDiverge`].
    #[serde(default)]
    pub on_diverge: OnDiverge,
    /// Which refs travel: full names, `*` for any end. None: all branches, tags, notes and stashes.
    #[serde(default)]
    pub refs: Vec<String>,
    /// See [`Lfs`].
    #[serde(default)]
    pub lfs: Lfs,
    /// Whether the repositories of submodules travel, too.
    #[serde(default)]
    pub submodules: bool,
}

impl Profile {
    /// Reads the options of a component's table.
    pub fn read(options: &Value) -> Result<Profile> {
        let profile = Profile::deserialize(options).map_err(Error::options)?;
        if let Some(bad) = profile.refs.iter().find(|pattern| !names::is_pattern(pattern)) {
            let what = format!("refs: {bad:?} is not the full name of a ref, nor one that ends in '/*'");
            return Err(Error::options(what));
        }
        Ok(profile)
    }
}

/// What HEAD says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Head {
    /// A branch's full name; the branch need not have a commit yet.
    Branch(String),
    /// A commit.
    Detached(Id),
}

/// A remote. A password in its URL does not travel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remote {
    /// Its name.
    pub name: String,
    /// Its URL.
    pub url: String,
}

/// What a branch follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// The branch's name, without `refs/heads/`.
    pub branch: String,
    /// The remote's name.
    pub remote: String,
    /// The ref's full name on the remote.
    pub merge: String,
}

/// What was at the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nothing.
    Absent,
    /// A repository without a work tree.
    Bare,
    /// A repository with a work tree.
    WorkTree,
}

/// Files that git LFS keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LargeFiles {
    /// How many objects the bundle has.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of how many files of HEAD it has only the pointers.
    pub missing: u64,
}

/// A submodule whose repository travels. Its streams are below `modules/<its number>/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Module {
    /// Its name in `.gitmodules`.
    pub name: String,
    /// Its path in the work tree.
    pub path: String,
    /// Where the config of the repository around it says that it comes from.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What it is.
    pub repository: Facts,
}

/// The component's part of the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Facts {
    /// Where it came from: `~/...` or absolute.
    pub path: String,
    /// What was there.
    pub state: State,
    /// Whether the target's refs are to be these and no others: a backup.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exact: bool,
    /// HEAD, if something was there.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub head: Option<Head>,
    /// How many refs the bundle has, HEAD not counted.
    #[serde(default)]
    pub refs: u64,
    /// Its stashes, the newest first, if they travel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stashes: Vec<Stash>,
    /// How many commits the bundle leaves out that whoever imports it has to have.
    #[serde(default, skip_serializing_if = "crate::base::json::is_zero")]
    pub needs: u64,
    /// What was in no commit, if that travels.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub uncommitted: Option<Pending>,
    /// Remotes, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remotes: Vec<Remote>,
    /// What branches follow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<Upstream>,
    /// Paths of submodules in HEAD whose repositories do not travel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub submodules: Vec<String>,
    /// Submodules whose repositories travel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules: Vec<Module>,
    /// The files that git LFS keeps, if the bundle's commits have any.
    #[serde(default, deserialize_with = "crate::base::json::set", skip_serializing_if = "Option::is_none")]
    pub lfs: Option<LargeFiles>,
    /// In a backup of a path where nothing was: how many folders above it were not there either.
    #[serde(default, skip_serializing_if = "crate::base::json::is_zero")]
    pub above: u32,
}

impl Facts {
    /// Of a path where nothing is.
    pub fn absent(path: &str) -> Facts {
        Facts {
            path: path.to_owned(),
            state: State::Absent,
            exact: true,
            head: None,
            refs: 0,
            stashes: Vec::new(),
            needs: 0,
            uncommitted: None,
            remotes: Vec::new(),
            upstreams: Vec::new(),
            submodules: Vec::new(),
            modules: Vec::new(),
            lfs: None,
            above: 0,
        }
    }

    /// From a manifest, held to the rules G1 and G2.
    pub fn read(facts: &Value) -> Result<Facts> {
        let facts = Facts::deserialize(facts).map_err(|e| Error::rule("G1", e))?;
        super::submodules::check(&facts, 0)?;
        facts.checked()
    }

    /// Those of one repository, without its submodules.
    pub fn checked(self) -> Result<Facts> {
        let facts = self;
        let broken = |rule, what: &dyn Display| Err(Error::rule(rule, what));
        if facts.head.is_some() == (facts.state == State::Absent) {
            return broken("G1", &"HEAD where the state says otherwise");
        }
        let has_refs = facts.refs != 0 || facts.needs != 0 || !facts.stashes.is_empty();
        if facts.state == State::Absent && (has_refs || !facts.exact) {
            return broken("G1", &"refs of a repository that is not there");
        }
        if facts.above > 0 && facts.state != State::Absent {
            return broken("G1", &"folders above what only a backup can tell of");
        }
        if facts.uncommitted.is_some() && (facts.state != State::WorkTree || facts.exact) {
            return broken("G1", &"uncommitted work where no work tree was");
        }
        if facts.needs > 0 && facts.exact {
            return broken("G1", &"a backup that leaves commits out");
        }
        stashes::require_sound(&facts.stashes)?;
        match &facts.head {
            Some(Head::Branch(name)) if !names::is_branch(name) => {
                return broken("G2", &format_args!("HEAD is not a branch: {name:?}"))
            }
            _ => {}
        }
        if facts.remotes.len().max(facts.upstreams.len()).max(facts.submodules.len()) > MAX_LISTED {
            return broken("G1", &format_args!("more than {MAX_LISTED} remotes, upstreams or submodules"));
        }
        for remote in &facts.remotes {
            if !names::is_remote(&remote.name) {
                return broken("G2", &format_args!("not the name of a remote: {:?}", remote.name));
            }
            if !names::is_url(&remote.url) {
                return broken("G2", &format_args!("not a URL that git may be given: {:?}", remote.url));
            }
        }
        for upstream in &facts.upstreams {
            let branch = format!("refs/heads/{}", upstream.branch);
            let good = names::is_branch(&branch)
                && names::is_ref(&upstream.merge)
                && (upstream.remote == "." || names::is_remote(&upstream.remote));
            if !good {
                return broken(
                    "G2",
                    &format_args!("not a branch and what it follows: {:?}", upstream.branch),
                );
            }
        }
        Ok(facts)
    }
}
