//! `kbpack keygen`

use crate::cli::error::CliError;
use crate::cli::Context;
use crate::crypto::keygen::{keygen, made};
use crate::crypto::paths::KeyPaths;
use serde::Serialize;

/// Make this machine's identity and signing key
///
/// Prints the recipient (give it to those who export to this machine) and the signer line (give it to
/// those who import what this machine exports). Keys that are there are never overwritten; one that is
/// missing is made.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  kbpack keygen\n  kbpack keygen --show      the same lines again, of the keys that are there\n\nThen, on a machine that shall import what this one exports:\n  kbpack trust add NAME 'ssh-ed25519 AAAA...'"
)]
pub struct Args {
    /// Make nothing; print the recipient, signer line and fingerprint of the keys that are there
    #[arg(long)]
    show: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    recipient: &'a str,
    signer: &'a str,
    fingerprint: &'a str,
}

impl Args {
    /// Makes the keys, or shows them.
    pub fn run(self, context: &Context) -> Result<(), CliError> {
        let paths = KeyPaths::new(&context.dirs.config);
        let made = if self.show { made(&paths)? } else { keygen(&paths)? };
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
        if !self.show {
            context.console.line(&format!(
                "The keys are in {}. Keep a copy of identity.txt in a safe place.",
                paths.dir().display()
            ));
        }
        Ok(())
    }
}
