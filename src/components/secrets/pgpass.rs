//! `~/.pgpass` by libpq's rules (PostgreSQL manual, "The Password File"): `host:port:database:user:password`, `\` before a
//! byte takes it as it is, a field `*` matches anything, the first line that matches counts, `#` begins a comment.

use super::buffer::SecretBuf;
use crate::base::secret::Secret;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a line is for: host, port, database and user, in the file's own notation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Key {
    text: String,
    fields: [Vec<u8>; 4],
}

impl TryFrom<String> for Key {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        const FORM: &str = "a line of .pgpass is named by host:port:database:user, without the password";
        if text.starts_with('#') || text.contains(['\n', '\r', '\0']) {
            return Err(FORM);
        }
        let (fields, end) = fields::<4>(text.as_bytes()).ok_or(FORM)?;
        if end != text.len() + 1 {
            return Err(FORM);
        }
        Ok(Key { text, fields })
    }
}

impl From<Key> for String {
    fn from(key: Key) -> String {
        key.text
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The first `N` fields, still escaped but for `\`, and the offset behind the last one's `:` (or behind the end).
fn fields<const N: usize>(line: &[u8]) -> Option<([Vec<u8>; N], usize)> {
    let mut fields = [const { Vec::new() }; N];
    let mut pos = 0;
    for (n, field) in fields.iter_mut().enumerate() {
        if n > 0 && pos > line.len() {
            return None;
        }
        // A wildcard is the bare '*': an escaped one is a name.
        let escaped_star = line[pos..].starts_with(b"\\*");
        while let Some(&c) = line.get(pos).filter(|&&c| c != b':') {
            if c == b'\\' && pos + 1 < line.len() {
                pos += 1;
            }
            field.push(line[pos]);
            pos += 1;
        }
        if escaped_star && field == b"*" {
            *field = b"\\*".to_vec();
        }
        pos += 1;
    }
    Some((fields, pos))
}

fn is_wild(field: &[u8]) -> bool {
    field == b"*"
}

/// The line's key fields and its password with escapes; `None` for comments, empty lines and what libpq passes over.
fn entry(line: &[u8]) -> Option<([Vec<u8>; 4], &[u8])> {
    let line = without_end(line);
    if line.is_empty() || line[0] == b'#' {
        return None;
    }
    let (fields, end) = fields::<4>(line)?;
    Some((fields, line.get(end..)?))
}

fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// What each line is for, as it stands there.
pub(super) fn keys(file: &[u8]) -> Vec<String> {
    let key = |line: &[u8]| {
        let (_, password) = entry(line)?;
        let end = without_end(line).len() - password.len() - 1;
        let text = String::from_utf8(line[..end].to_vec()).ok()?;
        Key::try_from(text).ok().map(String::from)
    };
    lines(file).filter_map(key).collect()
}

/// The password of the line for exactly `key`.
pub(super) fn find(file: &[u8], key: &Key) -> Option<Secret> {
    let (_, raw) = lines(file).filter_map(entry).find(|(fields, _)| *fields == key.fields)?;
    Some(unescaped(raw))
}

/// The password for a connection to host, port, database and user, and whether its line names host and port rather
/// than any.
pub fn password_for(file: &[u8], connection: [&str; 4]) -> Option<(Secret, bool)> {
    let covers = |fields: &[Vec<u8>; 4]| {
        fields.iter().zip(connection).all(|(field, value)| is_wild(field) || field == value.as_bytes())
    };
    let (fields, raw) = lines(file).filter_map(entry).find(|(fields, _)| covers(fields))?;
    Some((unescaped(raw), !fields[..2].iter().any(|field| is_wild(field))))
}

fn unescaped(raw: &[u8]) -> Secret {
    let mut password = SecretBuf::with_capacity(raw.len());
    let mut bytes = raw.iter().peekable();
    while let Some(&c) = bytes.next() {
        match bytes.peek() {
            Some(&&escaped) if c == b'\\' => {
                password.push(escaped);
                bytes.next();
            }
            _ => password.push(c),
        }
    }
    password.into_secret()
}

fn lines(file: &[u8]) -> impl Iterator<Item = &[u8]> {
    file.split_inclusive(|&c| c == b'\n')
}

/// `file` with the password of `key`: its line is replaced, or goes before the first line that would match in its stead,
/// or to the end. All other lines stay byte for byte.
pub(super) fn merge(file: &[u8], key: &Key, password: &Secret) -> Secret {
    let lines: Vec<&[u8]> = lines(file).collect();
    let fields: Vec<_> = lines.iter().map(|line| entry(line).map(|(fields, _)| fields)).collect();
    let own = fields.iter().position(|f| f.as_ref() == Some(&key.fields));
    let covers = |f: &[Vec<u8>; 4]| f.iter().zip(&key.fields).all(|(f, k)| is_wild(f) || f == k);
    let first = fields.iter().position(|f| f.as_ref().is_some_and(covers));
    if own.is_some() && first == own && find(file, key).as_ref() == Some(password) {
        return Secret::from(file.to_vec());
    }
    let mut out = SecretBuf::with_capacity(file.len() + password.len() * 2 + 256);
    for (n, line) in lines.iter().enumerate() {
        if first == Some(n) {
            write_line(&mut out, key, password);
        }
        if own != Some(n) {
            out.extend(line);
        }
    }
    if first.is_none() {
        if out.bytes().last().is_some_and(|&c| c != b'\n') {
            out.push(b'\n');
        }
        write_line(&mut out, key, password);
    }
    out.into_secret()
}

fn write_line(out: &mut SecretBuf, key: &Key, password: &Secret) {
    out.extend(key.text.as_bytes());
    out.push(b':');
    for &c in password.expose() {
        if matches!(c, b'\\' | b':') {
            out.push(b'\\');
        }
        out.push(c);
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key::try_from(text.to_owned()).unwrap()
    }
    fn secret(text: &str) -> Secret {
        Secret::from(text.as_bytes().to_vec())
    }
    fn merged(file: &str, k: &str, password: &str) -> String {
        String::from_utf8(merge(file.as_bytes(), &key(k), &secret(password)).expose().to_vec()).unwrap()
    }

    #[test]
    fn keys() {
        for bad in ["", "a:b:c", "a:b:c:d:secret", "#a:b:c:d", "a:b:c:d\n"] {
            assert!(Key::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
        assert_eq!(key("a\\:b:*:c:d\\\\").fields[0], b"a:b");
        assert_ne!(key("\\*:1:a:b").fields, key("*:1:a:b").fields);
        assert!(serde_json::from_str::<Key>("\"h:1:d:u\"").is_ok());
    }

    #[test]
    fn the_first_line_that_covers_a_connection_counts() {
        let file = b"h:1:d:u:one\n*:1:d:v:any host\n*:*:*:w:any\nh:1:*:*:rest\n";
        let of = |user| {
            let (password, exact) = password_for(file, ["h", "1", "d", user])?;
            Some((String::from_utf8(password.expose().to_vec()).unwrap(), exact))
        };
        assert_eq!(of("u"), Some(("one".into(), true)));
        assert_eq!(of("v"), Some(("any host".into(), false)));
        assert_eq!(of("w"), Some(("any".into(), false)));
        assert_eq!(of("x"), Some(("rest".into(), true)));
        assert_eq!(password_for(file, ["i", "1", "d", "x"]), None);
    }

    #[test]
    fn passwords_are_unescaped() {
        let file = b"# h:1:d:u:no\n\nh:1:d:u:a\\:b\\\\c:d\r\nh:1:d:u:second\n*:*:*:*:wild";
        assert_eq!(find(file, &key("h:1:d:u")).unwrap().expose(), b"a:b\\c:d");
        assert_eq!(find(file, &key("*:*:*:*")).unwrap().expose(), b"wild");
        assert_eq!(find(file, &key("x:1:d:u")), None);
    }

    #[test]
    fn a_line_is_replaced_inserted_or_appended() {
        let file = "# c\nh:1:d:u:old\r\nx:1:d:u:keep\n*:*:*:u:wild\nz:1:d:u:late";
        assert_eq!(
            merged(file, "h:1:d:u", "n:e\\w"),
            "# c\nh:1:d:u:n\\:e\\\\w\nx:1:d:u:keep\n*:*:*:u:wild\nz:1:d:u:late"
        );
        assert_eq!(
            merged(file, "y:1:d:u", "p"),
            "# c\nh:1:d:u:old\r\nx:1:d:u:keep\ny:1:d:u:p\n*:*:*:u:wild\nz:1:d:u:late"
        );
        assert_eq!(merged(file, "y:1:d:v", "p"), format!("{file}\ny:1:d:v:p\n"));
        // Its own line stood behind one that matches first.
        assert_eq!(
            merged(file, "z:1:d:u", "p"),
            "# c\nh:1:d:u:old\r\nx:1:d:u:keep\nz:1:d:u:p\n*:*:*:u:wild\n"
        );
        assert_eq!(merged(file, "h:1:d:u", "old"), file);
        assert_eq!(merged("", "h:1:d:u", "p"), "h:1:d:u:p\n");
    }
}
