//! What an environment holds, as a list of things: its distributions. What they are made of is pip's business.

use super::installed;
use super::names::normal;
use super::rows;
use super::site::{look, Found};
use super::{require_streams, Python, INSTALLED};
use crate::component::{stream_name, Error, Result, StreamSource, Thing};
use std::fs;
use std::path::Path;

/// What a bundle holds.
pub fn held(python: &Python, streams: &dyn StreamSource) -> Result<Vec<Thing>> {
    let facts = python.facts()?;
    require_streams(facts, streams)?;
    let Some(environment) = &facts.environment else { return Ok(Vec::new()) };
    let pins = rows::read_pins(streams.open(&stream_name(INSTALLED)?)?, environment.distributions)?;
    Ok(pins.into_iter().map(|pin| distribution(&pin.name, pin.version)).collect())
}

/// What the environment at `path` holds; nothing in it is run.
pub fn present(path: &Path) -> Result<Option<Vec<Thing>>> {
    if look(path)? != Found::Environment {
        return Ok(None);
    }
    let mut things = Vec::new();
    let lib = path.join("lib");
    for entry in fs::read_dir(&lib).map_err(Error::at(&lib))? {
        let name = entry.map_err(Error::at(&lib))?.file_name();
        let minor = name.to_str().and_then(|name| name.strip_prefix("python3.")?.parse().ok());
        let Some(minor) = minor else { continue };
        let installed = installed::read(path, minor)?.distributions;
        things.extend(installed.into_iter().map(|one| distribution(&one.name, one.version)));
    }
    things.sort_by(|a: &Thing, b| a.name.cmp(&b.name));
    things.dedup_by(|a, b| a.name == b.name);
    Ok(Some(things))
}

fn distribution(name: &str, version: String) -> Thing {
    Thing { value: Some(version), ..Thing::new(normal(name), "distribution") }
}
