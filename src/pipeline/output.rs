//! Where a bundle is written to: a file that appears whole or not at all, or standard output.

use crate::base::fsx;
use rustix::fs::{linkat, open, AtFlags, Mode, OFlags, CWD};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// A bundle in the making.
pub enum Output {
    /// A file without a name yet, in the directory where it will stand.
    Nameless(File, PathBuf),
    /// The same where the file system has no nameless files: a temporary name, removed on failure.
    Temporary(NamedTempFile, PathBuf),
    /// Standard output: what was written is written.
    Stdout(io::Stdout),
}

impl Output {
    /// Opens an output that will stand at `path` (mode 0600) after [`finish`](Output::finish). Nothing is
    /// visible before; an existing file is never replaced: [`io::ErrorKind::AlreadyExists`].
    pub fn file(path: &Path) -> io::Result<Self> {
        if path.symlink_metadata().is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let parent = fsx::folder_of(path);
        if !parent.is_dir() {
            return Err(rustix::io::Errno::NOENT.into());
        }
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        if let Ok(fd) = open(parent, flags, Mode::from_raw_mode(0o600)) {
            return Ok(Output::Nameless(File::from(fd), path.to_owned()));
        }
        let temporary = tempfile::Builder::new().prefix(fsx::TEMPORARY).tempfile_in(parent)?;
        Ok(Output::Temporary(temporary, path.to_owned()))
    }

    /// The file at `path`, or standard output.
    pub fn open(path: Option<&Path>) -> io::Result<Self> {
        path.map_or_else(|| Ok(Output::Stdout(io::stdout())), Output::file)
    }

    /// Bytes written so far; `None` for standard output.
    pub fn size(&self) -> io::Result<Option<u64>> {
        match self {
            Output::Nameless(file, _) => Ok(Some(file.metadata()?.len())),
            Output::Temporary(file, _) => Ok(Some(file.as_file().metadata()?.len())),
            Output::Stdout(_) => Ok(None),
        }
    }

    /// Makes what was written durable, and visible under its name.
    pub fn finish(self) -> io::Result<()> {
        match self {
            Output::Nameless(file, path) => {
                file.sync_all()?;
                let own = format!("/proc/self/fd/{}", file.as_raw_fd());
                linkat(CWD, own.as_str(), CWD, &path, AtFlags::SYMLINK_FOLLOW)?;
                fsx::sync_dir(fsx::folder_of(&path))
            }
            Output::Temporary(file, path) => {
                file.as_file().sync_all()?;
                file.persist_noclobber(&path)?;
                fsx::sync_dir(fsx::folder_of(&path))
            }
            Output::Stdout(mut out) => out.flush(),
        }
    }
}

impl Write for Output {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Output::Nameless(file, _) => file.write(buf),
            Output::Temporary(file, _) => file.write(buf),
            Output::Stdout(out) => out.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Output::Nameless(file, _) => file.flush(),
            Output::Temporary(file, _) => file.flush(),
            Output::Stdout(out) => out.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appears_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("b.kbp");
        let mut dropped = Output::file(&path).unwrap();
        dropped.write_all(b"half").unwrap();
        drop(dropped);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);

        let mut whole = Output::file(&path).unwrap();
        whole.write_all(b"whole").unwrap();
        assert_eq!(whole.size().unwrap(), Some(5));
        assert!(!path.exists());
        whole.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        assert_eq!(Output::file(&path).err().map(|e| e.kind()), Some(io::ErrorKind::AlreadyExists));
    }
}
