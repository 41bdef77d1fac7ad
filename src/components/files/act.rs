//! What a commit writes into the journal before it acts: all that an undo needs.

use super::index::text_bytes;
use super::meta::Meta;
use super::plan::{FilesPlan, Stamp};
use super::walk::Stat;
use crate::base::fault::Fault;
use crate::base::path::{shown, BundlePath};
use crate::component::{Act, Error, Result};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// One act, in the order in which they are intended: `Open`, the directories, the steps.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case", deny_unknown_fields)]
pub enum FileAct {
    /// The commit begins. Paths are absolute, in their text form.
    Open {
        /// The directory to which all other paths are relative.
        base: String,
        /// Inode number of that directory.
        ino: u64,
        /// The staging area.
        side: String,
    },
    /// An existing directory (`None`: the base) in which names change, or which gets other metadata at the end.
    Dir {
        /// Where.
        path: Option<BundlePath>,
        /// As it was.
        old: Meta,
        /// As it will be, if it is set.
        new: Option<Meta>,
    },
    /// The empty directory `new/<slot>` goes to `path`, where nothing was.
    Folder {
        /// Where.
        path: BundlePath,
        /// Number in the staging area.
        slot: u32,
        /// What is put there.
        new: Stamp,
    },
    /// `new/<slot>` goes to `path`. What was there is then in `new/<slot>` (exchanged) or in `old/<slot>`.
    Put {
        /// Where.
        path: BundlePath,
        /// Number in the staging area.
        slot: u32,
        /// What is put there.
        new: Stamp,
        /// What was there.
        old: Option<Stamp>,
        /// Whether that is kept beside it in the end.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        keep: bool,
    },
    /// What is at `path` goes to `old/<slot>`.
    Remove {
        /// Where.
        path: BundlePath,
        /// Number in the staging area.
        slot: u32,
        /// What was there.
        old: Stamp,
        /// Whether that is kept beside it in the end.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        keep: bool,
    },
    /// A directory, absolute in its text form, that goes in the end if nothing is in it by then.
    Empty {
        /// Where.
        path: String,
    },
    /// A file or symlink gets other metadata.
    Meta {
        /// Where.
        path: BundlePath,
        /// What was there.
        stamp: Stamp,
        /// As it was.
        old: Meta,
        /// As it will be.
        new: Meta,
    },
}

impl FileAct {
    /// The act with which a commit of `plan` begins.
    pub fn open(plan: &FilesPlan, base: &Stat) -> FileAct {
        FileAct::Open { base: shown(&plan.base), ino: base.file.1, side: shown(&plan.side) }
    }

    /// For the journal.
    pub fn to_act(&self) -> Result<Act> {
        Act::of(self)
    }

    /// In words.
    pub fn describe(&self) -> String {
        let dir = |path: &Option<BundlePath>| path.as_ref().map_or("it".to_owned(), BundlePath::to_string);
        match self {
            FileAct::Open { base, side, .. } => format!("begin in {base}; the staging area is {side}"),
            FileAct::Dir { path, new: None, .. } => format!("change names in {}", dir(path)),
            FileAct::Dir { path, new: Some(_), .. } => format!("set the metadata of {}", dir(path)),
            FileAct::Folder { path, .. } => format!("make the folder {path}"),
            FileAct::Put { path, old: None, .. } => format!("put {path} in place"),
            FileAct::Put { path, old: Some(_), .. } => format!("replace {path}"),
            FileAct::Remove { path, .. } => format!("take {path} away"),
            FileAct::Empty { path } => format!("remove the folder {path} in the end, if it is empty"),
            FileAct::Meta { path, .. } => format!("set the metadata of {path}"),
        }
    }

    /// From the journal.
    pub fn read(act: &Act) -> Result<FileAct> {
        FileAct::deserialize(&act.0)
            .map_err(|e| Error::new(Fault::Unexpected, format_args!("the journal: {e}")))
    }
}

/// The path that a text form stands for.
pub fn path_of(text: &str) -> Result<PathBuf> {
    let bytes = text_bytes(text).filter(|bytes| bytes.first() == Some(&b'/'));
    let bytes =
        bytes.ok_or_else(|| Error::new(Fault::Unexpected, "the journal: a path is not in its text form"))?;
    Ok(PathBuf::from(OsString::from_vec(bytes)))
}
