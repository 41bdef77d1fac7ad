//! `kbpack check`

use crate::base::name::ComponentName;
use crate::cli::ask::Answers;
use crate::cli::error::CliError;
use crate::cli::import::{expand, parse_map};
use crate::cli::keys::{BundleArgs, OpenArgs};
use crate::cli::Context;
use crate::crypto::paths::KeyPaths;
use crate::engine::check::{last, Check, CheckReport};
use crate::engine::machine;
use crate::engine::profile::Profile;
use crate::engine::selection::{Only, Selection};
use crate::engine::state::State;
use crate::report::checks;
use std::path::PathBuf;

/// Run the checks of an import again
///
/// Without a bundle, those that the last import ran: the checks that its bundle brought and those of this
/// machine's own profile. With one, what is in place is compared with it as well. Nothing is changed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  kbpack check                                  those of the last import
  kbpack check state.kbp                        the same, and what is in place against the bundle
  kbpack check -v                               what each one did and saw

Exit codes: 0 all passed, or failed with severity warn; 8 one failed")]
pub struct Args {
    /// A bundle, whose content is compared too; - is standard input
    bundle: Option<PathBuf>,
    #[command(flatten)]
    open: OpenArgs,
    /// Compare only this component, or only PATH in it (repeatable)
    #[arg(long, value_name = "NAME[:PATH]", requires = "bundle")]
    only: Vec<Only>,
    /// Leave this component out (repeatable)
    #[arg(long, value_name = "NAME", requires = "bundle")]
    skip: Vec<ComponentName>,
    /// What belongs at FROM, or below it, was put at TO (repeatable)
    #[arg(long, value_name = "FROM=TO", value_parser = parse_map, requires = "bundle")]
    map: Vec<(PathBuf, PathBuf)>,
    /// Use this profile for the target's own settings
    #[arg(long, value_name = "FILE", requires = "bundle")]
    profile: Option<PathBuf>,
}

impl Args {
    /// Checks.
    pub fn run(self, context: &Context) -> Result<(), CliError> {
        let console = &context.console;
        let report = self.check(context)?;
        console.data(&report, checks::report(&report, console.verbose()))?;
        report.verdict().map_err(|error| CliError::from(error).told())
    }

    fn check(self, context: &Context) -> Result<CheckReport, CliError> {
        let state = State::new(context.dirs.state.clone());
        let home = machine::home()?;
        let maps = self.map.into_iter().map(|(from, to)| (expand(from, &home), expand(to, &home))).collect();
        let host = machine::host(&context.dirs, maps)?;
        let Some(bundle) = self.bundle else {
            let paths = KeyPaths::new(&context.dirs.config);
            return Ok(last(&paths, &state, &host, &context.console)?);
        };
        let bundle = BundleArgs::of(bundle, self.open);
        let profile = Profile::find_if_any(self.profile.as_deref(), &context.dirs.config)?;
        let identities = bundle.identities(context)?;
        let answers = Answers::asking(&context.console);
        let selection = Selection { only: self.only, skip: self.skip };
        bundle.through(context, &answers, false, |gate| {
            let (profile, identities, selection) = (profile.as_ref(), &identities, &selection);
            let check = Check { gate, host: &host, state: &state, profile, identities, selection };
            Ok(check.run(bundle.incoming(context)?, &context.console)?)
        })
    }
}
