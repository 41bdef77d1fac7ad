//! `kbpack completions` and `kbpack man`

use crate::cli::error::CliError;
use crate::cli::Cli;
use crate::report::console::Console;
use clap::CommandFactory;

/// Print a shell's completion script
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  kbpack completions bash > ~/.local/share/bash-completion/completions/kbpack"
)]
pub struct CompletionsArgs {
    /// The shell
    shell: clap_complete::Shell,
}

impl CompletionsArgs {
    /// Prints.
    pub fn run(self, console: &Console) -> Result<(), CliError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "kbpack", &mut script);
        Ok(console.raw(&String::from_utf8_lossy(&script))?)
    }
}

/// Print the manual page
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  kbpack man | man -l -")]
pub struct ManArgs {
    /// The command to print it for; none is kbpack itself
    command: Option<String>,
}

impl ManArgs {
    /// Prints.
    pub fn run(self, console: &Console) -> Result<(), CliError> {
        let mut page = Cli::command();
        let mut title = "kbpack".to_owned();
        if let Some(name) = self.command {
            let known = page.find_subcommand(&name).filter(|c| !c.is_hide_set()).cloned();
            page = known.ok_or_else(|| {
                CliError::usage(format!("there is no command '{name}'"), "see kbpack --help")
            })?;
            title = format!("kbpack-{name}");
        }
        let mut text = Vec::new();
        clap_mangen::Man::new(page).title(title).render(&mut text)?;
        Ok(console.raw(&String::from_utf8_lossy(&text))?)
    }
}
