//! `kbpack keygen`

use crate::cli::error::CliError;
use crate::cli::Context;
use crate::crypto::keygen::keygen;
use crate::crypto::paths::KeyPaths;
use serde::Serialize;

/// Make this machine's identity and signing key
///
/// Prints the recipient (give it to those who export to this machine) and the signer line (give it to
/// those who import what this machine exports). Keys that are there are never overwritten.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  kbpack keygen\n\nThen, on a machine that shall import what this one exports:\n  kbpack trust add NAME 'ssh-ed25519 AAAA...'"
)]
pub struct Args {}

#[derive(Serialize)]
struct Document<'a> {
    recipient: &'a str,
    signer: &'a str,
    fingerprint: &'a str,
}

impl Args {
    /// Makes the keys.
    pub fn run(self, context: &Context) -> Result<(), CliError> {
        let made = keygen(&KeyPaths::new(&context.dirs.config))?;
        let document = Document {
            recipient: &made.recipient,
            signer: &made.signer_line,
            fingerprint: &made.fingerprint,
        };
        let lines = [
            format!("recipient    {}", made.recipient),
            format!("signer       {}", made.signer_line),
            format!("fingerprint  {}", made.fingerprint),
        ];
        context.console.data(&document, lines)?;
        context.console.line(&format!(
            "The keys are in {}. Keep a copy of identity.txt in a safe place.",
            context.dirs.config.display()
        ));
        Ok(())
    }
}
