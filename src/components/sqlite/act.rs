//! What a commit writes into the journal before it acts: all that an undo needs.

use crate::base::digest::Digest;
use crate::base::path::ShownPath;
use serde::{Deserialize, Serialize};

/// One step of a commit. The staging area `side` has `new.db` and `old.db`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Step {
    /// A folder that was not there is made.
    MakeDir {
        /// Where.
        path: ShownPath,
    },
    /// `new.db` goes to `path`, where nothing was.
    Place {
        /// Where.
        path: ShownPath,
        /// The staging area.
        side: ShownPath,
        /// What the new one says.
        new: Digest,
    },
    /// What `new.db` says is written into the database at `path`; `old.db` says what it said.
    Write {
        /// Where.
        path: ShownPath,
        /// The staging area.
        side: ShownPath,
        /// What it said.
        old: Digest,
        /// What it is to say.
        new: Digest,
        /// Whether `old.db` is kept beside it in the end.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        keep: bool,
    },
    /// This folder goes in the end if nothing is in it by then.
    Empty {
        /// Where.
        path: ShownPath,
    },
    /// The database at `path` goes to `old.db`, and its side files with it.
    Remove {
        /// Where.
        path: ShownPath,
        /// The staging area.
        side: ShownPath,
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
            Step::Place { path, .. } => format!("put the database {path} in place"),
            Step::Write { path, .. } => format!("write the new content into the database {path}"),
            Step::Empty { path } => format!("remove the folder {path} in the end, if it is empty"),
            Step::Remove { path, .. } => format!("take the database {path} away"),
        }
    }

    /// The staging area that it uses.
    pub fn side(&self) -> Option<&ShownPath> {
        match self {
            Step::MakeDir { .. } | Step::Empty { .. } => None,
            Step::Place { side, .. } | Step::Write { side, .. } | Step::Remove { side, .. } => Some(side),
        }
    }
}
