//! A plan as data: what to stage, what to rename, what to set. Made by `compare`; `stage`, `commit` and
//! `check` consume it. All paths are relative to one directory that exists already, the base.

use super::home::{Moved, Packed};
use super::index::{FileNode, Node, Row};
use super::meta::{Meta, Perm, Time};
use super::walk::{Kind, Stat};
use crate::base::digest::Digest;
use crate::base::path::BundlePath;
use crate::component::{Error, Plan, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The kind's part of a [`Plan`].
#[derive(Debug, Default)]
pub struct FilesPlan {
    /// The index, as it is to be written here.
    pub rows: Vec<Row>,
    /// What was packed, of the rows that are to be otherwise here, by number.
    pub packed: BTreeMap<usize, Packed>,
    /// How paths in files move, if any do.
    pub moved: Option<Moved>,
    /// The directory to which all paths below are relative: absolute, no symlink in it.
    pub base: PathBuf,
    /// The staging area: see [`super::site`].
    pub side: PathBuf,
    /// Number of shards.
    pub shards: u32,
    /// What is built in the staging area, in the order of paths.
    pub items: Vec<Item>,
    /// Directories that exist and whose metadata changes, or time, because their content does. In the order of paths.
    pub dirs: Vec<DirStep>,
    /// The other steps of the commit, in the order of paths.
    pub steps: Vec<Step>,
    /// What should be there in the end.
    pub expect: Vec<Expect>,
    /// Directories, deepest first and absolute, that go in the end if nothing is in them by then.
    pub empties: Vec<PathBuf>,
}

/// Something to be built.
#[derive(Debug)]
pub struct Item {
    /// Where it will be.
    pub path: BundlePath,
    /// Where it is built: `slot` or `slot/rest/of/path` beneath the staging area's `new`.
    pub staged: BundlePath,
    /// Out of what.
    pub source: Source,
}

/// What an item is made from.
#[derive(Debug)]
pub enum Source {
    /// A directory of no row: the root itself, or one above it that does not exist yet.
    Folder(Meta),
    /// The row of this number, which is no hard link.
    Row(usize),
    /// Another name of the item of this number.
    LinkTo(usize),
}

/// A directory that exists.
#[derive(Debug)]
pub struct DirStep {
    /// `None` is the base.
    pub path: Option<BundlePath>,
    /// As the plan found it.
    pub old: Meta,
    /// As it should be in the end; `None` leaves it to come out as it does.
    pub new: Option<Meta>,
}

/// A step of the commit.
#[derive(Debug)]
pub enum Step {
    /// The staged empty directory `slot` goes to `path`, above the root, unless a directory is there by then: another
    /// component may have made it.
    Folder {
        /// Where.
        path: BundlePath,
        /// From which slot.
        slot: u32,
    },
    /// The staged `slot` goes to `path`; what is there moves aside.
    Put {
        /// Where.
        path: BundlePath,
        /// From which slot.
        slot: u32,
        /// What the plan found there.
        old: Option<Stamp>,
        /// Whether that is kept beside it in the end, instead of dropped.
        keep: bool,
    },
    /// What is at `path` moves aside, to `slot`.
    Remove {
        /// Where.
        path: BundlePath,
        /// To which slot.
        slot: u32,
        /// What the plan found there.
        old: Stamp,
        /// Whether that is kept beside it in the end, instead of dropped.
        keep: bool,
    },
    /// A file or symlink whose content is right already gets other metadata.
    Meta {
        /// Where.
        path: BundlePath,
        /// As the plan found it.
        stamp: Stamp,
        /// As the plan found it.
        old: Meta,
        /// As it should be.
        new: Meta,
    },
}

impl Step {
    /// Where the step acts.
    pub fn path(&self) -> &BundlePath {
        match self {
            Step::Folder { path, .. }
            | Step::Put { path, .. }
            | Step::Remove { path, .. }
            | Step::Meta { path, .. } => path,
        }
    }
}

/// How a plan, and an act, know again what they saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stamp {
    /// Inode number.
    pub ino: u64,
    /// Bytes.
    pub size: u64,
    /// Last modification.
    pub mtime: Time,
    /// Mode.
    pub mode: Perm,
    /// Whether it is a directory; its size and time then say little.
    pub dir: bool,
}

impl Stamp {
    /// The stamp of what was just seen.
    pub fn of(stat: &Stat) -> Stamp {
        Stamp {
            ino: stat.file.1,
            size: stat.size,
            mtime: stat.mtime,
            mode: Perm(stat.mode),
            dir: stat.kind == Kind::Dir,
        }
    }

    /// Whether it is still the same file system object, edited or not.
    pub fn is(&self, stat: &Stat) -> bool {
        self.ino == stat.file.1 && self.dir == (stat.kind == Kind::Dir)
    }

    /// Whether it is the same object with the same content, as far as size and time tell.
    pub fn is_unedited(&self, stat: &Stat) -> bool {
        self.is(stat) && (self.dir || (self.size, self.mtime) == (stat.size, stat.mtime))
    }
}

/// What should be at a path in the end.
#[derive(Debug)]
pub struct Expect {
    /// Where.
    pub path: BundlePath,
    /// The row that says what; no hard link.
    pub row: usize,
    /// For another name of a file: the first name on the target.
    pub same_as: Option<BundlePath>,
    /// Whether its content comes from the bundle now, so that it is worth reading again.
    pub fresh: bool,
}

impl FilesPlan {
    /// Whether there is nothing to be done.
    pub fn is_idle(&self) -> bool {
        self.items.is_empty() && self.steps.is_empty() && self.dirs.is_empty() && self.empties.is_empty()
    }

    /// The files that are staged and in which paths are rewritten: where, what was packed, and what is written.
    pub fn rewritten(&self) -> impl Iterator<Item = (&BundlePath, &Packed, &FileNode)> {
        self.items.iter().filter_map(|item| {
            let Source::Row(row) = item.source else { return None };
            let packed = self.packed.get(&row).filter(|packed| packed.places > 0)?;
            match &self.rows[row].node {
                Node::File(written) => Some((&item.path, packed, written)),
                _ => None,
            }
        })
    }

    /// The files in which paths are rewritten, staged or in place already: what each of them holds then.
    pub fn written(&self) -> Vec<(String, Digest)> {
        let rows =
            self.packed.iter().filter(|(_, packed)| packed.places > 0).map(|(&row, _)| &self.rows[row]);
        rows.filter_map(|row| match &row.node {
            Node::File(file) => Some((row.path.to_string(), file.digest)),
            _ => None,
        })
        .collect()
    }

    /// The detail of a plan that this kind made.
    pub fn of(plan: &Plan) -> Result<&FilesPlan> {
        plan.detail().ok_or_else(|| {
            Error::new(
                crate::base::fault::Fault::Unexpected,
                "the plan was made by another kind of component",
            )
        })
    }
}

/// The rows of one shard, which are `members` in the order of their paths, in the order of their entries.
pub fn entry_order(rows: &[Row], members: &[usize]) -> impl Iterator<Item = usize> {
    let is_dir = |row: &Row| matches!(row.node, Node::Dir(_));
    let (dirs, others): (Vec<usize>, Vec<usize>) = members.iter().partition(|&&i| is_dir(&rows[i]));
    others.into_iter().chain(dirs.into_iter().rev())
}

/// The metadata of a row; a hard link has none of its own.
pub fn row_meta(row: &Row) -> Option<&Meta> {
    match &row.node {
        Node::File(file) => Some(&file.meta),
        Node::Symlink(meta, _) | Node::Dir(meta) => Some(meta),
        Node::Link(_) => None,
    }
}
