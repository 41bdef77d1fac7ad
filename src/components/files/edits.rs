//! A rollback: what of the target is no longer as the import left it. That is kept aside, not dropped.

use super::kept::names;
use super::place::Target;
use super::plan::{FilesPlan, Step};
use super::sparse;
use super::touched::{Left, Touched};
use super::walk::{warning, Entry, Kind};
use crate::base::path::{path_text, BundlePath};
use crate::component::{parallel, Finding, Result, Scope};
use rustix::fs::{Mode, OFlags};
use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Paths of the target that are not as the import left them.
pub struct Edits(BTreeSet<BundlePath>);

impl Edits {
    /// Looks at everything that is meant.
    pub fn find(target: &Target, touched: &Touched, scope: &Scope<'_>) -> Result<Edits> {
        let entries = &target.walk.entries;
        let next = AtomicUsize::new(0);
        let work = || {
            let mut edited = Vec::new();
            while let Some(entry) = entries.get(next.fetch_add(1, Ordering::Relaxed)) {
                if !entry.pass && !as_left(target, entry, touched.at(&target.inner(&entry.path)), scope) {
                    edited.push(entry.path.clone());
                }
            }
            Ok(edited)
        };
        let parts = parallel(scope.threads, work)?;
        Ok(Edits(parts.into_iter().flatten().collect()))
    }

    /// Whether there is any.
    pub fn any(&self) -> bool {
        !self.0.is_empty()
    }

    /// Whether the entry at `path`, or anything below it, was edited.
    pub fn at_or_below(&self, path: &BundlePath) -> bool {
        // What lies below a path does not come right behind it: `a-b` stands between `a` and `a/b`.
        let below = [path.as_bytes(), b"/"].concat();
        let first = BundlePath::new([&below[..], b"\x01"].concat()).ok();
        let next = first.and_then(|first| self.0.range(first..).next());
        self.0.contains(path) || next.is_some_and(|next| next.is_within(path))
    }

    /// Has the steps that would drop an edit keep it, and says so.
    pub fn keep(&self, plan: &mut FilesPlan, run: &str, target: &Target) -> Vec<Finding> {
        let mut findings = Vec::new();
        for step in &mut plan.steps {
            let (path, slot, keep) = match step {
                Step::Put { path, slot, old: Some(_), keep, .. } | Step::Remove { path, slot, keep, .. } => {
                    (path, *slot, keep)
                }
                _ => continue,
            };
            *keep = self.at_or_below(path);
            if *keep {
                findings.push(kept(&target.at(path), path, run, slot));
            }
        }
        findings
    }
}

/// A finding: what is at `path`, which is `at`, will be kept.
pub fn kept(at: &Path, path: &BundlePath, run: &str, slot: u32) -> Finding {
    let name = names(path, run, slot).next().unwrap_or_default();
    let name = path_text(name.as_encoded_bytes());
    warning(at, &format!("it was edited after the import; it will be kept as {name}"))
}

/// Whether an entry is what the import left there. One that cannot be read is taken for edited.
fn as_left(target: &Target, entry: &Entry, left: Option<&Left>, scope: &Scope<'_>) -> bool {
    match left {
        None | Some(Left::Nothing) => false,
        Some(Left::Content | Left::Folder) => true,
        Some(Left::Dir) => entry.stat.kind == Kind::Dir,
        Some(Left::Symlink(to)) => entry.stat.kind == Kind::Symlink && entry.target == *to,
        Some(Left::File { size, digest }) => {
            if entry.stat.kind != Kind::File || entry.stat.size != *size {
                return false;
            }
            scope.progress.expect(*size);
            let opened =
                target.dir.open_at(entry.path.as_path(), OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty());
            let content = opened.and_then(|fd| sparse::digest(&mut File::from(fd), scope.progress));
            content.is_ok_and(|content| content == *digest)
        }
    }
}
