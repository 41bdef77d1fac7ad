//! Password files (PostgreSQL manual, "The Password File"): `host:port:database:user:password`, `\` before a byte takes it
//! as it is, a field `*` matches anything, the first line that matches counts, `#` begins a comment.

use super::{Error, Result};
use crate::base::secret::Secret;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Bytes of a password file that are read at most.
const MAX_FILE: u64 = 1024 * 1024;

/// What a connection must be for a line to be its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    /// `*`.
    Any,
    /// Exactly these bytes.
    Is(Vec<u8>),
}

impl Field {
    fn read(raw: &[u8]) -> Field {
        match raw {
            b"*" => Field::Any,
            _ => Field::Is(unescaped(raw).to_vec()),
        }
    }

    /// Whether it is right for `value`.
    pub fn matches(&self, value: &[u8]) -> bool {
        match self {
            Field::Any => true,
            Field::Is(only) => only == value,
        }
    }

    /// Whether what is right for `other` is right for this.
    pub fn covers(&self, other: &Field) -> bool {
        match self {
            Field::Any => true,
            Field::Is(_) => self == other,
        }
    }

    /// What it names, if that is one thing, and text.
    pub fn text(&self) -> Option<&str> {
        match self {
            Field::Any => None,
            Field::Is(bytes) => std::str::from_utf8(bytes).ok(),
        }
    }
}

/// The lines of a file, each with its end.
pub fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    file.split_inclusive(|&byte| byte == b'\n')
}

/// A line's host, port, database and user, and its password; `None` for comments and for what libpq passes over.
pub fn entry(line: &[u8]) -> Option<([Field; 4], Secret)> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.starts_with(b"#") {
        return None;
    }
    let mut rest = line;
    let mut fields = [const { Field::Any }; 4];
    for field in &mut fields {
        let mut end = 0;
        while *rest.get(end)? != b':' {
            end += if rest[end] == b'\\' { 2 } else { 1 };
        }
        *field = Field::read(&rest[..end]);
        rest = &rest[end + 1..];
    }
    Some((fields, Secret::from(unescaped(rest).to_vec())))
}

fn unescaped(raw: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut plain = Zeroizing::new(Vec::with_capacity(raw.len()));
    let mut bytes = raw.iter();
    while let Some(&byte) = bytes.next() {
        plain.push(if byte == b'\\' { *bytes.next().unwrap_or(&byte) } else { byte });
    }
    plain
}

/// A field, or a password, as a line has it: each byte goes to `push`.
pub fn escape(text: &[u8], mut push: impl FnMut(u8)) {
    for &byte in text {
        if matches!(byte, b'\\' | b':') {
            push(b'\\');
        }
        push(byte);
    }
}

/// What a file has for a connection.
#[derive(Debug)]
pub struct Found {
    /// The password.
    pub password: Secret,
    /// Whether its line names host and port, rather than any.
    pub names_server: bool,
}

/// The file that libpq reads for a user whose home is `home`: `PGPASSFILE`, else `~/.pgpass`.
pub fn place(home: &Path) -> PathBuf {
    let named = std::env::var_os("PGPASSFILE").filter(|path| !path.is_empty());
    named.map_or_else(|| home.join(".pgpass"), PathBuf::from)
}

/// A line, taken apart.
pub type Line = ([Field; 4], Secret);

/// What the first of `lines` has that matches. `hosts`: the names that the server has there. A role has one password on a
/// server: where no line is for this database, one that names the role for another database will do.
pub fn pick<'l>(
    lines: impl Iterator<Item = &'l Line> + Clone,
    hosts: &[String],
    [port, database, user]: [&str; 3],
) -> Option<Found> {
    let matching = lines.filter(|(fields, _)| {
        hosts.iter().any(|host| fields[0].matches(host.as_bytes()))
            && fields[1].matches(port.as_bytes())
            && fields[3].matches(user.as_bytes())
    });
    let here = matching.clone().find(|(fields, _)| fields[2].matches(database.as_bytes()));
    let line = here.or_else(|| matching.clone().find(|(fields, _)| fields[3] != Field::Any));
    line.map(|(fields, password)| Found {
        password: password.clone(),
        names_server: fields[..2].iter().all(|field| *field != Field::Any),
    })
}

/// The lines of the file at `path`; none if there is no file.
pub fn read_lines(path: &Path) -> Result<Vec<Line>> {
    let file = read(path)?;
    Ok(file.iter().flat_map(|file| lines(file)).filter_map(entry).collect())
}

/// The file at `path`; `None` if there is none. One that others may read is not used, as libpq does not.
pub fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let io = |error| Error::File { path: path.to_owned(), error };
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
        return Err(Error::Exposed(path.to_owned()));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(meta.len().min(MAX_FILE) as usize + 1));
    file.take(MAX_FILE).read_to_end(&mut bytes).map_err(io)?;
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn found(text: &str, host: &str, database: &str) -> Option<Vec<u8>> {
        let all: Vec<Line> = lines(text.as_bytes()).filter_map(entry).collect();
        let found = pick(all.iter(), &[host.to_owned()], ["5432", database, "ada"]);
        found.map(|found| found.password.expose().to_vec())
    }

    #[test]
    fn the_first_line_that_matches_counts() {
        let text =
            "# h:5432:d:ada:no\nh:5432:d:eve:no\nh:1:d:ada:no\nh:5432:d:ada:a\\:b\\\\c:d\n*:*:*:*:wild\n";
        assert_eq!(found(text, "h", "d").unwrap(), b"a:b\\c:d");
        assert_eq!(found(text, "h", "other").unwrap(), b"wild");
        // Of the same role, for another database; but not what any role has there.
        assert_eq!(found("h:5432:d:ada:x\nh:5432:e:ada:y\n", "h", "other").unwrap(), b"x");
        assert_eq!(found("h:5432:d:*:x\n", "h", "other"), None);
        assert_eq!(found("h:5433:d:ada:x\ni:5432:d:ada:x\n", "h", "other"), None);
        assert_eq!(found("\\*:5432:d:ada:x\nh:5432", "h", "d"), None);
        assert_eq!(found("a\\:b:*:*:*:x\r\n", "a:b", "d").unwrap(), b"x");
    }

    #[test]
    fn a_line_for_any_server_is_told_from_one_for_this() {
        let of = |file: &str| {
            pick([entry(file.as_bytes()).unwrap()].iter(), &["h".to_owned()], ["1", "d", "u"])
                .unwrap()
                .names_server
        };
        assert!(of("h:1:*:*:p\n"));
        assert!(!of("*:1:d:u:p\n") && !of("h:*:d:u:p\n"));
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pgpass");
        let find = || read_lines(&path);
        assert!(find().unwrap().is_empty());
        std::fs::write(&path, "*:*:*:*:x").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(find().unwrap_err().to_string().contains("others may read it"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(find().unwrap()[0].1.expose(), b"x");
    }
}
