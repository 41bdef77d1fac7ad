//! Second half of planning: what differs between the rows and the target, and by which steps it is put right.

use super::capture::{index_name, shard_name};
use super::facts::{Facts, Mode, State};
use super::index::{self, Node, Row};
use super::meta::{Meta, Names, Perm, Time};
use super::place::{join, place_rows, refusal, Placed, Placement, Target};
use super::plan::{row_meta, DirStep, Expect, FilesPlan, Item, Source, Stamp, Step};
use super::probe::{probe, Probes};
use super::select::Selection;
use super::site::{may_change, resolve, shown, side_of, Found, Place};
use super::walk::{meta_of, note, warning, Entry, Kind};
use super::Files;
use crate::base::path::BundlePath;
use crate::component::{Change, ChangeKind, Error, Finding, Plan, Result, Scope, Severity, StreamSource};
use rustix::fs::{accessat, Access, AtFlags, CWD};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Lines that a plan shows of what would newly be executable.
const MAX_EXECUTES: usize = 20;

/// Compares the bundle with the target. Read-only.
pub fn plan(files: &Files, scope: &Scope<'_>, streams: &dyn StreamSource) -> Result<Plan> {
    let facts = files.facts()?;
    let shards = count_shards(streams)?;
    let rows = index::read(streams.open(&index_name()?)?, shards)?;
    check_shape(facts, &rows)?;
    let place = resolve(&files.root)?;
    if let Some(plan) = not_comparable(files, facts, &place)? {
        return Ok(plan);
    }
    let selection = Selection::new(&files.exclude, &place, scope, facts.only.as_ref())?;
    let target = Target::look(files, facts.state, &rows, &place, &selection, scope)?;
    if facts.state == State::Absent && target.walk.left.is_empty() && selection.is_whole() {
        if let Some(plan) = remove_root(files, &place, scope)? {
            return Ok(plan);
        }
    }
    let mut findings = target.walk.findings.clone();
    if place.real != place.lexical {
        findings.push(note(&place.lexical, &format!("a symlink, taken as {}", shown(&place.real))));
    }
    let placement = place_rows(files, &rows, &target, &selection, facts.state == State::File, &mut findings)?;
    let probes = probe(&target, &rows, &placement.placed, scope)?;
    let detail =
        FilesPlan { base: target.base.clone(), side: target.side.clone(), shards, ..FilesPlan::default() };
    let mut builder = Builder {
        files,
        scope,
        names: Names::default(),
        target: &target,
        placed: &placement.placed,
        rows: &rows,
        probes,
        detail,
        out: Plan::new(()),
        slots: 0,
        folders: HashMap::new(),
        touched: BTreeSet::new(),
        going: HashSet::new(),
        executes: 0,
    };
    builder.out.findings = findings;
    builder.root(facts, &selection)?;
    builder.rows()?;
    if files.options.mode == Mode::Mirror && target.found == Found::Dir {
        builder.removals(&placement)?;
    }
    builder.directories(facts, &selection)?;
    builder.owners();
    builder.finish(&place, rows.clone())
}

/// The number of shards; a stream that is neither a shard nor the index is refused.
fn count_shards(streams: &dyn StreamSource) -> Result<u32> {
    let index = index_name()?;
    let shards = streams.list().iter().filter(|info| info.name != index).count() as u32;
    let names: HashSet<_> = streams.list().iter().map(|info| &info.name).collect();
    let numbered = (1..=shards).map(shard_name).collect::<Result<Vec<_>>>()?;
    if !names.contains(&index) || !numbered.iter().all(|name| names.contains(name)) {
        return Err(Error::rule("F1", "the streams are not an index and shards numbered from 1"));
    }
    Ok(shards)
}

/// The index must be the one that the facts speak of.
fn check_shape(facts: &Facts, rows: &[Row]) -> Result<()> {
    let single = |row: &Row| matches!(row.node, Node::File(_)) && row.path.parent().is_none();
    let fits = match facts.state {
        State::Absent => rows.is_empty(),
        State::File => rows.len() <= 1 && rows.iter().all(single),
        State::Directory => true,
    };
    if !fits || facts.entries != rows.len() as u64 {
        return Err(Error::rule("F1", "the index is not what the facts say"));
    }
    Ok(())
}

/// The plan where there is nothing to compare: nothing to do, or a file where a directory should be.
fn not_comparable(files: &Files, facts: &Facts, place: &Place) -> Result<Option<Plan>> {
    let finding = match (facts.state, place.found) {
        (State::Absent, _) if files.options.mode == Mode::Overlay => {
            note(&place.lexical, "it did not exist on the source; nothing to do")
        }
        (State::Absent, Found::Absent) => note(&place.lexical, "it exists neither on the source nor here"),
        (State::Directory, Found::File) => refusal(
            &place.lexical,
            "a file, where the bundle has a directory",
            "move it away, or choose another path",
        ),
        (State::File, Found::Dir) => refusal(
            &place.lexical,
            "a directory, where the bundle has a file",
            "move it away, or choose another path",
        ),
        _ => return Ok(None),
    };
    let mut plan =
        Plan::new(FilesPlan { base: place.real.clone(), side: place.real.clone(), ..FilesPlan::default() });
    plan.destinations = vec![shown(&place.lexical)];
    plan.findings.push(finding);
    Ok(Some(plan))
}

/// The plan that takes the whole root away, where it can be taken by one rename.
fn remove_root(files: &Files, place: &Place, scope: &Scope<'_>) -> Result<Option<Plan>> {
    let (Some(base), Some(name)) = (place.real.parent(), place.real.file_name()) else { return Ok(None) };
    let stat = |path: &Path| super::walk::stat_at(CWD, path).map_err(|e| super::site::io_at(path, e));
    let root = stat(&place.real)?;
    if root.mount != stat(base)?.mount {
        return Ok(None);
    }
    let dir = crate::base::fsx::Dir::open(base).map_err(|e| super::site::io_at(base, e))?;
    let old = meta_of(&dir, &Names::default(), base)?;
    let path = join(None, name.as_encoded_bytes())?;
    let mut plan = Plan::new(FilesPlan {
        base: base.to_owned(),
        side: side_of(base, scope.run, files.name.as_str()),
        dirs: vec![DirStep { path: None, old, new: None }],
        steps: vec![Step::Remove { path, slot: 0, old: Stamp::of(&root) }],
        ..FilesPlan::default()
    });
    plan.destinations = vec![shown(&place.real)];
    plan.changes.push(Change { kind: ChangeKind::Removed, what: shown(&place.real) });
    if !may_change(base) {
        plan.findings.push(refusal(
            base,
            "this user may not change what is in it",
            "run kbpack as a user who may",
        ));
    }
    Ok(Some(plan))
}

/// How an entry of the target stands to its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Diff {
    Same,
    Meta,
    New,
}

struct Builder<'a> {
    files: &'a Files,
    scope: &'a Scope<'a>,
    names: Names,
    target: &'a Target,
    placed: &'a [Placed],
    rows: &'a [Row],
    probes: Probes,
    detail: FilesPlan,
    out: Plan,
    slots: u32,
    /// New directories: where they are and where they are built.
    folders: HashMap<BundlePath, BundlePath>,
    /// Existing directories in which names come or go; `None` is the base.
    touched: BTreeSet<Option<BundlePath>>,
    /// Entries of the target that go away with a directory that is replaced or removed as a whole.
    going: HashSet<BundlePath>,
    executes: usize,
}

impl Builder<'_> {
    /// A root that does not exist yet, with the directories above it that don't either.
    fn root(&mut self, facts: &Facts, selection: &Selection<'_>) -> Result<()> {
        let Some(root) = self.target.root.clone().filter(|_| self.target.found == Found::Absent) else {
            return Ok(());
        };
        let mut missing: Vec<BundlePath> =
            std::iter::successors(Some(root.clone()), BundlePath::parent).collect();
        missing.reverse();
        if facts.state == State::File {
            missing.pop();
        }
        for path in missing {
            let top = facts.top.clone().filter(|_| path == root && selection.is_whole());
            let meta = top.unwrap_or_else(|| self.made_up(&path));
            if path != root || facts.state == State::File {
                let at = self.target.at(&path);
                self.out.findings.push(note(&at, "this directory above the root does not exist; it is made"));
            }
            self.put(&path, None, Source::Folder(meta))?;
        }
        Ok(())
    }

    /// The metadata of a directory of which the bundle says nothing: private in the home, else as is usual.
    fn made_up(&self, path: &BundlePath) -> Meta {
        let host = self.scope.host;
        let private = self.target.at(path).starts_with(&host.home);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let gid = rustix::process::getegid().as_raw();
        Meta {
            mode: Perm(if private { 0o700 } else { 0o755 }),
            mtime: Time { s: now.as_secs() as i64, ns: now.subsec_nanos() },
            uid: host.uid,
            gid,
            user: self.names.user(host.uid),
            group: self.names.group(gid),
            xattrs: Default::default(),
        }
    }

    /// Decides for every row that was placed.
    fn rows(&mut self) -> Result<()> {
        let groups = Groups::of(self.rows, self.placed);
        // Of every group that is rewritten: the item that its other names link to.
        let mut leaders: HashMap<usize, usize> = HashMap::new();
        for (number, placed) in self.placed.iter().enumerate() {
            let content = groups.content_of(self.rows, placed.row);
            let members = groups.members.get(&content);
            let diff = match members {
                Some(members) => self.group_diff(content, members, number),
                None => self.diff(content, placed, number),
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

    /// How the entry at `placed` stands to the row `content`.
    fn diff(&self, content: usize, placed: &Placed, number: usize) -> Diff {
        let Some(there) = self.there(placed) else { return Diff::New };
        match (&self.rows[content].node, there.stat.kind) {
            (Node::Dir(_), Kind::Dir) if placed.pass => Diff::Same,
            // The directories that stay are dealt with when it is known what changes in them.
            (Node::Dir(_), Kind::Dir) => Diff::Same,
            (Node::Symlink(meta, target), Kind::Symlink) if *target == there.target => {
                let mine = self.may_set(there);
                if meta.mtime == there.stat.mtime && self.same_owner(meta, there) {
                    Diff::Same
                } else if mine {
                    Diff::Meta
                } else {
                    Diff::New
                }
            }
            (Node::File(file), Kind::File) if file.size == there.stat.size => match self.probes.get(number) {
                Some(probe) if probe.same_content => {
                    if self.same_meta(&file.meta, there, &probe.xattrs) {
                        Diff::Same
                    } else if self.may_set(there) {
                        Diff::Meta
                    } else {
                        Diff::New
                    }
                }
                _ => Diff::New,
            },
            _ => Diff::New,
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

    fn same_owner(&self, meta: &Meta, there: &Entry) -> bool {
        !self.scope.host.is_root() || self.names.owner(meta) == (there.stat.uid, there.stat.gid)
    }

    fn same_meta(&self, meta: &Meta, there: &Entry, xattrs: &super::meta::Xattrs) -> bool {
        meta.mode.0 == there.stat.mode
            && meta.mtime == there.stat.mtime
            && meta.xattrs == *xattrs
            && self.same_owner(meta, there)
    }

    /// Whether this process may set mode and time of something that exists.
    fn may_set(&self, there: &Entry) -> bool {
        self.scope.host.is_root() || there.stat.uid == self.scope.host.uid
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
        let mut inside = std::fs::read_dir(&at).map_err(|e| super::site::io_at(&at, e))?;
        Ok(inside.next().is_none())
    }

    /// Whether something below `path` is not ours to remove.
    fn keeps_something(&self, path: &BundlePath) -> bool {
        let inside = [path.as_bytes(), b"/"].concat();
        let left = &self.target.walk.left;
        let first = left.partition_point(|left| left.as_bytes() < inside.as_slice());
        left.get(first).is_some_and(|left| left.is_within(path))
    }

    /// Notes a change, the room it takes and what it makes executable.
    fn count_new(&mut self, content: usize, placed: &Placed, is_link: bool) {
        let kind = if placed.there.is_some() { ChangeKind::Changed } else { ChangeKind::Added };
        let what = shown(&self.target.at(&placed.path));
        if let Node::File(file) = &self.rows[content].node {
            if !is_link {
                self.out.space += file.stored.unwrap_or(file.size).next_multiple_of(4096);
            }
            if file.meta.mode.0 & 0o111 != 0 {
                self.execute(&what);
            }
        }
        self.out.changes.push(Change { kind, what });
    }

    fn execute(&mut self, what: &str) {
        self.executes += 1;
        if self.executes <= MAX_EXECUTES {
            self.out.executes.push(format!("executable file: {what}"));
        }
    }

    /// Adds something to be built, and the step that puts it in place unless it comes with a new directory.
    fn put(&mut self, path: &BundlePath, there: Option<usize>, source: Source) -> Result<()> {
        let is_dir = match &source {
            Source::Folder(_) => true,
            Source::Row(row) => matches!(self.rows[*row].node, Node::Dir(_)),
            Source::LinkTo(_) => false,
        };
        let parent = path.parent();
        let staged = match parent.as_ref().and_then(|parent| self.folders.get(parent)) {
            Some(folder) => join(Some(folder), path.file_name().as_encoded_bytes())?,
            None => {
                let slot = self.slots;
                self.slots += 1;
                let old = there.map(|i| Stamp::of(&self.target.walk.entries[i].stat));
                self.on_this_mount(path, parent.as_ref(), there);
                self.detail.steps.push(Step::Put { path: path.clone(), slot, old });
                self.touched.insert(parent);
                join(None, slot.to_string().as_bytes())?
            }
        };
        if is_dir {
            self.folders.insert(path.clone(), staged.clone());
        }
        self.detail.items.push(Item { path: path.clone(), staged, source });
        Ok(())
    }

    /// Renames do not cross mounts: a step that would have to is a refusal.
    fn on_this_mount(&mut self, path: &BundlePath, parent: Option<&BundlePath>, there: Option<usize>) {
        let mount_of = |i: usize| self.target.walk.entries[i].stat.mount;
        let above = parent.and_then(|parent| self.target.entry(parent)).map(mount_of);
        let here = there.map(mount_of);
        let base = super::walk::stat_fd(&self.target.dir).map(|s| s.mount).ok();
        if [above, here].into_iter().flatten().any(|mount| Some(mount) != base) {
            self.out.findings.push(refusal(
                &self.target.at(path),
                "another file system is mounted here",
                "exclude it here and make it a component of its own, or set one-filesystem",
            ));
        }
    }

    /// A step that only sets metadata.
    fn meta_step(&mut self, content: usize, number: usize) {
        let placed = &self.placed[number];
        let (Some(there), Some(new)) = (self.there(placed), row_meta(&self.rows[content])) else { return };
        let (there, new) = (there.clone(), new.clone());
        let xattrs = self.probes.get(number).map(|p| p.xattrs.clone()).unwrap_or_default();
        let mut old = there.stat.meta(&self.names, xattrs);
        old.mode.0 = there.stat.mode;
        let what = shown(&self.target.at(&placed.path));
        if there.stat.kind == Kind::File && there.stat.mode & 0o111 == 0 && new.mode.0 & 0o111 != 0 {
            self.execute(&what);
        }
        self.detail.steps.push(Step::Meta {
            path: placed.path.clone(),
            stamp: Stamp::of(&there.stat),
            old,
            new,
        });
        self.out.changes.push(Change { kind: ChangeKind::Changed, what });
    }

    /// Mirror: what the bundle does not have goes.
    fn removals(&mut self, placement: &Placement) -> Result<()> {
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
                    self.out
                        .findings
                        .push(note(&at, "it stays, for it holds something that is not to be removed"));
                    continue;
                }
                let slot = self.slots;
                self.slots += 1;
                let parent = entry.path.parent();
                self.on_this_mount(&entry.path, parent.as_ref(), Some(number));
                let old = Stamp::of(&entry.stat);
                self.detail.steps.push(Step::Remove { path: entry.path.clone(), slot, old });
                self.touched.insert(parent);
            }
            self.going.insert(entry.path.clone());
            let what = shown(&self.target.at(&entry.path));
            self.out.changes.push(Change { kind: ChangeKind::Removed, what });
        }
        Ok(())
    }

    /// Directories that stay: their metadata, and their time where names come or go in them.
    fn directories(&mut self, facts: &Facts, selection: &Selection<'_>) -> Result<()> {
        let base_stat =
            super::walk::stat_fd(&self.target.dir).map_err(|e| Error::io(shown(&self.target.base), e))?;
        let (base_xattrs, _) =
            super::meta::read_xattrs(&self.target.dir).map_err(|e| Error::io(shown(&self.target.base), e))?;
        let base_path = BundlePath::new(b"base".as_slice()).map_err(|e| Error::usage(e))?;
        let base =
            Entry { path: base_path, stat: base_stat, target: Vec::new(), xattrs: base_xattrs, pass: false };
        let top = facts.top.clone().filter(|_| self.target.found == Found::Dir && selection.is_whole());
        self.directory(None, &base, top)?;
        for placed in self.placed {
            let (Some(there), Node::Dir(meta)) = (self.there(placed), &self.rows[placed.row].node) else {
                continue;
            };
            if there.stat.kind == Kind::Dir {
                let (there, new) = (there.clone(), (!placed.pass).then(|| meta.clone()));
                self.directory(Some(&placed.path), &there, new)?;
            }
        }
        for path in std::mem::take(&mut self.touched).into_iter().flatten() {
            if let Some(i) = self.target.entry(&path) {
                self.directory(Some(&path), &self.target.walk.entries[i].clone(), None)?;
            }
        }
        self.detail.dirs.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(())
    }

    fn directory(&mut self, path: Option<&BundlePath>, there: &Entry, new: Option<Meta>) -> Result<()> {
        let key = path.cloned();
        let touched = self.touched.remove(&key);
        let at = path.map_or_else(|| self.target.base.clone(), |path| self.target.at(path));
        if touched && !self.changeable(&at, there) {
            self.out.findings.push(refusal(
                &at,
                "this user may not change what is in it",
                "run kbpack as a user who may",
            ));
        }
        let differs = new.as_ref().is_some_and(|new| !self.same_meta(new, there, &there.xattrs));
        let mut new = new;
        if differs && !self.may_set(there) {
            self.out
                .findings
                .push(warning(&at, "it belongs to another user; its mode and time stay as they are"));
            self.detail.expect.retain(|expect| Some(&expect.path) != path);
            new = None;
        }
        if differs && new.is_some() {
            // A directory whose row was counted as unchanged.
            self.out.unchanged -= u64::from(path.is_some());
            self.out.changes.push(Change { kind: ChangeKind::Changed, what: shown(&at) });
        }
        if touched || (differs && new.is_some()) {
            let mut old = there.stat.meta(&self.names, there.xattrs.clone());
            old.mode.0 = there.stat.mode;
            self.detail.dirs.push(DirStep { path: key, old, new });
        }
        Ok(())
    }

    /// Whether names in the directory can be changed: now, or after its owner (this user) opened it up.
    fn changeable(&self, at: &Path, there: &Entry) -> bool {
        match accessat(CWD, at, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS) {
            Ok(()) => true,
            Err(rustix::io::Errno::ACCESS) => there.stat.uid == self.scope.host.uid,
            Err(_) => false,
        }
    }

    /// Says which owners will not be the source's.
    fn owners(&mut self) {
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

    fn finish(mut self, place: &Place, rows: Vec<Row>) -> Result<Plan> {
        self.detail.steps.sort_by(|a, b| a.path().cmp(b.path()));
        self.out.changes.sort_by(|a, b| a.what.cmp(&b.what));
        if self.executes > MAX_EXECUTES {
            self.out.executes.push(format!("and {} more executable files", self.executes - MAX_EXECUTES));
        }
        let busy = !self.detail.steps.is_empty();
        let home = self.target.side.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
        if busy && !may_change(home) {
            let what = "this user may not make a staging area in it";
            self.out.findings.push(refusal(home, what, "run kbpack as a user who may"));
        }
        self.detail.rows = rows;
        let Plan { changes, unchanged, findings, executes, space, .. } = self.out;
        let mut plan = Plan::new(self.detail);
        plan.destinations = vec![shown(&place.real)];
        (plan.changes, plan.unchanged, plan.findings) = (changes, unchanged, findings);
        (plan.executes, plan.space) = (executes, space);
        Ok(plan)
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
