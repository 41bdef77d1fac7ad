//! Parse, run, exit.

use kbpack::cli::Cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    kbpack::base::secret::harden_process();
    ExitCode::from(Cli::main(std::env::args_os()))
}
