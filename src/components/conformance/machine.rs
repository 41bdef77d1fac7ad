//! A machine of its own, and everything about a tree as lines.

use super::memory::{Given, Silent};
use crate::base::digest::Digest;
use crate::component::{Host, Scope};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The run of every scope.
pub const RUN: &str = "0123456789abcdef";

/// A machine with nothing on it but an empty home.
pub struct Machine {
    /// It.
    pub host: Host,
    _home: tempfile::TempDir,
}

impl Machine {
    /// A new one.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().canonicalize().unwrap();
        let uid = rustix::process::geteuid().as_raw();
        Machine { host: Host { home, uid, own: vec![], maps: vec![] }, _home: dir }
    }

    /// A scope without anything carved out, on one thread: two captures of the same are the same.
    pub fn scope(&self) -> Scope<'_> {
        Scope {
            host: &self.host,
            carved: &[],
            only: &[],
            run: RUN,
            threads: 1,
            progress: &Silent,
            ask: &Given,
            trusted: true,
            logins: &[],
        }
    }
}

/// Everything about a tree, one line an entry: type, mode, times (of directories too), owner, size, which names are one
/// file, content, extended attributes.
pub fn tree(root: &Path) -> Vec<String> {
    let mut inodes: BTreeMap<(u64, u64), String> = BTreeMap::new();
    let mut rows = Vec::new();
    for entry in walkdir::WalkDir::new(root).sort_by_file_name() {
        let entry = entry.unwrap();
        let meta = entry.path().symlink_metadata().unwrap();
        let path = entry.path().strip_prefix(root).unwrap();
        let first = inodes.entry((meta.dev(), meta.ino())).or_insert_with(|| format!("{path:?}")).clone();
        let (kind, size, content) = match entry.file_type() {
            t if t.is_dir() => ("folder", 0, String::new()),
            t if t.is_symlink() => ("link", meta.len(), format!("{:?}", entry.path().read_link().unwrap())),
            t if t.is_file() => {
                ("file", meta.len(), Digest::of(&std::fs::read(entry.path()).unwrap()).to_string())
            }
            _ => ("other", 0, String::new()),
        };
        let (mode, time) = (meta.mode() & 0o7777, format!("{}.{:09}", meta.mtime(), meta.mtime_nsec()));
        let owner = format!("{}:{}", meta.uid(), meta.gid());
        let xattrs = if kind == "link" { Vec::new() } else { xattrs(entry.path()) };
        rows.push(format!(
            "{kind} {path:?} {mode:o} {time} {owner} {size} first={first} {content} {xattrs:?}"
        ));
    }
    rows
}

/// Rows of [`tree`] without the times of folders, which what comes and goes in them moves.
pub fn untimed(world: &[String]) -> Vec<String> {
    let untimed = |row: &String| match row.starts_with("folder ") {
        true => row.split(' ').take(3).collect::<Vec<_>>().join(" "),
        false => row.clone(),
    };
    world.iter().map(untimed).collect()
}

fn xattrs(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut names = vec![0; 64 * 1024];
    let len = rustix::fs::llistxattr(path, &mut names).unwrap_or(0);
    let mut all = Vec::new();
    for name in names[..len].split(|&b| b == 0).filter(|name| !name.is_empty()) {
        let name = std::str::from_utf8(name).unwrap();
        let mut value = vec![0; 64 * 1024];
        let len = rustix::fs::lgetxattr(path, name, &mut value).unwrap();
        all.push((name.to_owned(), value[..len].to_vec()));
    }
    all.sort();
    all
}
