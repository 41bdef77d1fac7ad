//! `kbpack init`

use crate::cli::error::CliError;
use crate::cli::Context;
use crate::crypto::paths::KeyPaths;
use crate::engine::error::output_error;
use crate::engine::init::{draft, Draft};
use crate::engine::machine;
use crate::engine::presets::Preset;
use crate::pipeline::output::Output;
use serde::Serialize;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Write a first profile, for what is found on this machine
///
/// It begins with the preset that fits this machine, if one does, and adds what else is found: git repositories, SQLite
/// databases, databases in ~/.pgpass and $DATABASE_URL, exported variables that look like keys, .env files. It is a draft: read
/// it, and change it. Nothing is packed and nothing but the profile is written; no secret stands in it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  kbpack init                           what is found in the home
  kbpack init ~/projects /srv/app       what is found there
  kbpack init --preset kage-bunshin
  kbpack init -o - | less

Then:
  kbpack export --dry-run")]
pub struct Args {
    /// Where to look [default: the home, a few folders deep]
    #[arg(value_name = "FOLDER")]
    places: Vec<PathBuf>,
    /// Begin with the profile that comes with kbpack under this name
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Begin with no preset, even if one fits
    #[arg(long, conflicts_with = "preset")]
    no_preset: bool,
    /// Write it to FILE, never over one that is there; - is standard output [default: ~/.config/kbpack/profile.toml]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Serialize)]
struct Document<'a> {
    path: Option<&'a Path>,
    #[serde(flatten)]
    draft: &'a Draft,
}

impl Args {
    /// Looks, and writes it.
    pub fn run(self, context: &Context) -> Result<(), CliError> {
        let console = &context.console;
        let stdout = self.output.as_deref() == Some(Path::new("-"));
        if stdout && console.json() {
            return Err(CliError::usage(
                "--json and the profile both want standard output",
                "write the profile to a file with -o",
            ));
        }
        let host = machine::host(&context.dirs, Vec::new())?;
        let preset = match &self.preset {
            Some(name) => Some(Preset::named(name)?),
            None if self.no_preset => None,
            None => Preset::fitting(&host),
        };
        let places = self.places.iter().map(|place| folder(place)).collect::<Result<Vec<_>, _>>()?;
        let draft = draft(&host, preset.as_ref(), &places)?;
        if stdout {
            return Ok(console.raw(&draft.text)?);
        }
        let file = match self.output {
            Some(file) => file,
            None => {
                KeyPaths::new(&context.dirs.config).ensure_dir()?;
                context.dirs.config.join("profile.toml")
            }
        };
        write(&file, &draft.text)?;
        let mut lines: Vec<String> = Vec::new();
        lines.extend(preset.map(|preset| format!("the preset {}: {}", preset.name, preset.about)));
        lines.extend(draft.found.iter().map(|found| format!("{}: {}", found.name, found.about)));
        lines
            .extend(draft.also.iter().map(|about| format!("found too, see the end of the profile: {about}")));
        lines.push(format!("The profile is {}. Read it, then: kbpack export --dry-run", file.display()));
        Ok(console.summary(&Document { path: Some(&file), draft: &draft }, lines)?)
    }
}

/// As it really is, so that it is seen whether it lies in the home.
fn folder(place: &Path) -> Result<PathBuf, CliError> {
    let real = place.canonicalize().ok().filter(|real| real.is_dir());
    real.ok_or_else(|| {
        CliError::usage(format!("{} is no folder", place.display()), "name a folder to look in")
    })
}

fn write(file: &Path, text: &str) -> Result<(), CliError> {
    let written = Output::open(Some(file)).and_then(|mut output| {
        output.write_all(text.as_bytes())?;
        output.finish()
    });
    Ok(written.map_err(|error| output_error(Some(file), error))?)
}
