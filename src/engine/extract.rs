//! `extract`: a component's streams as they are, into files, without restoring anything.

use crate::base::interrupt;
use crate::base::path::ShownPath;
use crate::component::StreamSource;
use crate::engine::error::{EngineError, In, Result};
use crate::engine::events::Events;
use crate::engine::gate::Bundle;
use crate::format::ComponentEntry;
use serde::Serialize;
use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// One extracted stream.
#[derive(Debug, Serialize)]
pub struct Extracted {
    /// The file.
    pub path: ShownPath,
    /// Bytes.
    pub size: u64,
}

/// What a second signal says.
const STOPPED: &str =
    "error: stopped by a second signal: what was extracted so far is still there\n todo: remove it\n";

/// Writes the streams of the component called `name` to `dir/<component>/<stream>` (directories 0700,
/// files 0600). Nothing is overwritten; after an error none of the files is left.
pub fn extract(bundle: &Bundle, name: &str, dir: &Path, events: &dyn Events) -> Result<Vec<Extracted>> {
    let components = &bundle.opened.manifest().components;
    let entry =
        components.iter().find(|c| c.name.as_str() == name).ok_or_else(|| EngineError::NoSuchComponent {
            name: name.to_owned(),
            of: format!(
                "; there are: {}",
                components.iter().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ")
            ),
        })?;
    events.step(&format!("extracting {name}"));
    events.expect(entry.streams.iter().map(|s| s.size).sum());
    interrupt::watch(STOPPED).map_err(|error| EngineError::Io { path: dir.to_owned(), error })?;
    let mut written = Vec::new();
    let outcome = write_all(bundle, entry, dir, events, &mut written);
    if outcome.is_err() {
        for extracted in &written {
            let _ = std::fs::remove_file(&extracted.path.0);
            // And the folders that were made for it, if nothing else is in them.
            for folder in extracted.path.0.ancestors().skip(1).take_while(|folder| *folder != dir) {
                let _ = std::fs::remove_dir(folder);
            }
        }
    }
    outcome.map(|()| written)
}

fn write_all(
    bundle: &Bundle,
    entry: &ComponentEntry,
    dir: &Path,
    events: &dyn Events,
    written: &mut Vec<Extracted>,
) -> Result<()> {
    let source = bundle.opened.streams(entry);
    for info in source.list() {
        let path = dir.join(entry.name.as_str()).join(info.name.as_str());
        let io = |error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists => EngineError::ExtractedExists(path.clone()),
            _ => EngineError::Io { path: path.clone(), error },
        };
        let parent = path.parent().unwrap_or(dir);
        DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(io)?;
        let mut reader = source.open(&info.name).within(&entry.name)?;
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(&path).map_err(io)?;
        written.push(Extracted { path: path.as_path().into(), size: info.size });
        let mut buffer = zeroize::Zeroizing::new(vec![0; 128 * 1024]);
        loop {
            let n = reader.read(&mut buffer).map_err(io)?;
            if n == 0 {
                break;
            }
            file.write_all(&buffer[..n]).map_err(io)?;
            events.advance(n as u64);
        }
        file.sync_all().map_err(io)?;
    }
    Ok(())
}
