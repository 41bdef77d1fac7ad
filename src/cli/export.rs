//! `kbpack export`

mod unattended;

use crate::base::duration::parse_duration;
use crate::base::name::ComponentName;
use crate::cli::error::CliError;
use crate::cli::keys::{refuse_terminal, signing_key, RecipientArgs};
use crate::cli::Context;
use crate::component::Host;
use crate::crypto::paths::KeyPaths;
use crate::engine::export::{refuse, Export, Surveyed};
use crate::engine::machine;
use crate::engine::presets::Preset;
use crate::engine::profile::Profile;
use crate::engine::sealed::Believe;
use crate::engine::selection::{Only, Selection};
use crate::engine::state::State;
use crate::engine::ticket::fit::For;
use crate::report::text;
use std::path::{Path, PathBuf};

/// Pack what the profile names into one signed, encrypted file
///
/// The profile is --profile, else ./kbpack.toml, else profile.toml in the config directory, else the preset that fits
/// this machine. The file appears under its name only when it is complete; an existing one is never overwritten.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  kbpack export -r age1...                      to NAME-DATE.kbp in this folder
  kbpack export -r age1... -p -o state.kbp      for a machine, or for whoever knows the passphrase
  kbpack export -r age1... -o - | ssh host kbpack import - --yes
  kbpack export --for beta.ticket               for the machine that issued the ticket, and no other
  kbpack export --unattended                    from a timer: with the profile's [retention] and [unattended]
  kbpack export --dry-run                       what would be packed")]
pub struct Args {
    #[command(flatten)]
    recipients: RecipientArgs,
    /// Encrypt to the machine that issued this ticket, and let no other import it; - is standard input (repeatable)
    #[arg(long = "for", value_name = "TICKET")]
    tickets: Vec<PathBuf>,
    /// Believe the ticket of the machine with this fingerprint in this run (repeatable)
    #[arg(long, value_name = "SHA256:...", requires = "tickets")]
    trust: Vec<String>,
    /// Export even if the target of a ticket has too little room for all of it: most of it may be there already
    #[arg(long, requires = "tickets")]
    no_space_check: bool,
    /// Leave out commits that the machines of the tickets have: such a bundle needs what is there, and is no archive
    #[arg(long, requires = "tickets")]
    incremental: bool,
    /// Write the bundle to FILE; - is standard output [default: NAME-DATE.kbp]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Use this profile
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Use the profile that comes with kbpack under this name
    #[arg(long, value_name = "NAME", conflicts_with = "profile")]
    preset: Option<String>,
    /// Pack only this component, or only PATH in it (repeatable)
    #[arg(long, value_name = "NAME[:PATH]")]
    only: Vec<Only>,
    /// Leave this component out (repeatable)
    #[arg(long, value_name = "NAME")]
    skip: Vec<ComponentName>,
    /// The bundle is refused after this time: a number with s, m, h, d or w
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expires: Option<u64>,
    /// Fail (exit 6) if a copy of a secret stands outside the secrets components
    #[arg(long)]
    strict_secrets: bool,
    /// Export even if a component holds much less than in the last export of this profile
    #[arg(long)]
    accept_shrink: bool,
    /// Show what would be packed, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// For a timer: ask nobody, write into the folder that the profile's retention table names and prune it, tell of a
    /// failure as its unattended table says
    #[arg(long, conflicts_with = "dry_run")]
    unattended: bool,
    /// Tell this program (the failure is JSON on its standard input) or URL (it is POSTed) of a failure
    #[arg(long, value_name = "PROGRAM|URL", requires = "unattended")]
    notify: Option<String>,
    /// Write how it went to FILE, for the textfile collector of Prometheus
    #[arg(long, value_name = "FILE", requires = "unattended")]
    metrics: Option<PathBuf>,
}

impl Args {
    /// Packs.
    pub fn run(self, context: &Context) -> Result<(), CliError> {
        if self.unattended {
            return unattended::run(&self, context);
        }
        let host = machine::host(&context.dirs, Vec::new())?;
        let profile = self.profile(context, &host)?;
        let named = self.output.clone().unwrap_or_else(|| default_name(&profile.name));
        self.export(context, &profile, &host, named)
    }

    /// Packs into `named`, or shows what would be packed.
    fn export(
        &self,
        context: &Context,
        profile: &Profile,
        host: &Host,
        named: PathBuf,
    ) -> Result<(), CliError> {
        let console = &context.console;
        let state = State::new(context.dirs.state.clone());
        let selection = Selection { only: self.only.clone(), skip: self.skip.clone() };
        let stdout = self.output.as_deref() == Some(Path::new("-"));
        if stdout && !self.dry_run {
            refuse_terminal(None)?;
        }
        if stdout && console.json() {
            return Err(CliError::usage(
                "--json and -o - both want standard output",
                "write the bundle to a file",
            ));
        }
        let tickets = self.believed(context)?;
        let own = tickets.tickets.iter().map(|ticket| ticket.document.recipient.clone());
        let to: Vec<String> = profile.recipients.iter().cloned().chain(own).collect();
        if self.dry_run {
            // No key and no recipient is needed to see what would be packed; but those that are named must be right.
            self.recipients.named(&to)?;
            let plan = crate::engine::export::survey(profile, host, &selection, &tickets, console)?;
            console.data(&plan, text::export_plan(&plan))?;
            let refused = |c: &Surveyed| refuse(&c.name, &c.survey.findings);
            return plan
                .components
                .iter()
                .try_for_each(refused)
                .map_err(|error| CliError::from(error).told());
        }
        let recipients = self.recipients.recipients(&to)?;
        let signer = signing_key(context)?;
        console.line(&format!("profile {}", profile.path.display()));
        let export = Export {
            profile,
            host,
            state: &state,
            selection: &selection,
            recipients: &recipients,
            tickets: &tickets,
            signer: &signer,
            output: (!stdout).then_some(named.as_path()),
            expires_in: self.expires,
            strict_secrets: self.strict_secrets,
            accept_shrink: self.accept_shrink,
        };
        let report = export.run(console)?;
        Ok(console.summary(&report, text::export(&report))?)
    }

    /// The profile that is named, or found; else the preset for this machine, which is said.
    fn profile(&self, context: &Context, host: &Host) -> Result<Profile, CliError> {
        if let Some(name) = &self.preset {
            return Ok(Preset::named(name)?.profile()?);
        }
        let config_dir = &context.dirs.config;
        if let Some(profile) = Profile::find_if_any(self.profile.as_deref(), config_dir)? {
            return Ok(profile);
        }
        let preset = Preset::fitting(host).ok_or_else(|| Profile::missing(config_dir))?;
        let Preset { name, about, .. } = &preset;
        let say = |line: &str| context.console.line(line);
        say(&format!("no profile was found: this is by the preset {name} ({about})"));
        say(&format!("for a profile of your own to change: kbpack init --preset {name}"));
        Ok(preset.profile()?)
    }

    /// The tickets, their signatures and signers checked.
    fn believed(&self, context: &Context) -> Result<For, CliError> {
        let paths = KeyPaths::new(&context.dirs.config);
        let believe = Believe { paths: &paths, pins: &self.trust, at: machine::now() };
        let tickets = self.tickets.iter().map(|file| believe.open(file)).collect::<Result<_, _>>()?;
        Ok(For { tickets, no_space_check: self.no_space_check, incremental: self.incremental })
    }
}

/// `NAME-20261124T052954Z.kbp`
fn default_name(profile: &str) -> PathBuf {
    let stamp: String =
        machine::timestamp(machine::now()).chars().filter(|c| !matches!(c, '-' | ':')).collect();
    PathBuf::from(format!("{profile}-{stamp}.kbp"))
}
