//! What an import would do for one component, as data.

use super::NotPacked;
use crate::base::digest::Digest;
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// How exactly an undo brings back what was there. The plan shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum UndoStrength {
    /// Byte for byte.
    Exact,
    /// Byte for byte, unless something wrote to it after the commit.
    ExactUntilWrittenTo,
    /// As well as the kind can.
    BestEffort,
}

/// How much a [`Finding`] weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Something will differ from what one would expect.
    Warning,
    /// The import (or export) does not go on with this.
    Refusal,
}

/// Something that capture or plan noticed. `what` may hold text from a bundle: escape it before showing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it weighs.
    pub severity: Severity,
    /// One line: what and where.
    pub what: String,
    /// One line: what to do, where something can be done.
    pub remedy: Option<String>,
}

impl Finding {
    /// A finding without a remedy.
    pub fn new(severity: Severity, what: impl fmt::Display) -> Self {
        Finding { severity, what: what.to_string(), remedy: None }
    }
    /// Adds the line that says what to do.
    pub fn todo(mut self, remedy: impl fmt::Display) -> Self {
        self.remedy = Some(remedy.to_string());
        self
    }
}

/// What a plan would do to one path or object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// It is not there yet.
    Added,
    /// It is there and differs.
    Changed,
    /// It is there and will be gone.
    Removed,
}

/// One line of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What happens.
    pub kind: ChangeKind,
    /// To what: a path on the target or another object's name, in text form.
    pub what: String,
}

/// A file that is written otherwise than it was packed: paths of the source's home in it become paths of this one's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rewrite {
    /// Which: as in a [`Change`].
    pub what: String,
    /// How many paths.
    pub places: u64,
    /// What the source's home is called there.
    pub from: Vec<String>,
    /// What this one is called.
    pub to: String,
    /// The digest of what was packed.
    pub packed: Digest,
    /// The digest of what is written.
    pub written: Digest,
}

/// What is known of a late backup before everything that it comes after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateBackup {
    /// Bytes that it takes, at most.
    pub bytes: u64,
    /// Why it could not be made, as far as that can be seen before: stops an import that makes backups.
    pub hindrance: Option<Finding>,
}

/// What an import would do for one component: data that staging and commit consume.
#[derive(Clone)]
pub struct Plan {
    /// Places on this machine that the component writes to, for people and for the memory of a signer's destinations.
    pub destinations: Vec<String>,
    /// What would change, in a stable order.
    pub changes: Vec<Change>,
    /// Of these, by `what`, those that only [`prepare`](super::Component::prepare) can tell: they may turn out to be none.
    pub open: Vec<String>,
    /// How many things are there already just as they should be.
    pub unchanged: u64,
    /// Files among them that are written otherwise than they were packed.
    pub rewrites: Vec<Rewrite>,
    /// All that stands here otherwise than it was packed when this is done, there already or not: names of things, and what they hold.
    pub written: Vec<(String, Digest)>,
    /// What to know before saying yes; a [`Severity::Refusal`] among them stops the import.
    pub findings: Vec<Finding>,
    /// What this machine would newly execute because of the import, one line each.
    pub executes: Vec<String>,
    /// How many of these, the last ones, may be left out where there is no room for all: files that can be run, but of which no
    /// program is known that does so by itself.
    pub executables: usize,
    /// Commands that come out of the bundle and that preparing would run, each a program and its arguments: they stop the
    /// import unless the signer may have commands run here. They are among `executes` too, in words.
    pub commands: Vec<Vec<String>>,
    /// What the component declares and the bundle does not bring.
    pub not_packed: Vec<NotPacked>,
    /// Bytes that staging needs on the destination's file system, at most.
    pub space: u64,
    /// There where the backup comes late, see [`Component::back_up`](super::Component::back_up).
    pub late_backup: Option<LateBackup>,
    /// Bytes that it needs elsewhere on this machine, each in a folder: where a database server of its keeps its data.
    pub room: Vec<(PathBuf, u64)>,
    detail: Arc<dyn Any + Send + Sync>,
}

impl Plan {
    /// A plan with nothing in it but the kind's own `detail`.
    pub fn new(detail: impl Any + Send + Sync) -> Self {
        Plan {
            destinations: Vec::new(),
            changes: Vec::new(),
            open: Vec::new(),
            unchanged: 0,
            rewrites: Vec::new(),
            written: Vec::new(),
            findings: Vec::new(),
            executes: Vec::new(),
            executables: 0,
            commands: Vec::new(),
            not_packed: Vec::new(),
            space: 0,
            late_backup: None,
            room: Vec::new(),
            detail: Arc::new(detail),
        }
    }

    /// The kind's own part. `None` if another kind made the plan.
    pub fn detail<T: Any>(&self) -> Option<&T> {
        self.detail.downcast_ref()
    }
}
