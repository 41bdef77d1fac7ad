//! An export that nobody watches: where its bundle goes, who hears of a failure, and what a monitor reads.

mod metrics;
mod notify;

pub use metrics::Metrics;
pub use notify::{Failure, Notify};

use crate::component::Host;
use crate::engine::error::{EngineError, Result};
use crate::engine::retention::Policy;
use serde::Deserialize;
use std::path::PathBuf;

/// `[retention]` of a profile: where its bundles lie, and which of them stay.
#[derive(Debug, Clone)]
pub struct Retention {
    /// The folder: `~/...` or absolute.
    pub folder: String,
    /// What stays.
    pub policy: Policy,
}

/// `[unattended]` of a profile.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unattended {
    /// Who hears of a failure.
    #[serde(default)]
    pub notify: Option<Notify>,
    /// The file for a monitor: `~/...` or absolute.
    #[serde(default)]
    pub metrics: Option<String>,
}

/// The path that a profile's text stands for.
pub fn place(host: &Host, text: &str) -> Result<PathBuf> {
    host.expand(text).ok_or_else(|| EngineError::BadPlace(text.to_owned()))
}
