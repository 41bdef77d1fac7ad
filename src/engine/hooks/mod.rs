//! Hooks: commands that run around an export, an import or a rollback, and quiesce what uses the data meanwhile.
//!
//! [`plan`] decides which there are and which may run, [`quiet`] runs them at their places, each in a [`child`]; a [`note`]
//! on disk says what is to resume, for `recover`.
//!
//! On the target: quiesce, backup, staging, commit, after-commit, resume, checks. Where it fails: quiesce again if they had
//! resumed, undo, rollback, resume. On the source: quiesce, capture, resume.

mod child;
mod error;
mod note;
pub mod plan;
mod quiet;

pub use error::{HookError, WayOut};
pub(super) use quiet::{resume_left, Quiet, STOPPED};

use crate::base::path::ShownPath;
use crate::engine::checks::{shown, Origin};
use crate::format::Hook;
use serde::{Deserialize, Serialize};

/// A hook that may run here, and who asks for it: as a journal keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnedHook {
    /// The public key of the bundle's signer; absent: this machine's own profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What it does.
    pub hook: Hook,
}

impl OwnedHook {
    /// Who asks for it.
    pub fn origin(&self) -> Origin {
        if self.by.is_some() {
            Origin::Bundle
        } else {
            Origin::Profile
        }
    }
}

/// `--map`, as journals and notes keep it.
type Maps = Vec<(ShownPath, ShownPath)>;

/// What a hook runs, as a person would type it.
pub fn describe(hook: &Hook) -> String {
    let words: Vec<String> = match hook.shell {
        true => ["sh".to_owned(), "-c".to_owned()].into_iter().chain(hook.run.iter().cloned()).collect(),
        false => hook.run.clone(),
    };
    let variables =
        hook.env.iter().map(|(name, value)| format!("{name}={} ", shown(std::slice::from_ref(value))));
    let command = variables.chain([shown(&words)]).collect::<String>();
    match &hook.directory {
        Some(directory) => format!("{command} (in {directory})"),
        None => command,
    }
}
