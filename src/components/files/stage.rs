//! Builds the items of a plan in the staging area, on the file system on which they will live.
//!
//! 1. A fresh staging area, 0700.
//! 2. All new directories, private.
//! 3. Files and symlinks, shard by shard, in parallel.
//! 4. Hard links.
//! 5. The directories' metadata, deepest first.
//! 6. A mark in time, and all on disk.

use super::capture::shard_name;
use super::index::Node;
use super::meta::{apply, private, Meta, Names, Perm};
use super::plan::{entry_order, FilesPlan, Item, Source};
use super::site::remove_side;
use super::unpack::{Unpacker, Wanted};
use super::walk::{stat_at, stat_fd};
use crate::base::fsx::{self, Dir};
use crate::base::path::{shown, BundlePath};
use crate::component::{parallel, Error, Result, Scope, StreamSource};
use rustix::fs::{self, AtFlags, Gid, OFlags};
use rustix::io::Errno;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The file whose time of last change says when staging was done.
pub const MARK: &str = "staged";

/// Builds everything. What an earlier attempt of the same run left is removed.
pub fn stage(plan: &FilesPlan, scope: &Scope<'_>, streams: &dyn StreamSource) -> Result<()> {
    if plan.is_idle() {
        return Ok(());
    }
    // 1.
    let failed = Error::at(&plan.side);
    remove_side(&plan.side)?;
    let side = make_side(&plan.side).map_err(failed)?;
    let into = side.dir(Path::new("new")).map_err(failed)?;
    // 2.
    for item in plan.items.iter().filter(|item| folder_meta(plan, item).is_some()) {
        make_dir(&into, item.staged.as_path()).map_err(|e| Error::io(at(plan, item), e))?;
    }
    // 3.
    let names = Names::default();
    let unpacker = Unpacker { into: &into, names: scope.host.is_root().then_some(&names), scope };
    unpack(plan, scope, streams, &unpacker)?;
    // 4.
    for item in &plan.items {
        if let Source::LinkTo(first) = item.source {
            let first = plan.items[first].staged.as_path();
            fs::linkat(&into, first, &into, item.staged.as_path(), AtFlags::empty())
                .map_err(|e| Error::io(at(plan, item), e.into()))?;
        }
    }
    // 5.
    for item in plan.items.iter().rev() {
        let Some(meta) = folder_meta(plan, item) else { continue };
        let failed = |e| Error::io(at(plan, item), e);
        let dir = into.dir(item.staged.as_path()).map_err(failed)?;
        let owner = scope.host.is_root().then(|| names.owner(meta));
        apply(&dir, &Meta { mode: staged_mode(item, meta), ..meta.clone() }, owner).map_err(failed)?;
    }
    // 6.
    side.open_at(Path::new(MARK), OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, private(false))
        .map_err(failed)?;
    fs::syncfs(&side).map_err(|e| failed(e.into()))?;
    if plan.items.iter().any(|item| folder_meta(plan, item).is_some()) {
        let_time_pass(&side).map_err(failed)?;
    }
    Ok(())
}

/// Waits until the file system's clock is past the mark (it ticks every few milliseconds, elsewhere every
/// second): an undo knows edits inside new directories by it.
fn let_time_pass(side: &Dir) -> io::Result<()> {
    let mark = stat_at(side, MARK)?.ctime;
    for _ in 0..1000 {
        fs::fchmod(side, private(true))?;
        if stat_fd(side)?.ctime > mark {
            break;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// The metadata of an item that is a directory.
pub fn folder_meta<'p>(plan: &'p FilesPlan, item: &'p Item) -> Option<&'p Meta> {
    match &item.source {
        Source::Folder(meta) => Some(meta),
        Source::Row(row) => match &plan.rows[*row].node {
            Node::Dir(meta) => Some(meta),
            _ => None,
        },
        Source::LinkTo(_) => None,
    }
}

/// The mode of a directory while it is staged. A directory that its owner may not write to cannot be moved by
/// him either: its last bits come after the rename.
pub fn staged_mode(item: &Item, meta: &Meta) -> Perm {
    let moves = item.staged.parent().is_none();
    Perm(meta.mode.0 | if moves { 0o200 } else { 0 })
}

fn at(plan: &FilesPlan, item: &Item) -> String {
    format!("staging {}", shown(&plan.base.join(item.path.as_path())))
}

/// Makes `<home>/.kbpack-stage-<run>/<component>/{new,old}`, all private and free of what a directory
/// inherits: a group, a default ACL.
fn make_side(side: &Path) -> io::Result<Dir> {
    let folder = side.parent().unwrap_or(side);
    let home_path = folder.parent().unwrap_or(Path::new("/"));
    let home = Dir::open(home_path)?;
    let name = |path: &Path| PathBuf::from(path.file_name().unwrap_or_default());
    let folder_name = name(folder);
    match fsx::keeping_time(home_path, || make_dir(&home, &folder_name)) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    let folder = home.dir(&folder_name)?;
    if fs::fstat(&folder)?.st_uid != rustix::process::geteuid().as_raw() {
        return Err(Errno::PERM.into());
    }
    fs::fchown(&folder, None, Some(Gid::from_raw(rustix::process::getegid().as_raw())))?;
    fs::fchmod(&folder, private(true))?;
    match fs::fremovexattr(&folder, "system.posix_acl_default") {
        Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
        Err(e) => return Err(e.into()),
    }
    make_dir(&folder, &name(side))?;
    let side = folder.dir(&name(side))?;
    make_dir(&side, Path::new("new"))?;
    make_dir(&side, Path::new("old"))?;
    Ok(side)
}

fn make_dir(dir: &Dir, path: &Path) -> io::Result<()> {
    let above = match path.parent().filter(|p| !p.as_os_str().is_empty()) {
        Some(parent) => Some(dir.reach(parent)?),
        None => None,
    };
    Ok(fs::mkdirat(above.as_ref().unwrap_or(dir), path.file_name().unwrap_or_default(), private(true))?)
}

/// Reads every shard that holds something wanted.
fn unpack(
    plan: &FilesPlan,
    scope: &Scope<'_>,
    streams: &dyn StreamSource,
    unpacker: &Unpacker<'_>,
) -> Result<()> {
    let mut wanted: Vec<Option<&BundlePath>> = vec![None; plan.rows.len()];
    for item in &plan.items {
        if let Source::Row(row) = item.source {
            wanted[row] = Some(&item.staged);
        }
    }
    let mut shards: Vec<Vec<usize>> = vec![Vec::new(); plan.shards as usize];
    for (i, row) in plan.rows.iter().enumerate() {
        shards[row.shard as usize - 1].push(i);
    }
    let needed: Vec<u32> = (1..=plan.shards)
        .filter(|&number| shards[number as usize - 1].iter().any(|&row| wanted[row].is_some()))
        .collect();
    let sizes = plan.rows.iter().zip(&wanted).map(|(row, to)| match (&row.node, to) {
        (Node::File(file), Some(_)) => file.size,
        _ => 0,
    });
    scope.progress.expect(sizes.sum());
    let next = AtomicUsize::new(0);
    let work = || {
        while let Some(&number) = needed.get(next.fetch_add(1, Ordering::Relaxed)) {
            let order = entry_order(&plan.rows, &shards[number as usize - 1]).map(|i| {
                let packed = plan.packed.get(&i);
                let rewritten = packed.filter(|packed| packed.places > 0).and(plan.moved.as_ref());
                let written = &plan.rows[i];
                let wanted = wanted[i].map(|to| Wanted { to, written, rewritten });
                (packed.map_or(written, |packed| &packed.row), wanted)
            });
            let source = streams.open(&shard_name(number)?)?;
            unpacker.shard(source, order)?;
        }
        Ok(())
    };
    parallel(scope.threads.min(needed.len()), work).map(drop)
}
