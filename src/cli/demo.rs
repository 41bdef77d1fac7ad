//! `kbpack demo`: the whole round trip between two scratch homes, with the real commands.

mod database;

use crate::cli::error::CliError;
use crate::cli::Context;
use crate::report::console::Console;
use database::Program;
use include_dir::{include_dir, Dir, DirEntry};
use serde::Serialize;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small home of the first user's kind. Names there have no leading dot; [`PLACES`] says where they go.
static FIXTURE: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/fixtures/kage-bunshin");

/// Where the fixture's entries stand in a home.
const PLACES: &[(&str, &str)] = &[
    ("dot-claude", ".claude"),
    ("bashrc", ".bashrc"),
    ("pgpass", ".pgpass"),
    ("credentials.json", ".claude/.credentials.json"),
    ("kbpack.toml", ".config/kbpack/profile.toml"),
];

/// See the whole round trip in a scratch directory
///
/// Makes two homes, packs the one, unpacks it in the other, compares the two, and shows that a tampered
/// bundle is refused. Every command it runs is shown. Nothing outside the scratch directory is touched.
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
        furnish(&source.home)?;
        let (ours, theirs) = (Program::on_source(&source.home)?, Program::on_target(&target.home)?);
        console.line("On both a program runs that has a SQLite database open, the whole time.");

        chapter(console, "1. Keys on both, and the target says whose bundles it takes");
        let recipient = target.run(&["keygen", "--json"])?;
        let signer = source.run(&["keygen", "--json"])?;
        target.run(&["trust", "add", "source", &field(&signer, "signer")?])?;

        chapter(console, "2. On the source: one file, for the target alone");
        let bundle = scratch.path().join("state.kbp");
        let bundle_name = bundle.to_string_lossy().into_owned();
        source.run(&["export", "-r", &field(&recipient, "recipient")?, "-o", &bundle_name])?;

        chapter(console, "3. On the target: look, plan, import");
        target.run(&["verify", &bundle_name])?;
        target.run(&["inspect", &bundle_name])?;
        target.run(&["import", &bundle_name, "--dry-run"])?;
        target.run(&["import", &bundle_name, "--yes"])?;

        chapter(
            console,
            "4. Every file that should be there is, byte for byte and with its mode, and every row",
        );
        let equal = compare(&source.home, &target.home)?;
        console.line(&format!("   {equal} files are equal; what the profile excludes stayed behind"));
        let rows = theirs.sees_the_same(&ours)?;
        console.line(&format!(
            "   the program on the target, still running, sees the {rows} rows of the source's database"
        ));

        chapter(console, "5. One bit flipped on the way: refused, and nothing is touched");
        let mut bytes = fs::read(&bundle)?;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let tampered = scratch.path().join("tampered.kbp");
        fs::write(&tampered, bytes)?;
        target.refuse(&["import", &tampered.to_string_lossy(), "--yes"])?;

        let directory = self.keep.then(|| scratch.keep());
        let place = directory.as_ref().map(|dir| format!("It is all in {}.", dir.display()));
        let last = place.unwrap_or_else(|| "The scratch directory is gone.".to_owned());
        Ok(console.summary(
            &Document { equal_files: equal, equal_rows: rows, directory },
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

/// Writes the fixture into `home`, with the modes it has on a real server: scripts 755, secrets 600.
fn furnish(home: &Path) -> io::Result<()> {
    let mut left: Vec<&DirEntry<'_>> = FIXTURE.entries().iter().collect();
    while let Some(entry) = left.pop() {
        match entry {
            DirEntry::Dir(dir) => left.extend(dir.entries()),
            DirEntry::File(file) => {
                let Some(place) = place(file.path()) else { continue };
                let path = home.join(place);
                fs::create_dir_all(path.parent().unwrap_or(home))?;
                fs::write(&path, file.contents())?;
                fs::set_permissions(&path, Permissions::from_mode(mode(&path)))?;
            }
        }
    }
    Ok(())
}

fn place(path: &Path) -> Option<PathBuf> {
    let (_, place, rest) =
        PLACES.iter().find_map(|(from, to)| Some((from, to, path.strip_prefix(from).ok()?)))?;
    Some(if rest.as_os_str().is_empty() { PathBuf::from(place) } else { Path::new(place).join(rest) })
}

fn mode(path: &Path) -> u32 {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    match name.as_ref() {
        ".pgpass" | ".credentials.json" | ".bashrc" => 0o600,
        name if name.ends_with(".sh") => 0o755,
        _ => 0o644,
    }
}

/// Compares what arrived under `~/.claude` with where it came from. Returns how many files are equal.
fn compare(source: &Path, target: &Path) -> Result<usize, CliError> {
    let mut equal = 0;
    let mut left = vec![PathBuf::from(".claude")];
    while let Some(path) = left.pop() {
        let (ours, theirs) = (source.join(&path), target.join(&path));
        if fs::symlink_metadata(&theirs)?.is_dir() {
            for entry in fs::read_dir(&theirs)? {
                left.push(path.join(entry?.file_name()));
            }
            continue;
        }
        let mode = |path: &Path| fs::symlink_metadata(path).map(|meta| meta.permissions().mode());
        if fs::read(&ours)? != fs::read(&theirs)? || mode(&ours)? != mode(&theirs)? {
            return Err(failed(format!("{} differs", path.display())));
        }
        equal += 1;
    }
    match equal {
        0 => Err(failed("nothing arrived".to_owned())),
        equal => Ok(equal),
    }
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
