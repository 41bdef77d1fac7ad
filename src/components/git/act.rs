//! What a commit writes into the journal before it acts: all that an undo needs.

use super::facts::Head;
use super::names::Id;
use super::plan::RefChange;
use super::stashes::Stashes;
use super::submodules::Uncommitted;
use crate::base::digest::Digest;
use crate::base::path::ShownPath;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A rename of a clone, or of a repository that goes, part by part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    /// Where it is.
    pub from: ShownPath,
    /// Where nothing is.
    pub to: ShownPath,
}

/// One step of a commit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Step {
    /// A folder that was not there is made.
    MakeDir {
        /// Where.
        path: ShownPath,
    },
    /// A new repository goes to `path`: as a whole, or around what is there, piece by piece, `.git` last.
    Clone {
        /// Where.
        path: ShownPath,
        /// The staging area.
        side: ShownPath,
        /// The renames, in their order.
        pieces: Vec<Piece>,
        /// All its refs and HEAD.
        refs: Digest,
        /// What is in no commit and comes with it.
        #[serde(default, skip_serializing_if = "Uncommitted::is_empty")]
        pending: Uncommitted,
    },
    /// The repository at `path` gets other refs, HEAD and work tree.
    Update {
        /// Where.
        path: ShownPath,
        /// The staging area.
        side: ShownPath,
        /// The refs.
        refs: Vec<RefChange>,
        /// The stashes, if they change.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stashes: Option<Stashes>,
        /// HEAD as it was.
        old_head: Head,
        /// HEAD as it will be.
        new_head: Head,
        /// Whether the work tree changes.
        work: bool,
        /// The work tree's commit as it was.
        old_work: Option<Id>,
        /// The work tree's commit as it will be.
        new_work: Option<Id>,
    },
    /// This folder goes in the end if nothing is in it by then.
    Empty {
        /// Where.
        path: ShownPath,
    },
    /// The repository at `path` goes to `old` in the staging area: as a whole, or around what belongs to others, piece by
    /// piece, `.git` first.
    Remove {
        /// Where.
        path: ShownPath,
        /// The staging area.
        side: ShownPath,
        /// The renames, in their order; none if it goes as a whole.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        pieces: Vec<Piece>,
        /// Whether it is kept beside its path in the end.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        keep: bool,
    },
}

impl Step {
    /// In words.
    pub fn describe(&self) -> String {
        match self {
            Step::MakeDir { path } => format!("make the folder {path}"),
            Step::Clone { path, pieces, .. } => {
                format!("put the new repository {path} in place, in {} pieces", pieces.len())
            }
            Step::Update { path, refs, stashes, work, .. } => {
                let stashes = if stashes.is_some() { ", and the stashes" } else { "" };
                let work = if *work { ", and the work tree" } else { "" };
                format!("move {} refs of {path}{stashes}{work}", refs.len())
            }
            Step::Empty { path } => format!("remove the folder {path} in the end, if it is empty"),
            Step::Remove { path, pieces, .. } if pieces.is_empty() => {
                format!("take the repository {path} away")
            }
            Step::Remove { path, pieces, .. } => {
                format!("take the repository {path} away, in {} pieces", pieces.len())
            }
        }
    }

    /// The staging area that it uses.
    pub fn side(&self) -> Option<&Path> {
        match self {
            Step::MakeDir { .. } | Step::Empty { .. } => None,
            Step::Clone { side, .. } | Step::Update { side, .. } | Step::Remove { side, .. } => Some(&side.0),
        }
    }
}
