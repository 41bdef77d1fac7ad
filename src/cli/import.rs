//! `kbpack import`

use crate::base::name::ComponentName;
use crate::cli::ask::Answers;
use crate::cli::error::CliError;
use crate::cli::given::{Asking, Given};
use crate::cli::keys::{own_keys, BundleArgs};
use crate::cli::Context;
use crate::crypto::error::CryptoError;
use crate::crypto::passphrase::SystemPrompt;
use crate::crypto::paths::KeyPaths;
use crate::engine::events::Events;
use crate::engine::import::Import;
use crate::engine::machine;
use crate::engine::plan::refuse;
use crate::engine::profile::Profile;
use crate::engine::receipt::make::Wanted;
use crate::engine::selection::{Only, Selection};
use crate::engine::state::State;
use crate::report::text;
use std::path::{Path, PathBuf};

/// Verify a bundle, show what it would change, and put it in place
///
/// Nothing is touched before everything was verified, planned, confirmed, backed up and staged. If anything fails
/// after that, what was replaced is put back; `kbpack rollback` does so later. The target's own profile, found as for export, overrides what the
/// bundle asks: tables of the same names say where to, and how. Secrets with the policy `prompt` are asked for after the
/// plan is confirmed, unless --secrets-file, or the descriptor in KBPACK_SECRETS_FD, gives them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  kbpack import state.kbp --dry-run             only the plan
  kbpack import state.kbp
  kbpack import - --yes < state.kbp             from a pipe, without questions
  kbpack import state.kbp --yes --secrets-file secrets.env
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
    /// Take the secrets that would be asked for from FILE, which only you may read: NAME=value lines
    #[arg(long, value_name = "FILE")]
    secrets_file: Option<PathBuf>,
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
    /// Do not back up first what is replaced: `kbpack rollback` cannot take this import back then
    #[arg(long)]
    no_backup: bool,
    /// Do not run the hooks that the bundle brings; those of this machine's own profile are run
    #[arg(long)]
    no_hooks: bool,
    /// Also write the receipt to FILE, to be carried back to the source
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    receipt: Option<PathBuf>,
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
        if let Some(path) = &self.receipt {
            require_receipt(path, context)?;
        }
        let asking = Asking { console, given: Given::read(self.secrets_file.as_deref())? };
        let identities = self.bundle.identities(context)?;
        let answers = Answers { console, yes: self.yes, accept_new: self.accept_new };
        let selection = Selection { only: self.only, skip: self.skip };
        let report = self.bundle.through(context, &answers, false, |gate| {
            let import = Import {
                gate,
                host: &host,
                state: &state,
                profile: profile.as_ref(),
                identities: &identities,
                selection: &selection,
                allow_older: self.allow_older,
                dry_run: self.dry_run,
                no_backup: self.no_backup,
                no_hooks: self.no_hooks,
                keys: &|| own_keys(context),
                decide: &answers,
                ask: &asking,
                receipt: Wanted { prompt: &SystemPrompt::new(), copy: self.receipt.as_deref() },
            };
            Ok(import.run(self.bundle.incoming(context)?, console)?)
        })?;
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

/// A receipt that was asked for by name and cannot be written is no reason to undo an import, but one not to begin it.
fn require_receipt(path: &Path, context: &Context) -> Result<(), CliError> {
    if path.symlink_metadata().is_ok() {
        let todo = "choose another name with --receipt, or remove the file first";
        return Err(CliError::usage(format!("{}: a file of this name exists already", path.display()), todo));
    }
    let key = KeyPaths::new(&context.dirs.config).signing_key();
    match key.symlink_metadata() {
        Ok(_) => Ok(()),
        Err(_) => Err(CryptoError::NoKey { path: key }.into()),
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

pub(super) fn expand(path: PathBuf, home: &Path) -> PathBuf {
    match path.strip_prefix("~") {
        Ok(rest) => home.join(rest).components().collect(),
        Err(_) => path.components().collect(),
    }
}
