//! What checks can fail with, besides failing.

use super::Origin;
use crate::base::fault::{Fault, Faulty};
use std::path::PathBuf;

/// A check that cannot be run, taken down or found again; or some that failed.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It makes no sense: an address that is none, a pattern that is none.
    #[error("the check '{name}' of {}: {why}", of(.origin))]
    Bad {
        /// Which.
        name: String,
        /// Whose.
        origin: Origin,
        /// What is wrong.
        why: String,
    },
    /// The source cannot say what it has.
    #[error("the check '{name}' cannot be recorded: {why}")]
    CannotRecord {
        /// Which.
        name: String,
        /// Why not.
        why: String,
    },
    /// A secret is written out in it.
    #[error("the check '{name}' holds the value of {secret}")]
    HoldsSecret {
        /// Which.
        name: String,
        /// The secret's name.
        secret: String,
    },
    /// `kbpack check` found some that failed.
    #[error("{failed} of {of} checks failed")]
    Failed {
        /// How many.
        failed: usize,
        /// Of how many.
        of: usize,
    },
    /// No import has left any.
    #[error("no import has left checks here")]
    NoneSaved,
    /// What an import left is not what kbpack wrote.
    #[error("{}: damaged", .0.display())]
    Damaged(PathBuf),
}

fn of(origin: &Origin) -> &'static str {
    match origin {
        Origin::Bundle => "the bundle",
        Origin::Profile => "this machine's profile",
    }
}

impl Faulty for CheckError {
    fn fault(&self) -> Fault {
        match self {
            CheckError::Bad { origin: Origin::Bundle, .. } => Fault::Rule,
            CheckError::Bad { origin: Origin::Profile, .. } | CheckError::HoldsSecret { .. } => Fault::Usage,
            CheckError::CannotRecord { .. } | CheckError::Failed { .. } | CheckError::NoneSaved => {
                Fault::NotReady
            }
            CheckError::Damaged(_) => Fault::Unexpected,
        }
    }
    fn remedy(&self) -> Option<String> {
        let text = match self {
            CheckError::Bad { origin: Origin::Bundle, .. } => {
                "ask the bundle's maker for one with a right check"
            }
            CheckError::Bad { origin: Origin::Profile, .. } => "correct it in the profile",
            CheckError::CannotRecord { .. } => {
                "put that right, or take `recorded` or `equal-to-source` out of the check"
            }
            CheckError::HoldsSecret { .. } => {
                "write $NAME in an http check instead, or let it be looked up on the target"
            }
            CheckError::Failed { .. } => "put right what they say; -v shows more",
            CheckError::NoneSaved => "import a bundle first, or name one: kbpack check BUNDLE",
            CheckError::Damaged(_) => {
                "name the bundle: kbpack check BUNDLE; the next import writes that file anew"
            }
        };
        Some(text.to_owned())
    }
}
