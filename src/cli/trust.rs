//! `kbpack trust`

use crate::cli::error::CliError;
use crate::cli::Context;
use crate::crypto::allowed::Entry;
use crate::crypto::paths::KeyPaths;
use crate::crypto::sign::{Namespace, Signer};
use crate::crypto::trust::TrustStore;
use crate::crypto::when::parse_time;
use crate::engine::state::State;
use clap::Subcommand;
use serde::Serialize;

/// Say whose bundles this machine may import, and whose tickets and receipts it believes
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  kbpack trust add alice 'ssh-ed25519 AAAA...'      what `kbpack keygen` printed there
  kbpack trust add alice signing_key.pub --until 20271231Z
  kbpack trust add beta 'ssh-ed25519 AAAA...' --for tickets --for receipts
  kbpack trust list
  kbpack trust remove alice")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Trust a signer
    Add {
        /// A name for the signer, of your choice
        name: String,
        /// Its public key: the signer line that `kbpack keygen` printed, an `ssh-ed25519 AAAA...` line, or a file with one
        key: String,
        /// Trust it from this moment on: YYYYMMDDZ or YYYYMMDDHHMMSSZ
        #[arg(long, value_name = "TIME", value_parser = moment)]
        from: Option<u64>,
        /// Trust it until this moment: YYYYMMDDZ or YYYYMMDDHHMMSSZ
        #[arg(long, value_name = "TIME", value_parser = moment)]
        until: Option<u64>,
        /// What to trust it for (repeatable)
        #[arg(long = "for", value_name = "WHAT", default_value = "bundles")]
        purposes: Vec<Purpose>,
        /// Also let its bundles run commands on this machine (hooks)
        #[arg(long)]
        hooks: bool,
    },
    /// Show who is trusted
    List,
    /// Trust a signer no more, whatever is added later: its key is lost or stolen
    Revoke {
        /// Its name, its fingerprint, or its public key
        signer: String,
    },
    /// Trust a signer no more
    Remove {
        /// Its name or its fingerprint
        signer: String,
    },
}

/// What a signer can be trusted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Purpose {
    /// What it exported may be imported here
    Bundles,
    /// What is exported for one of its tickets is encrypted to it
    Tickets,
    /// What it says it has restored is believed here
    Receipts,
}

impl Purpose {
    fn namespace(self) -> Namespace {
        match self {
            Purpose::Bundles => Namespace::Bundle,
            Purpose::Tickets => Namespace::Ticket,
            Purpose::Receipts => Namespace::Receipt,
        }
    }
}

#[derive(Serialize)]
struct Row {
    name: String,
    fingerprint: String,
    namespaces: Vec<&'static str>,
    valid_after: Option<u64>,
    valid_before: Option<u64>,
}

impl Args {
    /// Adds, lists or removes.
    pub fn run(self, context: &Context) -> Result<(), CliError> {
        let console = &context.console;
        let state = State::new(context.dirs.state.clone());
        // Not while an import reads the same files, or writes its marks.
        let _lock = state.lock()?;
        let mut store = TrustStore::load(&KeyPaths::new(&context.dirs.config))?;
        match self.command {
            Command::Add { name, key, from, until, purposes, hooks } => {
                let signer = read_key(&key)?;
                if hooks && !purposes.contains(&Purpose::Bundles) {
                    return Err(CliError::usage(
                        "--hooks is about bundles",
                        "add --for bundles, or leave it out",
                    ));
                }
                let mut namespaces: Vec<Namespace> =
                    purposes.iter().map(|purpose| purpose.namespace()).collect();
                namespaces.extend(hooks.then_some(Namespace::Hooks));
                // The mark first: a trusted signer without one is an error.
                state.begin_mark(&signer.fingerprint())?;
                store.add(&name, &signer, &namespaces, from, until)?;
                let lines = [format!("{name} is trusted{}: {}", only_for(&purposes), signer.fingerprint())];
                Ok(console.summary(&rows(&store), lines)?)
            }
            Command::List => {
                let rows = rows(&store);
                let lines: Vec<String> = rows
                    .iter()
                    .map(|r| format!("{:<20} {}  {}", r.name, r.fingerprint, r.namespaces.join(",")))
                    .collect();
                Ok(console.data(&rows, lines)?)
            }
            Command::Remove { signer } => {
                let removed = store.remove(&signer)?;
                if removed.is_empty() {
                    return Err(nobody(&signer));
                }
                let fingerprints: Vec<String> =
                    removed.iter().map(|entry| entry.signer.fingerprint()).collect();
                // Under another name it is still trusted, and its mark still needed.
                let stays =
                    |fingerprint: &String| store.list().any(|e| e.signer.fingerprint() == *fingerprint);
                let mut lines = Vec::new();
                for fingerprint in &fingerprints {
                    if stays(fingerprint) {
                        lines.push(format!("still trusted under another name: {fingerprint}"));
                    } else {
                        state.drop_mark(fingerprint)?;
                        lines.push(format!("no longer trusted: {fingerprint}"));
                    }
                }
                Ok(console.summary(&fingerprints, lines)?)
            }
            Command::Revoke { signer } => {
                let listed =
                    store.list().find(|entry| entry.is_of(&signer) || entry.signer.fingerprint() == signer);
                let key = listed
                    .map(|entry| entry.signer)
                    .or_else(|| key_in(&signer))
                    .ok_or_else(|| nobody(&signer))?;
                store.revoke(&key)?;
                let fingerprint = key.fingerprint();
                Ok(console.summary(&[&fingerprint], [format!("revoked: {fingerprint}")])?)
            }
        }
    }
}

/// ` for its receipts`; nothing where its bundles are trusted.
fn only_for(purposes: &[Purpose]) -> String {
    let word = |purpose: &Purpose| match purpose {
        Purpose::Bundles => "bundles",
        Purpose::Tickets => "tickets",
        Purpose::Receipts => "receipts",
    };
    match purposes.contains(&Purpose::Bundles) {
        true => String::new(),
        false => format!(" for its {}", purposes.iter().map(word).collect::<Vec<_>>().join(" and its ")),
    }
}

fn nobody(signer: &str) -> CliError {
    CliError::usage(
        format!("no trusted signer is called '{signer}'"),
        "`kbpack trust list` shows who is trusted",
    )
}

fn rows(store: &TrustStore) -> Vec<Row> {
    let row = |entry: &Entry| Row {
        name: entry.principals.clone(),
        fingerprint: entry.signer.fingerprint(),
        namespaces: entry.namespaces.iter().flatten().map(|n| n.as_str()).collect(),
        valid_after: entry.valid_after,
        valid_before: entry.valid_before,
    };
    store.list().map(row).collect()
}

/// A public key given as a line, or as a file that holds one.
fn read_key(text: &str) -> Result<Signer, CliError> {
    let todo = "give the line that `kbpack keygen` printed there in quotes, or the name of a file with it";
    if let Some(signer) = key_in(text) {
        return Ok(signer);
    }
    if text.starts_with("SHA256:") {
        return Err(CliError::usage(format!("{text}: a fingerprint is not enough to add a signer"), todo));
    }
    if text.contains(' ') || text.starts_with("ssh-") {
        return Err(CliError::usage("that is not a whole ssh-ed25519 public key", todo));
    }
    let line = std::fs::read_to_string(text).map_err(|e| CliError::usage(format!("{text}: {e}"), todo))?;
    key_in(line.trim_end())
        .ok_or_else(|| CliError::usage(format!("{text}: not an ssh-ed25519 public key"), todo))
}

/// The key in a public key line, or in a line of trusted signers.
fn key_in(line: &str) -> Option<Signer> {
    Signer::parse_line(line).or_else(|| Entry::parse(line).ok().map(|entry| entry.signer))
}

fn moment(text: &str) -> Result<u64, String> {
    parse_time(text).ok_or_else(|| "YYYYMMDDZ or YYYYMMDDHHMMSSZ".to_owned())
}
