//! What is installed in an environment: read from the files that installers leave, without running anything in it
//! (<https://packaging.python.org/en/latest/specifications/recording-installed-packages/>).

use super::names::{is_name, is_version, normal};
use super::site::walk;
use crate::component::{Error, Result};
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};

/// What a new environment may have before anything is installed into it.
pub const SEEDS: [&str; 2] = ["pip", "setuptools"];
/// The first minor version in which that is pip alone.
const PIP_ALONE: u32 = 12;

/// One distribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    /// Its name, as it says it.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where it came from, if that was no index: a folder, a URL.
    pub origin: Option<String>,
}

/// All that an environment has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Installed {
    /// By name; without the seeds.
    pub distributions: Vec<Distribution>,
    /// Which of [`SEEDS`] are there.
    pub seeds: Vec<String>,
    /// What is there and is not understood, for people.
    pub strange: Vec<String>,
}

impl Installed {
    /// The version of `name`.
    pub fn version(&self, name: &str) -> Option<&str> {
        let name = normal(name);
        self.distributions.iter().find(|d| normal(&d.name) == name).map(|d| d.version.as_str())
    }
}

/// The folder of an environment with what is installed in it.
pub fn packages(environment: &Path, minor: u32) -> PathBuf {
    environment.join(format!("lib/python3.{minor}/site-packages"))
}

/// Looks what is installed in an environment of Python 3.`minor`.
pub fn read(environment: &Path, minor: u32) -> Result<Installed> {
    let folder = packages(environment, minor);
    let mut installed = Installed::default();
    if !folder.is_dir() {
        return Ok(installed);
    }
    walk(&folder, &mut |path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let info = match (name.ends_with(".dist-info"), name.ends_with(".egg-info")) {
            (true, _) => path.join("METADATA"),
            (_, true) if path.is_dir() => path.join("PKG-INFO"),
            (_, true) => path.to_owned(),
            _ if name.ends_with(".egg-link") => {
                installed.strange.push(name.into_owned());
                return Ok(());
            }
            _ => return Ok(()),
        };
        let text = fs::read(&info).map_err(Error::at(&info))?;
        match metadata(&String::from_utf8_lossy(&text)) {
            None => installed.strange.push(name.into_owned()),
            Some((name, _)) if is_seed(&name, minor) => installed.seeds.push(normal(&name)),
            Some((name, version)) => {
                let origin = origin(&path.join("direct_url.json"));
                installed.distributions.push(Distribution { name, version, origin });
            }
        }
        Ok(())
    })?;
    installed.distributions.sort_by_key(|d| normal(&d.name));
    installed.seeds.sort();
    Ok(installed)
}

fn is_seed(name: &str, minor: u32) -> bool {
    let name = normal(name);
    name == "pip" || name == "setuptools" && minor < PIP_ALONE
}

/// Name and version in the head of the metadata.
fn metadata(text: &str) -> Option<(String, String)> {
    let head = || text.lines().take_while(|line| !line.trim().is_empty());
    let field =
        |key: &str| head().find_map(|line| line.strip_prefix(key)).map(|value| value.trim().to_owned());
    let (name, version) = (field("Name:")?, field("Version:")?);
    (is_name(&name) && is_version(&version)).then_some((name, version))
}

/// Where a distribution came from that no index gave.
fn origin(file: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Direct {
        url: String,
    }
    let bytes = fs::read(file).ok()?;
    let direct: Option<Direct> = serde_json::from_slice(&bytes).ok();
    Some(direct.map_or_else(|| "somewhere".to_owned(), |direct| direct.url))
}
