//! What a rollback knows of the submodules of a repository that it takes away.

use super::super::facts::{Facts, State};
use super::super::left::Left;
use super::super::open::open;
use super::super::pending;
use super::checked_out;
use super::streams::Below;
use crate::component::{Result, StreamSource};
use git2::Repository;
use std::path::PathBuf;

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
                && pending::is_all(&repo, left.pending(), carved)?
                && inner.are_all_of(&repo, carved)?;
            if !same {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
