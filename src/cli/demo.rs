//! `kbpack demo`: the whole round trip between two scratch homes, with the real commands.

mod database;
mod homes;
mod repository;

use crate::cli::error::CliError;
use crate::cli::Context;
use crate::report::console::Console;
use database::Program;
use serde::Serialize;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;

/// See the whole round trip in a scratch directory
///
/// Makes two homes, with a tree of configuration, keys, a repository and a database in use. The one issues a ticket, the
/// other packs, the first imports, checks, and takes all back; then a tampered bundle is refused. What kbpack says is
/// compared with what is there. Every command is shown. Nothing outside the scratch directory is touched.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  kbpack demo")]
pub struct Args {
    /// Leave the scratch directory behind, to look around in it
    #[arg(long)]
    keep: bool,
}

#[derive(Serialize)]
struct Document {
    equal_files: usize,
    equal_rows: usize,
    equal_commits: usize,
    directory: Option<PathBuf>,
}

/// One of the two "servers".
struct Server<'a> {
    name: &'static str,
    home: PathBuf,
    context: &'a Context,
}

impl Args {
    /// Runs the demo.
    pub fn run(self, context: &Context) -> Result<(), CliError> {
        let scratch = tempfile::Builder::new().prefix("kbpack-demo-").tempdir()?;
        let console = &context.console;
        console.line("Two servers, as two homes in a scratch directory:");
        let server = |name: &'static str| -> Result<Server<'_>, CliError> {
            let home = scratch.path().join(name);
            fs::create_dir(&home)?;
            Ok(Server { name, home, context })
        };
        let (source, target) = (server("source")?, server("target")?);
        homes::furnish(&source.home)?;
        homes::furnish_target(&target.home)?;
        repository::make(&source.home)?;
        let (ours, theirs) = (Program::on_source(&source.home)?, Program::on_target(&target.home)?);
        console.line("On both a program runs that has a SQLite database open, the whole time.");
        let before = homes::tree(&target.home)?;
        let rows_before = theirs.rows()?;

        chapter(console, "1. Once: keys on both, and each says whom it believes");
        let receiver = target.run(&["keygen", "--json"])?;
        let signer = source.run(&["keygen", "--json"])?;
        target.run(&["trust", "add", "source", &field(&signer, "signer")?])?;
        source.run(&["trust", "add", "target", &field(&receiver, "signer")?, "--for", "tickets"])?;

        chapter(console, "2. The target asks, and the source answers: one file, for that target alone");
        let path = |name: &str| scratch.path().join(name).to_string_lossy().into_owned();
        let (ticket, bundle) = (path("target.ticket"), path("state.kbp"));
        target.run(&["ticket", "-o", &ticket])?;
        source.run(&["export", "--for", &ticket, "-o", &bundle])?;

        chapter(console, "3. On the target: look, plan, import");
        target.run(&["verify", &bundle])?;
        target.run(&["inspect", &bundle])?;
        target.run(&["import", &bundle, "--dry-run"])?;
        target.run(&["import", &bundle, "--yes"])?;

        chapter(console, "4. All that should be there is, and what is the target's own is as it was");
        let equal = homes::arrived(&source.home, &target.home, &before)?;
        console.line(&format!(
            "   {equal} files are equal, with their modes; what the profile excludes stayed behind"
        ));
        let commits = repository::same(&source.home, &target.home)?;
        console.line(&format!("   the repository has the same {commits} commits, and a clean work tree"));
        let rows = theirs.sees_the_same(&ours)?;
        console.line(&format!(
            "   the program on the target, still running, sees the {rows} rows of the source's database"
        ));
        target.run(&["check", &bundle])?;

        chapter(console, "5. Back: the target is what it was");
        target.run(&["rollback", "--yes"])?;
        if homes::tree(&target.home)? != before || theirs.rows()? != rows_before {
            return Err(failed("the demo's rollback left something behind".to_owned()));
        }
        console.line(&format!(
            "   its {} files and {} rows are those from before",
            before.len(),
            rows_before.len()
        ));

        chapter(console, "6. One bit flipped on the way: refused, and nothing is touched");
        let mut bytes = fs::read(&bundle)?;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let tampered = path("tampered.kbp");
        fs::write(&tampered, bytes)?;
        target.refuse(&["import", &tampered, "--yes"])?;
        if homes::tree(&target.home)? != before {
            return Err(failed("the demo's tampered bundle changed something".to_owned()));
        }

        let directory = self.keep.then(|| scratch.keep());
        let place = directory.as_ref().map(|dir| format!("It is all in {}.", dir.display()));
        let last = place.unwrap_or_else(|| "The scratch directory is gone.".to_owned());
        Ok(console.summary(
            &Document { equal_files: equal, equal_rows: rows, equal_commits: commits, directory },
            [String::new(), format!("Done. {last}")],
        )?)
    }
}

impl Server<'_> {
    /// Runs kbpack there, shows the command and its output, and returns its stdout. It must work.
    fn run(&self, args: &[&str]) -> Result<Vec<u8>, CliError> {
        let (code, stdout) = self.show(args)?;
        match code {
            Some(0) => Ok(stdout),
            _ => Err(failed(format!("the demo's `kbpack {}` failed", args.join(" ")))),
        }
    }

    /// The same, and it must fail as a damaged bundle does.
    fn refuse(&self, args: &[&str]) -> Result<(), CliError> {
        match self.show(args)?.0 {
            Some(3) => Ok(()),
            _ => Err(failed("the demo's tampered bundle was not refused".to_owned())),
        }
    }

    fn show(&self, args: &[&str]) -> Result<(Option<i32>, Vec<u8>), CliError> {
        let console = &self.context.console;
        console.line(&format!("{}$ kbpack {}", self.name, typed(args)));
        let mut command = Command::new(std::env::current_exe()?);
        command.args(args).env_clear().env("HOME", &self.home).current_dir(&self.home);
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        let output = command.output()?;
        for line in [&output.stdout, &output.stderr].into_iter().flat_map(|text| text.split(|&b| b == b'\n'))
        {
            if !line.is_empty() {
                console.line(&format!("   {}", String::from_utf8_lossy(line)));
            }
        }
        Ok((output.status.code(), output.stdout))
    }
}

fn field(json: &[u8], name: &str) -> Result<String, CliError> {
    let value: serde_json::Value = serde_json::from_slice(json).map_err(io::Error::from)?;
    value[name].as_str().map(str::to_owned).ok_or_else(|| failed(format!("keygen printed no {name}")))
}

fn failed(what: String) -> CliError {
    CliError::from(io::Error::other(what))
}

/// A heading, with air above it.
fn chapter(console: &Console, title: &str) {
    console.line("");
    console.line(title);
}

/// The arguments as one would type them.
fn typed(args: &[&str]) -> String {
    let quoted = |arg: &&str| if arg.contains(' ') { format!("'{arg}'") } else { (*arg).to_owned() };
    args.iter().map(quoted).collect::<Vec<_>>().join(" ")
}
