//! What an environment is to be made from, out of the bundle; and whether one is made from it already.

use super::facts::Environment;
use super::installed::{self, Installed};
use super::names::normal;
use super::requirement::{self, Requirement, MAX_TEXT};
use super::rows::{self, Pin, WheelRow};
use super::site::Mark;
use super::wheel::WheelName;
use super::{INSTALLED, REQUIREMENTS, WHEELS};
use crate::base::digest::{Digest, Hasher};
use crate::component::{stream_name, Error, Result, StreamSource};
use std::fmt::Display;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// What an environment is to be made from.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// What the manifest says.
    pub environment: Environment,
    /// What is to be installed.
    pub requirements: Vec<Requirement>,
    /// What was installed on the source.
    pub pins: Vec<Pin>,
    /// The wheels in the bundle.
    pub wheels: Vec<(WheelName, WheelRow)>,
    /// Of all of it.
    pub digest: Digest,
}

impl Wanted {
    /// From the streams. Rules V4 to V6.
    pub fn read(environment: &Environment, streams: &dyn StreamSource) -> Result<Wanted> {
        let mut text = String::new();
        let stream = streams.open(&stream_name(REQUIREMENTS)?)?;
        let read = stream.take(MAX_TEXT + 1).read_to_string(&mut text);
        let rule = |what: &dyn Display| Error::rule("V3", format_args!("stream {REQUIREMENTS}: {what}"));
        match read {
            Err(e) if e.kind() == ErrorKind::InvalidData => return Err(rule(&"it is not UTF-8")),
            read => read.map_err(|e| Error::io(format_args!("stream {REQUIREMENTS}"), e))?,
        };
        if text.len() as u64 > MAX_TEXT {
            return Err(rule(&"it is too long"));
        }
        let requirements = requirement::read_plain(&text)
            .map_err(|bad| rule(&format_args!("line {}: it {}", bad.line, bad.what)))?;
        let pins = rows::read_pins(streams.open(&stream_name(INSTALLED)?)?, environment.distributions)?;
        let wheels = match environment.wheels {
            Some(wheels) => rows::read_wheels(streams.open(&stream_name(WHEELS)?)?, wheels)?,
            None => Vec::new(),
        };
        let files = streams.list().iter().skip(3).map(|info| info.size);
        if !files.eq(wheels.iter().map(|(_, row)| row.size)) {
            return Err(Error::rule("V5", "the streams of the wheels have not the sizes that the list says"));
        }
        let mut hasher = Hasher::new();
        let rows: Vec<&WheelRow> = wheels.iter().map(|(_, row)| row).collect();
        let parts =
            [text.into_bytes(), rows::write(&pins)?, rows::write(&rows)?, environment.seeds.join(",").into()];
        for part in &parts {
            hasher.update(&(part.len() as u64).to_be_bytes());
            hasher.update(part);
        }
        let (environment, digest) = (environment.clone(), hasher.finish());
        Ok(Wanted { environment, requirements, pins, wheels, digest })
    }
}

/// `3.11` of `3.11.2`.
pub fn minor_of(version: &str) -> String {
    version.split('.').take(2).collect::<Vec<_>>().join(".")
}

/// Whether exactly what was installed on the source is installed.
pub fn is_same(installed: &Installed, wanted: &Wanted) -> bool {
    let same = |(d, pin): (&installed::Distribution, &Pin)| {
        d.origin.is_none() && normal(&d.name) == normal(&pin.name) && d.version == pin.version
    };
    let all = &installed.distributions;
    all.len() == wanted.pins.len() && all.iter().zip(&wanted.pins).all(same) && installed.strange.is_empty()
}

/// Whether it was built here from the same, and nothing in it changed since: what is asked for may come to other
/// distributions here than on the source.
pub fn built_from(path: &Path, wanted: &Wanted) -> Result<bool> {
    Ok(Mark::of(path)?.is_some_and(|mark| mark.wanted == wanted.digest))
}
