//! `kbpack ticket`

use crate::base::duration::parse_duration;
use crate::cli::error::CliError;
use crate::cli::keys::signing_key;
use crate::cli::Context;
use crate::crypto::keygen::made;
use crate::crypto::paths::KeyPaths;
use crate::engine::error::output_error;
use crate::engine::machine;
use crate::engine::state::State;
use crate::engine::ticket::issue::Issue;
use crate::pipeline::output::Output;
use crate::report::text;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Ask a source for a bundle: write a signed ticket that says whom it is for
///
/// On the target. The ticket says whom to encrypt to, what this machine is (system, user, home, versions, room), and a
/// number that the bundle repeats. One bundle may be imported for it, that one as often as need be. It holds no secret, but
/// says much of this machine.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  kbpack ticket -o beta.ticket                  on the target
  kbpack export --for beta.ticket               on the source
  kbpack ticket | ssh source kbpack export --for - -o - > state.kbp

Once, on the source, so that the target's tickets count:
  kbpack trust add beta 'ssh-ed25519 AAAA...' --for tickets     the signer line of the target")]
pub struct Args {
    /// Write the ticket to FILE, never over one that is there; - is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// The ticket is good for this long: a number with s, m, h, d or w
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = parse_duration)]
    expires: u64,
}

impl Args {
    /// Issues it.
    pub fn run(self, context: &Context) -> Result<(), CliError> {
        let console = &context.console;
        let file = (self.output != Path::new("-")).then_some(self.output.as_path());
        if file.is_none() && console.json() {
            return Err(CliError::usage(
                "--json and the ticket both want standard output",
                "write the ticket to a file with -o",
            ));
        }
        let host = machine::host(&context.dirs, Vec::new())?;
        let state = State::new(context.dirs.state.clone());
        let made = made(&KeyPaths::new(&context.dirs.config))?;
        let signer = signing_key(context)?;
        let issue =
            Issue { host: &host, state: &state, made: &made, signer: &signer, expires_in: self.expires };
        let ticket = issue.run(|bytes| {
            let written = Output::open(file).and_then(|mut output| {
                output.write_all(bytes)?;
                output.finish()
            });
            written.map_err(|error| output_error(file, error))
        })?;
        Ok(console.summary(&ticket, text::ticket(&ticket, file.map(Into::into).as_ref()))?)
    }
}
