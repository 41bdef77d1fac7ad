//! `kbpack rollback`

use crate::cli::ask::Answers;
use crate::cli::error::CliError;
use crate::cli::keys::{identities, own_keys};
use crate::cli::Context;
use crate::crypto::paths::KeyPaths;
use crate::engine::events::Events;
use crate::engine::machine;
use crate::engine::plan::refuse;
use crate::engine::rollback::Rollback;
use crate::engine::state::State;
use crate::report::text;
use std::path::PathBuf;

/// Take an import back, from the backup that was made before it
///
/// Puts back what the import replaced or removed, and removes what it added. What was edited since is kept beside it,
/// as NAME.kbpack-kept-RUN. What is there now is backed up first, so that a rollback can be taken back too.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  kbpack rollback --dry-run                     what would be put back
  kbpack rollback                               the last import that changed something
  kbpack rollback 3f9a                          the one that `kbpack history` lists under that name")]
pub struct Args {
    /// The import, or how its name begins [default: the last one that changed something]
    import: Option<String>,
    /// Open the backup with the identities in FILE (repeatable) [default: identity.txt]
    #[arg(short, long = "identity", value_name = "FILE")]
    identity: Vec<PathBuf>,
    /// Show the plan, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// Do not back up first what is there now
    #[arg(long)]
    no_backup: bool,
    /// Do not run the hooks that the import had
    #[arg(long)]
    no_hooks: bool,
}

impl Args {
    /// Takes it back.
    pub fn run(self, context: &Context) -> Result<(), CliError> {
        let console = &context.console;
        let answers = Answers { console, yes: self.yes, accept_new: false };
        let rollback = Rollback {
            host: &machine::host(&context.dirs, Vec::new())?,
            state: &State::new(context.dirs.state.clone()),
            paths: &KeyPaths::new(&context.dirs.config),
            identities: &identities(context, &self.identity, None)?,
            import: self.import.as_deref(),
            dry_run: self.dry_run,
            no_backup: self.no_backup,
            no_hooks: self.no_hooks,
            keys: &|| own_keys(context),
            decide: &answers,
        };
        let report = rollback.run(console)?;
        if report.dry_run {
            console.data(&report, text::plan(&report.plan, console.verbose()))?;
            return refuse(&report.plan).map_err(|error| CliError::from(error).told());
        }
        for (component, finding) in report.plan.findings() {
            console.finding(component, finding);
        }
        Ok(console.summary(&report, text::imported(&report, console.verbose()))?)
    }
}
