//! L5: the command line. One file a command: its arguments, and a function that reads as a story.

use crate::engine::gate::Dirs;
use crate::report::console::{Color, Console, Volume};
use clap::error::ErrorKind;
use clap::{Parser, Subcommand};
use error::CliError;
use std::ffi::OsString;
use std::path::PathBuf;

pub mod ask;
pub mod check;
pub mod complete;
pub mod demo;
pub mod diff;
pub mod error;
pub mod export;
pub mod extract;
pub mod given;
pub mod import;
pub mod init;
pub mod inspect;
pub mod keygen;
pub mod keys;
pub mod prune;
pub mod receipt;
pub mod recover;
pub mod rekey;
pub mod rollback;
pub mod status;
pub mod ticket;
pub mod trust;
pub mod verify;

/// Move a server's state as one signed, encrypted file.
#[derive(Debug, Parser)]
#[command(name = "kbpack", version, about, long_about = LONG_ABOUT, after_help = EXAMPLES, max_term_width = 110)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const LONG_ABOUT: &str = "Move a server's state (config trees, secrets) as one signed, age-encrypted, zstd-compressed file.\n\n\
An exporter packs it; it travels by scp, USB stick or object storage; an importer verifies it, shows a plan, \
puts it in place and undoes everything if something fails. A bundle also opens with tar, sha256sum, ssh-keygen, \
age and zstd alone.";

const EXAMPLES: &str = "Examples:
  kbpack keygen                                on each machine, once
  kbpack export -r age1... -o state.kbp        on the source
  kbpack import state.kbp                      on the target
  kbpack demo                                  see all of it in a scratch directory

Exit codes: 0 done, 1 unexpected, 2 usage, 3 damaged, 4 not trusted, 5 cannot decrypt,
6 breaks a rule, 7 limit, 8 not ready, 9 failed and rolled back, 10 recovery needed";

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// Write one JSON document to stdout and nothing else
    #[arg(long, global = true)]
    json: bool,
    /// Say nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Name each file and each step
    #[arg(short, long, global = true)]
    verbose: bool,
    /// Colour the messages
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: Color,
    /// Where keys, trusted signers and the profile stand [default: ~/.config/kbpack]
    #[arg(long, global = true, value_name = "DIR")]
    config_dir: Option<PathBuf>,
    /// Where backups, journals, sequence marks and the lock stand [default: ~/.local/state/kbpack]
    #[arg(long, global = true, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Keygen(keygen::Args),
    Init(init::Args),
    Ticket(ticket::Args),
    Export(export::Args),
    Inspect(inspect::Args),
    Verify(verify::Args),
    Import(import::Args),
    Check(check::Args),
    Diff(diff::Args),
    Status(status::Args),
    Rollback(rollback::Args),
    Recover(recover::RecoverArgs),
    History(recover::HistoryArgs),
    Receipt(receipt::Args),
    Prune(prune::Args),
    Trust(trust::Args),
    Extract(extract::Args),
    Rekey(rekey::Args),
    Demo(demo::Args),
    Completions(complete::CompletionsArgs),
    Man(complete::ManArgs),
    /// Runs an age plugin with a scrubbed environment; kbpack calls this itself.
    #[command(name = "__age-plugin", hide = true)]
    AgePlugin {
        /// What to do
        mode: String,
    },
}

/// What every command may use.
pub struct Context {
    /// Where output goes.
    pub console: Console,
    /// Where keys and state stand.
    pub dirs: Dirs,
}

impl Cli {
    /// Parses `args` and runs the command. Returns the process's exit code; all output has been made.
    pub fn main(args: impl IntoIterator<Item = OsString>) -> u8 {
        let args: Vec<OsString> = args.into_iter().collect();
        match Cli::try_parse_from(&args) {
            Ok(cli) => cli.run(),
            Err(error) if !error.use_stderr() => {
                // --help and --version are data.
                let _ = error.print();
                0
            }
            Err(error) if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                // No command at all: the help, but to stderr and with a code that scripts notice.
                let _ = error.print();
                2
            }
            Err(error) => {
                let json = args.iter().any(|arg| arg == "--json");
                finish(Err(CliError::parse(&error, &args)), &Console::new(json, Volume::Normal, Color::Auto))
            }
        }
    }

    fn run(self) -> u8 {
        let Global { json, quiet, verbose, color, config_dir, state_dir } = self.global;
        let volume = match (quiet, verbose) {
            (true, _) => Volume::Quiet,
            (_, true) => Volume::Verbose,
            _ => Volume::Normal,
        };
        let console = Console::new(json, volume, color);
        let outcome = match self.command {
            // These need no home and no keys.
            Command::Completions(args) => args.run(&console),
            Command::Man(args) => args.run(&console),
            Command::AgePlugin { mode } => crate::crypto::plugin::helper_main(&mode).map_err(CliError::from),
            command => match Dirs::resolve(config_dir, state_dir) {
                Err(error) => Err(error.into()),
                Ok(dirs) => {
                    let context = Context { console, dirs };
                    let outcome = dispatch(command, &context);
                    return finish(outcome, &context.console);
                }
            },
        };
        finish(outcome, &console)
    }
}

fn dispatch(command: Command, context: &Context) -> Result<(), CliError> {
    match command {
        Command::Keygen(args) => args.run(context),
        Command::Init(args) => args.run(context),
        Command::Ticket(args) => args.run(context),
        Command::Export(args) => args.run(context),
        Command::Inspect(args) => args.run(context),
        Command::Verify(args) => args.run(context),
        Command::Import(args) => args.run(context),
        Command::Check(args) => args.run(context),
        Command::Diff(args) => args.run(context),
        Command::Status(args) => args.run(context),
        Command::Rollback(args) => args.run(context),
        Command::Recover(args) => args.run(context),
        Command::History(args) => args.run(context),
        Command::Receipt(args) => args.run(context),
        Command::Prune(args) => args.run(context),
        Command::Trust(args) => args.run(context),
        Command::Extract(args) => args.run(context),
        Command::Rekey(args) => args.run(context),
        Command::Demo(args) => args.run(context),
        // Answered before there is a context.
        Command::Completions(_) | Command::Man(_) | Command::AgePlugin { .. } => Ok(()),
    }
}

/// The two lines of an error, or its document; and the exit code.
fn finish(outcome: Result<(), CliError>, console: &Console) -> u8 {
    let Err(error) = outcome else { return 0 };
    if console.json() && !error.is_told() {
        // A reader that has gone away cannot be told anything.
        let _ = console.data(&error.document(console.noticed()), []);
    }
    console.error(&error.what(), &error.todo());
    error.exit_code()
}
