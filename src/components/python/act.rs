//! What a commit writes into the journal before it acts: all that an undo needs.

use crate::base::digest::Digest;
use crate::base::path::ShownPath;
use serde::{Deserialize, Serialize};

/// One step of a commit. The staging area `side` has `new/NAME` and `old/NAME`, where NAME is the last segment of `path`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Step {
    /// A folder that was not there is made.
    MakeDir {
        /// Where.
        path: ShownPath,
    },
    /// What is in `new` goes to `path`, and what was there to `old`.
    Put {
        /// Where.
        path: ShownPath,
        /// The staging area.
        side: ShownPath,
        /// Whether something was there.
        was: bool,
        /// The fingerprint of the new one.
        new: Digest,
        /// Whether `old` is kept beside it in the end.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        keep: bool,
    },
    /// This folder goes in the end if nothing is in it by then.
    Empty {
        /// Where.
        path: ShownPath,
    },
    /// What is at `path` goes to `old`.
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
            Step::Put { path, was: false, .. } => format!("put the environment {path} in place"),
            Step::Put { path, .. } => format!("put the new environment {path} in the place of the old one"),
            Step::Empty { path } => format!("remove the folder {path} in the end, if it is empty"),
            Step::Remove { path, .. } => format!("take the environment {path} away"),
        }
    }

    /// The staging area that it uses.
    pub fn side(&self) -> Option<&ShownPath> {
        match self {
            Step::MakeDir { .. } | Step::Empty { .. } => None,
            Step::Put { side, .. } | Step::Remove { side, .. } => Some(side),
        }
    }
}
