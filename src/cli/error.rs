//! Errors on their way out: exit codes, and the hint for those that bring none.

use crate::base::fault::{Fault, Faulty};
use crate::cli::Cli;
use crate::crypto::error::CryptoError;
use crate::crypto::trust::TrustError;
use crate::engine::error::EngineError;
use crate::engine::profile::ProfileError;
use crate::engine::state::StateError;
use crate::report::console::Noticed;
use clap::CommandFactory;
use serde::Serialize;
use std::ffi::OsString;
use std::io;

/// Anything that ends a command.
#[derive(Debug)]
pub struct CliError {
    error: Box<dyn Faulty>,
    /// Whether a document on stdout has told of it already.
    told: bool,
}

/// An error as `--json` shows it.
#[derive(Debug, Serialize)]
pub struct Document {
    error: Body,
}

#[derive(Debug, Serialize)]
struct Body {
    exit_code: u8,
    what: String,
    todo: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    findings: Vec<Noticed>,
}

impl CliError {
    /// A mistake on the command line.
    pub fn usage(what: impl Into<String>, todo: impl Into<String>) -> Self {
        CliError::new(Usage { what: what.into(), todo: todo.into() })
    }

    /// What clap says, in our two lines.
    pub fn parse(error: &clap::Error, args: &[OsString]) -> Self {
        let text = error.render().to_string();
        let first: Vec<&str> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
        let what = first.join(" ");
        let command = args.iter().skip(1).filter_map(|arg| arg.to_str()).find(|arg| !arg.starts_with('-'));
        let known = command.filter(|name| Cli::command().find_subcommand(name).is_some());
        let help = known.map_or_else(|| "kbpack --help".to_owned(), |name| format!("kbpack {name} --help"));
        CliError::usage(what.strip_prefix("error: ").unwrap_or(&what), format!("see {help}"))
    }

    /// One line: what and where.
    pub fn what(&self) -> String {
        self.error.to_string()
    }

    /// One line: what to do.
    pub fn todo(&self) -> String {
        self.error.remedy().unwrap_or_else(|| hint(self.error.fault()).to_owned())
    }

    /// The process's exit code (DESIGN section 6).
    pub fn exit_code(&self) -> u8 {
        exit_code(self.error.fault())
    }

    /// The error for `--json`, with what was noticed before it.
    pub fn document(&self, findings: Vec<Noticed>) -> Document {
        Document {
            error: Body { exit_code: self.exit_code(), what: self.what(), todo: self.todo(), findings },
        }
    }

    /// The same error, of which a document on stdout has told already.
    pub fn told(self) -> Self {
        CliError { told: true, ..self }
    }

    /// Whether a document on stdout has told of it already.
    pub fn is_told(&self) -> bool {
        self.told
    }

    pub(super) fn new(error: impl Faulty + 'static) -> Self {
        CliError { error: Box::new(error), told: false }
    }
}

/// The exit code of each kind of failure. The only place that has these numbers.
fn exit_code(fault: Fault) -> u8 {
    match fault {
        Fault::Unexpected => 1,
        Fault::Usage => 2,
        Fault::Damaged => 3,
        Fault::Untrusted => 4,
        Fault::CannotDecrypt => 5,
        Fault::Rule => 6,
        Fault::Limit => 7,
        Fault::NotReady => 8,
        Fault::RolledBack => 9,
        Fault::RecoveryNeeded => 10,
    }
}

/// What to do when the error itself does not know better.
fn hint(fault: Fault) -> &'static str {
    match fault {
        Fault::Unexpected => "try again, and report it if it comes back",
        Fault::Usage => "see --help",
        Fault::Damaged => "copy the bundle again from where it came, then run `kbpack verify` on it",
        Fault::Untrusted => "do not use this bundle; ask its maker",
        Fault::CannotDecrypt => {
            "name the right identity with -i, or have the bundle exported again for this machine"
        }
        Fault::Rule => "the bundle was not written by kbpack as it stands; ask its maker for a new export",
        Fault::Limit => "make room, and try again",
        Fault::NotReady => "put that right, and try again",
        Fault::RolledBack => "nothing has changed; put the cause right, and try again",
        Fault::RecoveryNeeded => "do not use the target before it is put right",
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{what}")]
struct Usage {
    what: String,
    todo: String,
}

impl Faulty for Usage {
    fn fault(&self) -> Fault {
        Fault::Usage
    }
    fn remedy(&self) -> Option<String> {
        Some(self.todo.clone())
    }
}

/// stdout or a file at the edge of a command.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the output: {0}")]
struct Output(io::Error);

impl Faulty for Output {
    fn fault(&self) -> Fault {
        crate::base::fault::io_fault(&self.0)
    }
    fn remedy(&self) -> Option<String> {
        Some("what the command did is done; only its report could not be written".into())
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        CliError { error: Box::new(Output(error)), told: true }
    }
}

macro_rules! from_faulty {
    ($($type:ty),*) => {$(
        impl From<$type> for CliError {
            fn from(error: $type) -> Self {
                CliError::new(error)
            }
        }
    )*};
}
from_faulty!(EngineError, CryptoError, TrustError, ProfileError, StateError);
