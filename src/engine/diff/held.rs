//! What the last exports and imports held, thing by thing: `held/` in the state directory, for `status`. No bundle is needed to
//! compare with it, nor a key.
//!
//! One file a run, zstd over JSON lines: [`About`], then one [`Thing`] a line, component by component. Of secrets there are the
//! names; nothing else is told of them, not even a digest. `<export|import>-<16 hex digits of the profile's name's digest>-
//! <when, 12 digits>-<key>.zst`; the key is the run of an import, and the beginning of the id of an export.

use crate::base::digest::Digest;
use crate::base::fsx;
use crate::base::json;
use crate::base::limits::MAX_LIST_LINE;
use crate::base::name::ComponentName;
use crate::base::path::{BundlePath, ShownPath};
use crate::component::{require_short, Against, Component, Kind, StreamSource, Thing};
use crate::engine::diff::sorted;
use crate::engine::error::{EngineError, In, Result};
use crate::engine::journal::Begun;
use crate::engine::state::State;
use crate::format::BundleId;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

/// How many imports of a profile are kept: after a rollback, the one before counts again.
const IMPORTS: usize = 5;
/// The compression level: written once, at the end of a run.
const LEVEL: i32 = 3;

/// Which way the bundle went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Out of this machine.
    Export,
    /// Onto it.
    Import,
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// Which way the bundle went.
    pub way: Way,
    /// The bundle.
    pub bundle: BundleId,
    /// Its profile's name.
    pub profile: String,
    /// When: Unix time in seconds.
    pub when: u64,
    /// `--map`, each.
    pub maps: Vec<(ShownPath, ShownPath)>,
    /// Each component: what it takes to make it again, and how many things it held.
    pub components: Vec<(Begun, u64)>,
}

/// All of it: the things of each component in the order of their names.
pub type Held = (About, Vec<Vec<Thing>>);

/// Puts together what each component held; `about` gets how many things that were.
pub fn of(about: impl FnOnce(Vec<(Begun, u64)>) -> About, held: Vec<(Begun, Vec<Thing>)>) -> Held {
    let (begun, things): (Vec<Begun>, Vec<Vec<Thing>>) = held.into_iter().unzip();
    let counts: Vec<u64> = things.iter().map(|things| things.len() as u64).collect();
    (about(begun.into_iter().zip(counts).collect()), things)
}

/// What a component holds, in the order of names, if that is not too long to be kept.
pub fn of_component(
    name: &ComponentName,
    kind: &dyn Kind,
    component: &dyn Component,
    streams: &dyn StreamSource,
    only: &[BundlePath],
) -> Result<Vec<Thing>> {
    require_short(kind.lists(), streams).within(name)?;
    component.holds(streams, &Against { only, ..Against::NOTHING }).map(sorted).within(name)
}

/// Keeps what the run `key` held, and forgets what that makes needless.
pub fn keep(state: &State, key: &str, (about, things): &Held) -> Result<()> {
    let dir = state.ensure_held()?;
    let beginning = beginning(about.way, &about.profile);
    let path = dir.join(format!("{beginning}{:012}-{key}.zst", about.when));
    let bytes = write(about, things).map_err(|error| EngineError::Io { path: path.clone(), error })?;
    fsx::write_atomic(&path, 0o600, &bytes).map_err(|error| EngineError::Io { path, error })?;
    let kept = match about.way {
        Way::Export => 1,
        Way::Import => IMPORTS,
    };
    for old in names(&dir, &beginning)?.iter().rev().skip(kept) {
        // One that stays takes room, and no more.
        let _ = std::fs::remove_file(dir.join(old));
    }
    Ok(())
}

/// Forgets what an import put in place that was undone. One that stays takes room, and no more.
pub fn forget(state: &State, run: &str) {
    let (dir, end) = (state.held_dir(), format!("-{run}.zst"));
    for name in names(&dir, "import-").unwrap_or_default().iter().filter(|name| name.ends_with(&end)) {
        let _ = std::fs::remove_file(dir.join(name));
    }
}

/// What the run `key` of `profile` held; `None` if that was not kept. An error says why it cannot be read.
pub fn find(state: &State, way: Way, profile: &str, key: &str) -> Result<Option<Held>> {
    let (dir, end) = (state.held_dir(), format!("-{key}.zst"));
    let names = names(&dir, &beginning(way, profile))?;
    let Some(name) = names.into_iter().rev().find(|name| name.ends_with(&end)) else { return Ok(None) };
    let path = dir.join(name);
    read(&path).map(Some).map_err(|error| EngineError::Io { path, error })
}

fn beginning(way: Way, profile: &str) -> String {
    let way = if way == Way::Export { "export" } else { "import" };
    format!("{way}-{}-", &Digest::of(profile.as_bytes()).to_string()[..16])
}

/// The names in `dir` that begin so, in the order of time.
fn names(dir: &Path, beginning: &str) -> Result<Vec<String>> {
    let io = |error| EngineError::Io { path: PathBuf::from(dir), error };
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(io)?.file_name().into_string().ok());
    }
    names.retain(|name| name.starts_with(beginning));
    names.sort_unstable();
    Ok(names)
}

fn write(about: &About, things: &[Vec<Thing>]) -> io::Result<Vec<u8>> {
    let mut out = zstd::Encoder::new(Vec::new(), LEVEL)?;
    out.include_checksum(true)?;
    serde_json::to_writer(&mut out, about)?;
    out.write_all(b"\n")?;
    for thing in things.iter().flatten() {
        serde_json::to_writer(&mut out, thing)?;
        out.write_all(b"\n")?;
    }
    out.finish()
}

fn read(path: &Path) -> io::Result<Held> {
    let mut lines = BufReader::new(zstd::Decoder::new(std::fs::File::open(path)?)?);
    let mut line = Vec::new();
    let mut next = |line: &mut Vec<u8>| -> io::Result<bool> {
        line.clear();
        lines.by_ref().take(16 * MAX_LIST_LINE as u64).read_until(b'\n', line)?;
        Ok(line.pop() == Some(b'\n'))
    };
    let damaged = || io::Error::from(io::ErrorKind::InvalidData);
    if !next(&mut line)? {
        return Err(damaged());
    }
    let about: About = json::from_slice(&line)?;
    let mut all = Vec::with_capacity(about.components.len());
    for (_, count) in &about.components {
        let mut things: Vec<Thing> = Vec::new();
        for _ in 0..*count {
            if !next(&mut line)? {
                return Err(damaged());
            }
            things.push(json::from_slice(&line)?);
        }
        all.push(things);
    }
    match next(&mut line)? {
        false => Ok((about, all)),
        true => Err(damaged()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::Secret;

    fn held(way: Way, when: u64) -> Held {
        let begun = Begun {
            name: ComponentName::new("app").unwrap(),
            kind: "files".into(),
            facts: serde_json::json!({}),
            overrides: None,
            carved: vec![],
            only: vec![],
            rewrites: vec![],
        };
        let secret = Thing {
            is_secret: true,
            secret: Some(Secret::from(b"hunter2".to_vec())),
            ..Thing::new("$K", "variable")
        };
        let things = vec![secret, Thing { size: Some(1), ..Thing::new("a", "file") }];
        let (bundle, profile, maps) = (BundleId([7; 32]), "p".to_owned(), vec![]);
        (About { way, bundle, profile, when, maps, components: vec![(begun, 2)] }, vec![things])
    }

    #[test]
    fn what_was_kept_is_found_and_the_old_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::new(dir.path().join("state"));
        assert!(find(&state, Way::Export, "p", "k").unwrap().is_none());
        for when in 1..=7 {
            keep(&state, &format!("e{when}"), &held(Way::Export, when)).unwrap();
            keep(&state, &format!("i{when}"), &held(Way::Import, when)).unwrap();
        }
        assert_eq!(std::fs::read_dir(state.held_dir()).unwrap().count(), 1 + IMPORTS);
        let there = |way, key: &str| find(&state, way, "p", key).unwrap().map(|(about, _)| about.when);
        assert_eq!((there(Way::Export, "e7"), there(Way::Export, "e6")), (Some(7), None));
        assert_eq!((there(Way::Import, "i3"), there(Way::Import, "i2")), (Some(3), None));
        ["i3", "e7"].into_iter().for_each(|run| forget(&state, run));
        assert_eq!((there(Way::Import, "i3"), there(Way::Import, "i4")), (None, Some(4)));
        let (about, things) = find(&state, Way::Export, "p", "e7").unwrap().unwrap();
        assert_eq!(about, held(Way::Export, 7).0);
        assert!(things[0][0].secret.is_none() && things[0][1] == held(Way::Export, 7).1[0][1]);
    }

    #[test]
    fn a_damaged_one_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::new(dir.path().to_owned());
        keep(&state, "k", &held(Way::Export, 1)).unwrap();
        let path = std::fs::read_dir(state.held_dir()).unwrap().next().unwrap().unwrap().path();
        let good = std::fs::read(&path).unwrap();
        for bad in [&good[..good.len() - 5], b"", &good[1..]] {
            std::fs::write(&path, bad).unwrap();
            assert!(find(&state, Way::Export, "p", "k").is_err());
        }
    }
}
