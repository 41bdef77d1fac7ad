//! `kbpack import`

use crate::base::name::ComponentName;
use crate::cli::ask::Answers;
use crate::cli::error::CliError;
use crate::cli::keys::BundleArgs;
use crate::cli::Context;
use crate::engine::import::Import;
use crate::engine::machine;
use crate::engine::plan::refuse;
use crate::engine::profile::Profile;
use crate::engine::selection::{Only, Selection};
use crate::engine::state::State;
use crate::report::text;
use std::path::PathBuf;

/// Verify a bundle, show what it would change, and put it in place
///
/// Nothing is touched before everything was verified, planned, confirmed and staged. If anything fails after
/// that, what was replaced is put back. The target's own profile, found as for export, overrides what the
/// bundle asks: tables of the same names say where to, and how.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  kbpack import state.kbp --dry-run             only the plan
  kbpack import state.kbp
  kbpack import - --yes < state.kbp             from a pipe, without questions
  kbpack import state.kbp --only config:plugins --map /srv/old=/srv/new")]
pub struct Args {
    #[command(flatten)]
    bundle: BundleArgs,
    /// Import only this component, or only PATH in it (repeatable)
    #[arg(long, value_name = "NAME[:PATH]")]
    only: Vec<Only>,
    /// Leave this component out (repeatable)
    #[arg(long, value_name = "NAME")]
    skip: Vec<ComponentName>,
    /// Put what belongs at FROM, or below it, at TO (repeatable)
    #[arg(long, value_name = "FROM=TO", value_parser = parse_map)]
    map: Vec<(PathBuf, PathBuf)>,
    /// Use this profile for the target's own settings
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Show the plan, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
    /// With --yes: also write where no earlier bundle of this signer did
    #[arg(long)]
    accept_new: bool,
    /// Import it although a newer one was imported before
    #[arg(long)]
    allow_older: bool,
}

impl Args {
    /// Imports.
    pub fn run(self, context: &Context) -> Result<(), CliError> {
        let console = &context.console;
        let state = State::new(context.dirs.state.clone());
        let home = machine::home()?;
        let maps = self.map.into_iter().map(|(from, to)| (expand(from, &home), expand(to, &home))).collect();
        let host = machine::host(&context.dirs, maps)?;
        let profile = Profile::find_if_any(self.profile.as_deref(), &context.dirs.config)?;
        let identities = self.bundle.identities(context)?;
        let answers = Answers { console, yes: self.yes, accept_new: self.accept_new };
        let selection = Selection { only: self.only, skip: self.skip };
        let report = self.bundle.through(context, &answers, |gate| {
            let import = Import {
                gate,
                host: &host,
                state: &state,
                profile: profile.as_ref(),
                identities: &identities,
                selection: &selection,
                allow_older: self.allow_older,
                dry_run: self.dry_run,
                decide: &answers,
            };
            Ok(import.run(self.bundle.incoming(context)?, console)?)
        })?;
        if report.dry_run {
            console.data(&report, text::plan(&report.plan, console.verbose()))?;
            return refuse(&report.plan).map_err(|error| CliError::from(error).told());
        }
        for (component, finding) in
            report.plan.components.iter().flat_map(|c| c.plan.findings.iter().map(move |f| (c, f)))
        {
            crate::engine::events::Events::finding(console, component.name.as_str(), finding);
        }
        Ok(console.summary(&report, text::imported(&report, console.verbose()))?)
    }
}

pub(super) fn parse_map(text: &str) -> Result<(PathBuf, PathBuf), String> {
    let (from, to) =
        text.split_once('=').ok_or_else(|| "FROM=TO, both absolute or beginning with ~/".to_owned())?;
    let fits = |path: &str| {
        let rooted = path.starts_with('/') || path == "~" || path.starts_with("~/");
        rooted && !path.split('/').any(|segment| matches!(segment, "." | ".."))
    };
    match fits(from) && fits(to) {
        true => Ok((from.into(), to.into())),
        false => Err("FROM and TO are absolute, or begin with ~/, without . and ..".to_owned()),
    }
}

pub(super) fn expand(path: PathBuf, home: &std::path::Path) -> PathBuf {
    match path.strip_prefix("~") {
        Ok(rest) => home.join(rest).components().collect(),
        Err(_) => path.components().collect(),
    }
}
