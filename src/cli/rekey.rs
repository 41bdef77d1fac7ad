//! `kbpack rekey`

use crate::cli::error::CliError;
use crate::cli::keys::{refuse_terminal, signing_key, BundleArgs, RecipientArgs};
use crate::cli::Context;
use crate::engine::rekey::rekey;
use crate::report::text;
use std::path::PathBuf;

/// Write a bundle again for other recipients, sealed by this machine's key
///
/// Only the keys and the seal are new. It takes nothing back from former recipients: whoever could open the
/// old file still can, and knows what is in the new one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  kbpack rekey state.kbp -r age1... -o state-for-bob.kbp")]
pub struct Args {
    #[command(flatten)]
    bundle: BundleArgs,
    #[command(flatten)]
    recipients: RecipientArgs,
    /// The new file; - is standard output
    #[arg(short, long, value_name = "NEW")]
    output: PathBuf,
}

impl Args {
    /// Rewrites.
    pub fn run(self, context: &Context) -> Result<(), CliError> {
        let console = &context.console;
        let output = self.output.as_path();
        let output = (output.as_os_str() != "-").then_some(output);
        refuse_terminal(output)?;
        let recipients = self.recipients.recipients(&[])?;
        let signer = signing_key(context)?;
        let bundle = self.bundle.open(context, false)?;
        let rekeyed = rekey(&bundle, &recipients, &signer, output, console)?;
        let lines = [
            format!("wrote {}, sealed by {}", text::place(rekeyed.path.as_ref()), rekeyed.signer),
            "former recipients can still open the old file; if that matters, change the secrets in it"
                .to_owned(),
        ];
        Ok(console.summary(&rekeyed, lines)?)
    }
}
