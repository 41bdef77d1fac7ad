//! Decides for every row: in place already, other metadata, or made anew.

use super::builder::Builder;
use super::facts::Mode;
use super::index::{Node, Row};
use super::meta::{Meta, Xattrs};
use super::place::{refusal, Placed};
use super::plan::{row_meta, Expect, Source, Stamp, Step};
use super::site::io_at;
use super::touched::Left;
use super::walk::{Entry, Kind, Stat};
use crate::base::path::BundlePath;
use crate::component::{Change, ChangeKind, Result};
use std::collections::{HashMap, HashSet};

/// How an entry of the target stands to its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Diff {
    Same,
    Meta,
    New,
}

impl Builder<'_> {
    /// Decides for every row that was placed.
    pub fn rows(&mut self) -> Result<()> {
        let groups = Groups::of(self.rows, self.placed);
        // Of every group that is rewritten: the item that its other names link to.
        let mut leaders: HashMap<usize, usize> = HashMap::new();
        for (number, placed) in self.placed.iter().enumerate() {
            let content = groups.content_of(self.rows, placed.row);
            if self.is_edited(content, placed, number) {
                self.out.unchanged += 1;
                continue;
            }
            let members = groups.members.get(&content);
            let diff = match members {
                Some(members) => self.group_diff(content, members, number),
                None => match self.diff(content, placed, number) {
                    // Another name of the same file must not get this one's metadata.
                    Diff::Meta if self.there(placed).is_some_and(|there| there.stat.nlink > 1) => Diff::New,
                    diff => diff,
                },
            };
            let leads = members.is_none_or(|members| members[0] == number);
            if !placed.pass {
                let same_as = members.filter(|_| !leads).map(|m| self.placed[m[0]].path.clone());
                let fresh = diff == Diff::New;
                self.detail.expect.push(Expect { path: placed.path.clone(), row: content, same_as, fresh });
            }
            match diff {
                Diff::Same => self.out.unchanged += 1,
                Diff::Meta if !leads => self.out.unchanged += 1,
                Diff::Meta => self.meta_step(content, number),
                Diff::New => {
                    if !self.may_replace(placed)? {
                        continue;
                    }
                    let source = match leaders.get(&content) {
                        Some(&item) => Source::LinkTo(item),
                        None => Source::Row(content),
                    };
                    if members.is_some() {
                        leaders.entry(content).or_insert(self.detail.items.len());
                    }
                    self.count_new(content, placed, matches!(source, Source::LinkTo(_)));
                    self.put(&placed.path, placed.there, source)?;
                }
            }
        }
        Ok(())
    }

    fn there(&self, placed: &Placed) -> Option<&Entry> {
        placed.there.map(|i| &self.target.walk.entries[i])
    }

    /// In a rollback of an import that changed only the metadata here: whether the content was edited since. That stays,
    /// with all that it is.
    fn is_edited(&self, content: usize, placed: &Placed, number: usize) -> bool {
        if self.left_at(&placed.path) != Some(&Left::Content) {
            return false;
        }
        let Some(there) = self.there(placed) else { return false };
        match (&self.rows[content].node, there.stat.kind) {
            (Node::File(_), Kind::File) => !self.probes.get(number).is_some_and(|probe| probe.same_content),
            (Node::Symlink(_, target), Kind::Symlink) => *target != there.target,
            _ => true,
        }
    }

    /// How the entry at `placed` stands to the row `content`.
    fn diff(&self, content: usize, placed: &Placed, number: usize) -> Diff {
        let Some(there) = self.there(placed) else { return Diff::New };
        let same = match (&self.rows[content].node, there.stat.kind) {
            // The directories that stay are dealt with when it is known what changes in them.
            (Node::Dir(_), Kind::Dir) => return Diff::Same,
            (Node::Symlink(meta, target), Kind::Symlink) if *target == there.target => {
                meta.mtime == there.stat.mtime && self.same_owner(meta, &there.stat)
            }
            (Node::File(file), Kind::File) => match self.probes.get(number) {
                Some(probe) if probe.same_content => self.same_meta(&file.meta, &there.stat, &probe.xattrs),
                _ => return Diff::New,
            },
            _ => return Diff::New,
        };
        if same {
            Diff::Same
        } else if self.may_set(&there.stat) {
            Diff::Meta
        } else {
            Diff::New
        }
    }

    /// The same for all names of a file at once: either all are in order, or all are made anew.
    fn group_diff(&self, content: usize, members: &[usize], number: usize) -> Diff {
        let lead = &self.placed[members[0]];
        let Some(first) = self.there(lead) else { return Diff::New };
        let linked = members.iter().all(|&m| {
            self.there(&self.placed[m])
                .is_some_and(|e| e.stat.kind == Kind::File && e.stat.file == first.stat.file)
        });
        let diff = self.diff(content, lead, members[0]);
        if linked && (diff == Diff::Same || number == members[0]) {
            return diff;
        }
        if linked && diff == Diff::Meta {
            return Diff::Same;
        }
        Diff::New
    }

    fn same_owner(&self, meta: &Meta, there: &Stat) -> bool {
        !self.scope.host.is_root() || self.names.owner(meta) == (there.uid, there.gid)
    }

    pub fn same_meta(&self, meta: &Meta, there: &Stat, xattrs: &Xattrs) -> bool {
        meta.mode.0 == there.mode
            && meta.mtime == there.mtime
            && meta.xattrs == *xattrs
            && self.same_owner(meta, there)
    }

    /// Whether this process may set mode and time of something that exists.
    pub fn may_set(&self, there: &Stat) -> bool {
        self.scope.host.is_root() || there.uid == self.scope.host.uid
    }

    /// Whether what stands at `placed` may go, to make room; if not, that is a refusal.
    fn may_replace(&mut self, placed: &Placed) -> Result<bool> {
        let Some(there) = self.there(placed) else { return Ok(true) };
        let at = self.target.at(&placed.path);
        let remedy = "move it away, or exclude the path for this component on the target";
        if placed.pass {
            self.out.findings.push(refusal(
                &at,
                "a directory is needed here, outside of what is asked for",
                remedy,
            ));
            return Ok(false);
        }
        if there.stat.kind != Kind::Dir {
            return Ok(true);
        }
        let overlay = self.files.options.mode == Mode::Overlay;
        if overlay && !self.is_empty(&placed.path)? {
            self.out.findings.push(refusal(
                &at,
                "a directory that is not empty, where the bundle has something else",
                remedy,
            ));
            return Ok(false);
        }
        if self.keeps_something(&placed.path) {
            let what = "a directory that must go holds something that is excluded or belongs elsewhere";
            self.out.findings.push(refusal(&at, what, remedy));
            return Ok(false);
        }
        self.going.insert(placed.path.clone());
        Ok(true)
    }

    fn is_empty(&self, path: &BundlePath) -> Result<bool> {
        let at = self.target.at(path);
        let mut inside = std::fs::read_dir(&at).map_err(|e| io_at(&at, e))?;
        Ok(inside.next().is_none())
    }

    /// Whether something below `path` is not ours to remove.
    pub fn keeps_something(&self, path: &BundlePath) -> bool {
        let inside = [path.as_bytes(), b"/"].concat();
        let left = &self.target.walk.left;
        let first = left.partition_point(|left| left.as_bytes() < inside.as_slice());
        left.get(first).is_some_and(|left| left.is_within(path))
    }

    /// A step that only sets metadata.
    fn meta_step(&mut self, content: usize, number: usize) {
        let placed = &self.placed[number];
        let (Some(there), Some(new)) = (self.there(placed), row_meta(&self.rows[content])) else { return };
        let (there, new) = (there.clone(), new.clone());
        let xattrs = self.probes.get(number).map(|p| p.xattrs.clone()).unwrap_or_default();
        let mut old = there.stat.meta(&self.names, xattrs);
        old.mode.0 = there.stat.mode;
        let what = self.target.shown(Some(&placed.path));
        if there.stat.kind == Kind::File {
            self.note_mode(&what, there.stat.mode, new.mode.0);
        }
        self.detail.steps.push(Step::Meta {
            path: placed.path.clone(),
            stamp: Stamp::of(&there.stat),
            old,
            new,
        });
        self.out.changes.push(Change { kind: ChangeKind::Changed, what });
    }
}

/// Hard links: which placed rows are names of one file.
struct Groups {
    /// By the number of the row that has the content: numbers of placed rows, in the order of paths.
    members: HashMap<usize, Vec<usize>>,
    firsts: HashMap<BundlePath, usize>,
}

impl Groups {
    fn of(rows: &[Row], placed: &[Placed]) -> Groups {
        let wanted: HashSet<&BundlePath> = rows
            .iter()
            .filter_map(|r| if let Node::Link(first) = &r.node { Some(first) } else { None })
            .collect();
        let firsts: HashMap<BundlePath, usize> = rows
            .iter()
            .enumerate()
            .filter(|(_, row)| wanted.contains(&row.path))
            .map(|(i, row)| (row.path.clone(), i))
            .collect();
        let mut out = Groups { members: HashMap::new(), firsts };
        for (number, placed) in placed.iter().enumerate() {
            let content = out.content_of(rows, placed.row);
            if content != placed.row || out.firsts.contains_key(&rows[placed.row].path) {
                out.members.entry(content).or_default().push(number);
            }
        }
        out
    }

    /// The row that has the content of `row`: itself, unless it is a hard link.
    fn content_of(&self, rows: &[Row], row: usize) -> usize {
        match &rows[row].node {
            Node::Link(first) => self.firsts.get(first).copied().unwrap_or(row),
            _ => row,
        }
    }
}
