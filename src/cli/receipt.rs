//! `kbpack receipt`

use crate::cli::error::CliError;
use crate::cli::Context;
use crate::crypto::paths::KeyPaths;
use crate::engine::machine;
use crate::engine::receipt::take::Take;
use crate::engine::sealed::Believe;
use crate::engine::state::State;
use crate::report::past;
use std::path::PathBuf;

/// Take back a target's signed word that it restored a bundle
///
/// An import writes a receipt on the target, signed by the target's key. Here, where the bundle was exported, the
/// receipt is verified and remembered: `kbpack history` then shows that the export is known to restore, where and when.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  scp target:.local/state/kbpack/receipts/9f2c53a1b07de846.receipt .
  kbpack receipt 9f2c53a1b07de846.receipt
  kbpack history

Once, so that the target is believed:
  kbpack trust add beta 'ssh-ed25519 AAAA...' --for receipts    the signer line of the target")]
pub struct Args {
    /// The receipt; - is standard input
    file: PathBuf,
    /// Believe the target with this fingerprint in this run
    #[arg(long, value_name = "SHA256:...")]
    trust: Option<String>,
}

impl Args {
    /// Verifies and remembers.
    pub fn run(self, context: &Context) -> Result<(), CliError> {
        let paths = KeyPaths::new(&context.dirs.config);
        let state = State::new(context.dirs.state.clone());
        let pins: Vec<String> = self.trust.into_iter().collect();
        let believe = Believe { paths: &paths, pins: &pins, at: machine::now() };
        let take = Take { believe: &believe, state: &state };
        let taken = take.run(&self.file)?;
        let receipt = &taken.receipt;
        let lines = [
            format!(
                "bundle {} of profile {} (sequence {})",
                &receipt.bundle.to_string()[..16],
                receipt.profile,
                receipt.sequence
            ),
            past::restored(receipt),
            format!("signed by {} ({})", receipt.host, taken.principal),
        ];
        Ok(context.console.summary(&taken, lines)?)
    }
}
