//! What is decided when all rows are: what goes, the directories that stay, whose the entries will be.

use super::builder::Builder;
use super::facts::{Facts, Mode};
use super::index::Node;
use super::meta::{read_xattrs, Meta, Xattrs};
use super::place::{closed, Placement};
use super::plan::{row_meta, DirStep, Stamp, Step};
use super::select::Selection;
use super::site::{io_at, Found};
use super::walk::{note, stat_fd, warning, Kind, Stat};
use crate::base::path::BundlePath;
use crate::component::{Change, ChangeKind, Finding, Result, Severity};
use rustix::fs::{accessat, Access, AtFlags, CWD};
use std::collections::{BTreeSet, HashSet};
use std::path::Path;

impl Builder<'_> {
    /// Mirror: what the bundle does not have goes.
    pub fn removals(&mut self, placement: &Placement) {
        let mut known: HashSet<usize> = placement.kept.iter().copied().collect();
        known.extend(self.placed.iter().filter_map(|placed| placed.there));
        let entries = &self.target.walk.entries;
        for (number, entry) in entries.iter().enumerate() {
            let with_parent = entry.path.parent().is_some_and(|parent| self.going.contains(&parent));
            if !with_parent && (known.contains(&number) || entry.pass || entry.stat.kind == Kind::Special) {
                continue;
            }
            if !with_parent {
                if entry.stat.kind == Kind::Dir && self.keeps_something(&entry.path) {
                    let at = self.target.at(&entry.path);
                    if self.backup.is_some() {
                        // What it holds belongs to another component, which may take it away in the end.
                        self.detail.empties.push(at);
                        continue;
                    }
                    self.out
                        .findings
                        .push(note(&at, "it stays, for it holds something that is not to be removed"));
                    continue;
                }
                let slot = self.next_slot();
                let parent = entry.path.parent();
                self.on_this_mount(&entry.path, parent.as_ref(), Some(number));
                let old = Stamp::of(&entry.stat);
                self.detail.steps.push(Step::Remove { path: entry.path.clone(), slot, old, keep: false });
                self.touched.insert(parent);
            }
            self.going.insert(entry.path.clone());
            let what = self.target.shown(Some(&entry.path));
            self.out.changes.push(Change { kind: ChangeKind::Removed, what });
        }
    }

    /// Directories that stay: their metadata, and their time where names come or go in them.
    pub fn directories(&mut self, facts: &Facts, selection: &Selection<'_>) -> Result<()> {
        let target = self.target;
        let failed = |e| io_at(&target.base, e);
        let stat = stat_fd(&target.dir).map_err(failed)?;
        let (xattrs, _) = read_xattrs(&target.dir).map_err(failed)?;
        let top = facts.top.clone().filter(|_| self.target.found == Found::Dir && selection.is_whole());
        self.directory(None, &stat, &xattrs, top, selection);
        for placed in self.placed {
            let Some(there) = placed.there.map(|i| &target.walk.entries[i]) else { continue };
            if let (Node::Dir(meta), Kind::Dir) = (&self.rows[placed.row].node, there.stat.kind) {
                let meant = !placed.pass || self.left_at(&placed.path).is_some();
                let new = meant.then(|| meta.clone());
                self.directory(Some(&placed.path), &there.stat, &there.xattrs, new, selection);
            }
        }
        for path in self.touched.iter().flatten().cloned().collect::<Vec<_>>() {
            if let Some(there) = target.entry(&path).map(|i| &target.walk.entries[i]) {
                self.directory(Some(&path), &there.stat, &there.xattrs, None, selection);
            }
        }
        self.detail.dirs.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(())
    }

    fn directory(
        &mut self,
        path: Option<&BundlePath>,
        there: &Stat,
        xattrs: &Xattrs,
        new: Option<Meta>,
        selection: &Selection<'_>,
    ) {
        let key = path.cloned();
        let touched = self.touched.remove(&key);
        let at = path.map_or_else(|| self.target.base.clone(), |path| self.target.at(path));
        if touched && !self.changeable(&at, there) {
            self.out.findings.push(closed(&at, "this user may not change what is in it"));
        }
        // Who adds to a directory moves its time: another component, or in an overlay whoever likes to.
        let any_time = self.files.options.mode == Mode::Overlay || selection.is_shared(path);
        let differs = new.as_ref().is_some_and(|new| {
            let mtime = if any_time { there.mtime } else { new.mtime };
            !self.same_meta(&Meta { mtime, ..new.clone() }, there, xattrs)
        });
        let mut new = new;
        if differs && !self.may_set(there) {
            self.out
                .findings
                .push(warning(&at, "it belongs to another user; its mode and time stay as they are"));
            self.foreign.extend(path.cloned());
            new = None;
        }
        if differs && new.is_some() {
            // A directory whose row was counted as unchanged.
            self.out.unchanged -= u64::from(path.is_some());
            let what = self.target.shown(path);
            self.out.changes.push(Change { kind: ChangeKind::Changed, what });
        }
        if touched || (differs && new.is_some()) {
            let mut old = there.meta(&self.names, xattrs.clone());
            old.mode.0 = there.mode;
            self.detail.dirs.push(DirStep { path: key, old, new });
        }
    }

    /// Whether names in the directory can be changed: now, or after its owner (this user) opened it up.
    fn changeable(&self, at: &Path, there: &Stat) -> bool {
        match accessat(CWD, at, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS) {
            Ok(()) => true,
            Err(rustix::io::Errno::ACCESS) => there.uid == self.scope.host.uid,
            Err(_) => false,
        }
    }

    /// Says which owners will not be the source's.
    pub fn owners(&mut self) {
        let metas = self.placed.iter().filter_map(|placed| row_meta(&self.rows[placed.row]));
        if self.scope.host.is_root() {
            let mut missing = BTreeSet::new();
            for meta in metas {
                if let Some(name) = meta.user.as_ref().filter(|name| self.names.uid(name).is_none()) {
                    missing.insert(format!(
                        "there is no user {name} here; what belongs to it gets the number {}",
                        meta.uid
                    ));
                }
                if let Some(name) = meta.group.as_ref().filter(|name| self.names.gid(name).is_none()) {
                    missing.insert(format!(
                        "there is no group {name} here; what belongs to it gets the number {}",
                        meta.gid
                    ));
                }
            }
            let told = missing
                .into_iter()
                .map(|what| Finding::new(Severity::Warning, what).todo("make it first, if it is wanted"));
            self.out.findings.extend(told);
        } else {
            let others = metas.filter(|meta| self.names.owner(meta).0 != self.scope.host.uid).count();
            if others > 0 {
                let what = format!(
                    "{others} entries belonged to other users on the source; restored, they are yours"
                );
                self.out.findings.push(note(&self.files.root, &what));
            }
        }
    }
}
