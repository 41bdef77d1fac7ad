//! A plan in the making: what is added to it, step by step, by `decide` and `sweep`.

use super::compare::destination;
use super::facts::{Facts, State};
use super::index::{Node, Row};
use super::meta::{Meta, Names, Perm, Time};
use super::place::{closed, join, refusal, Placed, Target};
use super::plan::{FilesPlan, Item, Source, Stamp, Step};
use super::probe::Probes;
use super::select::Selection;
use super::site::{may_change, Found, Place};
use super::touched::{Left, Touched};
use super::walk::{note, stat_fd, Kind, Stat};
use super::Files;
use crate::base::executes::{why_run, why_run_by_link, COMMANDS_IN_IT};
use crate::base::path::BundlePath;
use crate::component::{Change, ChangeKind, Plan, Result, Scope};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// Why a file with a bit for it can be run.
const EXECUTABLE: &str = "executable";

/// A plan in the making.
pub struct Builder<'a> {
    /// The component.
    pub files: &'a Files,
    /// The surroundings.
    pub scope: &'a Scope<'a>,
    /// Owners.
    pub names: Names,
    /// The target as it is.
    pub target: &'a Target,
    /// The rows that are to be restored.
    pub placed: &'a [Placed],
    /// The index.
    pub rows: &'a [Row],
    /// What was seen in the target's files.
    pub probes: Probes,
    /// The kind's part of the plan.
    pub detail: FilesPlan,
    /// The part for people.
    pub out: Plan,
    /// Files that can be run, without those of which it is known that they are.
    pub executables: Vec<String>,
    /// Slots of the staging area in use.
    pub slots: u32,
    /// New directories: where they are and where they are built.
    pub folders: HashMap<BundlePath, BundlePath>,
    /// Existing directories in which names come or go; `None` is the base.
    pub touched: BTreeSet<Option<BundlePath>>,
    /// Entries of the target that go away with a directory that is replaced or removed as a whole.
    pub going: HashSet<BundlePath>,
    /// Existing directories of others, whose metadata stays.
    pub foreign: HashSet<BundlePath>,
    /// What is rolled back, if it is a rollback.
    pub backup: Option<&'a Touched>,
}

impl<'a> Builder<'a> {
    /// Nothing decided yet.
    pub fn new(
        files: &'a Files,
        scope: &'a Scope<'a>,
        target: &'a Target,
        placed: &'a [Placed],
        rows: &'a [Row],
        probes: Probes,
    ) -> Self {
        Builder {
            files,
            scope,
            names: Names::default(),
            target,
            placed,
            rows,
            probes,
            detail: FilesPlan::default(),
            out: Plan::new(()),
            executables: Vec::new(),
            slots: 0,
            folders: HashMap::new(),
            touched: BTreeSet::new(),
            going: HashSet::new(),
            foreign: HashSet::new(),
            backup: None,
        }
    }

    /// A root that does not exist yet, and the directories above it that don't either. Those are steps of their own,
    /// for several components may need them.
    pub fn root(&mut self, facts: &Facts, selection: &Selection<'_>) -> Result<()> {
        let Some(root) = self.target.root.clone().filter(|_| self.target.found == Found::Absent) else {
            return Ok(());
        };
        let mut above: Vec<BundlePath> = std::iter::successors(root.parent(), BundlePath::parent).collect();
        above.reverse();
        for path in above {
            let what = "this directory above the root does not exist; it is made";
            self.out.findings.push(note(&self.target.at(&path), what));
            let slot = self.next_slot();
            let staged = join(None, slot.to_string().as_bytes())?;
            let source = Source::Folder(self.made_up(&path));
            self.touched.insert(path.parent());
            self.detail.items.push(Item { path: path.clone(), staged, source });
            self.detail.steps.push(Step::Folder { path, slot });
        }
        if facts.state == State::Directory {
            let top = facts.top.clone().filter(|_| selection.is_whole());
            let meta = top.unwrap_or_else(|| self.made_up(&root));
            self.out.changes.push(Change { kind: ChangeKind::Added, what: ".".to_owned() });
            self.put(&root, None, Source::Folder(meta))?;
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

    /// Notes a change, the room it takes and what it makes executable.
    pub fn count_new(&mut self, content: usize, placed: &Placed, is_link: bool) {
        let kind = if placed.there.is_some() { ChangeKind::Changed } else { ChangeKind::Added };
        let what = self.target.shown(Some(&placed.path));
        if let Node::File(file) = &self.rows[content].node {
            if !is_link {
                self.out.space += file.stored.unwrap_or(file.size).next_multiple_of(4096);
            }
        }
        self.note_what_runs(content, placed, &what);
        self.out.changes.push(Change { kind, what });
    }

    /// Notes why this machine would run what the row `content` puts at `placed`, as far as can be told.
    fn note_what_runs(&mut self, content: usize, placed: &Placed, what: &str) {
        let at = self.target.at(&placed.path);
        let (known, mode) = match &self.rows[content].node {
            Node::File(file) => (why_run(&at), file.meta.mode.0),
            // A unit is enabled by one.
            Node::Symlink(..) => (why_run_by_link(&at), 0),
            Node::Dir(_) | Node::Link(_) => return,
        };
        if let Some(why) = known {
            return self.out.executes.push(format!("{what} ({why})"));
        }
        let path = self.rows[placed.row].path.as_path();
        if self.files.runs.matched_path_or_any_parents(path, false).is_ignore() {
            self.executables.push(format!("{what} ({COMMANDS_IN_IT})"));
        } else if mode & 0o111 != 0 {
            self.executables.push(format!("{what} ({EXECUTABLE})"));
        }
    }

    /// Notes a file that can be run with its new mode, and cannot with the one that it has.
    pub fn note_mode(&mut self, what: &str, old: u32, new: u32) {
        if old & 0o111 == 0 && new & 0o111 != 0 {
            self.executables.push(format!("{what} ({EXECUTABLE})"));
        }
    }

    /// Adds something to be built, and the step that puts it in place unless it comes with a new directory.
    pub fn put(&mut self, path: &BundlePath, there: Option<usize>, source: Source) -> Result<()> {
        let is_dir = match &source {
            Source::Folder(_) => true,
            Source::Row(row) => matches!(self.rows[*row].node, Node::Dir(_)),
            Source::LinkTo(_) => false,
        };
        let parent = path.parent();
        let staged = match parent.as_ref().and_then(|parent| self.folders.get(parent)) {
            Some(folder) => join(Some(folder), path.file_name().as_encoded_bytes())?,
            None => {
                let slot = self.next_slot();
                let old = there.map(|i| Stamp::of(&self.target.walk.entries[i].stat));
                self.on_this_mount(path, parent.as_ref(), there);
                self.detail.steps.push(Step::Put { path: path.clone(), slot, old, keep: false });
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

    /// In a rollback: what the import left at a path of the target.
    pub fn left_at(&self, path: &BundlePath) -> Option<&Left> {
        self.backup?.at(&self.target.inner(path))
    }

    /// A number in the staging area.
    pub fn next_slot(&mut self) -> u32 {
        self.slots += 1;
        self.slots - 1
    }

    /// Renames do not cross mounts: a step that would have to is a refusal.
    pub fn on_this_mount(&mut self, path: &BundlePath, parent: Option<&BundlePath>, there: Option<usize>) {
        let stat = |i: usize| &self.target.walk.entries[i].stat;
        let Ok(base) = stat_fd(&self.target.dir) else { return };
        let above = parent.and_then(|parent| self.target.entry(parent)).map(stat);
        // Some file systems give a file another device than its directory has.
        let crosses = |here: &Stat| match here.kind {
            Kind::Dir => here.volume() != base.volume(),
            _ => here.mount != base.mount,
        };
        if above.into_iter().chain(there.map(stat)).any(crosses) {
            self.out.findings.push(refusal(
                &self.target.at(path),
                "another file system is mounted here",
                "exclude it here and make it a component of its own, or set one-filesystem",
            ));
        }
    }

    /// The plan. The index goes along, for staging and checks.
    pub fn finish(mut self, place: &Place, shards: u32) -> Plan {
        self.detail.steps.sort_by(|a, b| a.path().cmp(b.path()));
        self.out.changes.sort_by(|a, b| a.what.cmp(&b.what));
        let busy = !self.detail.steps.is_empty();
        let home = self.target.side.parent().and_then(Path::parent).unwrap_or(Path::new("/"));
        if busy && !may_change(home) {
            let finding = closed(home, "this user may not make a staging area in it");
            if !self.out.findings.contains(&finding) {
                self.out.findings.push(finding);
            }
        }
        self.detail.rows = self.rows.to_vec();
        self.detail.base = self.target.base.clone();
        self.detail.side = self.target.side.clone();
        self.detail.shards = shards;
        self.detail.expect.retain(|expect| !self.foreign.contains(&expect.path));
        let rewrites = self.detail.rewrites(|path| self.target.shown(Some(path)));
        let written = self.detail.written();
        let Plan { changes, unchanged, findings, mut executes, space, .. } = self.out;
        executes.sort();
        self.executables.sort();
        let mut plan = Plan::new(self.detail);
        plan.executables = self.executables.len();
        executes.append(&mut self.executables);
        plan.destinations = vec![destination(self.scope.host, &place.real)];
        (plan.changes, plan.unchanged, plan.findings) = (changes, unchanged, findings);
        (plan.executes, plan.space) = (executes, space);
        (plan.rewrites, plan.written) = (rewrites, written);
        plan
    }
}
