//! What is not in a bundle and comes from a person, or from a file that one of them prepared.

use super::{Error, Result};
use crate::base::secret::Secret;
use serde::Serialize;

/// Gives a component the secret values that the bundle does not bring.
pub trait Ask: Sync {
    /// The value that was given beforehand under `key`. Asks nobody, so that a plan may use it.
    fn given(&self, key: &str) -> Option<Secret>;
    /// The value that a person gives now for `what` (`$TOKEN in ~/.bashrc`); `key` is the name under which it could have
    /// been given. Only [`Component::prepare`](super::Component::prepare) may call it.
    fn ask(&self, key: &str, what: &str) -> Result<Secret>;
}

/// Nobody is there: on a source, in a rollback or a recovery, after the preparation.
pub struct Nobody;

impl Ask for Nobody {
    fn given(&self, _key: &str) -> Option<Secret> {
        None
    }
    fn ask(&self, _key: &str, what: &str) -> Result<Secret> {
        Err(Error::not_ready(format_args!("no value for {what}: there is nobody to ask")))
    }
}

/// Something that a component declares and the bundle does not bring, for `inspect`, for the plan, and for the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotPacked {
    /// What it is: `$TOKEN in ~/.bashrc`. It may be text from a bundle: escape it before showing.
    pub name: String,
    /// The kind's word for how it comes to the target instead.
    pub policy: &'static str,
    /// What becomes of it here, in a few words that complete "it ..." (`is asked for`).
    pub outcome: String,
    /// The name under which it can be given beforehand, if that is the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What is left for a person to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub todo: Option<String>,
}
