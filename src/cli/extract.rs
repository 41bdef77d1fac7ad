//! `kbpack extract`

use crate::cli::error::CliError;
use crate::cli::keys::BundleArgs;
use crate::cli::Context;
use crate::engine::extract::extract;
use std::path::PathBuf;

/// Write a component's raw streams to files, without restoring it
///
/// The files are stock formats: PAX tar for files, JSON for secrets (in the clear: mind where they go).
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  kbpack extract state.kbp config -C /tmp/out\n  cat /tmp/out/config/tree/* | tar -tvi"
)]
pub struct Args {
    #[command(flatten)]
    bundle: BundleArgs,
    /// The component
    name: String,
    /// Where to put DIR/NAME/STREAM
    #[arg(short = 'C', long, value_name = "DIR", default_value = ".")]
    directory: PathBuf,
}

impl Args {
    /// Extracts.
    pub fn run(self, context: &Context) -> Result<(), CliError> {
        let console = &context.console;
        let bundle = self.bundle.open(context, true)?;
        let extracted = extract(&bundle, &self.name, &self.directory, console)?;
        let lines: Vec<String> = extracted.iter().map(|e| e.path.to_string()).collect();
        Ok(console.data(&extracted, lines)?)
    }
}
