//! `kbpack recover` and `kbpack history`

use crate::cli::error::CliError;
use crate::cli::Context;
use crate::engine::exports::{exports, KnownExport};
use crate::engine::history::{history, PastImport};
use crate::engine::machine;
use crate::engine::recover::{recover, Recovered};
use crate::engine::state::State;
use crate::report::{past, text};
use serde::Serialize;

/// End an import that was cut off, backwards or forwards
///
/// A kill, a power cut or a full disk in the middle of an import leaves its journal. This puts everything back as it
/// was or, if the import was done and only its leftovers remained, removes those. Hooks that were to resume what was
/// quiesced, for an import or an export, are run. The next import does the same by itself.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  kbpack recover")]
pub struct RecoverArgs {}

impl RecoverArgs {
    /// Recovers.
    pub fn run(self, context: &Context) -> Result<(), CliError> {
        let console = &context.console;
        let state = State::new(context.dirs.state.clone());
        let host = machine::host(&context.dirs, Vec::new())?;
        let _lock = state.lock()?;
        let recovered = recover(&state, &host, console)?;
        let mut lines: Vec<String> = recovered.iter().map(Recovered::in_words).collect();
        if lines.is_empty() {
            lines.push("there is nothing to recover".to_owned());
        }
        Ok(console.summary(&recovered, lines)?)
    }
}

/// Show what was imported on this machine and exported from it, and what became of it
///
/// Of an export it is known that it restores once a receipt from a target came back: see `kbpack receipt`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  kbpack history\n  kbpack history --json")]
pub struct HistoryArgs {}

#[derive(Serialize)]
struct History {
    imports: Vec<PastImport>,
    exports: Vec<KnownExport>,
}

impl HistoryArgs {
    /// Shows.
    pub fn run(self, context: &Context) -> Result<(), CliError> {
        let state = State::new(context.dirs.state.clone());
        let (imports, mut unreadable) = history(&state)?;
        let (exports, unreadable_exports) = exports(&state)?;
        unreadable.extend(unreadable_exports);
        let mut lines: Vec<String> = imports.iter().map(text::import_in_history).collect();
        lines.extend(exports.iter().flat_map(past::export_in_history));
        if lines.is_empty() {
            lines.push("nothing was imported here, and nothing exported".to_owned());
        }
        context.console.data(&History { imports, exports }, lines)?;
        unreadable.into_iter().next().map_or(Ok(()), |error| Err(CliError::from(error).told()))
    }
}
