//! Walks a tree without following a single symlink, and tells what is there, in the order of paths.

use super::index::{depth, MAX_DEPTH};
use super::meta::{read_xattrs, Meta, Names, Perm, Time, Xattrs};
use super::select::{Selection, Verdict};
use super::site::io_at;
use crate::base::fsx::Dir;
use crate::base::path::{shown, BundlePath};
use crate::base::side::STAGE_PREFIX;
use crate::component::{Error, Finding, Result, Severity};
use rustix::fs::{readlinkat, statx, AtFlags, RawDir, StatxFlags};
use rustix::io::Errno;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

/// What an entry of a file system is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A socket, FIFO or device: never travels.
    Special,
}

/// What the file system says of an entry.
#[derive(Debug, Clone, Copy)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// All twelve bits of the mode.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Blocks of 512 bytes that it takes.
    pub blocks: u64,
    /// Last modification of its content.
    pub mtime: Time,
    /// Last change of anything about it.
    pub ctime: Time,
    /// File system and inode: two names with equal ones are one file.
    pub file: (u64, u64),
    /// How many names it has.
    pub nlink: u32,
    /// The mount it lies on.
    pub mount: u64,
}

/// The stat of `name` in `at`, itself, not what it points to.
pub fn stat_at(at: impl AsFd, name: impl rustix::path::Arg) -> io::Result<Stat> {
    stat(at, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// The stat of something open.
pub fn stat_fd(fd: impl AsFd) -> io::Result<Stat> {
    stat(fd, "", AtFlags::EMPTY_PATH)
}

fn stat(at: impl AsFd, name: impl rustix::path::Arg, flags: AtFlags) -> io::Result<Stat> {
    let x = statx(at, name, flags, StatxFlags::BASIC_STATS | StatxFlags::MNT_ID)?;
    let time = |t: rustix::fs::StatxTimestamp| Time { s: t.tv_sec, ns: t.tv_nsec };
    let device = u64::from(x.stx_dev_major) << 32 | u64::from(x.stx_dev_minor);
    let has_mount = StatxFlags::from_bits_retain(x.stx_mask).contains(StatxFlags::MNT_ID);
    let kind = match rustix::fs::FileType::from_raw_mode(x.stx_mode.into()) {
        rustix::fs::FileType::RegularFile => Kind::File,
        rustix::fs::FileType::Directory => Kind::Dir,
        rustix::fs::FileType::Symlink => Kind::Symlink,
        _ => Kind::Special,
    };
    Ok(Stat {
        kind,
        mode: u32::from(x.stx_mode) & 0o7777,
        uid: x.stx_uid,
        gid: x.stx_gid,
        size: x.stx_size,
        blocks: x.stx_blocks,
        mtime: time(x.stx_mtime),
        ctime: time(x.stx_ctime),
        file: (device, x.stx_ino),
        nlink: x.stx_nlink,
        // Kernels before 5.8 do not tell mounts; there, a mount is where the device changes.
        mount: if has_mount { x.stx_mnt_id } else { device },
    })
}

impl Stat {
    /// What renames do not cross: mounts, and the subvolumes of some file systems, which are devices of their own.
    pub fn volume(&self) -> (u64, u64) {
        (self.mount, self.file.0)
    }

    /// The metadata as a row keeps it.
    pub fn meta(&self, names: &Names, xattrs: Xattrs) -> Meta {
        let kept = match self.kind {
            Kind::Dir => 0o3777,
            _ => 0o777,
        };
        Meta {
            mode: Perm(self.mode & kept),
            mtime: self.mtime,
            uid: self.uid,
            gid: self.gid,
            user: names.user(self.uid),
            group: names.group(self.gid),
            xattrs,
        }
    }

    /// Whether bits of the mode do not travel.
    pub fn has_special_bits(&self) -> bool {
        match self.kind {
            Kind::Dir => self.mode & 0o4000 != 0,
            Kind::Symlink => false,
            _ => self.mode & 0o7000 != 0,
        }
    }
}

/// An entry that was found.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Where, relative to the root of the walk.
    pub path: BundlePath,
    /// What the file system says.
    pub stat: Stat,
    /// What a symlink holds.
    pub target: Vec<u8>,
    /// Of a directory that was opened. Files are not opened by a walk.
    pub xattrs: Xattrs,
    /// It is only on the way to what was asked for.
    pub pass: bool,
}

/// What a walk found.
#[derive(Debug, Default)]
pub struct Walk {
    /// The entries, sorted by their paths' bytes.
    pub entries: Vec<Entry>,
    /// What is there and was left: excluded, carved out, not of a kind that travels, or another file system. Sorted.
    pub left: Vec<BundlePath>,
    /// What was noticed.
    pub findings: Vec<Finding>,
}

/// How to walk.
pub struct Walker<'a> {
    /// The root, for messages.
    pub root: &'a Path,
    /// What belongs to the component.
    pub selection: &'a Selection<'a>,
    /// Whether to stay on the root's mount.
    pub one_filesystem: bool,
    /// Whether to look into a directory.
    pub descend: &'a dyn Fn(&BundlePath) -> bool,
}

impl Walker<'_> {
    /// Walks everything below `top`.
    pub fn walk(&self, top: &Dir) -> Result<Walk> {
        let mut walk = Walk::default();
        let mount = stat_fd(top).map_err(|e| io_at(self.root, e))?.mount;
        let mut folders = Vec::new();
        let mut buffer = vec![MaybeUninit::uninit(); 64 * 1024];
        self.list(top, None, &mut buffer, &mut walk, &mut folders)?;
        while let Some((path, pass, above)) = folders.pop() {
            let dir = match top.dir(path.as_path()) {
                Ok(dir) => dir,
                Err(e) if gone(&e) => {
                    walk.findings.push(vanished(&self.at(&path)));
                    continue;
                }
                Err(e) => return Err(io_at(&self.at(&path), e)),
            };
            let failed = |e| io_at(&self.at(&path), e);
            let stat = stat_fd(&dir).map_err(failed)?;
            let (xattrs, dropped) = read_xattrs(&dir).map_err(failed)?;
            walk.findings.extend(dropped.iter().map(|name| untold(&self.at(&path), name)));
            walk.entries.push(Entry { path: path.clone(), stat, target: Vec::new(), xattrs, pass });
            let mounted = stat.mount != above;
            if mounted && (stat.mount != mount || !self.one_filesystem) {
                let what = if self.one_filesystem { "left out" } else { "followed" };
                walk.findings
                    .push(note(&self.at(&path), &format!("another file system is mounted here; {what}")));
            }
            if stat.mount != mount && self.one_filesystem {
                walk.left.push(path);
            } else if (self.descend)(&path) {
                self.list(&dir, Some((&path, stat.mount)), &mut buffer, &mut walk, &mut folders)?;
            }
        }
        walk.entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        walk.left.sort_unstable();
        Ok(walk)
    }

    /// Takes in what one directory holds: directories are put on the list of `folders`, to be opened later.
    fn list(
        &self,
        dir: &Dir,
        above: Option<(&BundlePath, u64)>,
        buffer: &mut [MaybeUninit<u8>],
        walk: &mut Walk,
        folders: &mut Vec<(BundlePath, bool, u64)>,
    ) -> Result<()> {
        let here = above.map_or_else(|| self.root.to_owned(), |(path, _)| self.at(path));
        let mount = match above {
            Some((_, mount)) => mount,
            None => stat_fd(dir).map_err(|e| io_at(&here, e))?.mount,
        };
        let mut listing = RawDir::new(dir, buffer);
        while let Some(found) = listing.next() {
            let found = found.map_err(|e| io_at(&here, e.into()))?;
            let name = found.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let bytes = match above {
                Some((path, _)) => [path.as_bytes(), b"/", name.to_bytes()].concat(),
                None => name.to_bytes().to_vec(),
            };
            let path = BundlePath::new(bytes)
                .map_err(|e| Error::not_ready(format_args!("{}: in it, {e}", shown(&here))))?;
            if depth(&path) > MAX_DEPTH {
                return Err(Error::not_ready(format_args!("{}: the tree is too deep", shown(&here)))
                    .todo("exclude a directory above it"));
            }
            let failed = |e| io_at(&self.at(&path), e);
            let stat = match stat_at(dir, name) {
                Err(e) if gone(&e) => continue,
                stat => stat.map_err(failed)?,
            };
            let verdict = self.selection.verdict(&path, stat.kind == Kind::Dir);
            if verdict == Verdict::Leave {
                if name.to_bytes().starts_with(STAGE_PREFIX) {
                    walk.findings.push(note(&self.at(&path), "a staging area of kbpack; left out"));
                }
                walk.left.push(path);
                continue;
            }
            let target = match stat.kind {
                Kind::Dir => {
                    folders.push((path, verdict == Verdict::Pass, mount));
                    continue;
                }
                Kind::Special => {
                    walk.findings.push(note(&self.at(&path), "a socket, FIFO or device; left out"));
                    walk.left.push(path.clone());
                    Vec::new()
                }
                Kind::Symlink => match readlinkat(dir, name, Vec::new()) {
                    Err(Errno::NOENT | Errno::INVAL) => continue,
                    target => target.map_err(|e| failed(e.into()))?.into_bytes(),
                },
                Kind::File => Vec::new(),
            };
            walk.entries.push(Entry { path, stat, target, xattrs: Xattrs::default(), pass: false });
        }
        Ok(())
    }

    fn at(&self, path: &BundlePath) -> PathBuf {
        self.root.join(path.as_path())
    }
}

/// Whether an error means that the entry is no longer there, or no longer what it was.
pub fn gone(error: &io::Error) -> bool {
    let gone = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP, Errno::STALE];
    Errno::from_io_error(error).is_some_and(|e| gone.contains(&e))
}

/// A note on one path.
pub fn note(path: &Path, what: &str) -> Finding {
    Finding::new(Severity::Note, format_args!("{}: {what}", shown(path)))
}

/// A warning on one path.
pub fn warning(path: &Path, what: &str) -> Finding {
    Finding::new(Severity::Warning, format_args!("{}: {what}", shown(path)))
}

/// What is said of an entry that went away between its listing and its opening.
pub fn vanished(path: &Path) -> Finding {
    warning(path, "it vanished while the tree was read; left out")
}

/// What is said of an extended attribute that does not travel.
pub fn untold(path: &Path, name: &str) -> Finding {
    let name = crate::base::path::path_text(name.as_bytes());
    warning(path, &format!("its extended attribute {name} does not travel"))
}

/// The metadata of an open directory.
pub fn meta_of(dir: &Dir, names: &Names, path: &Path) -> Result<Meta> {
    let stat = stat_fd(dir).map_err(|e| io_at(path, e))?;
    let (xattrs, _) = read_xattrs(dir).map_err(|e| io_at(path, e))?;
    Ok(stat.meta(names, xattrs))
}
