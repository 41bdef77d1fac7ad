//! `kbpack export`

use crate::base::name::ComponentName;
use crate::cli::error::CliError;
use crate::cli::keys::{refuse_terminal, signing_key, RecipientArgs};
use crate::cli::Context;
use crate::crypto::paths::KeyPaths;
use crate::engine::export::Export;
use crate::engine::machine;
use crate::engine::profile::Profile;
use crate::engine::sealed::Believe;
use crate::engine::selection::{Only, Selection};
use crate::engine::state::State;
use crate::engine::ticket::fit::For;
use crate::report::text;
use std::path::{Path, PathBuf};

/// Pack what the profile names into one signed, encrypted file
///
/// The profile is --profile, else ./kbpack.toml, else profile.toml in the config directory. The file appears
/// under its name only when it is complete; an existing one is never overwritten.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  kbpack export -r age1...                      to NAME-DATE.kbp in this folder
  kbpack export -r age1... -p -o state.kbp      for a machine, or for whoever knows the passphrase
  kbpack export -r age1... -o - | ssh host kbpack import - --yes
  kbpack export --for beta.ticket               for the machine that issued the ticket, and no other
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
    /// Show what would be packed, and write nothing
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    /// Packs.
    pub fn run(self, context: &Context) -> Result<(), CliError> {
        let console = &context.console;
        let profile = Profile::find(self.profile.as_deref(), &context.dirs.config)?;
        let host = machine::host(&context.dirs, Vec::new())?;
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
            let plan = crate::engine::export::survey(&profile, &host, &selection, &tickets, console)?;
            return Ok(console.data(&plan, text::export_plan(&plan))?);
        }
        let recipients = self.recipients.recipients(&to)?;
        let signer = signing_key(context)?;
        let named = self.output.unwrap_or_else(|| default_name(&profile.name));
        console.line(&format!("profile {}", profile.path.display()));
        let export = Export {
            profile: &profile,
            host: &host,
            state: &state,
            selection: &selection,
            recipients: &recipients,
            tickets: &tickets,
            signer: &signer,
            output: (!stdout).then_some(named.as_path()),
            expires_in: self.expires,
            strict_secrets: self.strict_secrets,
        };
        let report = export.run(console)?;
        Ok(console.summary(&report, text::export(&report))?)
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

/// A number with a unit, in seconds.
pub fn parse_duration(text: &str) -> Result<u64, String> {
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        Some('w') => 604_800,
        _ => return Err("a number with s, m, h, d or w, such as 30d".to_owned()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| "the number is missing".to_owned())?;
    number.checked_mul(unit).filter(|seconds| *seconds > 0).ok_or_else(|| "out of range".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(parse_duration("30d"), Ok(2_592_000));
        assert_eq!(parse_duration("90s"), Ok(90));
        for bad in ["", "d", "30", "-1d", "0d", "1y", "99999999999999999999w", "1é"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
