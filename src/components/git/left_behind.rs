//! Source: what stays behind because git ignores it: a venv, `node_modules`, a database in the work tree.

use super::open::failed;
use super::work::is_foreign;
use crate::base::interrupt;
use crate::base::path::path_text;
use crate::component::{Error, Finding, Result, Scope, Severity};
use git2::{Repository, Status, StatusOptions};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// From this size on somebody may miss it.
const LARGE: u64 = 1 << 20;
/// The most names in one line.
const SHOWN: usize = 5;

/// A file, or a folder that is ignored as a whole.
struct Left {
    path: PathBuf,
    files: u64,
    bytes: u64,
}

/// What is ignored, as a finding: a warning if it is large. What other components claim is not left behind.
pub fn finding(repo: &Repository, scope: &Scope<'_>) -> Result<Option<Finding>> {
    let Some(root) = repo.workdir() else { return Ok(None) };
    let root = fs::canonicalize(root).unwrap_or_else(|_| root.to_owned());
    let mut all = ignored(repo, &root, scope.carved)?;
    all.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.path.cmp(&b.path)));
    let files: u64 = all.iter().map(|left| left.files).sum();
    let bytes: u64 = all.iter().map(|left| left.bytes).sum();
    if files == 0 {
        return Ok(None);
    }
    let name = |left: &Left| {
        // A folder's name ends in a slash.
        format!("{} ({})", path_text(left.path.as_os_str().as_bytes()), size(left.bytes))
    };
    let large: Vec<String> = all.iter().filter(|left| left.bytes >= LARGE).map(name).collect();
    let mut what = format!(
        "{}: what git ignores stays behind: {files} files, {}",
        path_text(root.as_os_str().as_bytes()),
        size(bytes)
    );
    for (number, name) in large.iter().take(SHOWN).enumerate() {
        what.push_str(if number == 0 { ", the largest " } else { ", " });
        what.push_str(name);
    }
    if large.len() > SHOWN {
        what.push_str(&format!(" and {} more", large.len() - SHOWN));
    }
    let severity = if bytes >= LARGE { Severity::Warning } else { Severity::Note };
    Ok(Some(
        Finding::new(severity, what)
            .todo("let other components (files, sqlite, secrets) claim what is needed"),
    ))
}

/// For people.
pub fn size(bytes: u64) -> String {
    match bytes {
        ..LARGE => format!("{} KiB", bytes.div_ceil(1 << 10)),
        _ => format!("{:.1} MiB", bytes as f64 / LARGE as f64),
    }
}

/// Files and folders that are ignored, each with all that is in it.
fn ignored(repo: &Repository, root: &Path, carved: &[PathBuf]) -> Result<Vec<Left>> {
    let mut options = StatusOptions::new();
    options.include_ignored(true).recurse_ignored_dirs(false).include_untracked(false);
    options.exclude_submodules(true).update_index(false);
    let statuses = repo.statuses(Some(&mut options)).map_err(|e| failed(root, &e))?;
    let mut found = Vec::new();
    for entry in statuses.iter().filter(|entry| entry.status().contains(Status::IGNORED)) {
        let mut left =
            Left { path: Path::new(OsStr::from_bytes(entry.path_bytes())).to_owned(), files: 0, bytes: 0 };
        measure(root, &left.path.clone(), carved, &mut left)?;
        if left.files > 0 {
            found.push(left);
        }
    }
    Ok(found)
}

/// Adds up what is at `path`. What may not be read is not counted.
fn measure(root: &Path, path: &Path, carved: &[PathBuf], left: &mut Left) -> Result<()> {
    interrupt::check().map_err(Error::of)?;
    let at = root.join(path);
    let Ok(meta) = fs::symlink_metadata(&at) else { return Ok(()) };
    if is_foreign(root, path, carved) {
        return Ok(());
    }
    if !meta.is_dir() {
        left.files += 1;
        left.bytes += meta.len();
        return Ok(());
    }
    for entry in fs::read_dir(&at).into_iter().flatten().flatten() {
        measure(root, &path.join(entry.file_name()), carved, left)?;
    }
    Ok(())
}
