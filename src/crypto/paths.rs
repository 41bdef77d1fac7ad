//! Where the keys of this machine lie, and how files get there: whole, tight and on disk.

use crate::crypto::error::CryptoError;
use rustix::fs::Mode;
use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The files of the config directory (DESIGN, section 2). Directories are 0700, files 0600.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPaths {
    dir: PathBuf,
}

impl KeyPaths {
    /// The files in `dir` (`--config-dir`).
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        KeyPaths { dir: dir.into() }
    }

    /// The directory itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
    /// The age identity.
    pub fn identity(&self) -> PathBuf {
        self.dir.join("identity.txt")
    }
    /// The OpenSSH private key that signs.
    pub fn signing_key(&self) -> PathBuf {
        self.dir.join("signing_key")
    }
    /// Its public half.
    pub fn signing_key_pub(&self) -> PathBuf {
        self.dir.join("signing_key.pub")
    }
    /// Whose signatures are trusted.
    pub fn trusted_signers(&self) -> PathBuf {
        self.dir.join("trusted_signers")
    }
    /// Whose signatures never are.
    pub fn revoked_signers(&self) -> PathBuf {
        self.dir.join("revoked_signers")
    }

    /// Makes the directory (0700) and those above it where they are missing. One that is there must be as
    /// [`check_dir`](Self::check_dir) has it.
    pub fn ensure_dir(&self) -> Result<(), CryptoError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.dir);
        made.map_err(|error| CryptoError::file(&self.dir, error))?;
        self.check_dir()
    }

    /// Refuses a directory that others may write to, or that is another's (but root's): whoever may write
    /// there may put other keys in the place of ours. One that is not there is none of this.
    pub fn check_dir(&self) -> Result<(), CryptoError> {
        guard_dir(&self.dir)
    }
}

/// What [`KeyPaths::check_dir`] refuses.
pub(super) fn guard_dir(dir: &Path) -> Result<(), CryptoError> {
    match fs::metadata(dir) {
        Ok(meta) => guard(dir, &meta, OTHERS_WRITE),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(CryptoError::file(dir, error)),
    }
}

/// Permission bits that a file others may only read must not have.
pub(super) const OTHERS_WRITE: u32 = 0o022;
/// Permission bits that a secret must not have.
pub(super) const OTHERS_ANY: u32 = 0o077;

/// Refuses what belongs to someone else (but root) or has one of the `forbidden` permission bits.
pub(super) fn guard(path: &Path, meta: &fs::Metadata, forbidden: u32) -> Result<(), CryptoError> {
    let ours = rustix::process::geteuid().as_raw();
    if meta.uid() != ours && meta.uid() != 0 {
        return Err(CryptoError::NotOurs { path: path.to_owned() });
    }
    if meta.mode() & forbidden != 0 {
        let tight = if meta.is_dir() { 0o700 } else { 0o600 };
        return Err(CryptoError::TooOpen { path: path.to_owned(), mode: meta.mode() & 0o777, tight });
    }
    Ok(())
}

/// Reads a file of at most `max` bytes; `None` if it is not there. `check` sees the opened file's metadata first.
pub(super) fn read_small(
    path: &Path,
    max: u64,
    check: impl FnOnce(&fs::Metadata) -> Result<(), CryptoError>,
) -> Result<Option<Zeroizing<Vec<u8>>>, CryptoError> {
    let failed = |error| CryptoError::file(path, error);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let meta = file.metadata().map_err(failed)?;
    check(&meta)?;
    // Room for all of it at once: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(max as usize + 1));
    file.take(max + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > max {
        return Err(CryptoError::FileTooBig { path: path.to_owned(), max });
    }
    Ok(Some(bytes))
}

/// Puts a new file of mode 0600 in place, whole and on disk, or not at all. Never replaces one.
pub(super) fn create_new(path: &Path, bytes: &[u8]) -> Result<(), CryptoError> {
    let (temp, dir) = write_temp(path, bytes)?;
    match temp.persist_noclobber(path) {
        Ok(_) => sync(&dir).map_err(|error| CryptoError::file(path, error)),
        Err(error) if error.error.kind() == ErrorKind::AlreadyExists => {
            Err(CryptoError::Exists { path: path.to_owned() })
        }
        Err(error) => Err(CryptoError::file(path, error.error)),
    }
}

/// Replaces a file by one of mode 0600: whoever reads sees the old content or the new, whenever the power goes.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), CryptoError> {
    let (temp, dir) = write_temp(path, bytes)?;
    temp.persist(path).map_err(|error| CryptoError::file(path, error.error))?;
    sync(&dir).map_err(|error| CryptoError::file(path, error))
}

fn write_temp(path: &Path, bytes: &[u8]) -> Result<(tempfile::NamedTempFile, PathBuf), CryptoError> {
    let failed = |error| CryptoError::file(path, error);
    let dir = path.parent().unwrap_or(Path::new(".")).to_owned();
    let mut temp = tempfile::Builder::new().prefix(".kbpack-").tempfile_in(&dir).map_err(failed)?;
    let owner_only = Mode::RUSR | Mode::WUSR;
    rustix::fs::fchmod(temp.as_file(), owner_only).map_err(|errno| failed(errno.into()))?;
    temp.write_all(bytes).and_then(|()| temp.as_file().sync_all()).map_err(failed)?;
    Ok((temp, dir))
}

fn sync(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::fault::{Fault, Faulty};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_new_file_is_tight_and_never_replaces_one() {
        let dir = tempfile::tempdir().unwrap();
        let paths = KeyPaths::new(dir.path().join("a/b"));
        paths.ensure_dir().unwrap();
        assert_eq!(fs::metadata(paths.dir()).unwrap().mode() & 0o777, 0o700);
        create_new(&paths.identity(), b"one").unwrap();
        assert!(matches!(create_new(&paths.identity(), b"two"), Err(CryptoError::Exists { .. })));
        assert_eq!(fs::read(paths.identity()).unwrap(), b"one");
        replace(&paths.identity(), b"three").unwrap();
        assert_eq!(fs::read(paths.identity()).unwrap(), b"three");
        assert_eq!(fs::metadata(paths.identity()).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(paths.dir()).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_that_others_write_to_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o770)).unwrap();
        let error = KeyPaths::new(dir.path()).ensure_dir().unwrap_err();
        assert_eq!(error.fault(), Fault::NotReady);
        assert_eq!(error.remedy(), Some(format!("chmod 700 {}", dir.path().display())));
    }

    #[test]
    fn what_is_anothers_is_refused_and_what_is_roots_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let paths = KeyPaths::new(dir.path());
        paths.check_dir().unwrap();
        KeyPaths::new(dir.path().join("none")).check_dir().unwrap();
        // Only root can give things away.
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(dir.path(), Some(12345), None).unwrap();
            let error = paths.check_dir().unwrap_err();
            assert!(matches!(error, CryptoError::NotOurs { .. }), "{error}");
            assert_eq!(error.fault(), Fault::NotReady);
        }
    }

    #[test]
    fn reading_is_capped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        assert!(read_small(&path, 3, |_| Ok(())).unwrap().is_none());
        fs::write(&path, b"123").unwrap();
        assert_eq!(read_small(&path, 3, |_| Ok(())).unwrap().unwrap().as_slice(), b"123");
        assert!(matches!(read_small(&path, 2, |_| Ok(())), Err(CryptoError::FileTooBig { .. })));
    }
}
