//! Passwords are handed to children in a file of their own.

use super::address::Login;
use crate::base::fsx::private_dir;
use crate::base::libpq::pgpass::escape;
use crate::component::{Error, Result};
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use zeroize::Zeroizing;

/// Names of our folders begin so; then comes the number of the process.
const PREFIX: &str = "kbpack-pgpass-";

/// A password file of our own, for children: mode 0600 in a folder of mode 0700, gone with this value.
#[derive(Debug)]
pub struct PrivateFile {
    folder: TempDir,
}

impl PrivateFile {
    /// With the password of `login`, if there is one, for every database: a line for one does not match the side or
    /// the maintenance database.
    pub fn create(login: &Login, database: &str) -> Result<PrivateFile> {
        sweep();
        let io = |error| Error::io("a private password file", error);
        let prefix = format!("{PREFIX}{}-", std::process::id());
        let mut made = Err(ErrorKind::NotFound.into());
        for place in places() {
            made = made.or_else(|_: std::io::Error| private_dir(&prefix, &place));
        }
        let private = PrivateFile { folder: made.map_err(io)? };
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(private.path()).map_err(io)?;
        if let Some(found) = login.password(database)? {
            let password = found.password;
            let mut line = Zeroizing::new(Vec::with_capacity(64 + 2 * (login.user.len() + password.len())));
            line.extend_from_slice(format!("*:{}:*:", login.port).as_bytes());
            escape(login.user.as_bytes(), |byte| line.push(byte));
            line.push(b':');
            escape(password.expose(), |byte| line.push(byte));
            line.push(b'\n');
            file.write_all(&line).map_err(io)?;
        }
        Ok(private)
    }

    /// Its path, for `PGPASSFILE`.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("passfile")
    }
}

/// In memory where the machine has such a place.
fn places() -> impl Iterator<Item = PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    runtime.into_iter().chain([PathBuf::from("/dev/shm"), std::env::temp_dir()])
}

/// Removes what a killed process left.
pub fn sweep() {
    let own = rustix::process::geteuid().as_raw();
    for entry in places().flat_map(std::fs::read_dir).flatten().flatten() {
        let name = entry.file_name();
        let id =
            name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse::<u32>().ok());
        let dead = id.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists());
        if dead && entry.metadata().is_ok_and(|meta| meta.is_dir() && meta.uid() == own) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
