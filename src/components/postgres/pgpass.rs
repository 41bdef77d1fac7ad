//! Passwords: found by libpq's rules (PostgreSQL manual, 34.16), and handed to children in a file of their own.

use super::address::Login;
use crate::base::secret::Secret;
use crate::component::{Error, Result};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use zeroize::Zeroizing;

/// Bytes of a password file that are read at most.
const MAX_FILE: u64 = 1024 * 1024;

/// The password of the first line that matches. A file that others may read is not used, as libpq does not.
pub fn find(path: &Path, hosts: &[String], port: u16, database: &str, user: &str) -> Result<Option<Secret>> {
    let io = |error| Error::io(path.display(), error);
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    let meta = file.metadata().map_err(io)?;
    if !meta.is_file() {
        return Ok(None);
    }
    if meta.mode() & 0o077 != 0 {
        let what = format!("{}: others may read it, so it is not used", path.display());
        return Err(Error::not_ready(what).todo(format_args!("chmod 600 {}", path.display())));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(meta.len().min(MAX_FILE) as usize + 1));
    file.take(MAX_FILE).read_to_end(&mut bytes).map_err(io)?;
    let port = port.to_string();
    let lines = bytes.split(|&byte| byte == b'\n').filter(|line| !line.starts_with(b"#"));
    for line in lines {
        let Some((fields, password)) = split(line.strip_suffix(b"\r").unwrap_or(line)) else { continue };
        let wanted = [port.as_bytes(), database.as_bytes(), user.as_bytes()];
        let host = hosts.iter().any(|host| matches(fields[0], host.as_bytes()));
        if host && fields[1..].iter().zip(wanted).all(|(field, wanted)| matches(field, wanted)) {
            return Ok(Some(unescaped(password)));
        }
    }
    Ok(None)
}

/// The four fields before the password, still escaped, and the password.
fn split(line: &[u8]) -> Option<([&[u8]; 4], &[u8])> {
    let mut rest = line;
    let mut fields = [&b""[..]; 4];
    for field in &mut fields {
        let mut end = 0;
        while *rest.get(end)? != b':' {
            end += if rest[end] == b'\\' { 2 } else { 1 };
        }
        *field = &rest[..end];
        rest = &rest[end + 1..];
    }
    Some((fields, rest))
}

fn matches(field: &[u8], wanted: &[u8]) -> bool {
    field == b"*" || unescaped(field).expose() == wanted
}

fn unescaped(field: &[u8]) -> Secret {
    let mut plain = Vec::with_capacity(field.len());
    let mut bytes = field.iter();
    while let Some(&byte) = bytes.next() {
        plain.push(if byte == b'\\' { *bytes.next().unwrap_or(&byte) } else { byte });
    }
    Secret::from(plain)
}

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
        let make = |place| tempfile::Builder::new().prefix(&prefix).tempdir_in(place);
        let mut made = Err(ErrorKind::NotFound.into());
        for place in places() {
            made = made.or_else(|_: std::io::Error| make(place));
        }
        let private = PrivateFile { folder: made.map_err(io)? };
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(private.path()).map_err(io)?;
        if let Some(password) = login.password(database)? {
            let mut line = Zeroizing::new(Vec::with_capacity(64 + 2 * (login.user.len() + password.len())));
            line.extend_from_slice(format!("*:{}:*:", login.port).as_bytes());
            escape(login.user.as_bytes(), &mut line);
            line.push(b':');
            escape(password.expose(), &mut line);
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

fn escape(text: &[u8], into: &mut Vec<u8>) {
    for &byte in text {
        if matches!(byte, b'\\' | b':') {
            into.push(b'\\');
        }
        into.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn found(text: &str, host: &str, database: &str) -> Option<Vec<u8>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pgpass");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        find(&path, &[host.to_owned()], 5432, database, "ada").unwrap().map(|p| p.expose().to_vec())
    }

    #[test]
    fn the_first_line_that_matches_counts() {
        let text =
            "# h:5432:d:ada:no\nh:5432:d:eve:no\nh:1:d:ada:no\nh:5432:d:ada:a\\:b\\\\c:d\n*:*:*:*:wild\n";
        assert_eq!(found(text, "h", "d").unwrap(), b"a:b\\c:d");
        assert_eq!(found(text, "h", "other").unwrap(), b"wild");
        assert_eq!(found("h:5432:d:ada:x\n", "h", "other"), None);
        assert_eq!(found("\\*:5432:d:ada:x\nh:5432", "h", "d"), None);
        assert_eq!(found("a\\:b:*:*:*:x\r\n", "a:b", "d").unwrap(), b"x");
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pgpass");
        std::fs::write(&path, "*:*:*:*:x").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = find(&path, &[], 1, "d", "u").unwrap_err();
        assert!(error.to_string().contains("others may read it"));
    }
}
