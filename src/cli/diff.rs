//! `kbpack diff`

use crate::base::name::ComponentName;
use crate::cli::ask::Answers;
use crate::cli::error::CliError;
use crate::cli::import::{expand, parse_map};
use crate::cli::keys::{BundleArgs, OpenArgs};
use crate::cli::Context;
use crate::engine::diff::{Diff, DiffReport};
use crate::engine::gate::Incoming;
use crate::engine::machine;
use crate::engine::profile::Profile;
use crate::engine::selection::{Only, Selection};
use crate::engine::state::State;
use crate::report::diff;
use std::path::{Path, PathBuf};

/// Show what differs between a bundle and this machine, or between two bundles
///
/// The bundle is the left side, and this machine or the other bundle the right one: + is on the right alone, - on the
/// left alone, ~ on both and not the same. Files are compared by size, content, mode and time, tables by their rows,
/// repositories by refs and what is in no commit, environments by versions, secrets by name and value, of which only
/// the name is shown. Nothing is changed. Of two bundles only the lists are read, never what they list.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  kbpack diff state.kbp                         what changed here against it
  kbpack diff state.kbp --only app              the same of one component
  kbpack diff state.kbp --only config:plugins   and of what lies below one path of it
  kbpack diff old.kbp new.kbp                   what the one has and the other has not
  kbpack diff state.kbp --json | jq '.components[] | select(.state != \"same\")'

Exit codes: 0 compared, whatever came of it; 8 something differs (with --exit-code), or could not be compared")]
pub struct Args {
    /// A bundle; - is standard input
    bundle: PathBuf,
    /// Another one, instead of this machine
    other: Option<PathBuf>,
    #[command(flatten)]
    open: OpenArgs,
    /// Compare only this component, or only PATH in it (repeatable)
    #[arg(long, value_name = "NAME[:PATH]")]
    only: Vec<Only>,
    /// Leave this component out (repeatable)
    #[arg(long, value_name = "NAME")]
    skip: Vec<ComponentName>,
    /// What belongs at FROM, or below it, was put at TO (repeatable)
    #[arg(long, value_name = "FROM=TO", value_parser = parse_map, conflicts_with = "other")]
    map: Vec<(PathBuf, PathBuf)>,
    /// Use this profile for this machine's own settings
    #[arg(long, value_name = "FILE", conflicts_with = "other")]
    profile: Option<PathBuf>,
    /// Exit with 8 if something differs
    #[arg(long)]
    exit_code: bool,
}

impl Args {
    /// Compares.
    pub fn run(self, context: &Context) -> Result<(), CliError> {
        let (console, strict) = (&context.console, self.exit_code);
        let report = self.compare(context)?;
        console.data(&report, diff::report(&report, console.verbose()))?;
        report.verdict(strict).map_err(|error| CliError::from(error).told())
    }

    fn compare(self, context: &Context) -> Result<DiffReport, CliError> {
        let console = &context.console;
        if self.other.as_deref() == Some(Path::new("-")) && self.bundle == Path::new("-") {
            return Err(CliError::usage(
                "two bundles cannot both come from standard input",
                "name a file for one",
            ));
        }
        let state = State::new(context.dirs.state.clone());
        let selection = Selection { only: self.only, skip: self.skip };
        let bundle = BundleArgs::of(self.bundle, self.open);
        let identities = bundle.identities(context)?;
        let answers = Answers::asking(console);
        bundle.through(context, &answers, false, |gate| {
            let diff = Diff { gate, identities: &identities, selection: &selection };
            let left = bundle.incoming(context)?;
            if let Some(other) = &self.other {
                return Ok(diff.of_two(left, Incoming::open(other, &state)?, console)?);
            }
            let home = machine::home()?;
            let maps =
                self.map.iter().map(|(from, to)| (expand(from.clone(), &home), expand(to.clone(), &home)));
            let host = machine::host(&context.dirs, maps.collect())?;
            let profile = Profile::find_if_any(self.profile.as_deref(), &context.dirs.config)?;
            Ok(diff.with_machine(left, &host, profile.as_ref(), console)?)
        })
    }
}
