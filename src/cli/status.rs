//! `kbpack status`

use crate::base::duration::parse_duration;
use crate::cli::error::CliError;
use crate::cli::Context;
use crate::engine::machine;
use crate::engine::profile::Profile;
use crate::engine::state::State;
use crate::engine::status::{Retained, Status};
use crate::report::diff;

/// Show what changed on this machine since the last export and the last import
///
/// Of each profile: when it was last exported or imported here, where it was restored, and what differs by now: + came
/// since, - is gone since, ~ changed since. No bundle and no key is needed, for kbpack keeps a list of what a bundle
/// held; values of secrets are not in it, so that of a secret only whether it is there can be said. Nothing is
/// changed, and an export or import may run meanwhile.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  kbpack status
  kbpack status -v                              every file, table and ref that differs
  kbpack status --json --max-age 26h            for monitoring: 8 if the nightly export did not come
  kbpack status --quick                         times alone; nothing is compared

Exit codes: 0 looked at, whatever came of it; 8 something changed (--exit-code), is too old (--max-age) or could not be compared")]
pub struct Args {
    /// Look at times alone, and compare nothing
    #[arg(long)]
    quick: bool,
    /// Exit with 8 if the last export, or the last import, of a profile is older: such as 26h or 7d
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    max_age: Option<u64>,
    /// Exit with 8 if something changed
    #[arg(long)]
    exit_code: bool,
}

impl Args {
    /// Looks.
    pub fn run(self, context: &Context) -> Result<(), CliError> {
        let console = &context.console;
        let state = State::new(context.dirs.state.clone());
        let host = machine::host(&context.dirs, Vec::new())?;
        let (quick, max_age, now) = (self.quick, self.max_age, machine::now());
        // A profile that cannot be read is told of by what needs it.
        let profile = Profile::find_if_any(None, &context.dirs.config).ok().flatten();
        let retention = profile.and_then(|profile| Retained::of(profile, &host).ok()?);
        let report = Status { host: &host, state: &state, quick, max_age, retention, now }.run(console)?;
        console.data(&report, diff::status(&report, console.verbose()))?;
        report.verdict(self.exit_code).map_err(|error| CliError::from(error).told())
    }
}
