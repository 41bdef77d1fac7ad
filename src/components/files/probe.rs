//! Looks into the target's files where their metadata alone does not tell whether they are the bundle's.

use super::home::Packed;
use super::index::{Node, Row};
use super::meta::{read_xattrs, Xattrs};
use super::place::{Placed, Target};
use super::sparse;
use super::walk::Kind;
use crate::base::digest::Digest;
use crate::base::path::BundlePath;
use crate::component::{parallel, Progress, Result, Scope};
use rustix::fs::{Mode, OFlags};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What was seen in a file of the target.
pub struct Probe {
    /// Whether its content is the row's, as far as size and time, or else the digest, tell.
    pub same_content: bool,
    /// Its extended attributes.
    pub xattrs: Xattrs,
}

/// By the number of the placed row. A file that could not be read is missing: it counts as different.
pub struct Probes(HashMap<usize, Probe>);

impl Probes {
    /// What was seen for a placed row.
    pub fn get(&self, number: usize) -> Option<&Probe> {
        self.0.get(&number)
    }
}

/// Opens every file of the target that has its row's size: for its attributes, and, where its time does not
/// prove it to be the row's, for its digest.
///
/// A file in which paths are rewritten is always read: it has the time of the one that was packed, or one that only kbpack gave it.
pub fn probe(
    target: &Target,
    rows: &[Row],
    placed: &[Placed],
    packed: &BTreeMap<usize, Packed>,
    scope: &Scope<'_>,
) -> Result<Probes> {
    let firsts: HashMap<&BundlePath, usize> = rows.iter().map(|row| &row.path).zip(0..).collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut seen = HashMap::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(one) = placed.get(number) else { return Ok(seen) };
            let content = match &rows[one.row].node {
                Node::Link(first) => firsts.get(first).copied(),
                _ => Some(one.row),
            };
            let node = content.map(|number| &rows[number].node);
            let rewritten = content.and_then(|number| packed.get(&number)).is_some_and(|p| p.places > 0);
            let there = one.there.map(|i| &target.walk.entries[i]);
            let (Some(Node::File(file)), Some(there)) = (node, there) else { continue };
            if there.stat.kind != Kind::File || there.stat.size != file.size {
                continue;
            }
            // A kernel writes nanoseconds. A time in whole seconds was set by a tool (an archive, a build that
            // pins all times) and says nothing of the content.
            let same_time = !rewritten && there.stat.mtime == file.meta.mtime && file.meta.mtime.ns != 0;
            if !same_time {
                scope.progress.expect(file.size);
            }
            let probe = look(target, &one.path, (!same_time).then_some(file.digest), scope.progress);
            seen.extend(probe.map(|probe| (number, probe)));
        }
    };
    let parts = parallel(scope.threads, work)?;
    Ok(Probes(parts.into_iter().flatten().collect()))
}

/// Looks into one file; with `like`, also whether its content is that one's.
fn look(target: &Target, path: &BundlePath, like: Option<Digest>, progress: &dyn Progress) -> Option<Probe> {
    let fd = target.dir.open_at(path.as_path(), OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).ok()?;
    let (xattrs, _) = read_xattrs(&fd).ok()?;
    let same_content = match like {
        Some(like) => sparse::digest(&mut File::from(fd), progress).ok()? == like,
        None => true,
    };
    Some(Probe { same_content, xattrs })
}
