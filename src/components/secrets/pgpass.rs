//! Lines of `~/.pgpass`: named by what they are for, found and put in.

use super::buffer::SecretBuf;
use crate::base::libpq::pgpass::{entry, escape, lines, Field};
use crate::base::secret::Secret;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a line is for: host, port, database and user, in the file's own notation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(super) struct Key {
    text: String,
    fields: [Field; 4],
}

impl TryFrom<String> for Key {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        const FORM: &str = "a line of .pgpass is named by host:port:database:user, without the password";
        if text.contains(['\n', '\r', '\0']) {
            return Err(FORM);
        }
        // As a line without a password.
        match entry(format!("{text}:").as_bytes()) {
            Some((fields, rest)) if rest.is_empty() => Ok(Key { text, fields }),
            _ => Err(FORM),
        }
    }
}

impl Key {
    /// Host, port, database and user.
    pub(super) fn fields(&self) -> &[Field; 4] {
        &self.fields
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

/// What each line is for, as a line has it.
pub(super) fn keys(file: &[u8]) -> Vec<String> {
    let field = |field: &Field| {
        let mut text = Vec::new();
        match field {
            Field::Any => text.push(b'*'),
            // An escaped '*' is a name.
            Field::Is(name) if name == b"*" => text.extend_from_slice(b"\\*"),
            Field::Is(name) => escape(name, |byte| text.push(byte)),
        }
        String::from_utf8(text).ok()
    };
    let key = |line: &[u8]| {
        let (fields, _) = entry(line)?;
        let fields: Vec<String> = fields.iter().map(field).collect::<Option<_>>()?;
        Key::try_from(fields.join(":")).ok().map(String::from)
    };
    lines(file).filter_map(key).collect()
}

/// The password of the line for exactly `key`.
pub(super) fn find(file: &[u8], key: &Key) -> Option<Secret> {
    let (_, password) = lines(file).filter_map(entry).find(|(fields, _)| *fields == key.fields)?;
    Some(password)
}

/// `file` with the password of `key`: its line is replaced, or goes before the first line that would match in its stead,
/// or to the end. All other lines stay byte for byte.
pub(super) fn merge(file: &[u8], key: &Key, password: &Secret) -> Secret {
    let lines: Vec<&[u8]> = lines(file).collect();
    let fields: Vec<_> = lines.iter().map(|line| entry(line).map(|(fields, _)| fields)).collect();
    let own = fields.iter().position(|f| f.as_ref() == Some(&key.fields));
    let covers = |f: &[Field; 4]| f.iter().zip(&key.fields).all(|(f, k)| f.covers(k));
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
    escape(password.expose(), |byte| out.push(byte));
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
        assert_eq!(key("a\\:b:*:c:d\\\\").fields[0], Field::Is(b"a:b".to_vec()));
        assert_ne!(key("\\*:1:a:b").fields, key("*:1:a:b").fields);
        assert!(serde_json::from_str::<Key>("\"h:1:d:u\"").is_ok());
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
