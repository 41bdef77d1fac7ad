//! File system acts that must be neither half done nor led astray by a symlink.

use rustix::fs::{self, AtFlags, Mode, OFlags, ResolveFlags, CWD};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path};
use std::sync::OnceLock;

/// How many directories, one in another, are open at the same time while a tree is removed.
const LEVELS: usize = 64;

/// A directory by which everything beneath it is reached: by relative paths, never through a symlink
/// (not even one in the middle), never upward.
#[derive(Debug)]
pub struct Dir(OwnedFd);

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Dir {
    /// Opens an absolute path that has no symlink in it (see [`std::fs::canonicalize`]).
    pub fn open(path: &Path) -> io::Result<Dir> {
        let top = fs::open("/", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        match path.strip_prefix("/") {
            Ok(rest) if rest.as_os_str().is_empty() => Ok(Dir(top)),
            Ok(rest) => Dir(top).dir(rest),
            Err(_) => Err(io::Error::new(io::ErrorKind::InvalidInput, "the path is not absolute")),
        }
    }

    /// Opens a directory beneath this one, to read it and to reach what it holds.
    pub fn dir(&self, path: &Path) -> io::Result<Dir> {
        self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).map(Dir)
    }

    /// Opens a directory beneath this one only to reach what it holds: it need not be readable.
    pub fn reach(&self, path: &Path) -> io::Result<Dir> {
        self.open_at(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).map(Dir)
    }

    /// Opens, or makes, what lies at `path` beneath this directory.
    pub fn open_at(&self, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        if !has_openat2() {
            return self.open_by_segments(path, flags, mode);
        }
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        // EAGAIN: something was renamed meanwhile and the kernel could not prove that we stay beneath.
        for _ in 0..100 {
            match fs::openat2(&self.0, path, flags, mode, beneath) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                opened => return Ok(opened?),
            }
        }
        Err(Errno::AGAIN.into())
    }

    /// What `open_at` does where the kernel (before 5.6) or a sandbox has no `openat2`.
    fn open_by_segments(&self, path: &Path, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let mut names = Vec::new();
        for part in path.components() {
            match part {
                Component::Normal(name) => names.push(name),
                _ => return Err(Errno::XDEV.into()),
            }
        }
        let Some((last, above)) = names.split_last() else { return Err(Errno::NOENT.into()) };
        let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut at: Option<OwnedFd> = None;
        for name in above {
            at = Some(fs::openat(at.as_ref().unwrap_or(&self.0), *name, step, Mode::empty())?);
        }
        Ok(fs::openat(at.as_ref().unwrap_or(&self.0), *last, flags, mode)?)
    }

    /// Removes a directory tree named `name` right below this one, however deep it is, and also where its directories have
    /// tight modes. That nothing is there is no error.
    pub fn remove_tree(&self, name: &OsStr) -> io::Result<()> {
        let Some(top) = self.unlink_or_open(name)? else { return Ok(()) };
        // What lies too deep comes up to the top, and is removed from there.
        let mut lifted = 0;
        loop {
            let before = lifted;
            top.empty(&top, LEVELS, &mut lifted)?;
            if lifted == before {
                return Ok(fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR)?);
            }
        }
    }

    /// Removes all that is in here, but for directories that lie deeper than `levels`: they go to `top`, under new names.
    fn empty(&self, top: &Dir, levels: usize, lifted: &mut u64) -> io::Result<()> {
        let names: Vec<_> = fs::Dir::read_from(&self.0)?.collect::<Result<_, _>>()?;
        for entry in names {
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let Some(inner) = self.unlink_or_open(name)? else { continue };
            if levels == 0 {
                self.lift(name, top, lifted)?;
                continue;
            }
            inner.empty(top, levels - 1, lifted)?;
            fs::unlinkat(&self.0, name, AtFlags::REMOVEDIR)?;
        }
        Ok(())
    }

    /// Moves the directory `name` to `top`, under a name that is free there.
    fn lift(&self, name: &OsStr, top: &Dir, lifted: &mut u64) -> io::Result<()> {
        loop {
            *lifted += 1;
            match fs::renameat(&self.0, name, &top.0, format!(".lifted-{lifted}")) {
                Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
                moved => return Ok(moved?),
            }
        }
    }

    /// Opens the directory `name` and sees to it that what is in it can be removed; anything else is removed.
    fn unlink_or_open(&self, name: &OsStr) -> io::Result<Option<Dir>> {
        let is_dir = match fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            stat => fs::FileType::from_raw_mode(stat?.st_mode) == fs::FileType::Directory,
        };
        if !is_dir {
            fs::unlinkat(&self.0, name, AtFlags::empty())?;
            return Ok(None);
        }
        let inner = match self.dir(Path::new(name)) {
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                let fd = self.open_at(Path::new(name), OFlags::PATH, Mode::empty())?;
                chmod_fd(&fd, 0o700)?;
                self.dir(Path::new(name))?
            }
            opened => opened?,
        };
        if fs::fstat(&inner)?.st_mode & 0o700 != 0o700 {
            fs::fchmod(&inner, Mode::from_raw_mode(0o700))?;
        }
        Ok(Some(inner))
    }
}

/// Sets the mode of anything open, even where it is open only as a path.
pub fn chmod_fd(fd: impl AsFd, mode: u32) -> io::Result<()> {
    use std::os::fd::AsRawFd;
    let mode = Mode::from_raw_mode(mode);
    match fs::fchmod(&fd, mode) {
        Err(Errno::BADF) => {
            Ok(fs::chmod(format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd()).as_str(), mode)?)
        }
        done => Ok(done?),
    }
}

fn has_openat2() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        fs::openat2(CWD, "/", flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS).is_ok()
    })
}

/// Puts the directory itself (which names it holds) on disk.
pub fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Does `work`, which makes or removes a name in the folder `dir`, and gives the folder the time back that it had: what
/// comes and goes unseen leaves no trace there. A time that cannot be set is no error.
pub fn keeping_time<T>(dir: &Path, work: impl FnOnce() -> T) -> T {
    let before = fs::stat(dir).ok();
    let outcome = work();
    if let Some(stat) = before {
        let _ = set_time(dir, stat.st_mtime, stat.st_mtime_nsec as i64);
    }
    outcome
}

/// Sets the time of last modification of `path` (seconds since 1970, and nanoseconds), and no other.
pub fn set_time(path: &Path, seconds: i64, nanoseconds: i64) -> io::Result<()> {
    let omitted = fs::Timespec { tv_sec: 0, tv_nsec: fs::UTIME_OMIT };
    let time = fs::Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = fs::Timestamps { last_access: omitted, last_modification: time };
    Ok(fs::utimensat(CWD, path, &times, AtFlags::empty())?)
}

/// The folder that a file at `path` stands in: `.` for a bare name, `/` for the root itself.
pub fn folder_of(path: &Path) -> &Path {
    let nowhere = if path.has_root() { "/" } else { "." };
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(nowhere))
}

/// Makes a folder in `place` that nobody else can look into, and that goes with the value; its name begins with `prefix`.
pub fn private_dir(prefix: &str, place: &Path) -> io::Result<tempfile::TempDir> {
    let mode = std::fs::Permissions::from_mode(0o700);
    tempfile::Builder::new().prefix(prefix).permissions(mode).tempdir_in(place)
}

/// How the names of files begin that are being written.
pub const TEMPORARY: &str = ".kbpack-tmp-";

/// A file that appears at its path whole and on disk, or not at all.
pub struct AtomicFile {
    temp: tempfile::NamedTempFile,
}

impl AtomicFile {
    /// Begins a file beside `path`, under another name, with `mode`.
    pub fn create(path: &Path, mode: u32) -> io::Result<Self> {
        let temp = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(folder_of(path))?;
        temp.as_file().set_permissions(PermissionsExt::from_mode(mode))?;
        Ok(AtomicFile { temp })
    }

    /// Puts it on disk and then in place at `path` (in the same folder), replacing what was there.
    pub fn finish(self, path: &Path) -> io::Result<()> {
        self.temp.as_file().sync_all()?;
        self.temp.persist(path).map_err(|e| e.error)?;
        sync_dir(folder_of(path))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.temp.write(buf)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.temp.flush()
    }
}

/// Writes a whole small file at once: after a crash it is wholly the old or wholly the new one.
pub fn write_atomic(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let mut file = AtomicFile::create(path, mode)?;
    file.write_all(bytes)?;
    file.finish(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn both_ways(dir: &Dir, path: &str) -> [io::Result<OwnedFd>; 2] {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        [
            dir.open_at(Path::new(path), flags, Mode::empty()),
            dir.open_by_segments(Path::new(path), flags, Mode::empty()),
        ]
    }

    #[test]
    fn nothing_is_reached_through_a_symlink_or_upward() {
        let temp = tempfile::tempdir().unwrap();
        let top = temp.path().canonicalize().unwrap();
        std::fs::create_dir_all(top.join("in/a")).unwrap();
        std::fs::write(top.join("in/a/f"), "x").unwrap();
        std::fs::write(top.join("secret"), "x").unwrap();
        symlink("a", top.join("in/link")).unwrap();
        symlink("../secret", top.join("in/out")).unwrap();
        let dir = Dir::open(&top.join("in")).unwrap();
        assert!(both_ways(&dir, "a/f").iter().all(|r| r.is_ok()));
        for bad in ["link/f", "out", "../secret", "/etc/passwd", "a/../../secret", ""] {
            assert!(both_ways(&dir, bad).iter().all(|r| r.is_err()), "{bad}");
        }
        assert!(Dir::open(&top.join("in/link")).is_err());
    }

    #[test]
    fn a_tree_of_tight_modes_goes() {
        let temp = tempfile::tempdir().unwrap();
        let top = temp.path().canonicalize().unwrap();
        std::fs::create_dir_all(top.join("t/a/b")).unwrap();
        std::fs::write(top.join("t/a/b/f"), "x").unwrap();
        symlink("/etc", top.join("t/a/etc")).unwrap();
        std::fs::set_permissions(top.join("t/a/b"), PermissionsExt::from_mode(0o500)).unwrap();
        std::fs::set_permissions(top.join("t/a"), PermissionsExt::from_mode(0o000)).unwrap();
        let dir = Dir::open(&top).unwrap();
        dir.remove_tree(OsStr::new("t")).unwrap();
        dir.remove_tree(OsStr::new("t")).unwrap();
        assert!(!top.join("t").exists() && Path::new("/etc").exists());
    }

    /// Deeper than a process may have files open, and than a path may be long.
    #[test]
    fn a_tree_of_any_depth_goes() {
        use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};
        let most = getrlimit(Resource::Nofile).maximum;
        setrlimit(Resource::Nofile, Rlimit { current: Some(1024), maximum: most }).unwrap();
        let temp = tempfile::tempdir().unwrap();
        let top = Dir::open(&temp.path().canonicalize().unwrap()).unwrap();
        let mut at = Dir::open(&temp.path().canonicalize().unwrap()).unwrap();
        for level in 0..3000 {
            fs::mkdirat(&at, "d", Mode::from_raw_mode(0o700)).unwrap();
            let next = at.dir(Path::new("d")).unwrap();
            if level % 500 == 0 {
                fs::mkdirat(&next, ".lifted-1", Mode::from_raw_mode(0o500)).unwrap();
                fs::symlinkat("/etc", &next, "link").unwrap();
            }
            at = next;
        }
        top.remove_tree(OsStr::new("d")).unwrap();
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_private_folder_is_ones_own() {
        let temp = tempfile::tempdir().unwrap();
        let private = private_dir("x-", temp.path()).unwrap();
        assert_eq!(private.path().metadata().unwrap().permissions().mode() & 0o7777, 0o700);
    }

    #[test]
    fn atomic_files_replace_or_leave_no_trace() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("f");
        write_atomic(&path, 0o600, b"one").unwrap();
        write_atomic(&path, 0o640, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o640);
        drop(AtomicFile::create(&path, 0o600).unwrap());
        assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 1);
    }
}
