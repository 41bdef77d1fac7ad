//! Takes a commit back, from its acts alone: each may be done, half done or not done. And ends it for good.

use super::act::{path_of, FileAct};
use super::kept::{clear_empties, keep, names, to_free};
use super::meta::Meta;
use super::plan::Stamp;
use super::seat::{is_tight, is_unmovable, slot_stat, Seat, Slots};
use super::site::{remove_side, resolve, sides_left};
use super::stage::MARK;
use super::walk::{gone, stat_at, warning, Kind, Stat};
use super::Files;
use crate::base::fsx::Dir;
use crate::base::path::{shown, BundlePath};
use crate::component::{Act, Error, Finding, Result, Scope};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Puts the old state back and removes the staging area.
pub fn undo(files: &Files, scope: &Scope<'_>, acts: &[Act]) -> Result<Vec<Finding>> {
    undo_until(files, scope, acts, usize::MAX)
}

/// Undoes, and stops before the act of the number `stop`, counted from the end: so a test sees every state that
/// a kill can leave.
pub(super) fn undo_until(
    files: &Files,
    scope: &Scope<'_>,
    acts: &[Act],
    stop: usize,
) -> Result<Vec<Finding>> {
    let acts = acts.iter().map(FileAct::read).collect::<Result<Vec<_>>>()?;
    let Some(Places { base, ino, side }) = places(&acts)? else {
        // Nothing was committed: what was staged is all there is.
        let root = resolve(&files.root)?.real;
        sides_left(&root, scope.run, files.name.as_str()).iter().try_for_each(|side| remove_side(side))?;
        return Ok(Vec::new());
    };
    let seat = Seat::open(&base)?;
    let mut undo = Undo {
        seat,
        carved: scope.carved,
        is_root: scope.host.is_root(),
        run: scope.run,
        findings: Vec::new(),
    };
    // Without a staging area the steps were taken back already, or somebody else took it away.
    if let Some(slots) = Slots::open(&side)? {
        for act in &acts {
            if let FileAct::Dir { path, old, new } = act {
                if is_tight(old.mode.0) || new.as_ref().is_some_and(|new| is_tight(new.mode.0)) {
                    undo.open_up(path.as_ref(), old)?;
                }
            }
        }
        let staged = stat_at(&slots.side, MARK).ok();
        for (number, act) in acts.iter().rev().enumerate() {
            if number == stop {
                return Ok(undo.findings);
            }
            undo.take_back(act, &slots, staged.as_ref())?;
        }
        // What the staging area held is back in its place, on disk, before the area goes.
        undo.seat.sync()?;
    } else {
        undo.is_taken_back(&acts, ino, &side)?;
    }
    remove_side(&side)?;
    for act in acts.iter().rev() {
        if let FileAct::Dir { path, old, new } = act {
            undo.restore_dir(path.as_ref(), old, new.is_some())?;
        }
    }
    undo.seat.sync()?;
    undo.findings.reverse();
    Ok(undo.findings)
}

/// Removes the staging area and what was replaced. After this there is no undo.
pub fn finalise(files: &Files, scope: &Scope<'_>, acts: &[Act]) -> Result<()> {
    let acts = acts.iter().map(FileAct::read).collect::<Result<Vec<_>>>()?;
    match places(&acts)? {
        Some(Places { base, side, .. }) => {
            keep(&acts, &base, &side, scope)?;
            remove_side(&side)?;
            clear_empties(&acts)
        }
        None => {
            let root = resolve(&files.root)?.real;
            sides_left(&root, scope.run, files.name.as_str()).iter().try_for_each(|side| remove_side(side))
        }
    }
}

/// Where a commit worked.
struct Places {
    base: PathBuf,
    ino: u64,
    side: PathBuf,
}

/// The places, if the commit got as far as to write them down.
fn places(acts: &[FileAct]) -> Result<Option<Places>> {
    let open = acts.iter().find_map(|act| match act {
        FileAct::Open { base, ino, side } => Some((base, ino, side)),
        _ => None,
    });
    open.map(|(base, ino, side)| Ok(Places { base: path_of(base)?, ino: *ino, side: path_of(side)? }))
        .transpose()
}

struct Undo<'a> {
    seat: Seat,
    /// What belongs to other components, whose own commits and undos move the times around it.
    carved: &'a [PathBuf],
    is_root: bool,
    run: &'a str,
    findings: Vec<Finding>,
}

impl Undo<'_> {
    /// That there is no staging area any more is the end of an undo only where nothing of the commit is left.
    fn is_taken_back(&mut self, acts: &[FileAct], ino: u64, side: &Path) -> Result<()> {
        let gone = |what: &str| {
            Err(Error::not_ready(format_args!("the staging area {} is gone, and {what}", shown(side))))
        };
        let base = self.seat.base_stat().map_err(|e| Error::io("the root of the tree", e))?;
        if base.file.1 != ino {
            return gone("the folder is not the one that the import changed (is its file system mounted?)");
        }
        for act in acts {
            let FileAct::Put { path, new, .. } = act else { continue };
            let now = self.seat.stat(path).map_err(|e| self.seat.failed(path, e))?;
            if now.is_some_and(|now| new.is(&now)) {
                let what = format!("what the import put at {} is still there", shown(&self.seat.at(path)));
                return gone(&what);
            }
        }
        Ok(())
    }

    fn open_up(&mut self, path: Option<&BundlePath>, old: &Meta) -> Result<()> {
        match self.seat.set_mode(path, old.mode.0 | 0o700) {
            Err(e) if !gone(&e) => Err(self.failed(path, e)),
            _ => Ok(()),
        }
    }

    fn failed(&self, path: Option<&BundlePath>, error: io::Error) -> Error {
        match path {
            Some(path) => self.seat.failed(path, error),
            None => Error::io("the root of the tree", error),
        }
    }

    fn owner(&self, meta: &Meta) -> Option<(u32, u32)> {
        self.is_root.then_some((meta.uid, meta.gid))
    }

    fn restore_dir(&mut self, path: Option<&BundlePath>, old: &Meta, changed: bool) -> Result<()> {
        match self.seat.set_meta(path, Kind::Dir, old, self.owner(old)) {
            Err(e) if gone(&e) => Ok(()),
            // Another user's, in which we may only make names: all but its time is as it was.
            Err(e) if !changed && e.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            done => done.map_err(|e| self.failed(path, e)),
        }
    }

    fn take_back(&mut self, act: &FileAct, slots: &Slots, staged: Option<&Stat>) -> Result<()> {
        let (path, done) = match act {
            FileAct::Open { .. } | FileAct::Dir { .. } | FileAct::Empty { .. } => return Ok(()),
            FileAct::Folder { path, slot, new } => (path, self.folder(path, *slot, new, slots)),
            FileAct::Put { path, slot, new, old, .. } => {
                (path, self.put(path, *slot, new, old.as_ref(), slots, staged))
            }
            FileAct::Remove { path, slot, old, .. } => (path, self.bring_back(path, &slots.old, *slot, old)),
            FileAct::Meta { path, stamp, old, new } => (path, self.meta(path, stamp, old, new)),
        };
        done.map_err(|e| self.seat.failed(path, e))
    }

    /// A directory above the root goes if it is ours and nothing is in it. What others put there stays, and it too.
    fn folder(&mut self, path: &BundlePath, slot: u32, new: &Stamp, slots: &Slots) -> io::Result<()> {
        let done = slot_stat(&slots.new, slot)?.is_none();
        if done && self.seat.stat(path)?.is_some_and(|now| new.is(&now)) {
            self.seat.remove_empty(path)?;
        }
        Ok(())
    }

    fn put(
        &mut self,
        path: &BundlePath,
        slot: u32,
        new: &Stamp,
        old: Option<&Stamp>,
        slots: &Slots,
        staged: Option<&Stat>,
    ) -> io::Result<()> {
        let here = slot_stat(&slots.new, slot)?;
        let now = self.seat.stat(path)?;
        let Some(old) = old else {
            // Not done as long as the new thing is still in its slot.
            return match now {
                Some(now) if here.is_none() => self.clear(path, &now, new, slots, slot, staged),
                _ => Ok(()),
            };
        };
        let aside = if slot_stat(&slots.old, slot)?.is_some_and(|aside| old.is(&aside)) {
            &slots.old
        } else if here.is_some_and(|here| old.is(&here)) {
            &slots.new
        } else {
            return self.last_bits_if_there(path, old);
        };
        if let Some(now) = now {
            if !new.is(&now) || self.is_edited(path, &now, new, staged)? {
                self.keep(path, slot)?;
            } else if std::ptr::eq(aside, &slots.new) {
                self.make_movable(path, new)?;
                if self.seat.exchange(&slots.new, slot, path)? {
                    return self.last_bits(path, old);
                }
                self.keep(path, slot)?;
            } else {
                self.make_movable(path, new)?;
                self.seat.take(path, &slots.new, slot)?;
            }
        }
        self.bring_back(path, aside, slot, old)
    }

    /// Takes away what a step put at `path`, or keeps it aside if it is no longer quite that.
    fn clear(
        &mut self,
        path: &BundlePath,
        now: &Stat,
        new: &Stamp,
        slots: &Slots,
        slot: u32,
        staged: Option<&Stat>,
    ) -> io::Result<()> {
        if !new.is(now) || self.is_edited(path, now, new, staged)? {
            return self.keep(path, slot);
        }
        self.make_movable(path, new)?;
        self.seat.take(path, &slots.new, slot)
    }

    fn make_movable(&mut self, path: &BundlePath, stamp: &Stamp) -> io::Result<()> {
        if !stamp.dir {
            return Ok(());
        }
        self.seat.set_mode(Some(path), stamp.mode.0 | 0o200)
    }

    fn last_bits(&mut self, path: &BundlePath, old: &Stamp) -> io::Result<()> {
        if is_unmovable(old) {
            self.seat.set_mode(Some(path), old.mode.0)?;
        }
        Ok(())
    }

    /// Moves what was set aside back to `path`. What stands there is kept under another name.
    fn bring_back(&mut self, path: &BundlePath, from: &Dir, slot: u32, old: &Stamp) -> io::Result<()> {
        if !slot_stat(from, slot)?.is_some_and(|aside| old.is(&aside)) {
            return self.last_bits_if_there(path, old);
        }
        if self.seat.stat(path)?.is_some() {
            self.keep(path, slot)?;
        }
        self.seat.put(from, slot, path)?;
        self.last_bits(path, old)
    }

    fn last_bits_if_there(&mut self, path: &BundlePath, old: &Stamp) -> io::Result<()> {
        match self.seat.stat(path)? {
            Some(now) if old.is(&now) => self.last_bits(path, old),
            _ => Ok(()),
        }
    }

    /// Keeps what is at `path` under a name of its own, and says so.
    fn keep(&mut self, path: &BundlePath, slot: u32) -> io::Result<()> {
        let name = to_free(names(path, self.run, slot), |name| self.seat.rename(path, name))?;
        let at = self.seat.at(path);
        let kept = at.with_file_name(&name);
        self.findings
            .push(warning(&at, &format!("it was edited after the import; kept as {}", shown(&kept))));
        Ok(())
    }

    fn meta(&mut self, path: &BundlePath, stamp: &Stamp, old: &Meta, new: &Meta) -> io::Result<()> {
        let Some(now) = self.seat.stat(path)?.filter(|now| stamp.is(now)) else { return Ok(()) };
        let mut old = old.clone();
        // Its content was edited: that stays, with its time.
        if ![old.mtime, new.mtime].contains(&now.mtime) {
            old.mtime = now.mtime;
            self.findings
                .push(warning(&self.seat.at(path), "it was edited after the import; the edit stays"));
        }
        self.seat.set_meta(Some(path), now.kind, &old, self.owner(&old))
    }

    /// Whether what was put at `path` was edited afterwards; of a directory, anything in it.
    fn is_edited(
        &self,
        path: &BundlePath,
        now: &Stat,
        new: &Stamp,
        staged: Option<&Stat>,
    ) -> io::Result<bool> {
        if now.kind != Kind::Dir {
            return Ok(!new.is_unedited(now));
        }
        let Some(staged) = staged else { return Ok(true) };
        let at = self.seat.at(path);
        if !self.is_shared(&at) && now.mtime != new.mtime {
            return Ok(true);
        }
        self.edited_below(&self.seat.dir(path)?, &at, staged)
    }

    /// Whether a directory holds what belongs to another component, which moves its time. What is in it tells more.
    fn is_shared(&self, at: &Path) -> bool {
        self.carved.iter().any(|carved| carved.starts_with(at))
    }

    /// Whether anything in `dir`, which is at `at`, changed after staging was done. A time of last change cannot be set
    /// by hand.
    fn edited_below(&self, dir: &Dir, at: &Path, staged: &Stat) -> io::Result<bool> {
        let mut folders = Vec::new();
        for entry in rustix::fs::Dir::read_from(dir)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if matches!(name.as_bytes(), b"." | b"..") {
                continue;
            }
            let stat = stat_at(dir, name)?;
            let at = at.join(name);
            // Another name of the file may have been moved into place, which changes it for all its names.
            let moved = stat.nlink > 1 && stat.kind != Kind::Dir && stat.mtime <= staged.ctime;
            let shared = stat.kind == Kind::Dir && self.is_shared(&at);
            if stat.ctime > staged.ctime && !moved && !shared {
                return Ok(true);
            }
            if stat.kind == Kind::Dir {
                folders.push(at);
            }
        }
        for at in folders {
            let name = Path::new(at.file_name().unwrap_or_default());
            if self.edited_below(&dir.dir(name)?, &at, staged)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
