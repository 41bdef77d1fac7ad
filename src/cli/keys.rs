//! Arguments that several commands share: recipients, and a bundle with what opens it.

use crate::cli::ask::Answers;
use crate::cli::error::CliError;
use crate::cli::Context;
use crate::crypto::error::CryptoError;
use crate::crypto::identity::Identities;
use crate::crypto::own::OwnKeys;
use crate::crypto::passphrase::{Prompt, SystemPrompt};
use crate::crypto::paths::KeyPaths;
use crate::crypto::recipient::Recipients;
use crate::crypto::sign::SigningKey;
use crate::engine::events::Decide;
use crate::engine::gate::{Bundle, Gate, Incoming};
use crate::engine::machine;
use crate::engine::state::State;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Whom to encrypt to.
#[derive(Debug, clap::Args)]
pub struct RecipientArgs {
    /// Encrypt to this recipient: age1..., an age plugin's, or an ssh-ed25519 public key (repeatable)
    #[arg(short, long = "recipient", value_name = "RECIPIENT")]
    recipient: Vec<String>,
    /// Encrypt to the recipients in FILE, one a line (repeatable)
    #[arg(short = 'R', long = "recipients-file", value_name = "FILE")]
    recipients_file: Vec<PathBuf>,
    /// Encrypt with a passphrase too: asked for twice, or read from the descriptor in KBPACK_PASSPHRASE_FD
    #[arg(short, long)]
    passphrase: bool,
}

impl RecipientArgs {
    /// The recipients of the command line, and those of a profile. Asks for the passphrase, if there is to be one.
    pub fn recipients(&self, of_profile: &[String]) -> Result<Recipients, CliError> {
        let mut recipients = self.named(of_profile)?;
        if self.passphrase {
            let prompt = SystemPrompt::new();
            let passphrase = prompt.passphrase("the bundle", true).map_err(CryptoError::from)?;
            recipients.add_passphrase(passphrase);
        }
        Ok(recipients)
    }

    /// The same without the passphrase.
    pub fn named(&self, of_profile: &[String]) -> Result<Recipients, CliError> {
        let mut recipients = Recipients::new();
        recipients.set_prompt(Arc::new(SystemPrompt::new()));
        for recipient in self.recipient.iter().chain(of_profile) {
            recipients.add_str(recipient)?;
        }
        for file in &self.recipients_file {
            recipients.add_file(file)?;
        }
        Ok(recipients)
    }
}

/// A bundle on its way in: which, what opens it, whom to trust, and as of when.
#[derive(Debug, clap::Args)]
pub struct BundleArgs {
    /// The bundle; - is standard input
    bundle: PathBuf,
    #[command(flatten)]
    open: OpenArgs,
}

/// What opens a bundle, whom to trust, and as of when.
#[derive(Debug, clap::Args)]
pub struct OpenArgs {
    /// Open it with the identities in FILE: age's or an OpenSSH ed25519 key (repeatable) [default: identity.txt]
    #[arg(short, long = "identity", value_name = "FILE")]
    identity: Vec<PathBuf>,
    /// Trust the signer with this fingerprint in this run
    #[arg(long, value_name = "SHA256:...")]
    trust: Option<String>,
    /// Judge validity and expiry as of this moment: seconds since 1970 or YYYYMMDDZ or YYYYMMDDHHMMSSZ [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    verify_time: Option<u64>,
}

impl BundleArgs {
    /// The same from its two halves.
    pub fn of(bundle: PathBuf, open: OpenArgs) -> Self {
        BundleArgs { bundle, open }
    }

    /// The file, scanned for nothing yet.
    pub fn incoming(&self, context: &Context) -> Result<Incoming, CliError> {
        Ok(Incoming::open(&self.bundle, &State::new(context.dirs.state.clone()))?)
    }

    /// The identities named, else this machine's own; a passphrase is asked for when a bundle has one.
    pub fn identities(&self, context: &Context) -> Result<Identities, CliError> {
        identities(context, &self.open.identity, Some(Arc::new(SystemPrompt::new())))
    }

    /// Runs `act` with the gate that this bundle passes through; `backups` are let through too where they are only read.
    pub fn through<T>(
        &self,
        context: &Context,
        decide: &dyn Decide,
        backups: bool,
        act: impl FnOnce(&Gate<'_>) -> Result<T, CliError>,
    ) -> Result<T, CliError> {
        let paths = KeyPaths::new(&context.dirs.config);
        let state = State::new(context.dirs.state.clone());
        let at = self.open.verify_time.unwrap_or_else(machine::now);
        act(&Gate { paths: &paths, state: &state, pin: self.open.trust.as_deref(), at, decide, backups })
    }

    /// The opened bundle, each member checked when it is read; with `backups`, also one that is a backup.
    pub fn open(&self, context: &Context, backups: bool) -> Result<Bundle, CliError> {
        self.through(context, &Answers::asking(&context.console), backups, |gate| {
            Ok(gate.open(self.incoming(context)?, &self.identities(context)?, None)?)
        })
    }
}

/// The identities in `files`, else this machine's own. `passphrases` is asked for that of a bundle that has one; none: nobody is.
pub fn identities(
    context: &Context,
    files: &[PathBuf],
    passphrases: Option<Arc<dyn Prompt>>,
) -> Result<Identities, CliError> {
    let prompt = Arc::new(SystemPrompt::new());
    let mut identities = Identities::new();
    if let Some(passphrases) = passphrases {
        identities.set_passphrase_prompt(passphrases);
    }
    for file in files {
        identities.add_file(file, prompt.clone())?;
    }
    if files.is_empty() {
        identities.add_default(&KeyPaths::new(&context.dirs.config), prompt)?;
    }
    Ok(identities)
}

fn parse_time(text: &str) -> Result<u64, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    crate::crypto::when::parse_time(text)
        .ok_or_else(|| "neither seconds since 1970 nor YYYYMMDDZ or YYYYMMDDHHMMSSZ".to_owned())
}

/// A bundle is no text: it is not written to a terminal.
pub fn refuse_terminal(output: Option<&Path>) -> Result<(), CliError> {
    match output.is_none() && std::io::stdout().is_terminal() {
        true => {
            Err(CliError::usage("standard output is a terminal", "redirect it, or write to a file with -o"))
        }
        false => Ok(()),
    }
}

/// What this machine's backups are kept with.
pub fn own_keys(context: &Context) -> Result<OwnKeys, CryptoError> {
    OwnKeys::load(&KeyPaths::new(&context.dirs.config), Arc::new(SystemPrompt::new()))
}

/// This machine's signing key.
pub fn signing_key(context: &Context) -> Result<SigningKey, CliError> {
    Ok(SigningKey::load(&KeyPaths::new(&context.dirs.config).signing_key(), &SystemPrompt::new())?)
}
