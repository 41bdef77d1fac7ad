//! What hooks can fail with.

use crate::base::fault::{Fault, Faulty};
use std::path::PathBuf;

/// How one goes on without a hook that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WayOut {
    /// `--no-hooks`: it is the bundle's, or that of an import that is taken back.
    Flag,
    /// The profile: it is this machine's own.
    Profile,
}

/// A hook that stops what it belongs to.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// It did not end well, or not in time.
    #[error("the {stage} hook '{what}' failed: {why}")]
    Failed {
        /// Its stage, as in a profile.
        stage: &'static str,
        /// What it runs.
        what: String,
        /// How one goes on without it.
        way_out: WayOut,
        /// Why, with the last lines that it wrote.
        why: String,
    },
    /// A secret is written out in it.
    #[error("the {stage} hook '{what}' holds the value of {secret}")]
    HoldsSecret {
        /// Its stage, as in a profile.
        stage: &'static str,
        /// The program that it runs.
        what: String,
        /// The secret's name.
        secret: String,
    },
    /// The note of what is to resume is not what kbpack wrote.
    #[error("{}: damaged: what was to resume after a run that was cut off is not known", .0.display())]
    Damaged(PathBuf),
}

impl Faulty for HookError {
    fn fault(&self) -> Fault {
        match self {
            HookError::Failed { .. } => Fault::NotReady,
            HookError::HoldsSecret { .. } => Fault::Usage,
            HookError::Damaged(_) => Fault::Unexpected,
        }
    }
    fn remedy(&self) -> Option<String> {
        let text = match self {
            HookError::Failed { way_out: WayOut::Flag, .. } => {
                "put that right, or go without these hooks: --no-hooks"
            }
            HookError::Failed { way_out: WayOut::Profile, .. } => {
                "put that right, or give the hook severity = \"warn\" in the profile"
            }
            HookError::HoldsSecret { .. } => "let the command read it where it stands on the target",
            HookError::Damaged(_) => "start by hand what was stopped, and remove that file",
        };
        Some(text.to_owned())
    }
}
