//! Looks whether everything is as it should be: in the staging area, and in place.

use super::home::Packed;
use super::index::{Node, Row};
use super::meta::{read_xattrs, Meta, Names};
use super::plan::{Expect, FilesPlan, Source};
use super::sparse;
use super::stage::{folder_meta, staged_mode};
use super::walk::{gone, stat_at, Kind, Stat};
use crate::base::fsx::Dir;
use crate::base::path::{shown, BundlePath};
use crate::component::{parallel, CheckResult, Error, Progress, Result, Scope};
use rustix::fs::{readlinkat, Mode, OFlags};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What is checked, in the order in which it is told.
const ASPECTS: [&str; 7] =
    ["entries", "content", "modes", "times", "owners", "attributes", "rewritten for this home"];
const ENTRIES: usize = 0;
const CONTENT: usize = 1;
const MODES: usize = 2;
const TIMES: usize = 3;
const OWNERS: usize = 4;
const ATTRIBUTES: usize = 5;
const REWRITTEN: usize = 6;

/// How many were looked at under each aspect, and which were not right.
#[derive(Default)]
struct Tally {
    seen: [u64; ASPECTS.len()],
    wrong: [u64; ASPECTS.len()],
    first: [Option<BundlePath>; ASPECTS.len()],
}

impl Tally {
    fn count(&mut self, aspect: usize, path: &BundlePath, right: bool) {
        self.seen[aspect] += 1;
        if !right {
            self.wrong[aspect] += 1;
            if self.first[aspect].as_ref().is_none_or(|first| path < first) {
                self.first[aspect] = Some(path.clone());
            }
        }
    }

    fn add(&mut self, other: Tally) {
        for aspect in 0..ASPECTS.len() {
            self.seen[aspect] += other.seen[aspect];
            self.wrong[aspect] += other.wrong[aspect];
        }
        for (mine, theirs) in self.first.iter_mut().zip(other.first) {
            *mine = match (mine.take(), theirs) {
                (Some(mine), Some(theirs)) => Some(mine.min(theirs)),
                (mine, theirs) => mine.or(theirs),
            };
        }
    }

    fn results(&self, base: &Path, what: &str) -> Vec<CheckResult> {
        let checked = (0..ASPECTS.len()).filter(|&aspect| self.seen[aspect] > 0);
        checked
            .map(|aspect| {
                let (seen, wrong) = (self.seen[aspect], self.wrong[aspect]);
                let failure = self.first[aspect].as_ref().map(|first| {
                    let first = shown(&base.join(first.as_path()));
                    format!("{wrong} of {seen} are not as they should be, the first is {first}")
                });
                CheckResult::new(format!("{what}: {} ({seen})", ASPECTS[aspect]), failure)
            })
            .collect()
    }
}

/// Whether everything was staged, with its size and mode. Content was digested while it was written.
pub fn staged(plan: &FilesPlan) -> Result<Vec<CheckResult>> {
    if plan.items.is_empty() {
        return Ok(Vec::new());
    }
    let failed = Error::at(&plan.side);
    let into = Dir::open(&plan.side.join("new")).map_err(failed)?;
    let mut tally = Tally::default();
    for item in &plan.items {
        let row = |row: usize| &plan.rows[row];
        let source = match &item.source {
            Source::LinkTo(first) => &plan.items[*first].source,
            source => source,
        };
        let (kind, size, mode) = match (source, folder_meta(plan, item)) {
            (_, Some(meta)) => (Kind::Dir, None, Some(staged_mode(item, meta).0)),
            (Source::Row(number), None) => match &row(*number).node {
                Node::File(file) => (Kind::File, Some(file.size), Some(file.meta.mode.0)),
                _ => (Kind::Symlink, None, None),
            },
            _ => continue,
        };
        let stat = look(&into, &item.staged).map_err(failed)?;
        tally.count(ENTRIES, &item.path, stat.is_some_and(|stat| stat.kind == kind));
        let Some(stat) = stat else { continue };
        if let Some(size) = size {
            tally.count(CONTENT, &item.path, stat.size == size);
        }
        if let Some(mode) = mode {
            tally.count(MODES, &item.path, stat.mode == mode);
        }
    }
    Ok(tally.results(&plan.base, "staged"))
}

/// Whether everything is in place. What was written now is read again; what stayed only has to be there, for
/// programs may be writing to it.
pub fn in_place(plan: &FilesPlan, scope: &Scope<'_>) -> Result<Vec<CheckResult>> {
    if plan.expect.is_empty() {
        return Ok(Vec::new());
    }
    let base = Dir::open(&plan.base).map_err(Error::at(&plan.base))?;
    let names = Names::default();
    let read = plan.expect.iter().map(|expect| match &plan.rows[expect.row].node {
        Node::File(file) if expect.fresh && expect.same_as.is_none() => file.size,
        _ => 0,
    });
    scope.progress.expect(read.sum());
    let next = AtomicUsize::new(0);
    let work = || {
        let mut tally = Tally::default();
        let names = scope.host.is_root().then_some(&names);
        let look = Look { base: &base, progress: scope.progress, names, packed: &plan.packed };
        while let Some(expect) = plan.expect.get(next.fetch_add(1, Ordering::Relaxed)) {
            look.at(expect, &plan.rows[expect.row], &mut tally)
                .map_err(|e| Error::io(shown(&plan.base.join(expect.path.as_path())), e))?;
        }
        Ok(tally)
    };
    let mut tally = Tally::default();
    parallel(scope.threads, work)?.into_iter().for_each(|part| tally.add(part));
    Ok(tally.results(&plan.base, "in place"))
}

/// What is at `path`, looked up beneath `dir`.
fn look(dir: &Dir, path: &BundlePath) -> io::Result<Option<Stat>> {
    let stat = match path.parent() {
        Some(parent) => dir.reach(parent.as_path()).and_then(|dir| stat_at(dir, path.file_name())),
        None => stat_at(dir, path.file_name()),
    };
    match stat {
        Err(e) if gone(&e) => Ok(None),
        stat => stat.map(Some),
    }
}

struct Look<'a> {
    base: &'a Dir,
    progress: &'a dyn Progress,
    names: Option<&'a Names>,
    packed: &'a BTreeMap<usize, Packed>,
}

impl Look<'_> {
    fn at(&self, expect: &Expect, row: &Row, tally: &mut Tally) -> io::Result<()> {
        let path = &expect.path;
        let stat = look(self.base, path)?;
        let (kind, meta) = match &row.node {
            Node::File(file) => (Kind::File, &file.meta),
            Node::Symlink(meta, _) => (Kind::Symlink, meta),
            Node::Dir(meta) => (Kind::Dir, meta),
            Node::Link(_) => return Ok(()),
        };
        tally.count(ENTRIES, path, stat.is_some_and(|stat| stat.kind == kind));
        let Some(stat) = stat.filter(|stat| stat.kind == kind) else { return Ok(()) };
        self.meta(path, &stat, meta, tally);
        if !expect.fresh {
            return Ok(());
        }
        match &row.node {
            Node::File(file) => {
                let fd = self.base.open_at(path.as_path(), OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty());
                let fd = match fd {
                    // Its owner may have no right to read it; then size and time must do.
                    Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                        tally.count(CONTENT, path, stat.size == file.size);
                        return Ok(());
                    }
                    opened => opened?,
                };
                tally.count(TIMES, path, stat.mtime == meta.mtime);
                tally.count(ATTRIBUTES, path, read_xattrs(&fd)?.0 == meta.xattrs);
                let right = match &expect.same_as {
                    Some(first) => look(self.base, first)?.is_some_and(|first| first.file == stat.file),
                    None => {
                        let mut read = File::from(fd);
                        stat.size == file.size && sparse::digest(&mut read, self.progress)? == file.digest
                    }
                };
                tally.count(CONTENT, path, right);
                let packed = self.packed.get(&expect.row).filter(|_| expect.same_as.is_none());
                if packed.is_some_and(|packed| packed.places > 0) {
                    tally.count(REWRITTEN, path, right);
                }
            }
            Node::Symlink(_, target) => {
                tally.count(TIMES, path, stat.mtime == meta.mtime);
                let read =
                    |at: &dyn Fn() -> rustix::io::Result<std::ffi::CString>| at().map(|t| t.into_bytes());
                let held = match path.parent() {
                    Some(parent) => {
                        let dir = self.base.reach(parent.as_path())?;
                        read(&|| readlinkat(dir.as_fd(), path.file_name(), Vec::new()))?
                    }
                    None => read(&|| readlinkat(self.base, path.file_name(), Vec::new()))?,
                };
                tally.count(CONTENT, path, held == *target);
            }
            Node::Dir(_) | Node::Link(_) => {}
        }
        Ok(())
    }

    fn meta(&self, path: &BundlePath, stat: &Stat, meta: &Meta, tally: &mut Tally) {
        if stat.kind != Kind::Symlink {
            tally.count(MODES, path, stat.mode == meta.mode.0);
        }
        if let Some(names) = self.names {
            tally.count(OWNERS, path, names.owner(meta) == (stat.uid, stat.gid));
        }
    }
}
