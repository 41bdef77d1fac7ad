//! Staging, commit, undo: complete new files wait in a side directory on the same file system, and change places with
//! the old ones by renames. The acts say enough to take it all back.
//!
//! The side directory is also the sign that a run can still be taken back: undo and finalise remove it last.

use super::disk::{self, Links};
use super::finish::keep;
use super::target::{New, Planned, Target};
use crate::base::digest::Digest;
use crate::base::fsx;
use crate::base::path::ShownPath;
use crate::component::{Act, CheckResult, Error, Finding, Journal, Result, Severity};
use rustix::fs::{futimens, Timespec, Timestamps};
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{fchown, DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// One step of a commit, as the journal keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Step {
    /// A directory that was not there is made.
    MakeDir {
        path: PathBuf,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        folder: Option<Time>,
    },
    /// A file changes places: `path` goes to `aside` (if `old` was there), `staged` to `path` (if it is to be anything).
    Replace {
        path: PathBuf,
        staged: Option<PathBuf>,
        aside: PathBuf,
        old: Option<Digest>,
        new: Option<Digest>,
        /// Whether the old content is kept beside it in the end.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        keep: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        folder: Option<Time>,
    },
    /// A directory goes in the end if nothing is in it by then.
    Empty { path: PathBuf },
}

/// When the folder of a step was last changed, before it: seconds since 1970 and nanoseconds. Journals of kbpack 0.1.0
/// do not have it.
type Time = (i64, i64);

impl Step {
    fn path(&self) -> &Path {
        match self {
            Step::MakeDir { path, .. } | Step::Replace { path, .. } | Step::Empty { path } => path,
        }
    }

    fn folder(&mut self) -> Option<&mut Option<Time>> {
        match self {
            Step::MakeDir { folder, .. } | Step::Replace { folder, .. } => Some(folder),
            Step::Empty { .. } => None,
        }
    }
}

/// What an act does, in words. Its digests are of secrets, and stay out.
pub(super) fn describe(act: &Act) -> String {
    act.describe(|step: &Step| {
        let path = ShownPath::from(step.path());
        match step {
            Step::MakeDir { .. } => format!("make the folder {path}"),
            Step::Empty { .. } => format!("remove the folder {path} in the end, if it is empty"),
            Step::Replace { staged: None, .. } => format!("take {path} away"),
            Step::Replace { old: None, .. } => format!("put {path} in place"),
            Step::Replace { .. } => format!("replace {path}"),
        }
    })
}

pub(super) fn at(path: &Path) -> impl Fn(io::Error) -> Error + '_ {
    move |e| Error::io(path.display(), e)
}

pub(super) fn sync_dir(dir: &Path) -> Result<()> {
    fsx::sync_dir(dir).map_err(at(dir))
}

pub(super) fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("/"))
}

/// Ignores that a thing is not there: it was done before.
pub(super) fn if_there(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn staged_at(target: &Target, n: usize) -> PathBuf {
    target.side.join(format!("{n}.new"))
}

/// Writes every new file into its side directory, with its final mode: nobody else can enter there.
pub(super) fn stage(plan: &Planned) -> Result<()> {
    for (n, target) in plan.targets.iter().enumerate().filter(|(_, t)| t.changes()) {
        make_side_dir(&target.side)?;
        let Some(new) = target.new.bytes() else { continue };
        let path = staged_at(target, n);
        if_there(fs::remove_file(&path)).map_err(at(&path))?;
        let write = || {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(new.expose())?;
            if target.gid.is_some_and(|gid| file.metadata().is_ok_and(|m| m.gid() != gid)) {
                fchown(&file, None, target.gid)?;
            }
            file.set_permissions(Permissions::from_mode(target.mode))?;
            if let Some((seconds, nanoseconds)) = target.mtime {
                let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
                futimens(&file, &Timestamps { last_access: time, last_modification: time })?;
            }
            file.sync_all()
        };
        write().map_err(at(&path))?;
        sync_dir(&target.side)?;
    }
    Ok(())
}

fn make_side_dir(side: &Path) -> Result<()> {
    for dir in [parent(side), side] {
        match fsx::keeping_time(parent(dir), || DirBuilder::new().mode(0o700).create(dir)) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                let meta = fs::symlink_metadata(dir).map_err(at(dir))?;
                if !meta.is_dir() || meta.mode() & 0o077 != 0 {
                    return Err(Error::not_ready(format_args!("{} is not as kbpack made it", dir.display()))
                        .todo("remove it"));
                }
            }
            made => made.map_err(at(dir))?,
        }
        sync_dir(parent(dir))?;
    }
    Ok(())
}

/// Compares what was staged with the plan.
pub(super) fn check_staged(plan: &Planned) -> Vec<CheckResult> {
    let changed = plan.targets.iter().enumerate().filter(|(_, t)| t.changes() && t.new.bytes().is_some());
    changed.map(|(n, t)| check_file(t, &staged_at(t, n), "is staged")).collect()
}

/// Compares what is in place with the plan.
pub(super) fn check_files(plan: &Planned) -> Vec<CheckResult> {
    plan.targets.iter().map(|t| check_file(t, &t.path, "is in place")).collect()
}

fn check_file(target: &Target, path: &Path, what: &str) -> CheckResult {
    let name = format!("{} {what}", target.path.display());
    if matches!(target.new, New::Open) {
        let failure = fs::symlink_metadata(path).is_err().then(|| "it is not there".to_owned());
        let name = format!("{name} (not compared: only an import fetches its values)");
        return CheckResult::new(name, failure);
    }
    let failure = match (disk::read(path, Links::Refuse), target.digest()) {
        (Err(e), _) => Some(e.to_string()),
        (Ok(None), None) => None,
        (Ok(None), Some(_)) => Some("it is not there".to_owned()),
        (Ok(Some(_)), None) => Some("it is still there".to_owned()),
        (Ok(Some(seen)), Some(new)) if seen.digest() != new => Some("its content differs".to_owned()),
        (Ok(Some(seen)), _) if seen.mode != target.mode => {
            Some(format!("its mode is {:03o}, not {:03o}", seen.mode, target.mode))
        }
        _ => None,
    };
    CheckResult::new(name, failure)
}

/// Puts the staged files in place. Nothing is touched if one of the files was edited since the plan, or is no longer
/// where the plan saw it.
pub(super) fn commit(plan: &Planned, journal: &mut dyn Journal) -> Result<()> {
    let mut steps = Vec::new();
    for (n, target) in plan.targets.iter().enumerate().filter(|(_, t)| t.changes()) {
        stays(&target.path)?;
        let step = Step::Replace {
            path: target.path.clone(),
            staged: target.new.bytes().is_some().then(|| staged_at(target, n)),
            aside: target.side.join(format!("{n}.old")),
            old: target.old,
            new: target.digest(),
            keep: target.keep,
            folder: None,
        };
        if !is_done(&step)? {
            steps.push(step);
        }
    }
    // Deepest first.
    for path in plan.empties.iter().rev() {
        intend(journal, Step::Empty { path: path.clone() })?;
    }
    for dir in plan.dirs.iter().filter(|dir| !dir.is_dir()) {
        intend(journal, Step::MakeDir { path: dir.clone(), folder: None })?;
        DirBuilder::new().mode(0o700).create(dir).map_err(at(dir))?;
        sync_dir(parent(dir))?;
    }
    for step in steps {
        replace(&intend(journal, step)?)?;
    }
    Ok(())
}

/// Refuses a path that leads elsewhere by now: another component may just have brought a symlink that stands above it.
fn stays(path: &Path) -> Result<()> {
    if disk::settle(path).is_ok_and(|settled| settled == path) {
        return Ok(());
    }
    Err(Error::not_ready(format_args!("{}: a symlink above it was not there at the plan", path.display()))
        .todo("import the component that has the symlink first, with --only, and look at the plan again"))
}

/// Writes a step down, with its folder as it is before it.
fn intend(journal: &mut dyn Journal, mut step: Step) -> Result<Step> {
    let folder = fs::metadata(parent(step.path())).ok();
    if let Some(time) = step.folder() {
        *time = folder.map(|meta| (meta.mtime(), meta.mtime_nsec()));
    }
    journal.intend_step(&step)?;
    Ok(step)
}

/// Whether a commit did this step before. An error if the file is neither as the plan saw it nor as it is to be.
fn is_done(step: &Step) -> Result<bool> {
    let Step::Replace { path, staged, aside, old, new, .. } = step else { return Ok(false) };
    let now = disk::read(path, Links::Refuse)?.map(|seen| seen.digest());
    let waiting = match staged {
        Some(staged) => fs::symlink_metadata(staged).is_ok(),
        None => now.is_some(),
    };
    let gone_half_way = now.is_none() && fs::symlink_metadata(aside).is_ok();
    if waiting && (now == *old || gone_half_way) {
        return Ok(false);
    }
    if !waiting && now == *new {
        return Ok(true);
    }
    Err(Error::not_ready(format_args!("{} was edited since the plan", path.display())).todo("import again"))
}

/// The act itself. The old file is given a second name and then replaced in one rename, so that a reader always finds one
/// of the two; where a file system has no hard links, there is a moment with none.
fn replace(step: &Step) -> Result<()> {
    let Step::Replace { path, staged, aside, old, .. } = step else { return Ok(()) };
    if old.is_some() {
        set_aside(path, aside, staged.is_some()).map_err(at(path))?;
        sync_dir(parent(aside))?;
    }
    if let Some(staged) = staged {
        fs::rename(staged, path).map_err(at(path))?;
    }
    sync_dir(parent(path))
}

fn set_aside(path: &Path, aside: &Path, link: bool) -> io::Result<()> {
    if fs::symlink_metadata(path).is_err() && fs::symlink_metadata(aside).is_ok() {
        return Ok(());
    }
    if_there(fs::remove_file(aside))?;
    if link && fs::hard_link(path, aside).is_ok() {
        return Ok(());
    }
    fs::rename(path, aside)
}

/// Takes the steps back, last first, each as far as it got; their folders get their times back.
pub(super) fn undo(acts: &[Act], run: &str) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for step in Act::steps::<Step>(acts)?.iter().rev() {
        let (path, folder) = match step {
            Step::MakeDir { path, folder } => match fs::remove_dir(path) {
                // What is in it by now is not ours.
                Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => continue,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                removed => removed.map(|()| (path, folder)).map_err(at(path))?,
            },
            Step::Empty { .. } => continue,
            Step::Replace { path, staged, aside, old, new, folder, .. } => {
                // Without the side directory, it was taken back before, or somebody else took that away.
                if !parent(aside).is_dir() {
                    is_taken_back(path, parent(aside), *new)?;
                    continue;
                }
                let done = staged.as_ref().is_none_or(|staged| fs::symlink_metadata(staged).is_err());
                findings.extend(put_back(path, aside, old.is_some(), done, *new, run)?);
                (path, folder)
            }
        };
        if let Some((seconds, nanoseconds)) = folder {
            // It may be gone, or another's that we may only write to.
            let _ = fsx::set_time(parent(path), *seconds, *nanoseconds);
        }
    }
    Ok(findings)
}

fn is_taken_back(path: &Path, side: &Path, new: Option<Digest>) -> Result<()> {
    let now = disk::read(path, Links::Refuse).ok().flatten().map(|seen| seen.digest());
    if new.is_none() || now != new {
        return Ok(());
    }
    let what = "is gone, and what the import put at";
    Err(Error::not_ready(format_args!(
        "the staging area {} {what} {} is still there",
        side.display(),
        path.display()
    )))
}

fn put_back(
    path: &Path,
    aside: &Path,
    existed: bool,
    done: bool,
    new: Option<Digest>,
    run: &str,
) -> Result<Option<Finding>> {
    let inode = |p: &Path| fs::symlink_metadata(p).ok().map(|m| (m.dev(), m.ino()));
    let (now, before) = (inode(path), inode(aside));
    let mut kept = None;
    if existed && before.is_none() || !existed && (!done || now.is_none()) {
        return Ok(None);
    }
    if now == before {
        // It has two names and was not replaced yet.
        if_there(fs::remove_file(aside)).map_err(at(aside))?;
        return Ok(None);
    }
    if now.is_some() {
        let ours = disk::read(path, Links::Refuse).ok().flatten().map(|seen| seen.digest());
        if new.is_none() || ours != new {
            let name = keep(path, path, run)?;
            let what =
                format!("{} was edited after the import: that copy is {}", path.display(), name.display());
            kept = Some(
                Finding::new(Severity::Warning, what).todo("take over what you need from it, and remove it"),
            );
        } else if !existed {
            fs::remove_file(path).map_err(at(path))?;
        }
    }
    if existed {
        fs::rename(aside, path).map_err(at(path))?;
    }
    sync_dir(parent(path))?;
    Ok(kept)
}
