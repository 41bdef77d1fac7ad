//! The checks of a profile and of a bundle: run after an import's commit, and again by `kbpack check`.
//!
//! [`plan`] decides which there are and which may run, [`run`] tries them; [`record`] takes down at export what the
//! source has, [`later`] keeps them for the day after. Each kind is a file of its own that makes a [`Trial`].

mod address;
mod child;
mod command;
mod env;
mod error;
mod file;
mod http;
mod json;
pub mod later;
pub mod plan;
pub mod record;
pub mod run;
mod sql;
mod tcp;
mod values;
mod version;

pub(super) use child::shown;
pub use error::CheckError;
pub(super) use values::Redactor;

use crate::component::Host;
use crate::format::{Check, CheckSeverity, Probe};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// Who asks for a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The bundle: what it may do depends on its signer.
    Bundle,
    /// This machine's own profile: it may do anything.
    Profile,
}

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Verdict {
    Passed,
    Failed,
    /// It was not tried: it neither passed nor failed.
    Skipped,
}

/// What became of a check. `why` and `details` may hold text of others: escape them before showing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Its name.
    pub name: String,
    /// Who asked for it.
    pub origin: Origin,
    /// What its failure means.
    pub severity: CheckSeverity,
    /// How it went.
    pub verdict: Verdict,
    /// Why it did not pass, in a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What it did and saw, for those who ask.
    pub details: Vec<String>,
}

impl Outcome {
    /// Whether an import does not stand because of it.
    pub fn is_fatal(&self) -> bool {
        self.verdict == Verdict::Failed && self.severity == CheckSeverity::Error
    }
}

/// Where a check is tried, and how far it may go there.
#[derive(Debug, Clone)]
struct Site {
    host: Host,
    /// Whether who asks may run commands here.
    trusted: bool,
    /// How long one attempt may take.
    limit: Duration,
}

/// What one attempt came to.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Tried {
    verdict: Verdict,
    why: Option<String>,
    details: Vec<String>,
}

impl Tried {
    fn passed() -> Self {
        Tried { verdict: Verdict::Passed, why: None, details: Vec::new() }
    }

    fn failed(why: impl Into<String>) -> Self {
        Tried { verdict: Verdict::Failed, why: Some(why.into()), details: Vec::new() }
    }

    fn skipped(why: impl Into<String>) -> Self {
        Tried { verdict: Verdict::Skipped, why: Some(why.into()), details: Vec::new() }
    }

    fn with(mut self, details: impl IntoIterator<Item = String>) -> Self {
        self.details.extend(details);
        self
    }
}

/// One check, ready to be tried. An attempt changes nothing on the machine by itself; what a command does is its own.
trait Trial: Send + Sync {
    /// What an attempt does, in a line.
    fn what(&self) -> String;

    /// Why only somebody who may run commands here may ask for it; `None` if every trusted signer may.
    fn needs_trust(&self) -> Option<String>;

    /// Tries once. Ends by itself soon after the site's limit.
    fn attempt(&self, site: &Site) -> Tried;

    /// The value that an export takes down, for the kinds that compare with the source.
    fn value(&self, _site: &Site) -> Result<String, String> {
        Err("it has no value".to_owned())
    }
}

/// Makes a check ready. An error says what of it cannot be: a pattern, an address.
fn ready(check: &Check) -> Result<Arc<dyn Trial>, String> {
    Ok(match &check.probe {
        Probe::Command(probe) => Arc::new(command::Command::new(probe)?),
        Probe::Http(probe) => Arc::new(http::Http::new(probe)?),
        Probe::Sql(probe) => Arc::new(sql::Sql::new(probe)?),
        Probe::File(probe) => Arc::new(file::File::new(probe)),
        Probe::Tcp(probe) => Arc::new(tcp::Tcp::new(probe)?),
        Probe::Version(probe) => Arc::new(version::Version::new(probe)),
        Probe::Env(probe) => Arc::new(env::Env::new(probe)),
        Probe::Json(probe) => Arc::new(json::Json::new(probe)?),
    })
}

/// What a check does, in a line: for a bundle that is only looked at.
pub fn describe(check: &Check) -> String {
    ready(check).map_or_else(|why| format!("cannot be run: {why}"), |trial| trial.what())
}
