//! `kbpack prune`

use crate::base::duration::parse_duration;
use crate::cli::error::CliError;
use crate::cli::keys::identities;
use crate::cli::Context;
use crate::crypto::paths::KeyPaths;
use crate::engine::error::EngineError;
use crate::engine::machine;
use crate::engine::profile::Profile;
use crate::engine::prune::{shrunk, Prune, Pruning, Removed};
use crate::engine::retention::Policy;
use crate::engine::state::State;
use crate::engine::unattended::place;
use crate::report::past;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Remove old bundles from a folder, or old backups
///
/// Bundles are told by their content; other files, symlinks and folders inside are left alone, and so is a bundle that is
/// damaged. Each profile of each signer is a series of its own, whose newest bundle always stays. A bundle stays if any
/// --keep option keeps it; days, weeks and months are those of UTC. When a bundle was made stands inside: one that does not
/// open with the identities at hand goes by the time of its file.
#[derive(Debug, clap::Args)]
#[command(override_usage = "kbpack prune [OPTIONS] <--keep-...>... <DIR>
       kbpack prune [OPTIONS] <--keep-...>... --backups
       kbpack prune [OPTIONS] --retention")]
#[command(after_help = "Examples:
  kbpack prune /srv/bundles --keep-daily 7 --keep-weekly 4 --keep-monthly 12 --dry-run
  kbpack prune /srv/bundles --keep-last 3 --keep-within 30d --yes
  kbpack prune --backups --keep-last 5")]
pub struct Args {
    /// The folder
    #[arg(required_unless_present_any = ["backups", "retention"], conflicts_with = "backups")]
    dir: Option<PathBuf>,
    /// The folder and the rules are those of the profile's retention table
    #[arg(long, conflicts_with_all = ["dir", "backups", "last", "daily", "weekly", "monthly", "within"])]
    retention: bool,
    /// Prune the backups that imports made on this machine
    #[arg(long)]
    backups: bool,
    #[command(flatten)]
    keep: Keep,
    /// Open bundles with the identities in FILE (repeatable) [default: identity.txt]
    #[arg(short, long = "identity", value_name = "FILE")]
    identity: Vec<PathBuf>,
    /// Read every bundle as a whole: one that has changed on the disk counts as damaged
    #[arg(long)]
    verify: bool,
    /// Show what would go, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// At least one of them, so that nothing goes by mistake.
#[derive(Debug, clap::Args)]
struct Keep {
    /// Keep the last N
    #[arg(long = "keep-last", value_name = "N", value_parser = number)]
    last: Option<usize>,
    /// Keep the newest of each of the last N days that have one
    #[arg(long = "keep-daily", value_name = "N", value_parser = number)]
    daily: Option<usize>,
    /// Keep the newest of each of the last N weeks (from Monday) that have one
    #[arg(long = "keep-weekly", value_name = "N", value_parser = number)]
    weekly: Option<usize>,
    /// Keep the newest of each of the last N months that have one
    #[arg(long = "keep-monthly", value_name = "N", value_parser = number)]
    monthly: Option<usize>,
    /// Keep all that are younger than this: a number with s, m, h, d or w
    #[arg(long = "keep-within", value_name = "DURATION", value_parser = parse_duration)]
    within: Option<u64>,
}

impl Keep {
    fn policy(&self) -> Result<Policy, CliError> {
        let counts = [self.last, self.daily, self.weekly, self.monthly];
        if counts.iter().all(Option::is_none) && self.within.is_none() {
            return Err(CliError::usage(
                "nothing says what stays: there is no --keep-last or other rule",
                "add one of --keep-last, --keep-daily, --keep-weekly, --keep-monthly and --keep-within",
            ));
        }
        Ok(Policy {
            last: self.last.unwrap_or(0),
            daily: self.daily.unwrap_or(0),
            weekly: self.weekly.unwrap_or(0),
            monthly: self.monthly.unwrap_or(0),
            within: self.within,
        })
    }
}

#[derive(Serialize)]
struct Document<'a> {
    dry_run: bool,
    #[serde(flatten)]
    pruning: &'a Pruning,
    #[serde(flatten)]
    removed: Removed,
}

impl Args {
    /// Prunes.
    pub fn run(self, context: &Context) -> Result<(), CliError> {
        let console = &context.console;
        let (dir, policy) = self.what(context)?;
        let pruning = look(context, &self.identity, dir.as_deref(), &policy, self.verify)?;
        let nothing = |dry_run| Document { dry_run, pruning: &pruning, removed: Removed::default() };
        if self.dry_run {
            return Ok(console.data(&nothing(true), past::pruning(&pruning))?);
        }
        if pruning.going().next().is_none() {
            return Ok(console.summary(&nothing(false), ["there is nothing to remove".to_owned()])?);
        }
        self.confirm(&pruning, context)?;
        let removed = pruning.remove(console)?;
        let (done, failed) = (removed.removed.len(), removed.failed.len());
        let stay = pruning.bundles.len() - done;
        let lines = [format!("removed: {done}, left: {stay}")];
        console.summary(&Document { dry_run: false, pruning: &pruning, removed }, lines)?;
        match failed {
            0 => Ok(()),
            failed => Err(CliError::from(EngineError::NotRemoved(failed)).told()),
        }
    }

    /// The folder (none: the backups), and what stays.
    fn what(&self, context: &Context) -> Result<(Option<PathBuf>, Policy), CliError> {
        if !self.retention {
            return Ok((self.dir.clone(), self.keep.policy()?));
        }
        let config_dir = &context.dirs.config;
        let profile = Profile::find_if_any(None, config_dir)?.ok_or_else(|| Profile::missing(config_dir))?;
        let Some(retention) = profile.retention else {
            let what = format!("{}: there is no [retention]", profile.path.display());
            return Err(CliError::usage(what, "add one, or name the folder and what stays"));
        };
        let host = machine::host(&context.dirs, Vec::new())?;
        Ok((Some(place(&host, &retention.folder)?), retention.policy))
    }

    fn confirm(&self, pruning: &Pruning, context: &Context) -> Result<(), CliError> {
        let console = &context.console;
        let asked = !self.yes && console.interactive();
        for line in past::pruning(pruning) {
            // Whoever is asked sees what about, also with -q.
            if asked {
                console.say(&line);
            } else {
                console.line(&line);
            }
        }
        match (self.yes, asked) {
            (true, _) => Ok(()),
            (false, false) => Err(EngineError::NobodyToAsk.into()),
            (false, true) if console.ask("Remove these?") => Ok(()),
            (false, true) => Err(EngineError::Declined.into()),
        }
    }
}

/// What would go from the folder (none: of the backups).
fn look(
    context: &Context,
    identity: &[PathBuf],
    dir: Option<&Path>,
    policy: &Policy,
    verify: bool,
) -> Result<Pruning, CliError> {
    let console = &context.console;
    let state = State::new(context.dirs.state.clone());
    let prune = Prune {
        paths: &KeyPaths::new(&context.dirs.config),
        // Nobody is asked for a passphrase for each old bundle.
        identities: &identities(context, identity, None)?,
        policy,
        now: machine::now(),
        verify,
        shrunk: &shrunk(&state)?,
    };
    Ok(match dir {
        Some(dir) => prune.folder(dir, console)?,
        None => prune.backups(&state, console)?,
    })
}

/// What an export that nobody watches does after it: nobody is asked.
pub(super) fn unattended(context: &Context, folder: &Path, policy: &Policy) -> Result<(), CliError> {
    let removed = look(context, &[], Some(folder), policy, false)?.remove(&context.console)?;
    removed.removed.iter().for_each(|file| context.console.line(&format!("removed {file}")));
    match removed.failed.len() {
        0 => Ok(()),
        failed => Err(EngineError::NotRemoved(failed).into()),
    }
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|number| *number > 0).ok_or_else(|| "a number from 1 on".to_owned())
}
