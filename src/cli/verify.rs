//! `kbpack verify`

use crate::cli::ask::Answers;
use crate::cli::error::CliError;
use crate::cli::keys::BundleArgs;
use crate::cli::Context;
use crate::engine::verify;
use crate::report::text;

/// Check a bundle: its form, its seal, its signer, every digest
///
/// Without --deep no key is needed, and it says which checks could not be made.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  kbpack verify state.kbp\n  kbpack verify --deep state.kbp")]
pub struct Args {
    #[command(flatten)]
    bundle: BundleArgs,
    /// Decrypt and read every stream too
    #[arg(long)]
    deep: bool,
}

impl Args {
    /// Verifies.
    pub fn run(self, context: &Context) -> Result<(), CliError> {
        let console = &context.console;
        let verified = self.bundle.through(context, &Answers::asking(console), true, |gate| {
            let incoming = self.bundle.incoming(context)?;
            Ok(match self.deep {
                true => verify::deep(gate, incoming, &self.bundle.identities(context)?, console)?,
                false => verify::outer(gate, incoming, console)?,
            })
        })?;
        Ok(console.data(&verified, text::verified(&verified))?)
    }
}
